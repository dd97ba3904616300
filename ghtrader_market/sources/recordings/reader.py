"""Reads one recording: finds its layout and gives its contract-days as raw tick tables.

Every fault names the file, the place in it, the column and what to do. Nothing is written here, no row is dropped and
no time guessed: `ghtrader_market.ingest` judges rows and writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.sources.recordings.contract_rows import ReadOptions, RecordedDay, check_day, recorded_days
from ghtrader_market.sources.recordings.layouts.mapped_columns import LAYOUT as MAPPED
from ghtrader_market.sources.recordings.layouts.registry import layout_named, layout_of
from ghtrader_market.sources.recordings.recording_file import RecordingFile
from ghtrader_market.sources.recordings.wall_clock import require_zone

Recorded = tuple[str, date, pa.Table]


def require_options(options: ReadOptions, layout: str | None = None) -> None:
    """UsageError where what the user says makes no sense by itself: an unknown variety, symbol, zone or layout."""
    if options.variety is not None:
        get_variety(options.variety)
    if options.symbol is not None and parse_symbol(options.symbol).continuous:
        raise UsageError(
            f"{options.symbol} is a continuous series", "a recording holds contracts: --symbol SHFE.cu2502"
        )
    if options.time_zone is not None:
        require_zone(options.time_zone)
    if layout is not None:
        layout_named(layout)


def read_days(file: RecordingFile, options: ReadOptions, layout: str | None = None) -> Iterator[RecordedDay]:
    """A file's contract-days, their rows as the file has them: not yet judged, sorted or checked.

    Parameters
    ----------
    file : RecordingFile
    options : ReadOptions
    layout : str, optional
        Force one; by content otherwise, or by the column map where `options` has one.

    Raises
    ------
    BadRecordingError
        Missing, garbled, or of no layout known.
    """
    if layout is None and options.columns is not None:
        layout = MAPPED.name
    chosen = layout_named(layout) if layout is not None else layout_of(file)
    try:
        for found in chosen.read(file, options):
            yield from (replace(day, layout=chosen.name) for day in recorded_days(file, found, options))
    except UsageError as exc:
        if file.name in exc.message or options.columns is None and chosen is MAPPED:
            raise
        raise BadRecordingError(f"{file.name}: {exc.message}", exc.hint or "correct the file") from exc


def read_recording(
    path: Path | str,
    variety: str | None = None,
    symbol: str | None = None,
    calendar: TradingCalendar | None = None,
) -> list[Recorded]:
    """Read one file, all of whose rows must be valid as they stand.

    Parameters
    ----------
    path : Path or str
        Of any layout in `layouts.registry`; told apart by content.
    variety : str, optional
        Key of the variety the file must hold; also completes a file name such as ``IF2101_20210104.csv``.
    symbol : str, optional
        The contract, where neither columns nor file name say it.
    calendar : TradingCalendar, optional
        Default: the bundled one.

    Returns
    -------
    list of (symbol, trading day, table)
        Tables of `RAW_TICK_SCHEMA`, validated, ordered by symbol and day.

    Raises
    ------
    BadRecordingError
        Missing, garbled, or not what it claims to be.
    UsageError
        `variety` or `symbol` is unknown.
    """
    return _checked(RecordingFile(str(path), path=Path(path)), variety, symbol, calendar)


def parse_recording(
    data: bytes,
    name: str,
    variety: str | None = None,
    symbol: str | None = None,
    calendar: TradingCalendar | None = None,
) -> list[Recorded]:
    """As `read_recording`, from bytes; `name` is what errors call them."""
    return _checked(RecordingFile(name, data), variety, symbol, calendar)


def _checked(
    file: RecordingFile, variety: str | None, symbol: str | None, calendar: TradingCalendar | None
) -> list[Recorded]:
    options = ReadOptions(calendar=calendar or bundled_calendar(), variety=variety, symbol=symbol)
    require_options(options)
    parts = [check_day(part, options) for part in read_days(file, options)]
    return sorted(((part.contract, part.day, part.table) for part in parts), key=lambda item: item[:2])
