"""Trading commands: gateway, strategy, both together, paper over recorded days, and the kill switch."""

from __future__ import annotations

import sys
from datetime import date
from typing import Annotated, Any

import msgspec
import typer

from ghtrader.commands.risk_options import in_force, with_knobs
from ghtrader.console_io import HomeOption, JsonOption, VarOption, emit, note, parse_day, settings_of, table
from ghtrader_base.errors import UsageError
from ghtrader_base.settings import Settings

AccountOption = Annotated[str, typer.Option("--account", help="Account name; locks and kill switch go by it.")]
ModeOption = Annotated[str, typer.Option("--mode", help="paper (own fills), sim (TqKq) or live.")]
SimOption = Annotated[str, typer.Option("--sim", help="tqkq (held by the service) or tqsim (dies with the process).")]
SymbolOption = Annotated[
    str, typer.Option("--symbol", help="SHFE.cu2502, or KQ.m@SHFE.cu: the contract of each trading day.")
]
DaysOption = Annotated[int, typer.Option("--days", min=0, help="Trading days to trade; 0 until stopped.")]
ModelOption = Annotated[str, typer.Option("--model", help="champion, a bundle id, or a bundle's folder.")]
HorizonOption = Annotated[int, typer.Option("--horizon", help="Whose champion: ticks ahead.")]
MonitorOption = Annotated[bool, typer.Option("--monitor-only", help="Send nothing, whatever happens.")]
ConfirmOption = Annotated[str, typer.Option("--confirm-live", help="I_UNDERSTAND: second step to real orders.")]
StopOption = Annotated[
    bool, typer.Option("--flatten-on-stop/--hold-on-stop", help="Ask for a flat position before leaving.")
]
FlatOption = Annotated[
    float, typer.Option("--flat-before-end", min=0, help="Flat so many market seconds before the day's end.")
]
SuccessionOption = Annotated[
    str, typer.Option("--succession", help="When a new champion takes over: flat, day (the next one), or keep.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the switch.")]


def _gateway_options(settings: Settings, run_id: str, symbol: str, knobs: dict[str, Any], **given: Any) -> Any:
    from ghtrader_market.reference.trading_calendar import load_calendar
    from ghtrader_runtime.config import GatewayOptions, check_options
    from ghtrader_runtime.gateway.contract_binding import Binder

    options = GatewayOptions(run_id=run_id, symbol=symbol, **given, **in_force(settings, knobs))
    check_options(options)
    options = msgspec.structs.replace(options, symbol=symbol or _only_series(settings))
    contract = Binder(settings.data, options.symbol, load_calendar(settings)).first()
    meaning = "" if contract == options.symbol else f", next {contract}"
    note(f"run {run_id}: {options.symbol}{meaning}, account {options.account} ({options.mode})")
    return options


def _only_series(settings: Settings) -> str:
    """The main series a gateway trades where nobody named one: that of the only roll schedule there is."""
    from ghtrader_market.reference.varieties import get_variety

    known = sorted(path.stem for path in (settings.data / "schedules").glob("*.json"))
    if len(known) != 1:
        found = f"this home has roll schedules of {', '.join(known)}" if known else "this home has no roll schedule"
        raise UsageError(f"--symbol is missing, and {found}", "name a contract or a main series, as KQ.m@SHFE.cu")
    return get_variety(known[0]).continuous_symbol


def _mode_of(settings: Settings, account: str, mode: str | None, sim: str) -> tuple[str, str]:
    """Mode and simulation of a strategy: as typed, else those of the account's gateway, else `sim`."""
    from ghtrader_runtime.operator_views.gateway_view import running_gateways

    if mode is not None:
        return mode, sim
    found = {(one.mode, "tqsim" if one.broker.startswith("tqsim") else "tqkq")
             for one in running_gateways(settings) if one.account == account}  # fmt: skip
    return found.pop() if len(found) == 1 else ("sim", sim)


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
    @with_knobs
    def run(
        account: AccountOption,
        mode: ModeOption,
        symbol: Annotated[
            str, typer.Option("--symbol", help="As SHFE.cu2502 or KQ.m@SHFE.cu; none: the home's only main series.")
        ] = "",
        sim: SimOption = "tqkq",
        monitor_only: MonitorOption = False,
        confirm_live: ConfirmOption = "",
        days: DaysOption = 1,
        knobs: dict[str, Any] = {},  # noqa: B006  never changed
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Own the account until SIGTERM, Ctrl-C or the end of the trading day (of the last of --days).

        Example: ghtrader gateway run --account demo --mode sim --symbol SHFE.cu2502
        """
        from ghtrader_runtime.gateway.launch import run_gateway
        from ghtrader_runtime.supervisor.supervisor import new_run_id

        settings = settings_of(home)
        options = _gateway_options(
            settings, new_run_id("gateway"), symbol, knobs, account=account, mode=mode, sim=sim,
            monitor_only=monitor_only, confirm_live=confirm_live, days=days,
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
        mode: Annotated[
            str | None, typer.Option("--mode", help="paper, sim or live; without it that of the account's gateway.")
        ] = None,
        sim: SimOption = "tqkq",
        model: ModelOption = "champion",
        horizon: HorizonOption = 50,
        succession: SuccessionOption = "flat",
        flat_before_end: FlatOption = 60.0,
        flatten_on_stop: StopOption = True,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Join the account's gateway and answer every tick until it ends, SIGTERM or Ctrl-C.

        Example: ghtrader strategy run --account demo --symbol SHFE.cu2502 --model champion
        """
        from ghtrader_runtime.config import StrategyOptions
        from ghtrader_runtime.strategy.launch import run_strategy

        settings = settings_of(home)
        mode, sim = _mode_of(settings, account, mode, sim)
        options = StrategyOptions(
            account=account, mode=mode, symbol=symbol, sim=sim, model=model, horizon=horizon,
            succession=succession_way(succession), flat_before_end_s=flat_before_end, flatten_on_stop=flatten_on_stop,
        )  # fmt: skip
        result = run_strategy(settings, options)
        emit(result, json, lambda: f"{result['ended']}; {result['answered']} ticks answered")


def _register_runs(app: typer.Typer) -> None:
    @app.command()
    @with_knobs
    def trade(
        account: AccountOption,
        mode: ModeOption,
        symbol: SymbolOption,
        model: ModelOption = "champion",
        seconds: Annotated[float, typer.Option("--for", min=0, help="Seconds to trade; 0 until the day ends.")] = 0.0,
        days: DaysOption = 1,
        sim: SimOption = "tqkq",
        horizon: HorizonOption = 50,
        succession: SuccessionOption = "flat",
        monitor_only: MonitorOption = False,
        confirm_live: ConfirmOption = "",
        flat_before_end: FlatOption = 60.0,
        flatten_on_stop: StopOption = True,
        idle_end: Annotated[
            float, typer.Option("--idle-end", min=0, help="Stop after so many seconds without a tick; 0 never.")
        ] = 60.0,
        knobs: dict[str, Any] = {},  # noqa: B006
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Gateway and strategy, supervised; asks for a flat position before it leaves. A main series is rolled.

        Example: ghtrader trade --account demo --mode sim --symbol KQ.m@SHFE.cu --for 60
        """
        from ghtrader_runtime.accounts.account import check_gates
        from ghtrader_runtime.config import StrategyOptions
        from ghtrader_runtime.supervisor import supervisor

        settings = settings_of(home)
        options = _gateway_options(
            settings, supervisor.new_run_id("trade"), symbol, knobs, account=account, mode=mode, sim=sim,
            monitor_only=monitor_only, confirm_live=confirm_live, idle_end_s=idle_end, days=days,
        )  # fmt: skip
        check_gates(settings, mode, monitor_only, confirm_live)
        strategy = StrategyOptions(
            account=account, mode=mode, symbol=options.symbol, sim=sim, model=model, horizon=horizon,
            succession=succession_way(succession), flat_before_end_s=flat_before_end, flatten_on_stop=flatten_on_stop,
        )  # fmt: skip
        summary = supervisor.trade(
            settings, options, strategy, seconds or None, lambda: note("the strategy is ready; trading"), tell=note
        )
        emit(summary, json, lambda: describe(summary))

    @app.command()
    @with_knobs
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
        flat_before_end: FlatOption = 60.0,
        knobs: dict[str, Any] = {},  # noqa: B006
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Gateway and strategy over recorded days, on paper.

        Example: ghtrader paper --var cu --days 2
        """
        from ghtrader_runtime.replay.recorded_days import PAPER_RATE, paper_day, replay_days

        settings = settings_of(home)
        wanted: date | None = parse_day(day, "--day") if day else None
        summaries = []
        for one in replay_days(settings, var, days, wanted):
            note(f"playing {var} {one}")
            summary = paper_day(
                settings, var, one, account=account, model=model, horizon=horizon, from_ns=from_ns, blocks=last_block,
                pace=pace, flat_before_end_s=flat_before_end,
                **in_force(settings, {"rate_orders": PAPER_RATE, **knobs}),
            )  # fmt: skip
            summaries.append(summary)
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
        from ghtrader_runtime.operator_views.gateway_view import choose_gateway, one_picture

        settings = settings_of(home)
        gateway = choose_gateway(settings, account)
        if json or not sys.stdout.isatty():
            picture = one_picture(settings, gateway)
            emit(picture, json, lambda: "\n".join(f"{name:14} {value}" for name, value in picture.items()))
            return
        from ghtrader_runtime.operator_views.monitor_app import run_monitor

        run_monitor(settings, gateway)


def _register_kill(app: typer.Typer) -> None:
    columns = ["account", "broker", "tripped", "reason", "since", "gateway_running"]

    @app.command()
    def status(
        account: Annotated[str | None, typer.Option("--account", help="One account; all without it.")] = None,
        mode: Annotated[str | None, typer.Option("--mode", help="One mode; all without it.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Whether it is tripped, why and since when. Example: ghtrader kill status --account demo"""
        from ghtrader_runtime.operator_views import kill_commands

        rows = kill_commands.status(settings_of(home), account, mode)
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
        from ghtrader_runtime.operator_views import kill_commands

        settings = settings_of(home)
        known = {ref.name for ref in kill_commands.known_accounts(settings)}
        rows = kill_commands.trip(settings, account, reason, mode)
        if account not in known:
            note(f"no gateway was ever run for an account {account!r}; its switch is tripped all the same")
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
        from ghtrader_runtime.operator_views import kill_commands

        rows = kill_commands.reset(settings_of(home), account, reason, mode)
        emit({"account": account, "tripped": False, "brokers": rows}, json, lambda: table(rows, columns))
