"""Reads ticks in TqSdk's own columns, as `get_tick_serial` and this project's lake have them.

``datetime`` (UTC epoch ns, or a timestamp), optional ``id`` and ``symbol``, and the tick columns; levels 2 to 5 all or
none.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions
from ghtrader_market.sources.recordings.layouts.layout import Layout, has_columns
from ghtrader_market.sources.recordings.recording_file import RecordingFile
from ghtrader_market.sources.recordings.table_values import groups, tick_values, timed_rows
from ghtrader_market.sources.recordings.wall_clock import read_moments

FIRST_LEVEL = VALUE_COLUMNS[:11]
DEPTH = VALUE_COLUMNS[11:]
EXPECTED = (
    "give TqSdk's columns: datetime, last_price, average, highest, lowest, volume, amount, open_interest, "
    "bid_price1, bid_volume1, ask_price1, ask_volume1 ...; the packaged samples show them"
)
_TIMES = ("datetime", "datetime_nano", "datetime_ns")


def _recognises(file: RecordingFile) -> bool:
    return any(has_columns(file, time, "last_price", "bid_price1") for time in _TIMES)


def read_tqsdk_columns(file: RecordingFile, options: ReadOptions, said: str | None = None) -> Iterator[ContractRows]:
    """The rows of a table in TqSdk's columns; `said` is the contract where the columns' names say it."""
    names = file.columns.names
    time = next((each for each in reversed(_TIMES) if each in names), _TIMES[0])
    file.columns.require((time, *FIRST_LEVEL), EXPECTED)
    if (depth := [name for name in DEPTH if name in names]) and len(depth) != len(DEPTH):
        absent = ", ".join(name for name in DEPTH if name not in names)
        raise BadRecordingError(f"{file.name} has some depth columns but not {absent}", EXPECTED)
    moments = read_moments(file.columns, time)
    values = tick_values(file, {name: name for name in VALUE_COLUMNS}, whole=("volume", "open_interest"))
    ids = file.columns.integers("id") if "id" in names else None
    yield from timed_rows(file, options, moments, values, groups(file, options, "symbol", said=said), ids)


LAYOUT = Layout(
    name="tqsdk",
    about="TqSdk's tick columns: datetime (UTC epoch ns), last_price, volume, amount, bid_price1 ...",
    recognises=_recognises,
    read=read_tqsdk_columns,
)
