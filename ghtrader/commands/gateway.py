"""Defines `gateway run`, the process that owns a broker connection, and `gateway summary` of a run that is over."""

from __future__ import annotations

from typing import Annotated

import typer

from ghtrader.commands.risk_options import with_limits
from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.commands.trading_options import (
    AccountOption,
    ConfirmOption,
    DaysOption,
    ModeOption,
    MonitorOption,
    SimOption,
    describe,
    gateway_options,
    run_line,
)
from ghtrader.output import emit, note
from ghtrader_base.trading_limits import LimitValue


def register(app: typer.Typer) -> None:
    """Add `ghtrader gateway`."""
    gateway_app = typer.Typer(help="The process that owns a broker connection.", no_args_is_help=True)
    app.add_typer(gateway_app, name="gateway")

    @gateway_app.callback()
    def about() -> None:
        """The process that owns a broker connection."""

    @gateway_app.command()
    @with_limits
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
        limits: dict[str, LimitValue] = {},  # noqa: B006  never changed
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Own the account until SIGTERM, Ctrl-C or the end of the trading day (of the last of --days).

        Example: ghtrader gateway run --account demo --mode sim --symbol SHFE.cu2502
        """
        from ghtrader_runtime.gateway.launch import run_gateway
        from ghtrader_runtime.supervisor.supervisor import new_run_id

        settings = settings_of(home)
        options = gateway_options(
            settings, new_run_id("gateway"), symbol, limits, account=account, mode=mode, sim=sim,
            monitor_only=monitor_only, confirm_live=confirm_live, days=days,
        )  # fmt: skip
        line = run_line(settings, options)
        summary = run_gateway(settings, options, on_start=lambda: note(line))
        emit(summary.to_json(), json, lambda: describe(summary))

    @gateway_app.command()
    def summary(
        run_id: Annotated[str, typer.Argument(help="Name of its folder in runs/trading/; none: the newest run.")] = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """What a trading run came to; a summary that was lost is made again from the run's journal.

        Example: ghtrader gateway summary trade-20250414-090000-1a2b
        """
        from ghtrader_runtime.runlog.rebuilt_summary import run_folder, summary_of
        from ghtrader_runtime.runlog.summary import SUMMARY

        settings = settings_of(home)
        folder = run_folder(settings, run_id)
        lost = not (folder / SUMMARY).exists()
        found = summary_of(settings, folder)
        if lost:
            note(f"{folder / SUMMARY} was lost and is made again from the journal")
        emit(found.to_json(), json, lambda: describe(found))
