"""Reads CSV or Parquet in the fields of vnpy's `TickData`.

``symbol, exchange`` (or ``vt_symbol``), ``datetime`` with or without a zone, ``volume`` and ``turnover`` of the day so
far, ``last_price, high_price, low_price, bid_price_1, bid_volume_1 ...``. vnpy has no average price.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions
from ghtrader_market.sources.recordings.layouts.layout import Layout, has_columns
from ghtrader_market.sources.recordings.recording_file import RecordingFile
from ghtrader_market.sources.recordings.table_values import groups, level_columns, tick_values, timed_rows
from ghtrader_market.sources.recordings.wall_clock import read_moments

VALUES = {
    "last_price": "last_price",
    "highest": "high_price",
    "lowest": "low_price",
    "volume": "volume",
    "amount": "turnover",
    "open_interest": "open_interest",
    **level_columns("{side}_price_{level}", "{side}_volume_{level}"),
}


def _recognises(file: RecordingFile) -> bool:
    return has_columns(file, "datetime", "last_price", "bid_price_1", "ask_price_1")


def read_vnpy_columns(file: RecordingFile, options: ReadOptions) -> Iterator[ContractRows]:
    """The rows of a table in vnpy's columns."""
    code = "symbol" if "symbol" in file.columns.names else "vt_symbol"
    file.columns.require(("datetime", "last_price", "bid_price_1", "ask_price_1"), "give the fields of vnpy's TickData")
    moments = read_moments(file.columns, "datetime")
    yield from timed_rows(file, options, moments, tick_values(file, VALUES), groups(file, options, code, "exchange"))


LAYOUT = Layout(
    name="vnpy-csv",
    about="vnpy's tick fields: symbol, exchange, datetime, last_price, turnover, bid_price_1 ...",
    recognises=_recognises,
    read=read_vnpy_columns,
)
