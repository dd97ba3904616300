"""Defines `trade` and `paper`: gateway and strategy together, live or over recorded days."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import typer

from ghtrader.commands.risk_options import in_force, with_limits
from ghtrader.commands.shared_options import (
    HomeOption,
    JsonOption,
    SeriesOption,
    UnfinishedOption,
    VarietyOption,
    parse_day,
    settings_of,
    variety_key,
)
from ghtrader.commands.trading_options import (
    AccountOption,
    ConfirmOption,
    DaysOption,
    FlatOption,
    HorizonOption,
    ModelOption,
    ModeOption,
    MonitorOption,
    SimOption,
    StopOption,
    SuccessionOption,
    SymbolOption,
    describe,
    gateway_options,
    run_line,
)
from ghtrader.output import emit, note
from ghtrader_base.plain_str_enum import read_word
from ghtrader_base.trading_enums import RunMode, Succession
from ghtrader_base.trading_limits import LimitValue


def register(app: typer.Typer) -> None:
    """Add both commands."""

    @app.command()
    @with_limits
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
        limits: dict[str, LimitValue] = {},  # noqa: B006
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Gateway and strategy, supervised; asks for a flat position before it leaves. A main series is rolled.

        Example: ghtrader trade --account demo --mode sim --symbol KQ.m@SHFE.cu --for 60
        """
        from ghtrader_runtime.accounts.live_gate import check_gates, check_model
        from ghtrader_runtime.run_options import StrategyOptions
        from ghtrader_runtime.strategy.launch import load_model
        from ghtrader_runtime.supervisor import supervisor

        settings = settings_of(home)
        options = gateway_options(
            settings, supervisor.new_run_id("trade"), symbol, limits, account=account, mode=mode, sim=sim,
            monitor_only=monitor_only, confirm_live=confirm_live, idle_end_s=idle_end, days=days,
        )  # fmt: skip
        check_gates(settings, options.mode, monitor_only, confirm_live)
        strategy = StrategyOptions(
            account=account, mode=options.mode, symbol=options.symbol, sim=options.sim, model=model, horizon=horizon,
            succession=read_word(Succession, succession, "--succession"), flat_before_end_s=flat_before_end,
            flatten_on_stop=flatten_on_stop, monitor_only=monitor_only,
        )  # fmt: skip
        if options.mode == RunMode.LIVE and not monitor_only:  # said before a process begins
            check_model(load_model(settings, strategy), options.mode, monitor_only)
        line = run_line(settings, options)
        summary = supervisor.trade(
            settings, options, strategy, seconds or None, lambda: note("the strategy is ready; trading"), tell=note,
            on_start=lambda: note(line),
        )  # fmt: skip
        emit(summary.to_json(), json, lambda: describe(summary))

    @app.command()
    @with_limits
    def paper(
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        days: Annotated[int, typer.Option("--days", min=1, help="The last so many recorded days.")] = 1,
        day: Annotated[str, typer.Option("--day", help="One recorded trading day instead.")] = "",
        allow_unfinished: UnfinishedOption = False,
        from_ns: Annotated[int, typer.Option("--from-ns", help="Trade from this moment (UTC epoch ns) on.")] = 0,
        last_block: Annotated[
            int, typer.Option("--last-block", min=0, help="Trade the last of so many equal blocks of the day.")
        ] = 0,
        pace: Annotated[float, typer.Option("--pace", min=0, help="Ticks a second; 0 as fast as they go.")] = 0.0,
        model: ModelOption = "champion",
        horizon: HorizonOption = 50,
        account: AccountOption = "paper",
        flat_before_end: FlatOption = 60.0,
        limits: dict[str, LimitValue] = {},  # noqa: B006
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Gateway and strategy over recorded days, on paper; says which the model had learned from (`in sample`).

        Example: ghtrader paper --var cu --days 2
        """
        from ghtrader_models.bundles.sample_check import SampleVerdict, worst
        from ghtrader_runtime.replay.recorded_days import PAPER_RATE, paper_days, replay_days

        settings, variety = settings_of(home), variety_key(var, symbol)
        wanted: date | None = parse_day(day, "--day") if day else None
        typed: dict[str, Any] = {**in_force(settings, {"rate_orders": PAPER_RATE, **limits})}
        summaries = paper_days(
            settings, variety, replay_days(settings, variety, days, wanted, allow_unfinished),
            on_day=lambda one: note(f"playing {variety} {one}"), account=account, model=model, horizon=horizon,
            from_ns=from_ns, blocks=last_block, pace=pace, flat_before_end_s=flat_before_end, **typed,
        )  # fmt: skip
        summed = ("ticks", "targets", "orders", "fills", "round_trips", "fees", "net_pnl")
        total = {name: sum(getattr(summary, name) for summary in summaries) for name in summed}
        judged = [SampleVerdict(one.sample, one.sample_reason or "") for one in summaries if one.sample is not None]
        verdict = worst(judged)
        sample = None if verdict is None else {"sample": verdict.sample, "sample_reason": verdict.reason}
        document = {"days": [one.to_json() for one in summaries], **total, **(sample or {})}
        emit(document, json, lambda: "\n\n".join(describe(one) for one in summaries))
