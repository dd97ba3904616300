"""Defines the commands that bring ticks into the lake (download, update, data import) and `locks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghtrader.commands.shared_options import (
    EndOption,
    HomeOption,
    JsonOption,
    SeriesOption,
    StartOption,
    VarietyOption,
    group,
    parse_day,
    settings_of,
    variety_key,
)
from ghtrader.output import emit_runs, progress_display
from ghtrader_base.errors import UsageError

ExchangeOption = Annotated[str, typer.Option("--exchange", help="SHFE or CFFEX; the variety's own if left out.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=0, help="TqSdk clients at once; 0: two.")]


def _register_downloads(app: typer.Typer) -> None:
    @app.command()
    def download(
        symbol: Annotated[str, typer.Option("--symbol", help="SHFE.cu2502; or KQ.m@SHFE.cu: one level, kept apart.")],
        start: StartOption,
        end: EndOption,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Ticks of one symbol; resumes.

        Example: ghtrader download --symbol SHFE.cu2502 --start 2025-01-02 --end 2025-01-10
        """
        from ghtrader_market.reference.trading_calendar import load_calendar
        from ghtrader_market.reference.varieties import variety_of

        settings = settings_of(home)
        variety_of(symbol)
        first, last = parse_day(start, "--start"), parse_day(end, "--end")
        load_calendar(settings).require_days(first, last)

        from ghtrader_assets.runs.flows import download_contract

        with progress_display() as progress:
            run = download_contract(settings, symbol, first, last, progress=progress)
        emit_runs([run], json, symbol=symbol)

    @app.command("download-contract-range")
    def download_contract_range(
        start: StartOption,
        end: EndOption,
        exchange: ExchangeOption = "",
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        workers: WorkersOption = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Ticks of every contract of a variety that traded in the range.

        Example: ghtrader download-contract-range --exchange SHFE --var cu --start 2025-01-02 --end 2025-01-10
        """
        from ghtrader_market.reference.trading_calendar import load_calendar

        settings = settings_of(home)
        key = _variety_on(exchange, var, symbol)
        first, last = parse_day(start, "--start"), parse_day(end, "--end")
        load_calendar(settings).require_days(first, last)

        from ghtrader_assets.runs.flows import download_range

        with progress_display() as progress:
            runs = download_range(settings, key, first, last, workers=workers, progress=progress)
        emit_runs(runs, json, variety=key)

    @app.command()
    def update(
        exchange: ExchangeOption = "",
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        recent_expired_days: Annotated[
            int, typer.Option("--recent-expired-days", min=0, help="Days a contract is still filled after its expiry.")
        ] = 10,
        refresh_catalog: Annotated[
            bool, typer.Option("--refresh-catalog", help="Ask for the contract list even where it is fresh.")
        ] = False,
        workers: WorkersOption = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Fill forward active and recently expired contracts, and ask again for days skipped before.

        Example: ghtrader update --exchange SHFE --var cu
        """
        settings = settings_of(home)
        key = _variety_on(exchange, var, symbol)

        from ghtrader_assets.runs.flows import update_variety

        with progress_display() as progress:
            run = update_variety(
                settings, key, recent_expired_days=recent_expired_days, refresh_catalog=refresh_catalog,
                workers=workers, progress=progress,
            )  # fmt: skip
        emit_runs([run], json, variety=key)


def _variety_on(exchange: str, var: str, symbol: str) -> str:
    """The variety named, which must trade on the exchange named."""
    from ghtrader_market.reference.varieties import get_variety

    key = variety_key(var, symbol)
    if exchange and exchange != get_variety(key).exchange:
        raise UsageError(f"{key} trades on {get_variety(key).exchange}, not on {exchange}", "correct --exchange")
    return key


def _register_import(app: typer.Typer) -> None:
    data = group(app, "data", "Recordings and what is in the lake.")

    @data.command("import")
    def import_(
        files: Annotated[list[Path], typer.Argument(help="Files of ticks, or folders of them; may be gzipped.")],
        var: Annotated[
            str, typer.Option("--var", help="Variety, where the file does not say or holds others too.")
        ] = "",
        symbol: Annotated[
            str, typer.Option("--symbol", help="Contract, where the file does not say or holds others too.")
        ] = "",
        layout: Annotated[
            str, typer.Option("--format", help="Layout of the files, instead of the one their content shows.")
        ] = "",
        columns: Annotated[
            Path | None, typer.Option("--columns", help="TOML file that maps the columns of any other table.")
        ] = None,
        time_zone: Annotated[
            str, typer.Option("--time-zone", help="Zone of times that do not say theirs; Asia/Shanghai if they fit it.")
        ] = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Recordings people already have. Example: ghtrader data import IF2101_20210104.csv.gz --var IF"""
        from ghtrader_base.errors import BadRecordingError
        from ghtrader_market.reference.trading_calendar import bundled_calendar
        from ghtrader_market.sources.recordings.contract_rows import ReadOptions
        from ghtrader_market.sources.recordings.layouts.mapped_columns import load_column_map
        from ghtrader_market.sources.recordings.reader import require_options

        settings = settings_of(home)
        options = ReadOptions(
            calendar=bundled_calendar(),
            variety=var or None,
            symbol=symbol or None,
            time_zone=time_zone or None,
            columns=load_column_map(columns) if columns is not None else None,
        )
        require_options(options, layout or None)
        for path in files:
            if not path.exists():
                raise BadRecordingError(f"there is no file {path}", "check the path")

        from ghtrader_assets.runs.flows import import_recordings

        with progress_display() as progress:
            run = import_recordings(
                settings, files, variety=var, symbol=symbol, layout=layout, time_zone=time_zone, columns=columns,
                progress=progress,
            )  # fmt: skip
        emit_runs([run], json)


def register(app: typer.Typer) -> None:
    """Add the commands that bring ticks in."""
    _register_downloads(app)
    _register_import(app)
