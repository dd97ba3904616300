"""Trading commands: gateway, strategy, both together, paper over recorded days, and the kill switch."""

from __future__ import annotations

import sys
from datetime import date
from typing import Annotated, Any

import typer

from ghtrader.console_io import HomeOption, JsonOption, VarOption, emit, note, parse_day, settings_of, table
from ghtrader_base.errors import UsageError

AccountOption = Annotated[str, typer.Option("--account", help="Account name; locks and kill switch go by it.")]
ModeOption = Annotated[str, typer.Option("--mode", help="paper (own fills), sim (TqKq) or live.")]
SimOption = Annotated[str, typer.Option("--sim", help="tqkq (held by the service) or tqsim (dies with the process).")]
SymbolOption = Annotated[str, typer.Option("--symbol", help="SHFE.cu2502; KQ.m@SHFE.cu: what trades next.")]
ModelOption = Annotated[str, typer.Option("--model", help="champion, a bundle id, or a bundle's folder.")]
HorizonOption = Annotated[int, typer.Option("--horizon", help="Whose champion: ticks ahead.")]
MonitorOption = Annotated[bool, typer.Option("--monitor-only", help="Send nothing, whatever happens.")]
ConfirmOption = Annotated[str, typer.Option("--confirm-live", help="I_UNDERSTAND: second step to real orders.")]
MaxPositionOption = Annotated[int, typer.Option("--max-position", min=1, help="Lots, long or short.")]
RateOption = Annotated[int, typer.Option("--max-orders-per-minute", min=1, help="Orders in a minute of market time.")]
SlipOption = Annotated[int, typer.Option("--slip-ticks", min=0, help="Price ticks beyond the opposite best price.")]
TifOption = Annotated[str, typer.Option("--tif", help="FAK, or GFD (rests, re-priced).")]
FlatOption = Annotated[
    float, typer.Option("--flat-before-end", min=0, help="Flat so many market seconds before the day's end.")
]
SuccessionOption = Annotated[
    str, typer.Option("--succession", help="When a new champion takes over: flat, day (the next one), or keep.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the switch.")]


def _gateway_options(settings: Any, run_id: str, **given: Any) -> Any:
    from ghtrader_market.calendar import load_calendar
    from ghtrader_runtime.bindings import contract_to_trade
    from ghtrader_runtime.options import GatewayOptions

    if given["mode"] not in ("paper", "sim", "live"):
        raise UsageError(f"unknown mode {given['mode']!r}", "modes: paper, sim, live")
    if given["tif"] not in ("FAK", "GFD"):
        raise UsageError(f"unknown --tif {given['tif']!r}", "FAK or GFD")
    symbol = contract_to_trade(settings.data, given.pop("symbol"), load_calendar(settings))
    return GatewayOptions(run_id=run_id, symbol=symbol, **given)


def succession_way(text: str) -> str:
    """`--succession`, checked."""
    if text not in ("flat", "day", "keep"):
        raise UsageError(f"unknown --succession {text!r}", "flat, day or keep")
    return text


def describe(summary: dict[str, Any]) -> str:
    """A run's summary as lines a person reads."""
    latency = summary["tick_to_target_ms"]
    timing = f"p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms" if latency["count"] else "no sample"
    lines = [
        f"run         {summary['run_id']} ({summary['mode']}, {summary['broker']}, {summary['symbol']})",
        f"ended       {summary['ended']}",
        f"ticks       {summary['ticks']}, targets {summary['targets']}, orders {summary['orders']}",
        f"fills       {summary['fills']}, round trips {summary['round_trips']}, position {summary['positions']}",
        f"net PnL     {summary['net_pnl']:,.2f} CNY after {summary['fees']:,.2f} fees",
        f"tick->target {timing} over {latency['count']} ticks",
        f"state       {summary['trading_state']}{', kill switch tripped' if summary['killed'] else ''}",
    ]
    return "\n".join([*lines, f"folder      {summary['folder']}"] if "folder" in summary else lines)


def register(app: typer.Typer) -> None:
    """Add the trading commands."""
    gateway_app = typer.Typer(help="The process that owns a broker connection.", no_args_is_help=True)
    strategy_app = typer.Typer(help="The process that turns ticks into targets.", no_args_is_help=True)
    kill_app = typer.Typer(help="The durable kill switch of an account.", no_args_is_help=True)
    app.add_typer(gateway_app, name="gateway")
    app.add_typer(strategy_app, name="strategy")
    app.add_typer(kill_app, name="kill")
    _register_gateway(gateway_app)
    _register_strategy(strategy_app)
    _register_kill(kill_app)
    _register_runs(app)
    _register_monitor(app)


def _register_gateway(app: typer.Typer) -> None:
    @app.callback()
    def about() -> None:
        """The process that owns a broker connection."""

    @app.command()
    def run(
        account: AccountOption,
        mode: ModeOption,
        symbol: SymbolOption,
        sim: SimOption = "tqkq",
        monitor_only: MonitorOption = False,
        confirm_live: ConfirmOption = "",
        max_position: MaxPositionOption = 1,
        max_orders_per_minute: RateOption = 20,
        slip_ticks: SlipOption = 1,
        tif: TifOption = "FAK",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Own the account until SIGTERM, Ctrl-C or the end of the trading day.

        Example: ghtrader gateway run --account demo --mode sim --symbol SHFE.cu2502
        """
        from ghtrader_runtime.launch import run_gateway
        from ghtrader_runtime.supervisor import new_run_id

        settings = settings_of(home)
        options = _gateway_options(
            settings, new_run_id("gateway"), account=account, mode=mode, symbol=symbol, sim=sim,
            monitor_only=monitor_only, confirm_live=confirm_live, max_position=max_position,
            rate_orders=max_orders_per_minute, slip_ticks=slip_ticks, tif=tif,
        )  # fmt: skip
        summary = run_gateway(settings, options)
        emit(summary, json, lambda: describe(summary))


def _register_strategy(app: typer.Typer) -> None:
    @app.callback()
    def about() -> None:
        """The process that turns ticks into targets."""

    @app.command()
    def run(
        account: AccountOption,
        symbol: SymbolOption,
        mode: ModeOption = "sim",
        sim: SimOption = "tqkq",
        model: ModelOption = "champion",
        horizon: HorizonOption = 50,
        succession: SuccessionOption = "flat",
        flat_before_end: FlatOption = 60.0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Join the account's gateway and answer every tick until it ends, SIGTERM or Ctrl-C.

        Example: ghtrader strategy run --account demo --symbol SHFE.cu2502 --model champion
        """
        from ghtrader_market.calendar import load_calendar
        from ghtrader_runtime.bindings import contract_to_trade
        from ghtrader_runtime.options import StrategyOptions
        from ghtrader_runtime.strategy_launch import run_strategy

        settings = settings_of(home)
        options = StrategyOptions(
            account=account, mode=mode, symbol=contract_to_trade(settings.data, symbol, load_calendar(settings)),
            sim=sim, model=model, horizon=horizon, succession=succession_way(succession),
            flat_before_end_s=flat_before_end,
        )  # fmt: skip
        result = run_strategy(settings, options)
        emit(result, json, lambda: f"{result['ended']}; {result['answered']} ticks answered")


def _register_runs(app: typer.Typer) -> None:
    @app.command()
    def trade(
        account: AccountOption,
        mode: ModeOption,
        symbol: SymbolOption,
        model: ModelOption = "champion",
        seconds: Annotated[float, typer.Option("--for", min=0, help="Seconds to trade; 0 until the day ends.")] = 0.0,
        sim: SimOption = "tqkq",
        horizon: HorizonOption = 50,
        succession: SuccessionOption = "flat",
        monitor_only: MonitorOption = False,
        confirm_live: ConfirmOption = "",
        max_position: MaxPositionOption = 1,
        max_orders_per_minute: RateOption = 20,
        slip_ticks: SlipOption = 1,
        tif: TifOption = "FAK",
        flat_before_end: FlatOption = 60.0,
        idle_end: Annotated[
            float, typer.Option("--idle-end", min=0, help="Stop after so many seconds without a tick; 0 never.")
        ] = 60.0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Gateway and strategy, supervised; asks for a flat position before it leaves.

        Example: ghtrader trade --account demo --mode sim --symbol SHFE.cu2502 --for 60
        """
        from ghtrader_runtime import supervisor
        from ghtrader_runtime.accounts import check_gates
        from ghtrader_runtime.options import StrategyOptions

        settings = settings_of(home)
        options = _gateway_options(
            settings, supervisor.new_run_id("trade"), account=account, mode=mode, symbol=symbol, sim=sim,
            monitor_only=monitor_only, confirm_live=confirm_live, max_position=max_position,
            rate_orders=max_orders_per_minute, slip_ticks=slip_ticks, tif=tif, idle_end_s=idle_end,
        )  # fmt: skip
        check_gates(settings, mode, monitor_only, confirm_live)
        strategy = StrategyOptions(
            account=account, mode=mode, symbol=options.symbol, sim=sim, model=model, horizon=horizon,
            succession=succession_way(succession), flat_before_end_s=flat_before_end,
        )  # fmt: skip
        note(f"run {options.run_id}: {options.symbol}, account {account} ({mode})")
        summary = supervisor.trade(
            settings, options, strategy, seconds or None, lambda: note("the strategy is ready; trading"), tell=note
        )
        emit(summary, json, lambda: describe(summary))

    @app.command()
    def paper(
        var: VarOption,
        days: Annotated[int, typer.Option("--days", min=1, help="The last so many recorded days.")] = 1,
        day: Annotated[str, typer.Option("--day", help="One recorded trading day instead.")] = "",
        from_ns: Annotated[int, typer.Option("--from-ns", help="Trade from this moment (UTC epoch ns) on.")] = 0,
        last_block: Annotated[
            int, typer.Option("--last-block", min=0, help="Trade the last of so many equal blocks of the day.")
        ] = 0,
        pace: Annotated[float, typer.Option("--pace", min=0, help="Ticks a second; 0 as fast as they go.")] = 0.0,
        model: ModelOption = "champion",
        horizon: HorizonOption = 50,
        account: AccountOption = "paper",
        max_position: MaxPositionOption = 1,
        max_orders_per_minute: RateOption = 120,
        flat_before_end: FlatOption = 60.0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Gateway and strategy over recorded days, on paper.

        Example: ghtrader paper --var cu --days 2
        """
        from ghtrader_runtime.paper import paper_day, replay_days

        settings = settings_of(home)
        wanted: date | None = parse_day(day, "--day") if day else None
        summaries = []
        for one in replay_days(settings, var, days, wanted):
            note(f"playing {var} {one}")
            summaries.append(
                paper_day(
                    settings, var, one, account=account, model=model, horizon=horizon, from_ns=from_ns,
                    blocks=last_block, pace=pace, max_position=max_position, rate_orders=max_orders_per_minute,
                    flat_before_end_s=flat_before_end,
                )  # fmt: skip
            )
        summed = ("ticks", "targets", "orders", "fills", "round_trips", "fees", "net_pnl")
        total = {name: sum(summary[name] for summary in summaries) for name in summed}
        emit({"days": summaries, **total}, json, lambda: "\n\n".join(describe(one) for one in summaries))


def _register_monitor(app: typer.Typer) -> None:
    @app.command()
    def monitor(
        account: Annotated[str | None, typer.Option("--account", help="Needed where several gateways run.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Live view of a running gateway in the terminal; k trips the kill switch, q leaves. --json: one picture.

        Example: ghtrader monitor --account demo
        """
        from ghtrader_runtime.live_view import choose_gateway, one_picture

        settings = settings_of(home)
        gateway = choose_gateway(settings, account)
        if json or not sys.stdout.isatty():
            picture = one_picture(settings, gateway)
            emit(picture, json, lambda: "\n".join(f"{name:14} {value}" for name, value in picture.items()))
            return
        from ghtrader_runtime.monitor import run_monitor

        run_monitor(settings, gateway)


def _register_kill(app: typer.Typer) -> None:
    columns = ["account", "broker", "tripped", "reason", "since", "gateway_running"]

    @app.command()
    def status(
        account: AccountOption,
        mode: Annotated[str | None, typer.Option("--mode", help="One mode; all without it.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Whether it is tripped, why and since when. Example: ghtrader kill status --account demo"""
        from ghtrader_runtime import killing

        rows = killing.status(settings_of(home), account, mode)
        answer = {"account": account, "tripped": any(row["tripped"] for row in rows), "brokers": rows}
        emit(answer, json, lambda: table(rows, columns))

    @app.command()
    def trip(
        account: AccountOption,
        reason: ReasonOption,
        mode: Annotated[str | None, typer.Option("--mode", help="One mode; all without it.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Stop all orders of the account, now and after every restart.

        Example: ghtrader kill trip --account demo --reason "spread looks wrong"
        """
        from ghtrader_runtime import killing

        rows = killing.trip(settings_of(home), account, reason, mode)
        emit({"account": account, "tripped": True, "brokers": rows}, json, lambda: table(rows, columns))

    @app.command()
    def reset(
        account: AccountOption,
        reason: ReasonOption,
        mode: Annotated[str | None, typer.Option("--mode", help="One mode; all without it.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Allow orders again. Example: ghtrader kill reset --account demo --reason "fixed the model" """
        from ghtrader_runtime import killing

        rows = killing.reset(settings_of(home), account, reason, mode)
        emit({"account": account, "tripped": False, "brokers": rows}, json, lambda: table(rows, columns))
