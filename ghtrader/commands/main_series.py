"""Defines the commands of the main series: roll schedule, main_l5.

Each is one or several Dagster runs.
"""

from __future__ import annotations

import typer

from ghtrader.commands.shared_options import (
    EndOption,
    HomeOption,
    JsonOption,
    OverwriteOption,
    SeriesOption,
    StartOption,
    UnfinishedOption,
    VarietyOption,
    optional_day,
    settings_of,
    variety_key,
)
from ghtrader.output import emit_runs


def _register_main(app: typer.Typer) -> None:
    @app.command("main-schedule")
    def main_schedule(
        var: VarietyOption = "", symbol: SeriesOption = "", home: HomeOption = None, json: JsonOption = False
    ) -> None:
        """The roll schedule by the open-interest rule. Example: ghtrader main-schedule --var cu"""
        settings, key = settings_of(home), variety_key(var, symbol)

        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import update_schedule

        emit_runs(update_schedule(settings, key, progress=stderr_progress()), json, variety=key)

    @app.command("main-depth", hidden=True)
    @app.command("main-l5")
    def main_l5(
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        start: StartOption = "",
        end: EndOption = "",
        overwrite: OverwriteOption = False,
        allow_unfinished: UnfinishedOption = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Days of the main series, provenance on each row.

        Example: ghtrader main-l5 --var cu --start 2025-01-03 --end 2025-01-10
        """
        settings, key = settings_of(home), variety_key(var, symbol)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")

        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import build_main

        runs = build_main(
            settings, key, first, last, overwrite=overwrite, allow_unfinished=allow_unfinished,
            progress=stderr_progress(),
        )  # fmt: skip
        emit_runs(runs, json, variety=key)


def register(app: typer.Typer) -> None:
    """Add the market data commands."""
    _register_main(app)
