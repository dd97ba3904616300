"""main_l5: the scheduled contract's raw ticks under the continuous name, with provenance on each row.

88-style splice: no price is adjusted. Ticks outside the sessions (opening auction, after the close) stay in the raw
ticks and are left out here. Which contract is main is `roll`'s answer, when it trades is `calendar`'s.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_market.calendar import TradingCalendar
from ghtrader_market.roll import RollSchedule, ScheduleDay
from ghtrader_market.stores.lake import DayManifest, Lake
from ghtrader_market.ticks import MAIN_L5_SCHEMA
from ghtrader_market.varieties import get_variety


def build_main_l5_day(
    lake: Lake,
    calendar: TradingCalendar,
    schedule: RollSchedule,
    day: date,
    run_id: str = "",
    overwrite: bool = False,
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

    Returns
    -------
    DayManifest
        `extra` has contract, segment_id, schedule_hash, raw_content_hash, raw_rows, dropped_outside_sessions.

    Raises
    ------
    UsageError
        `day` does not trade.
    FailedError
        The schedule does not have the day, the scheduled contract's ticks are not here, or none is in a session.
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
    there = lake.manifest("main_l5", key, day)
    if there is not None and not overwrite and _up_to_date(there, raw, scheduled):
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
    return lake.write_day(
        "main_l5",
        key,
        day,
        with_provenance(kept, scheduled),
        source=f"ticks of {scheduled.contract}",
        run_id=run_id,
        extra={
            "contract": scheduled.contract,
            "segment_id": scheduled.segment_id,
            "schedule_hash": scheduled.schedule_hash,
            "raw_content_hash": raw.content_hash,
            "raw_rows": ticks.num_rows,
            "dropped_outside_sessions": ticks.num_rows - kept.num_rows,
        },
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


def _up_to_date(there: DayManifest, raw: DayManifest, scheduled: ScheduleDay) -> bool:
    return (
        there.extra.get("raw_content_hash") == raw.content_hash
        and there.extra.get("schedule_hash") == scheduled.schedule_hash
    )
