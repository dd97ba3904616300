"""Answers which days trade, when their sessions are, and which trading day a moment belongs to.

A trading day D runs from 18:00 of the previous trading day to 18:00 of D (Asia/Shanghai), so the night session
belongs to the next trading day. No night session precedes the first day after a public holiday. Holidays are
weekdays that do not trade: a bundled list (`holidays.json`, made by `refresh_holidays`), replaced where it speaks by
the list a home has fetched (`holiday_list`). Beyond the list nothing is answered: no holiday is known there.
What a variety's hours are on a date stands in `varieties`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload
from zoneinfo import ZoneInfo

import numpy as np

from ghtrader_base.errors import BeyondCalendarError, IntegrityError, UsageError
from ghtrader_base.files import parse_json, read_checked_json
from ghtrader_market.reference.session_times import CLOSING_NS, session_index
from ghtrader_market.reference.varieties import Variety, all_varieties, get_variety

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings

NS_PER_HOUR = 3_600_000_000_000
NS_PER_DAY = 24 * NS_PER_HOUR
SHANGHAI_OFFSET_NS = 8 * NS_PER_HOUR
"""Asia/Shanghai is UTC+8 the whole year round since 1991."""
DAY_CHANGE_NS = 18 * NS_PER_HOUR
SHANGHAI = ZoneInfo("Asia/Shanghai")
_SAME_CLOCK_NS = 3 * 86_400 * 10**9
SETTLED_AT = time(15, 30)
"""From here on a trading day is over: its last session ended at 15:00, and sources had half an hour to settle."""

_EPOCH = date(1970, 1, 1)
_NATIONAL_DAY_MONTH = 10
_BLOCK = 1 << 17
"""Moments looked up at once: what is in between stays in the processor's cache."""


def parse_day(text: str | date) -> date:
    """A trading day written as ``YYYY-MM-DD``; UsageError for anything else."""
    if isinstance(text, date):
        return text
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError as error:
        raise UsageError(f"{text!r} is no date", "write it as YYYY-MM-DD") from error


def midnight_ns(day: date) -> int:
    """UTC epoch ns of 00:00 Asia/Shanghai on `day`."""
    return (day - _EPOCH).days * NS_PER_DAY - SHANGHAI_OFFSET_NS


def last_session_end(variety: Variety, day: date) -> int:
    """When trading day `day` ends, UTC epoch ns: the end of its last session, whatever else is known of the day."""
    return midnight_ns(day) + variety.sessions_on(day).day[-1][1]


class TradingCalendar:
    """Trading days of the Chinese futures exchanges.

    Parameters
    ----------
    holidays : iterable of date
        Weekdays that do not trade; weekend days in it are ignored.
    first, last : date, optional
        The days the list speaks for; by default whole years from its first holiday's to its last's. Every method that
        would need a day outside of it raises BeyondCalendarError (a UsageError), naming the list's ends.
    """

    def __init__(
        self,
        holidays: Iterable[date],
        first: date | None = None,
        last: date | None = None,
    ) -> None:
        self.holidays: tuple[date, ...] = tuple(sorted({day for day in holidays if day.weekday() < 5}))
        self.first = first or date(self.holidays[0].year if self.holidays else 1990, 1, 1)
        self.last = last or date(self.holidays[-1].year if self.holidays else 2100, 12, 31)
        self._busdays = np.busdaycalendar(holidays=np.array(self.holidays, dtype="datetime64[D]"))

    @cached_property
    def assuming_weekdays(self) -> TradingCalendar:
        """A copy that counts every weekday outside the list as a trading day.

        For a simulated world, which decides itself when its contracts expire, and for a provisional day that says it is
        one; nothing else is asked of it.
        """
        return TradingCalendar(self.holidays, date(1970, 1, 1), date(2199, 12, 31))

    def speaks_for(self, day: date) -> bool:
        """Whether the list knows if `day` trades; a weekend never does."""
        return day.weekday() >= 5 or self.first <= day <= self.last

    def is_trading_day(self, day: date) -> bool:
        """Whether `day` trades: a weekday that is not on the holiday list."""
        if not self.speaks_for(day):
            raise self._beyond(day)
        return bool(np.is_busday(np.datetime64(day, "D"), busdaycal=self._busdays))

    def next_day(self, day: date) -> date:
        """First trading day after `day`."""
        return self._roll(day + timedelta(days=1), "forward", f"the trading day after {day}")

    def previous_day(self, day: date) -> date:
        """Last trading day before `day`."""
        return self._roll(day - timedelta(days=1), "backward", f"the trading day before {day}")

    def days(self, start: date, end: date) -> list[date]:
        """Trading days from `start` to `end`, both included; empty where there are none."""
        if end < start:
            return []
        found = self._days(start, end)
        for day in (found[0], found[-1]) if found else ():
            if not self.speaks_for(day):
                raise self._beyond(day)
        return found

    def known_days(self, start: date, end: date) -> list[date]:
        """Those of `days` that the list speaks for, for a look at what is stored: outside of it nothing is expected."""
        return self._days(max(start, self.first), min(end, self.last))

    def _days(self, start: date, end: date) -> list[date]:
        every = np.arange(np.datetime64(start, "D"), np.datetime64(end, "D") + 1)
        found: list[date] = every[np.is_busday(every, busdaycal=self._busdays)].tolist()
        return found

    def has_night(self, day: date, variety: Variety | str | None = None) -> bool:
        """Whether trading day `day` begins with a night session, for a variety or (None) for any of the table.

        False on a day that does not trade, on the first day after a public holiday (a weekday on the holiday list),
        and where the variety table has no night session on that date.
        """
        if not self.is_trading_day(day):
            return False
        asked = all_varieties() if variety is None else (_variety(variety),)
        if all(each.sessions_on(day).night is None for each in asked):
            return False
        weekdays_since = np.busday_count(np.datetime64(self.previous_day(day), "D"), np.datetime64(day, "D"))
        return bool(weekdays_since == 1)

    @overload
    def trading_day_of(self, ns: int) -> date: ...
    @overload
    def trading_day_of(self, ns: np.ndarray) -> np.ndarray: ...
    def trading_day_of(self, ns: int | np.ndarray) -> date | np.ndarray:
        """Trading day a moment belongs to, by the 18:00 rule.

        Parameters
        ----------
        ns : int or int64[n]
            UTC epoch ns.

        Returns
        -------
        date or datetime64[D][n]

        Raises
        ------
        BeyondCalendarError
            The list does not reach a moment's trading day.
        """
        if not isinstance(ns, np.ndarray):
            shifted = (int(ns) + SHANGHAI_OFFSET_NS + NS_PER_DAY - DAY_CHANGE_NS) // NS_PER_DAY
            self._require_reach(shifted, shifted)
            day = _EPOCH + timedelta(days=shifted)
            return self._roll(day, "forward", f"the trading day of {day}")
        flat = ns.reshape(-1)
        found = np.empty(flat.size, "datetime64[D]")
        for first in range(0, flat.size, _BLOCK):
            block = slice(first, first + _BLOCK)
            self._days_of_block(flat[block], found[block])
        return found.reshape(ns.shape)

    def _days_of_block(self, ns: np.ndarray, found: np.ndarray) -> None:
        """Trading days of int64[n], n > 0, into `found` datetime64[D][n]: the holiday list is searched once a day."""
        days = (ns + (SHANGHAI_OFFSET_NS + NS_PER_DAY - DAY_CHANGE_NS)) // NS_PER_DAY
        first, last = int(days.min()), int(days.max())
        self._require_reach(first, last)
        every = np.arange(first, last + 1).astype("datetime64[D]")
        rolled = np.busday_offset(every, 0, roll="forward", busdaycal=self._busdays)
        if rolled[-1] > np.datetime64(self.last, "D"):
            raise self._beyond(f"the trading day of {every[-1]}")
        found[:] = rolled[0] if first == last else rolled[days - first]

    def bounds(self, day: date) -> tuple[int, int]:
        """UTC epoch ns [start, end) of trading day `day`: 18:00 of the previous trading day to 18:00 of `day`."""
        return midnight_ns(self.previous_day(day)) + DAY_CHANGE_NS, midnight_ns(day) + DAY_CHANGE_NS

    def sessions(self, variety: Variety | str, day: date) -> list[tuple[int, int]]:
        """Sessions of trading day `day` as UTC epoch ns [start, end), in time order.

        The night session of `day` lies on the previous trading day's evening.

        Raises
        ------
        UsageError
            `day` does not trade.
        """
        if not self.is_trading_day(day):
            raise UsageError(f"{day} is not a trading day", self._nearest(day))
        table = _variety(variety).sessions_on(day)
        found = []
        if table.night is not None and self.has_night(day, variety):
            evening = midnight_ns(self.previous_day(day))
            found.append((evening + table.night[0], evening + table.night[1]))
        midnight = midnight_ns(day)
        return found + [(midnight + start, midnight + end) for start, end in table.day]

    def session_index(
        self, variety: Variety | str, day: date, ns: np.ndarray, closing_ns: int = CLOSING_NS
    ) -> np.ndarray:
        """Which of `sessions(variety, day)` each moment lies in, as `session_times.session_index` tells it.

        Parameters
        ----------
        ns : int64[n]
            UTC epoch ns, in any order.
        closing_ns : int
            How long after its end a session still has its last snapshot.

        Returns
        -------
        int16[n]
            Position in the list of sessions; -1 outside all of them.
        """
        return session_index(ns, self.sessions(variety, day), closing_ns)

    def require_trading_day(self, day: date) -> date:
        """Return `day`; UsageError where it does not trade or the holiday list does not reach it."""
        if not self.first <= day <= self.last:
            raise self._beyond(day)
        if not self.is_trading_day(day):
            raise UsageError(f"{day} is not a trading day", self._nearest(day))
        return day

    def require_days(self, start: date, end: date) -> list[date]:
        """Trading days from `start` to `end`; UsageError where the range is reversed, empty or out of reach."""
        if end < start:
            raise UsageError(f"the range starts after it ends: {start} to {end}", "swap --start and --end")
        for day in (start, end):
            if not self.first <= day <= self.last:
                raise self._beyond(day)
        found = self.days(start, end)
        if not found:
            raise UsageError(f"no trading day from {start} to {end}", self._nearest(start, end))
        return found

    def _nearest(self, start: date, end: date | None = None) -> str:
        """The trading days around a stretch without one, as far as the list knows them."""
        known = []
        for ask, day in ((self.previous_day, start), (self.next_day, end or start)):
            with contextlib.suppress(BeyondCalendarError):
                known.append(str(ask(day)))
        return f"the nearest trading days are {' and '.join(known)}"

    def _roll(self, day: date, roll: Literal["forward", "backward"], asked: str) -> date:
        rolled = np.busday_offset(np.datetime64(day, "D"), 0, roll=roll, busdaycal=self._busdays)
        found: date = rolled.item()  # type: ignore[assignment]  # a datetime64[D] that is no NaT gives a date
        if not self.first <= found <= self.last:
            raise self._beyond(asked)
        return found

    def _require_reach(self, first: int, last: int) -> None:
        """BeyondCalendarError where days since 1970, int, lie outside the list."""
        if (self.first - _EPOCH).days <= first and last <= (self.last - _EPOCH).days:
            return
        far = last if last > (self.last - _EPOCH).days else first
        raise self._beyond(f"the trading day of {np.datetime64(far, 'D')}")

    def _beyond(self, asked: date | str) -> BeyondCalendarError:
        return BeyondCalendarError(
            f"the holiday list speaks for {self.first} to {self.last}, not for {asked}",
            "choose a day inside it, or refresh it: ghtrader update --var V, or materialize trading_calendar",
        )


def last_finished_day(calendar: TradingCalendar, now: datetime | None = None) -> date:
    """The last trading day that is over (`SETTLED_AT`) at `now`, by default this machine's time.

    Raises
    ------
    BeyondCalendarError
        The holiday list ended before: which days traded since is not known.
    """
    moment = (now or datetime.now(SHANGHAI)).astimezone(SHANGHAI)
    today = moment.date()
    over = moment.time() >= SETTLED_AT and calendar.is_trading_day(today)
    return today if over else calendar.previous_day(today)


def last_known_finished_day(calendar: TradingCalendar, now: datetime | None = None) -> date:
    """As `last_finished_day`; where the holiday list ended before, the last trading day it knows."""
    try:
        return last_finished_day(calendar, now)
    except BeyondCalendarError:
        return calendar.known_days(calendar.last - timedelta(days=30), calendar.last)[-1]


def lives_by_our_clock(calendar: TradingCalendar, market_ns: int, now_ns: int) -> bool:
    """Whether a market whose newest tick is of `market_ns` goes by this machine's time, or by one of its own.

    A simulated exchange plays other days; the newest tick of a real market is of this trading day or of the one before
    it, which may be a week of holidays ago.

    Parameters
    ----------
    calendar : TradingCalendar
    market_ns, now_ns : int
        UTC epoch ns: of the newest tick, and of this machine.
    """
    if abs(now_ns - market_ns) <= _SAME_CLOCK_NS:
        return True
    try:
        return calendar.next_day(calendar.trading_day_of(market_ns)) == calendar.trading_day_of(now_ns)
    except BeyondCalendarError:
        return False


def _variety(variety: Variety | str) -> Variety:
    return get_variety(variety) if isinstance(variety, str) else variety


def read_holiday_list(document: Any) -> tuple[list[date], date, date]:
    """Holidays and reach of a document of ours (`first`, `last`, `holidays`); ValueError or KeyError for another."""
    days = [date.fromisoformat(text) for text in document["holidays"]]
    return days, date.fromisoformat(document["first"]), date.fromisoformat(document["last"])


@cache
def bundled_calendar() -> TradingCalendar:
    """The calendar of the list this package carries."""
    text = resources.files("ghtrader_market.reference").joinpath("holidays.json").read_text("utf-8")
    return TradingCalendar(*read_holiday_list(parse_json(text)))


def holidays_path(data: Path) -> Path:
    """Where a home keeps its refreshed list."""
    return data / "calendar" / "holidays.json"


def load_calendar(settings: Settings) -> TradingCalendar:
    """The home's refreshed list for the days it speaks for, the bundled one for the others.

    Raises
    ------
    IntegrityError
        The home's list is there but garbled, or was edited.
    """
    path = holidays_path(settings.data)
    if not path.exists():
        return bundled_calendar()
    try:
        fetched, first, last = read_holiday_list(read_checked_json(path)[0])
        last = reach_of(fetched, last)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path} is no holiday list: {error}", "delete it and refresh the calendar") from error
    return merged_calendar(bundled_calendar(), fetched, first, last)


def merged_calendar(base: TradingCalendar, fetched: Iterable[date], first: date, last: date) -> TradingCalendar:
    """`base` with the days from `first` to `last` as another list has them; one that leaves a gap is left out."""
    if last < first or first > base.last + timedelta(days=1) or last < base.first - timedelta(days=1):
        return base
    kept = [day for day in base.holidays if not first <= day <= last]
    taken = [day for day in fetched if first <= day <= last]
    return TradingCalendar([*kept, *taken], min(base.first, first), max(base.last, last))


def reach_of(holidays: Iterable[date], most: date | None = None) -> date:
    """The last day a list of holidays speaks for, `most` at the latest.

    A year whose National Day holiday is named is named whole. Of another last year only what stands in the list is
    known: through the first weekday after its last holiday, since a holiday is announced whole.
    """
    days = {day for day in holidays if day.weekday() < 5}
    newest = max(days)
    if newest.month >= _NATIONAL_DAY_MONTH:
        reach = date(newest.year, 12, 31)
    else:
        reach = newest + timedelta(days=1)
        while reach.weekday() >= 5:
            reach += timedelta(days=1)
    return reach if most is None else min(reach, most)
