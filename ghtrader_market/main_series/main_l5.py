"""Builds main_l5: the scheduled contract's raw ticks under the continuous name, with provenance on each row.

88-style splice: no price is adjusted. Ticks outside the sessions (opening auction, after the close) stay in the raw
ticks and are left out here; the snapshot that ends a session is none of them (`session_times`). Which contract is main
is `roll_schedule`'s answer, when it trades `trading_calendar`'s. A day follows from its ticks and its schedule day
alone, so days build in any order and by several threads; the schedule they follow is copied beside them.

Points where a test may kill a run: ``main_l5.read->write``, ``main_l5.day->day``, ``main_l5.days->schedule``, beside
the lake's own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError, UnwritableError
from ghtrader_base.failpoints import failpoint
from ghtrader_market.reference.roll_schedule import RollSchedule, ScheduleDay, write_schedule
from ghtrader_market.reference.session_times import SESSION_RULE
from ghtrader_market.reference.tick_schema import MAIN_L5_SCHEMA
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.day_details import MainDayDetails
from ghtrader_market.stores.lake.closing_rows import lacks_closing_rows
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import DayManifest
from ghtrader_market.stores.lake.unfinished_days import why_unfinished

_NAMED = 5
MAX_WORKERS = 4
"""Days at once unless told otherwise: a day holds about 80 MB while it is written."""


@dataclass
class MainReport:
    """What became of some days of a main series.

    Attributes
    ----------
    built : dict of date to DayManifest
        Days that are there now, as their manifests say.
    written : list of date
        Those of them that this run wrote; the others were there already.
    failed : dict of date to GhtraderError
    """

    built: dict[date, DayManifest] = field(default_factory=dict)
    written: list[date] = field(default_factory=list)
    failed: dict[date, GhtraderError] = field(default_factory=dict)

    def raise_if_failed(self) -> None:
        """The one day's error, or all of them named in one of the first day's kind; nothing where none failed."""
        if not self.failed:
            return
        first = self.failed[min(self.failed)]
        if len(self.failed) == 1:
            raise first
        named = "; ".join(f"{day}: {self.failed[day].message}" for day in sorted(self.failed)[:_NAMED])
        more = f"; and {len(self.failed) - _NAMED} more" if len(self.failed) > _NAMED else ""
        of = len(self.failed) + len(self.built)
        raise type(first)(f"{len(self.failed)} of {of} days failed: {named}{more}", first.hint)


def schedule_copy_path(lake: Lake, key: str) -> Path:
    """Where the schedule that a main series follows is kept beside its days."""
    return lake.key_path("main_l5", key) / "schedule.json"


def build_main_l5(
    lake: Lake,
    calendar: TradingCalendar,
    schedule: RollSchedule,
    days: Sequence[date],
    *,
    run_id: str = "",
    overwrite: bool = False,
    workers: int = 0,
    segment_workers: int = 0,
    allow_unfinished: bool = False,
    on_day: Callable[[date, DayManifest | GhtraderError, int], None] | None = None,
) -> MainReport:
    """Build some days; one that fails is reported and the others are built.

    Parameters
    ----------
    lake, calendar, schedule, run_id, overwrite, allow_unfinished
        As `build_main_l5_day`.
    days : sequence of date
        Trading days of the schedule.
    workers : int
        Days at once; 0 for one a core, at most `MAX_WORKERS`.
    segment_workers : int
        Of these, at most so many in one segment; 0 for no limit.
    on_day : callable, optional
        Called in this thread with a day, what became of it, and how many are done.
    """
    report = MainReport()
    before: dict[date, DayManifest | None] = {}
    limits: dict[int | None, threading.Semaphore] = {}
    for day in days:
        scheduled = schedule.get(day)
        segment = scheduled.segment_id if scheduled is not None else None
        limits.setdefault(segment, threading.Semaphore(segment_workers or len(days)))

    def build(day: date) -> DayManifest:
        scheduled = schedule.get(day)
        with limits[scheduled.segment_id if scheduled is not None else None]:
            before[day] = lake.manifest("main_l5", get_variety(schedule.variety).continuous_symbol, day)
            manifest = build_main_l5_day(lake, calendar, schedule, day, run_id, overwrite, allow_unfinished)
        failpoint("main_l5.day->day")
        return manifest

    pool = ThreadPoolExecutor(max_workers=workers or min(MAX_WORKERS, os.cpu_count() or 1))
    try:
        futures = {pool.submit(build, day): day for day in sorted(days)}
        for done, future in enumerate(as_completed(futures), 1):
            day = futures[future]
            outcome: DayManifest | GhtraderError
            try:
                outcome = report.built[day] = future.result()
            except GhtraderError as error:
                outcome = report.failed[day] = error
            if on_day is not None:
                on_day(day, outcome, done)
            if isinstance(outcome, UnwritableError):  # it would refuse the others as well
                raise outcome
    finally:
        # After Ctrl-C or a fault the days in hand are finished, the others are not begun.
        pool.shutdown(cancel_futures=True)
    report.written = sorted(day for day, manifest in report.built.items() if manifest != before[day])
    failpoint("main_l5.days->schedule")
    if report.built:
        copy = schedule_copy_path(lake, get_variety(schedule.variety).continuous_symbol)
        for left_behind in copy.parent.glob(f".{copy.name}.*.tmp"):  # by a run that was killed just here
            left_behind.unlink()
        write_schedule(copy, schedule)
    return report


def build_main_l5_day(
    lake: Lake,
    calendar: TradingCalendar,
    schedule: RollSchedule,
    day: date,
    run_id: str = "",
    overwrite: bool = False,
    allow_unfinished: bool = False,
) -> DayManifest:
    """Build one day; what is already built from the same ticks under the same schedule is left as it is.

    Parameters
    ----------
    lake : Lake
        Holds the raw ticks and takes the result, key `KQ.m@...`.
    calendar, schedule
        Sessions and main contract of the day.
    day : date
        A trading day of the schedule.
    run_id : str
        Kept in the manifest.
    overwrite : bool
        Write even where the day is up to date.
    allow_unfinished : bool
        Take the ticks of a day that was not recorded to its end as they are.

    Returns
    -------
    DayManifest
        With `MainDayDetails`.

    Raises
    ------
    UsageError
        `day` does not trade.
    FailedError
        The schedule does not have the day, the scheduled contract's ticks are not here, end before the day does
        (`unfinished_days`), or none is in a session.
    IntegrityError
        The raw ticks belong to another trading day.
    """
    calendar.require_trading_day(day)
    variety = get_variety(schedule.variety)
    key = variety.continuous_symbol
    scheduled = schedule.contract_on(day)
    raw = lake.manifest("ticks", scheduled.contract, day)
    if raw is None:
        raise FailedError(
            f"no raw ticks of {scheduled.contract} on {day}, the main contract of {variety.key}",
            f"first: ghtrader download --symbol {scheduled.contract} --start {day} --end {day}",
        )
    if not allow_unfinished and (why := why_unfinished(calendar, raw)):
        raise FailedError(
            f"{why}: no main series is made of a part of a day",
            f"once the day is over: ghtrader download --symbol {scheduled.contract} --start {day} --end {day}; "
            "to use it as it is: --allow-unfinished",
        )
    there = lake.manifest("main_l5", key, day)
    if there is not None and not overwrite and is_up_to_date(lake, calendar, there, raw, scheduled):
        return there
    ticks = lake.read_day("ticks", scheduled.contract, day)
    times = ticks.column("datetime_ns").to_numpy()
    stray = np.flatnonzero(calendar.trading_day_of(times) != np.datetime64(day, "D"))
    if stray.size:
        raise IntegrityError(
            f"{stray.size} raw ticks of {scheduled.contract} on {day} belong to another trading day",
            "delete that day and download or import it again",
        )
    inside = calendar.session_index(variety, day, times) >= 0
    kept = ticks if inside.all() else ticks.filter(pa.array(inside))
    if kept.num_rows == 0:
        raise FailedError(
            f"{scheduled.contract} has {ticks.num_rows} ticks on {day}, none of them inside a session of {variety.key}",
            "the recording does not hold the trading hours of that day",
        )
    failpoint("main_l5.read->write")
    return lake.write_day(
        "main_l5",
        key,
        day,
        with_provenance(kept, scheduled),
        source=f"ticks of {scheduled.contract}",
        run_id=run_id,
        details=MainDayDetails(
            contract=scheduled.contract,
            segment_id=scheduled.segment_id,
            schedule_hash=scheduled.schedule_hash,
            raw_content_hash=raw.content_hash,
            raw_rows=ticks.num_rows,
            dropped_outside_sessions=ticks.num_rows - kept.num_rows,
            session_rule=SESSION_RULE,
            origin=raw.details.origin,
        ),
    )


def with_provenance(ticks: pa.Table, scheduled: ScheduleDay) -> pa.Table:
    """Raw ticks of the scheduled contract -> rows of `MAIN_L5_SCHEMA`, in the same order."""
    rows = ticks.num_rows
    columns = [
        *ticks.columns,
        pa.repeat(pa.scalar(scheduled.contract, pa.string()), rows),
        pa.repeat(pa.scalar(scheduled.segment_id, pa.int32()), rows),
        pa.repeat(pa.scalar(scheduled.schedule_hash, pa.string()), rows),
    ]
    return pa.table(columns, schema=MAIN_L5_SCHEMA)


def is_up_to_date(
    lake: Lake, calendar: TradingCalendar, there: DayManifest, raw: DayManifest, scheduled: ScheduleDay
) -> bool:
    """Whether a stored day was built from these ticks, by today's sessions, under this day of the schedule."""
    known = there.main_l5
    same_ticks = known.raw_content_hash == raw.content_hash and known.origin == raw.details.origin
    same = same_ticks and known.schedule_hash == scheduled.schedule_hash
    return same and not lacks_closing_rows(lake, calendar, there)
