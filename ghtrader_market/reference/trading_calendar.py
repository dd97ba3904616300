"""Answers which days trade, when their sessions are, and which trading day a moment belongs to.

A trading day D runs from 18:00 of the previous trading day to 18:00 of D (Asia/Shanghai), so the night session
belongs to the next trading day. No night session precedes the first day after a public holiday. Holidays are
weekdays that do not trade: a bundled list (`holidays.json`, made by `refresh_holidays`), replaced year by year by
the list a home has fetched. What a variety's hours are on a date stands in `varieties`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ghtrader_base.errors import ConfigError, FailedError, IntegrityError, UnreachableError, UsageError
from ghtrader_base.files import atomic_write_json, read_json
from ghtrader_market.reference.varieties import Variety, all_varieties, get_variety

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings

NS_PER_HOUR = 3_600_000_000_000
NS_PER_DAY = 24 * NS_PER_HOUR
SHANGHAI_OFFSET_NS = 8 * NS_PER_HOUR
"""Asia/Shanghai is UTC+8 the whole year round since 1991."""
DAY_CHANGE_NS = 18 * NS_PER_HOUR

_EPOCH = date(1970, 1, 1)
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


class TradingCalendar:
    """Trading days of the Chinese futures exchanges.

    Parameters
    ----------
    holidays : iterable of date
        Weekdays that do not trade; weekend days in it are ignored.
    first, last : date, optional
        The days the list speaks for; by default whole years from its first holiday's to its last's. Outside it every
        weekday counts as a trading day, and the `require_*` methods refuse.
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

    def is_trading_day(self, day: date) -> bool:
        """Whether `day` trades: a weekday that is not on the holiday list."""
        return bool(np.is_busday(np.datetime64(day, "D"), busdaycal=self._busdays))

    def next_day(self, day: date) -> date:
        """First trading day after `day`."""
        return self._roll(day + timedelta(days=1), "forward")

    def previous_day(self, day: date) -> date:
        """Last trading day before `day`."""
        return self._roll(day - timedelta(days=1), "backward")

    def days(self, start: date, end: date) -> list[date]:
        """Trading days from `start` to `end`, both included; empty where there are none."""
        if end < start:
            return []
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
        """
        if not isinstance(ns, np.ndarray):
            shifted = (int(ns) + SHANGHAI_OFFSET_NS + NS_PER_DAY - DAY_CHANGE_NS) // NS_PER_DAY
            return self._roll(_EPOCH + timedelta(days=shifted), "forward")
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
        if first == last:
            found[:] = self._roll(_EPOCH + timedelta(days=first), "forward")
        elif last - first < _BLOCK:
            every = np.arange(first, last + 1).astype("datetime64[D]")
            found[:] = np.busday_offset(every, 0, roll="forward", busdaycal=self._busdays)[days - first]
        else:
            found[:] = np.busday_offset(days.astype("datetime64[D]"), 0, roll="forward", busdaycal=self._busdays)

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

    def session_index(self, variety: Variety | str, day: date, ns: np.ndarray) -> np.ndarray:
        """Which of `sessions(variety, day)` each moment lies in.

        Parameters
        ----------
        ns : int64[n]
            UTC epoch ns, in any order.

        Returns
        -------
        int16[n]
            Position in the list of sessions; -1 outside all of them. A session's end is outside it.
        """
        sessions = np.array(self.sessions(variety, day), dtype=np.int64)
        found = np.searchsorted(sessions[:, 0], ns, side="right") - 1
        inside = (found >= 0) & (np.asarray(ns) < sessions[np.maximum(found, 0), 1])
        return np.where(inside, found, -1).astype(np.int16)

    def require_trading_day(self, day: date) -> date:
        """Return `day`; UsageError where it does not trade or the holiday list does not reach it."""
        if not self.first <= day <= self.last:
            raise UsageError(
                f"the holiday list speaks for {self.first} to {self.last}, not for {day}",
                "choose a day inside it, or refresh the list from TQ_CHINESE_HOLIDAY_URL",
            )
        if not self.is_trading_day(day):
            raise UsageError(f"{day} is not a trading day", self._nearest(day))
        return day

    def require_days(self, start: date, end: date) -> list[date]:
        """Trading days from `start` to `end`; UsageError where the range is reversed, empty or out of reach."""
        if end < start:
            raise UsageError(f"the range starts after it ends: {start} to {end}", "swap --start and --end")
        for day in (start, end):
            if not self.first <= day <= self.last:
                self.require_trading_day(day)
        found = self.days(start, end)
        if not found:
            raise UsageError(f"no trading day from {start} to {end}", self._nearest(start, end))
        return found

    def _nearest(self, start: date, end: date | None = None) -> str:
        return f"the nearest trading days are {self.previous_day(start)} and {self.next_day(end or start)}"

    def _roll(self, day: date, roll: Literal["forward", "backward"]) -> date:
        found = np.busday_offset(np.datetime64(day, "D"), 0, roll=roll, busdaycal=self._busdays)
        return found.item()  # type: ignore[return-value]  # a datetime64[D] that is no NaT gives a date


def _variety(variety: Variety | str) -> Variety:
    return get_variety(variety) if isinstance(variety, str) else variety


def _read_list(document: Any) -> tuple[list[date], date, date]:
    """Holidays and reach of a document of ours (`first`, `last`, `holidays`)."""
    days = [date.fromisoformat(text) for text in document["holidays"]]
    return days, date.fromisoformat(document["first"]), date.fromisoformat(document["last"])


@cache
def bundled_calendar() -> TradingCalendar:
    """The calendar of the list this package carries."""
    text = resources.files("ghtrader_market.reference").joinpath("holidays.json").read_text("utf-8")
    return TradingCalendar(*_read_list(json.loads(text)))


def holidays_path(data: Path) -> Path:
    """Where a home keeps its refreshed list."""
    return data / "calendar" / "holidays.json"


def load_calendar(settings: Settings) -> TradingCalendar:
    """The home's refreshed list for the years it speaks for, the bundled one for the others.

    Raises
    ------
    IntegrityError
        The home's list is there but garbled.
    """
    path = holidays_path(settings.data)
    if not path.exists():
        return bundled_calendar()
    try:
        fetched, first, last = _read_list(read_json(path))
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path} is no holiday list: {error}", "delete it and refresh the calendar") from error
    return _merge(bundled_calendar(), fetched, first, last)


def _merge(base: TradingCalendar, fetched: list[date], first: date, last: date) -> TradingCalendar:
    kept = [day for day in base.holidays if not first <= day <= last]
    return TradingCalendar([*kept, *fetched], min(base.first, first), max(base.last, last))


def parse_vendor_list(payload: bytes) -> list[date]:
    """Read the vendor's document: a JSON list of ``YYYY-MM-DD``; FailedError where it is anything else."""
    try:
        document = json.loads(payload)
        if not isinstance(document, list) or not document:
            raise ValueError("not a list with at least one day")
        return sorted({date.fromisoformat(text) for text in document})
    except (ValueError, TypeError) as error:
        raise FailedError(f"the holiday list is not usable: {error}", "check TQ_CHINESE_HOLIDAY_URL") from error


def save_holidays(data: Path, days: list[date], source: str) -> Path:
    """Keep a fetched list in the home, atomically; it speaks for whole years from its first to its last."""
    path = holidays_path(data)
    document = {
        "source": source,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "first": str(date(min(days).year, 1, 1)),
        "last": str(date(max(days).year, 12, 31)),
        "holidays": [str(day) for day in sorted(days) if day.weekday() < 5],
    }
    atomic_write_json(path, document)
    return path


def refresh_holidays(settings: Settings, timeout_s: float = 5.0) -> TradingCalendar:
    """Fetch ``TQ_CHINESE_HOLIDAY_URL`` into the home and return the calendar in force afterwards.

    Raises
    ------
    ConfigError
        The setting is empty or no http(s) address.
    UnreachableError
        Nobody answers there; what the home had stays in force.
    FailedError
        The answer is no list of days.
    """
    import urllib.error
    import urllib.request

    url = settings.tq_chinese_holiday_url
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            "TQ_CHINESE_HOLIDAY_URL is not set to a web address", "set it, or go on with the bundled list"
        )
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            payload = response.read()
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnreachableError(
            f"no holiday list at {url}: {reason}",
            "start that server or unset TQ_CHINESE_HOLIDAY_URL; the list at hand stays",
        ) from error
    save_holidays(settings.data, parse_vendor_list(payload), url)
    return load_calendar(settings)
