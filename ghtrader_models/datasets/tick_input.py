"""Reads the ticks a day is built from: a main_l5 day, or a contract's own raw ticks, in one form.

A day that is not whole is refused.

What belongs here: finding, reading and refusing. A single contract's day gets the provenance of a schedule that names
this contract on every day: segment 0, and a schedule hash made from its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import FailedError, IntegrityError, UsageError
from ghtrader_base.files import content_hash, verify_sidecar
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import ScheduleDay
from ghtrader_market.reference.session_times import SESSION_RULE, closing_ns_of
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_schema import PROVENANCE_COLUMNS
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import DayManifest

MAIN_L5, TICKS = "main_l5", "ticks"
TICKS_KINDS = {"main_l5": MAIN_L5, "main": MAIN_L5, "raw": TICKS}
"""What a user calls a kind of ticks -> the lake's dataset."""
_HASH_LENGTH = 16


class ProvenanceError(IntegrityError):
    """A day does not say, on every row, which contract, segment and schedule it belongs to."""


@dataclass(frozen=True)
class SourceDay:
    """One day of ticks with provenance on each row, checked.

    Attributes
    ----------
    table : pa.Table
        Columns of `MAIN_L5_SCHEMA`.
    contract : str
        The one contract of the day.
    segment_id : int
    schedule_hash : str
    """

    table: pa.Table
    contract: str
    segment_id: int
    schedule_hash: str


def source_kind(symbol: str, ticks_kind: str = "") -> str:
    """The dataset that a symbol's features are built from.

    Parameters
    ----------
    symbol : str
        ``KQ.m@SHFE.cu``, or one contract.
    ticks_kind : str
        "main_l5" or "main", "raw", or empty for what the symbol implies.

    Raises
    ------
    UsageError
        No such kind, or one that does not go with the symbol.
    """
    continuous = parse_symbol(symbol).continuous
    if ticks_kind and ticks_kind not in TICKS_KINDS:
        raise UsageError(f"no ticks kind {ticks_kind!r}", f"there are: {', '.join(TICKS_KINDS)}")
    found = TICKS_KINDS.get(ticks_kind, MAIN_L5 if continuous else TICKS)
    if (found == MAIN_L5) != continuous:
        wanted = MAIN_L5 if continuous else "raw"
        raise UsageError(f"{symbol} has no {ticks_kind} ticks", f"pass --ticks-kind {wanted}, or another symbol")
    return found


def require_source(lake: Lake, kind: str, symbol: str, day: date) -> DayManifest:
    """Manifest of the day's ticks; `FailedError` with the command that brings them where they are not here."""
    found = lake.manifest(kind, symbol, day)
    if found is None:
        first = (
            f"build it first: ghtrader main-l5 --var {variety_of(symbol).key}"
            if kind == MAIN_L5
            else f"first: ghtrader download --symbol {symbol} --start {day} --end {day}"
        )
        raise FailedError(f"no {kind} of {symbol} on {day} in the lake", first)
    return found


def source_bytes_are_whole(lake: Lake, kind: str, symbol: str, day: date) -> bool:
    """Whether the day's file is still the one its manifest vouches for."""
    manifest = require_source(lake, kind, symbol, day)
    folder = lake.day_path(kind, symbol, day)
    try:
        return all(verify_sidecar(folder / name) == digest for name, digest in manifest.files.items())
    except (IntegrityError, OSError):
        return False


def read_source(
    lake: Lake, kind: str, symbol: str, day: date, calendar: TradingCalendar, rule: int | None = SESSION_RULE
) -> SourceDay:
    """Read a day and refuse what is not whole.

    Parameters
    ----------
    rule : int, optional
        Which raw ticks count as inside the sessions (`session_times`); another than today's only to compute a stored
        day again as it was.

    Raises
    ------
    ProvenanceError
        A provenance column is missing, not filled on every row, or holds more than one value; names day and column.
    IntegrityError
        The day has no row in a session, or its file is not what its manifest says.
    """
    table = lake.read_day(kind, symbol, day)
    if kind == TICKS:
        table = _in_sessions(table, symbol, day, calendar, rule)
    source = _checked(table, kind, symbol, day)
    if not source_bytes_are_whole(lake, kind, symbol, day):
        raise IntegrityError(
            f"{kind} of {symbol} on {day} is not what its manifest says", "`ghtrader audit` tells more; rebuild the day"
        )
    return source


def contract_schedule_hash(symbol: str) -> str:
    """Schedule hash of a series that is one contract on every day."""
    return content_hash({"contract": symbol})[:_HASH_LENGTH]


def _in_sessions(table: pa.Table, symbol: str, day: date, calendar: TradingCalendar, rule: int | None) -> pa.Table:
    """Raw ticks inside the sessions, with provenance; an auction's tick is kept raw and is no example."""
    times = table.column("datetime_ns").combine_chunks().to_numpy(zero_copy_only=False)
    inside = calendar.session_index(variety_of(symbol), day, times, closing_ns_of(rule)) >= 0
    kept = table if inside.all() else table.filter(pa.array(inside))
    return with_provenance(kept, ScheduleDay(day, symbol, 0, contract_schedule_hash(symbol)))


def _checked(table: pa.Table, kind: str, symbol: str, day: date) -> SourceDay:
    where = f"{kind} of {symbol} on {day}"
    hint = "rebuild the day: ghtrader main-l5 with --overwrite"
    if table.num_rows == 0:
        raise IntegrityError(f"{where} has no rows", hint)
    return SourceDay(table, *read_provenance(table, where, hint))


def read_provenance(table: pa.Table, where: str, hint: str) -> tuple[str, int, str]:
    """Contract, segment and schedule hash that every row of a day names.

    Parameters
    ----------
    table : pa.Table
        Of one day, with rows.
    where, hint : str
        What the day is called in an error, and what to do about it.

    Raises
    ------
    ProvenanceError
        A provenance column is missing, not filled on every row, or holds more than one value; names day and column.
    """
    values = []
    for name in PROVENANCE_COLUMNS:
        if name not in table.column_names:
            raise ProvenanceError(f"{where} has no column {name}", hint)
        found = table.column(name).unique().to_pylist()
        if any(value is None or value == "" or value != value or value == -1 for value in found):
            raise ProvenanceError(f"{where} has rows without {name}", hint)
        if len(found) != 1:
            raise ProvenanceError(f"{where} mixes {len(found)} values of {name}", hint)
        values.append(found[0])
    contract, segment_id, schedule_hash = values
    return str(contract), int(segment_id), str(schedule_hash)


def times_of(table: pa.Table) -> np.ndarray:
    """int64[n] of a table's `datetime_ns`."""
    times: np.ndarray = table.column("datetime_ns").combine_chunks().to_numpy(zero_copy_only=False)
    return times
