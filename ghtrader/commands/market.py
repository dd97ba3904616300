"""Market data commands: download, import, roll schedule, main_l5. Each is one or several Dagster runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghtrader.commands.groups import group
from ghtrader.commands.pipeline_io import (
    EndOption,
    OverwriteOption,
    SeriesOption,
    StartOption,
    VarietyOption,
    emit_runs,
    optional_day,
    variety_key,
)
from ghtrader.console_io import HomeOption, JsonOption, parse_day, settings_of
from ghtrader_base.errors import UsageError

WorkersOption = Annotated[int, typer.Option("--workers", min=0, help="TqSdk clients at once; 0: two.")]


def _register_downloads(app: typer.Typer) -> None:
    @app.command()
    def download(
        symbol: Annotated[str, typer.Option("--symbol", help="One contract: SHFE.cu2502.")],
        start: StartOption,
        end: EndOption,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Ticks of one contract; resumes.

        Example: ghtrader download --symbol SHFE.cu2502 --start 2025-01-02 --end 2025-01-10
        """
        from ghtrader_market.calendar import load_calendar
        from ghtrader_market.symbols import parse_symbol
        from ghtrader_market.varieties import variety_of

        settings = settings_of(home)
        if parse_symbol(symbol).continuous:
            raise UsageError(f"{symbol} is no single contract", "for example --symbol SHFE.cu2502")
        variety_of(symbol)
        first, last = parse_day(start, "--start"), parse_day(end, "--end")
        load_calendar(settings).require_days(first, last)

        from ghtrader_assets.pipeline import run_job, stderr_progress

        config = {"symbol": symbol, "start": first.isoformat(), "end": last.isoformat()}
        run = run_job(
            settings,
            "download_contract",
            run_config={"ops": {"fetch_contract": {"config": config}}},
            progress=stderr_progress(),
        )
        emit_runs([run], json, symbol=symbol)

    @app.command("download-contract-range")
    def download_contract_range(
        start: StartOption,
        end: EndOption,
        exchange: Annotated[str, typer.Option("--exchange", help="SHFE or CFFEX; the variety's own if left out.")] = "",
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        workers: WorkersOption = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Ticks of every contract of a variety that traded in the range.

        Example: ghtrader download-contract-range --exchange SHFE --var cu --start 2025-01-02 --end 2025-01-10
        """
        from ghtrader_market.calendar import load_calendar
        from ghtrader_market.varieties import get_variety

        settings = settings_of(home)
        key = variety_key(var, symbol)
        if exchange and exchange != get_variety(key).exchange:
            raise UsageError(f"{key} trades on {get_variety(key).exchange}, not on {exchange}", "correct --exchange")
        first, last = parse_day(start, "--start"), parse_day(end, "--end")
        load_calendar(settings).require_days(first, last)

        from ghtrader_assets.flows import download_range
        from ghtrader_assets.pipeline import stderr_progress

        runs = download_range(settings, key, first, last, workers=workers, progress=stderr_progress())
        emit_runs(runs, json, variety=key)


def _register_import(app: typer.Typer) -> None:
    data = group(app, "data", "Recordings and what is in the lake.")

    @data.command("import")
    def import_(
        files: Annotated[list[Path], typer.Argument(help="CSV or Parquet, may be gzipped.")],
        var: Annotated[str, typer.Option("--var", help="Variety, where the file does not say.")] = "",
        symbol: Annotated[str, typer.Option("--symbol", help="Contract, where the file does not say.")] = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Recordings people already have. Example: ghtrader data import IF2101_20210104.csv.gz --var IF"""
        from ghtrader_base.errors import BadRecordingError
        from ghtrader_market.symbols import parse_symbol
        from ghtrader_market.varieties import get_variety

        settings = settings_of(home)
        if var:
            get_variety(var)
        if symbol and parse_symbol(symbol).continuous:
            raise UsageError(f"{symbol} is no single contract", "for example --symbol CFFEX.IF2101")
        for path in files:
            if not path.is_file():
                raise BadRecordingError(f"there is no file {path}", "check the path")

        from ghtrader_assets.pipeline import run_job, stderr_progress

        config = {"paths": [str(path.absolute()) for path in files], "variety": var, "symbol": symbol}
        run = run_job(
            settings,
            "import_recordings",
            run_config={"ops": {"read_recordings": {"config": config}}},
            progress=stderr_progress(),
        )
        emit_runs([run], json)


def _register_main(app: typer.Typer) -> None:
    @app.command("main-schedule")
    def main_schedule(
        var: VarietyOption = "", symbol: SeriesOption = "", home: HomeOption = None, json: JsonOption = False
    ) -> None:
        """The roll schedule by the open-interest rule. Example: ghtrader main-schedule --var cu"""
        settings, key = settings_of(home), variety_key(var, symbol)

        from ghtrader_assets.flows import update_schedule
        from ghtrader_assets.pipeline import stderr_progress

        emit_runs(update_schedule(settings, key, progress=stderr_progress()), json, variety=key)

    @app.command("main-depth", hidden=True)
    @app.command("main-l5")
    def main_l5(
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        start: StartOption = "",
        end: EndOption = "",
        overwrite: OverwriteOption = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Days of the main series, provenance on each row.

        Example: ghtrader main-l5 --var cu --start 2025-01-03 --end 2025-01-10
        """
        settings, key = settings_of(home), variety_key(var, symbol)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")

        from ghtrader_assets.flows import build_main
        from ghtrader_assets.pipeline import stderr_progress

        runs = build_main(settings, key, first, last, overwrite=overwrite, progress=stderr_progress())
        emit_runs(runs, json, variety=key)


def register(app: typer.Typer) -> None:
    """Add the market data commands."""
    _register_downloads(app)
    _register_import(app)
    _register_main(app)
