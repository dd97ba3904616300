"""Audits rows of ticks by themselves, and main_l5 against the schedule and the raw ticks it was made from."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import GhtraderError
from ghtrader_market.audit.files import AuditedDay
from ghtrader_market.reference.roll_schedule import RollSchedule
from ghtrader_market.reference.session_times import closing_ns_of
from ghtrader_market.reference.tick_schema import PROVENANCE_COLUMNS, RAW_TICK_SCHEMA
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import Variety

_PROVENANCE_KINDS = dict(
    zip(PROVENANCE_COLUMNS, ("wrong_contract", "wrong_segment_id", "stale_schedule_hash"), strict=True)
)


def column_of(table: pa.Table, name: str) -> np.ndarray:
    """A column as one array, without a copy where it has no null."""
    values: np.ndarray = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return values


def trades(calendar: TradingCalendar, day: date) -> bool:
    """Whether a stored day is a trading day by the holiday list there is now."""
    return calendar.speaks_for(day) and calendar.is_trading_day(day)


def audit_rows(audited: AuditedDay, calendar: TradingCalendar, variety: Variety) -> None:
    """Order, trading day, negative values, falling totals and crossed books of one day of ticks or main_l5."""
    table = audited.table
    if table is None or not table.num_rows or "datetime_ns" not in table.column_names:
        return
    names = set(table.column_names)
    times = column_of(table, "datetime_ns")
    if times.dtype != np.int64:
        return
    for name, least in (("datetime_ns", 0), ("id", 1)):
        if name in names and (wrong := np.flatnonzero(np.diff(column_of(table, name)) < least)).size:
            what = "falls" if name == "datetime_ns" else "does not rise"
            audited.found("disordered_rows", f"{name} {what} at {wrong.size} rows", int(wrong[0]) + 1)
            break
    if trades(calendar, audited.day):
        start, end = calendar.bounds(audited.day)
        if (stray := np.flatnonzero((times < start) | (times >= end))).size:
            audited.found("wrong_day", f"{stray.size} rows", int(stray[0]))
    for field in RAW_TICK_SCHEMA:
        if field.name in names and field.name != "id":
            values = column_of(table, field.name)
            if values.dtype.kind in "if" and values.min() < 0 or np.nanmin(values, initial=0.0) < 0:
                wrong = np.flatnonzero(values < 0)
                audited.found("negative_value", f"{field.name} at {wrong.size} rows", int(wrong[0]))
    for name in ("volume", "amount"):
        if name in names and (falls := np.flatnonzero(np.diff(column_of(table, name)) < 0)).size:
            audited.found("volume_backwards", f"{name} at {falls.size} rows", int(falls[0]) + 1)
    if {"bid_price1", "ask_price1"} <= names:
        crossed = np.flatnonzero(column_of(table, "bid_price1") > column_of(table, "ask_price1"))
        # Snapshots of an auction may show a crossed book; raw ticks are kept raw.
        if crossed.size and trades(calendar, audited.day):
            crossed = crossed[calendar.session_index(variety, audited.day, times[crossed]) >= 0]
        if crossed.size:
            audited.found("crossed_book", f"{crossed.size} rows", int(crossed[0]))


def audit_provenance(audited: AuditedDay, schedule: RollSchedule | GhtraderError | None) -> None:
    """main_l5: every row names contract, segment and schedule hash, and they are the schedule's of that day."""
    table = audited.table
    if table is None:
        return
    whole = True
    for name in PROVENANCE_COLUMNS:
        if name not in table.column_names:
            audited.found("provenance_missing", f"there is no column {name}")
            whole = False
            continue
        column = table.column(name)
        empty = np.flatnonzero([value in (None, "") for value in column.unique().to_pylist()])
        if empty.size:
            absent = [value in (None, "") for value in column.to_pylist()]
            audited.found("provenance_missing", f"{name} is empty in {sum(absent)} rows", absent.index(True))
            whole = False
    if isinstance(schedule, GhtraderError):
        audited.found("schedule_broken", schedule.message.replace(f"{audited.root}/", ""))
        return
    scheduled = schedule.get(audited.day) if schedule is not None else None
    if scheduled is None:
        audited.found("not_scheduled", "the schedule does not have this day")
        return
    if not whole:
        return
    expected = (scheduled.contract, scheduled.segment_id, scheduled.schedule_hash)
    for name, value in zip(PROVENANCE_COLUMNS, expected, strict=True):
        others = [found for found in table.column(name).unique().to_pylist() if found != value]
        if others:
            values = table.column(name).to_pylist()
            row = next(i for i, found in enumerate(values) if found != value)
            audited.found(_PROVENANCE_KINDS[name], f"{name} is {others[0]}, the schedule says {value}", row)


def audit_against_raw(
    audited: AuditedDay, raw: AuditedDay | None, contract: str, calendar: TradingCalendar, variety: Variety
) -> None:
    """main_l5: exactly the contract's raw rows inside the sessions, in their order, value by value."""
    if raw is None or raw.manifest is None:
        audited.found("source_missing", f"no raw ticks of {contract}")
        return
    assert audited.manifest is not None
    built_from = audited.manifest.main_l5.raw_content_hash
    if built_from != raw.manifest.content_hash:
        audited.found(
            "outdated", f"it was made from {str(built_from)[:12]}, the raw ticks are {raw.manifest.content_hash[:12]}"
        )
    audit_origin(audited, raw)
    if audited.table is None or raw.table is None or not raw.table.schema.equals(RAW_TICK_SCHEMA):
        return
    rule = audited.manifest.main_l5.session_rule
    expected = inside_sessions(raw.table, calendar, variety, audited.day, rule)
    if expected.num_rows != audited.table.num_rows:
        audited.found("differs_from_raw", f"{audited.table.num_rows} rows, the raw ticks have {expected.num_rows}")
        return
    wrong = [name for name in RAW_TICK_SCHEMA.names if name in audited.table.column_names]
    rows = {name: first_difference(audited.table, expected, name) for name in wrong}
    differing = {name: row for name, row in rows.items() if row is not None}
    if differing:
        row = min(differing.values())
        names = ", ".join(sorted(differing, key=lambda name: (differing[name], name))[:5])
        audited.found("differs_from_raw", f"{names} of {contract}", row)


def audit_origin(audited: AuditedDay, source: AuditedDay) -> None:
    """A day and the one it was made from name one origin, where both name one."""
    assert audited.manifest is not None and source.manifest is not None
    said, there = audited.manifest.details.origin, source.manifest.details.origin
    if said is not None and there is not None and said != there:
        audited.found("wrong_origin", f"it says {said.words}, the ticks say {there.words}")


def inside_sessions(
    table: pa.Table, calendar: TradingCalendar, variety: Variety, day: date, rule: int | None
) -> pa.Table:
    """The rows of a day of raw ticks that lay in a session by the rule a stored day was built with."""
    inside = calendar.session_index(variety, day, column_of(table, "datetime_ns"), closing_ns_of(rule)) >= 0
    return table if inside.all() else table.filter(pa.array(inside))


def first_difference(left: pa.Table, right: pa.Table, name: str) -> int | None:
    """First row whose values of a column differ, NaN being equal to NaN; None where there is none."""
    a, b = column_of(left, name), column_of(right, name)
    if a.dtype == b.dtype and a.dtype != object:
        if a.view(f"i{a.itemsize}").tobytes() == b.view(f"i{b.itemsize}").tobytes():
            return None
        different = a != b
        if a.dtype.kind == "f":
            different &= ~(np.isnan(a) & np.isnan(b))
    else:
        different = np.array([x != y for x, y in zip(a.tolist(), b.tolist(), strict=True)], bool)
    found = np.flatnonzero(different)
    return int(found[0]) if found.size else None
