"""Computes the roll schedule: daily bars -> the main contract of each trading day, its segment, and a hash.

At the end of day T another contract of the variety with more than 1.1 times the main contract's open interest is
main from T+1; on the first day the largest open interest on T decides T+1, so n scheduled days need n+1 days of bars.
A trading day without bars is a hole: neither it nor the day after has a main contract, the rule goes on behind it with
the main contract it had, in a new segment. A segment is a run of trading days with one main contract. `schedule_hash`
of a day covers the schedule up to and including it: a longer schedule changes no earlier row. A checksum of the whole
file covers what those hashes do not, `next_contract` among it; files of older versions have none. What a segment means
for ticks is decided in `main_l5`, whether the vendor agrees is checked in `roll_cross_check`, whether the stored bars
say the same of `next_contract` in `next_contract`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pyarrow as pa

from ghtrader_base.errors import BeyondCalendarError, FailedError, IntegrityError, UsageError
from ghtrader_base.files import atomic_write_json, checksum_holds, content_hash, read_json, with_checksum
from ghtrader_market.reference.symbols import Delivery, parse_symbol
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import Variety, get_variety

ROLL_RATIO = 1.1
_RULE = f"open interest > {ROLL_RATIO} x the main contract's at the end of the day before"
_HASH_LENGTH = 16


@dataclass(frozen=True)
class ScheduleDay:
    """One trading day of a schedule.

    Attributes
    ----------
    day : date
    contract : str
        The main contract: ``SHFE.cu2502``.
    segment_id : int
        Counts up from 0 at each change of the main contract.
    schedule_hash : str
        Hash of the schedule up to and including this day.
    declared : bool
        Whether a recording of one contract declared it, rather than open interest.
    """

    day: date
    contract: str
    segment_id: int
    schedule_hash: str
    declared: bool = False


@dataclass(frozen=True)
class RollSchedule:
    """Main contract by trading day, ascending; `next_contract` is main on the day after the last bars.

    `has_checksum` is False for one read from a file of an older version, which nothing but the hashes of its days
    vouches for.
    """

    variety: str
    days: tuple[ScheduleDay, ...]
    next_contract: str | None = None
    has_checksum: bool = field(default=True, compare=False)

    def contract_on(self, day: date) -> ScheduleDay:
        """The schedule's day; FailedError where it does not reach it."""
        found = self.get(day)
        if found is None:
            reach = f"it has {self.days[0].day} to {self.days[-1].day}" if self.days else "it has no day yet"
            raise FailedError(
                f"the roll schedule of {self.variety} does not have {day}: {reach}",
                "a day needs the daily bars of itself and of the trading day before: download them, then "
                f"ghtrader main-schedule --var {self.variety}",
            )
        return found

    def get(self, day: date) -> ScheduleDay | None:
        """The schedule's day, or None."""
        low, high = 0, len(self.days)
        while low < high:
            middle = (low + high) // 2
            if self.days[middle].day < day:
                low = middle + 1
            else:
                high = middle
        return self.days[low] if low < len(self.days) and self.days[low].day == day else None


def main_after(open_interest: Mapping[str, float], main: str | None, last_delivery: tuple[int, int]) -> str | None:
    """The rule, for one day.

    Parameters
    ----------
    open_interest : mapping of contract to lots
        At the end of day T; NaN where it is not known of a contract that traded.
    main : str or None
        The main contract on T; None on the first day.
    last_delivery : (year, month)
        A contract delivered before this month has expired and cannot be chosen.

    Returns
    -------
    str or None
        The main contract on T+1. Equal open interest: the earlier delivery. None where nothing is held anywhere, as far
        as is known. A main contract whose open interest is not known stays: what is missing decides no roll.
    """
    alive = {c: oi for c, oi in open_interest.items() if oi > 0 and _delivery(c, last_delivery) >= last_delivery}
    if main is not None and _delivery(main, last_delivery) >= last_delivery:
        # A main contract without a bar has stopped trading: anything with open interest takes over.
        floor = ROLL_RATIO * open_interest.get(main, 0.0)
        alive = {c: oi for c, oi in alive.items() if c != main and oi > floor}  # none is above a NaN
        if not alive:
            return main
    if not alive:
        return None
    return min(alive, key=lambda c: (-alive[c], _delivery(c, last_delivery), c))


def schedule_from_open_interest(
    variety: str | Variety,
    bars: pa.Table,
    declared: Mapping[date, str] | None = None,
    calendar: TradingCalendar | None = None,
) -> RollSchedule:
    """Build a schedule.

    Parameters
    ----------
    variety : str or Variety
    bars : pa.Table
        At least `symbol` (string), `trading_day` (date32), `open_interest`; any order. Rows of other products,
        continuous symbols are passed over; a row without open interest rolls nothing, neither to nor from its contract.
    declared : mapping of date to contract, optional
        Days of which only one contract was recorded: that contract is the day's, in a segment apart from those the
        rule makes. The rule itself goes on beneath, as if the day had not been declared.
    calendar : TradingCalendar, optional
        Which day follows which; the bundled one by default.

    Returns
    -------
    RollSchedule
        One day for each day of bars whose trading day before has bars too, and for each declared day.
    """
    traded = get_variety(variety) if isinstance(variety, str) else variety
    calendar = calendar or bundled_calendar()
    interest = open_interest_by_day(traded, bars)
    ruled: dict[date, str] = {}
    main: str | None = None
    bar_days = sorted(interest)
    for today, tomorrow in zip(bar_days, bar_days[1:], strict=False):
        main = main_after(interest[today], main, (tomorrow.year, tomorrow.month))
        if main is not None and calendar.next_day(today) == tomorrow:
            ruled[tomorrow] = main
    next_contract = None
    if bar_days:
        next_contract = main_after(interest[bar_days[-1]], main, month_after(bar_days[-1], calendar))
    contracts = {day: (contract, False) for day, contract in ruled.items()}
    contracts |= {day: (contract, True) for day, contract in (declared or {}).items()}
    return RollSchedule(traded.key, _with_segments(traded.key, sorted(contracts.items()), calendar), next_contract)


def month_after(day: date, calendar: TradingCalendar) -> tuple[int, int]:
    """Year and month of the trading day after `day`; of the calendar day after it where the holiday list ends.

    Only contracts that deliver before that month are left out by it, and those trade no more either way.
    """
    try:
        tomorrow = calendar.next_day(day)
    except BeyondCalendarError:
        tomorrow = day + timedelta(days=1)
    return tomorrow.year, tomorrow.month


def missing_bar_days(
    variety: str | Variety, bars: pa.Table, calendar: TradingCalendar, declared: Iterable[date] = ()
) -> list[date]:
    """Trading days between the first and the last day of bars that have none, ascending: holes of the schedule.

    Days next to a recording that was imported for itself are none: `declared` days stand alone.
    """
    traded = get_variety(variety) if isinstance(variety, str) else variety
    known = sorted(set(open_interest_by_day(traded, bars)) - set(declared))
    have = set(known) | set(declared)
    return [day for day in calendar.days(known[0], known[-1]) if day not in have] if known else []


def open_interest_by_day(variety: Variety, bars: pa.Table) -> dict[date, dict[str, float]]:
    """Day -> contract of the variety -> lots at its end; NaN where a bar does not tell."""
    ours = {
        text
        for text in set(bars.column("symbol").to_pylist())
        if not (symbol := parse_symbol(text)).continuous
        and (symbol.exchange, symbol.product) == (variety.exchange, variety.product)
    }
    found: dict[date, dict[str, float]] = {}
    columns = (bars.column(name).to_pylist() for name in ("symbol", "trading_day", "open_interest"))
    for symbol, day, lots in zip(*columns, strict=True):
        if symbol not in ours:
            continue
        row = found.setdefault(day, {})
        # Of two bars of one day the larger counts, whatever their order, and one that tells before one that does not.
        if lots is None or lots != lots:
            row.setdefault(symbol, math.nan)
        elif not row.get(symbol, math.nan) > lots:
            row[symbol] = float(lots)
    return found


def _with_segments(
    variety: str, days: Iterable[tuple[date, tuple[str, bool]]], calendar: TradingCalendar
) -> tuple[ScheduleDay, ...]:
    numbered: list[tuple[date, str, int, bool]] = []
    for day, (contract, declared) in days:
        segment = 0
        if numbered:
            last_day, last_contract, last_segment, last_declared = numbered[-1]
            goes_on = (last_contract, last_declared) == (contract, declared) and calendar.next_day(last_day) == day
            segment = last_segment if goes_on else last_segment + 1
        numbered.append((day, contract, segment, declared))
    return _hashed(variety, numbered)


def _hashed(variety: str, days: Iterable[tuple[date, str, int, bool]]) -> tuple[ScheduleDay, ...]:
    running = content_hash({"variety": variety, "rule": _RULE})[:_HASH_LENGTH]
    found: list[ScheduleDay] = []
    for day, contract, segment, declared in days:
        running = content_hash([running, day.isoformat(), contract, segment])[:_HASH_LENGTH]
        found.append(ScheduleDay(day, contract, segment, running, declared))
    return tuple(found)


def _holds_together(variety: str, days: tuple[ScheduleDay, ...]) -> bool:
    """Whether hashes, order and segments can be those of a schedule: a change of contract is a new segment."""
    if _hashed(variety, [(d.day, d.contract, d.segment_id, d.declared) for d in days]) != days:
        return False
    steps = [
        (after.segment_id - before.segment_id, (before.contract, before.declared) != (after.contract, after.declared))
        for before, after in zip(days, days[1:], strict=False)
    ]
    ascending = all(before.day < after.day for before, after in zip(days, days[1:], strict=False))
    starts_at_zero = not days or days[0].segment_id == 0
    return ascending and starts_at_zero and all(step == 1 or (step == 0 and not changed) for step, changed in steps)


def _delivery(contract: str, near: tuple[int, int]) -> Delivery:
    """Delivery of a contract that trades in the month `near`."""
    return parse_symbol(contract).delivered(date(*near, 1))


def schedule_path(data_dir: Path, variety: str) -> Path:
    """Where a home keeps the schedule of a variety."""
    return Path(data_dir) / "schedules" / f"{variety}.json"


def save_schedule(data_dir: Path, schedule: RollSchedule) -> Path:
    """Keep a schedule under the lake's folder, in one step."""
    return write_schedule(schedule_path(data_dir, schedule.variety), schedule)


def write_schedule(path: Path, schedule: RollSchedule) -> Path:
    """Keep a schedule in a file of its own, in one step."""
    days = [
        {
            "day": day.day.isoformat(),
            "contract": day.contract,
            "segment_id": day.segment_id,
            "schedule_hash": day.schedule_hash,
            "declared": day.declared,
        }
        for day in schedule.days
    ]
    document = {"variety": schedule.variety, "rule": _RULE, "next_contract": schedule.next_contract, "days": days}
    atomic_write_json(path, with_checksum(document))
    return path


def load_schedule(data_dir: Path, variety: str) -> RollSchedule:
    """The schedule a home keeps.

    Raises
    ------
    FailedError
        There is none yet.
    IntegrityError
        The file is garbled, or its hashes are not those of its days.
    """
    path = schedule_path(data_dir, get_variety(variety).key)
    if not path.exists():
        raise FailedError(f"no roll schedule of {variety} yet", f"first: ghtrader main-schedule --var {variety}")
    return read_schedule(path, variety)


def read_schedule(path: Path, variety: str) -> RollSchedule:
    """The schedule of a variety in a file; errors as `load_schedule`, but for a file that is not there."""
    try:
        document = read_json(path)
        whole = checksum_holds(document)
        days = msgspec.convert(document["days"], tuple[ScheduleDay, ...])
        following = msgspec.convert(document["next_contract"], str | None)
        schedule = RollSchedule(document["variety"], days, following, has_checksum=whole is not None)
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise IntegrityError(f"{path} is no roll schedule: {error}", _REBUILD.format(variety)) from error
    if not _holds_together(schedule.variety, days) or schedule.variety != variety:
        raise IntegrityError(f"the hashes in {path} are not those of its days", _REBUILD.format(variety))
    if whole is False:
        raise IntegrityError(f"{path} was edited: its checksum is of other content", _REBUILD.format(variety))
    if not _can_follow(schedule):
        raise IntegrityError(
            f"{following!r} in {path} is no contract of {variety} that can trade next", _REBUILD.format(variety)
        )
    return schedule


def _can_follow(schedule: RollSchedule) -> bool:
    """Whether the next contract is one of the variety that had not expired on the last day."""
    if schedule.next_contract is None or not schedule.days:
        return True
    traded, last = get_variety(schedule.variety), schedule.days[-1].day
    try:
        symbol = parse_symbol(schedule.next_contract)
        alive = not symbol.continuous and symbol.delivered(last) >= (last.year, last.month)
    except UsageError:
        return False
    return alive and (symbol.exchange, symbol.product) == (traded.exchange, traded.product)


_REBUILD = "make it again: ghtrader main-schedule --var {}"
