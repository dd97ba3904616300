"""Refreshes a home's holiday list, judges a fetched one before it counts, and says how long the list still reaches.

A list changes what is to come. It is refused by name, and the list at hand stays, where it is no list, torn, leaves
years out, names more holidays than any year has, or calls a day a holiday on which ticks are stored; `status` names the
refusal. A day that a list in force calls a holiday although something of it is stored is named by `status` and `audit`,
and nothing of it is deleted. Which day trades by the list in force is `trading_calendar`'s answer.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.address_passwords import hide_secrets
from ghtrader_base.errors import ConfigError, FailedError, GhtraderError, UnreachableError
from ghtrader_base.files import atomic_write_json, parse_json, read_json, with_checksum
from ghtrader_base.web_documents import fetch_document
from ghtrader_market.reference.trading_calendar import (
    SHANGHAI,
    TradingCalendar,
    holidays_path,
    load_calendar,
    merged_calendar,
    reach_of,
)

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings

VENDOR_HOLIDAY_URL = "https://files.shinnytech.com/shinny_chinese_holiday.json"
WARN_DAYS = 60
"""With fewer days left of the list, `status`, a check and the daily update say so."""
_FEWEST_A_YEAR = 8
"""Weekdays without trading in a year, at the very least; from 2010 to 2026 there were 16 or more."""
_MOST_A_YEAR = 40
"""Weekdays without trading in a year, at the most; from 2010 to 2026 there were 23 or fewer."""
_MOST_IN_A_ROW = 15
"""The same without a trading day between them; from 2010 to 2026 there were 6 or fewer."""
_MOST_BYTES = 1 << 20
"""Of a fetched list; that of twenty years has 6 KB."""
_REFUSED = "refused.json"


@dataclass(frozen=True, kw_only=True)
class ListChange:
    """What a fetched list changed.

    Attributes
    ----------
    calendar : TradingCalendar
        The one in force now.
    before : date
        Last day that the list spoke for before.
    taken_back : tuple of date
        Days that were to trade before, and are holidays now.
    """

    calendar: TradingCalendar
    before: date
    taken_back: tuple[date, ...]

    def words(self) -> str:
        """One line for people."""
        further = f"reaches {self.calendar.last} now" if self.calendar.last > self.before else "has nothing new"
        if not self.taken_back:
            return f"the holiday list {further}"
        return f"the holiday list {further}; no trading days any more: {', '.join(map(str, self.taken_back))}"


@dataclass(frozen=True, kw_only=True)
class CalendarState:
    """How a home's calendar stands.

    Attributes
    ----------
    first, last : date
        The days the list speaks for.
    days_left : int
        Calendar days from today to `last`; negative behind it.
    source, fetched_at : str
        Where the home's own list came from and when; empty where the packaged one is all there is.
    refused : str
        Why the newest fetched list did not count; empty where it did.
    taken_back : tuple of date
        Days of which something is stored and which the list calls a holiday.
    unknown : tuple of date
        Days of which something is stored and for which the list does not speak.
    """

    first: date
    last: date
    days_left: int
    source: str = ""
    fetched_at: str = ""
    refused: str = ""
    taken_back: tuple[date, ...] = ()
    unknown: tuple[date, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What somebody has to do something about, a sentence each."""
        found = []
        if self.days_left < 0:
            found.append(f"the holiday list ended on {self.last}: days behind it are refused until it is refreshed")
        elif self.days_left < WARN_DAYS:
            left = f"in {self.days_left} days, on {self.last}"
            found.append(f"the holiday list ends {left}; ghtrader update refreshes it")
        if self.refused:
            found.append(f"the newest holiday list was refused: {self.refused}")
        if self.taken_back:
            found.append(
                f"stored, and holidays by the list: {_named(self.taken_back)}; they stay as they are, and are not built"
            )
        if self.unknown:
            found.append(f"stored, and outside the holiday list: {_named(self.unknown)}")
        return found

    def to_json(self) -> dict[str, Any]:
        """For `status --json`."""
        return {
            "first": str(self.first),
            "last": str(self.last),
            "days_left": self.days_left,
            "source": self.source,
            "fetched_at": self.fetched_at,
            "refused": self.refused,
            "taken_back": [str(day) for day in self.taken_back],
            "unknown": [str(day) for day in self.unknown],
            "warnings": self.warnings,
        }


def _named(days: Collection[date], most: int = 5) -> str:
    shown = ", ".join(str(day) for day in sorted(days)[:most])
    return f"{shown} and {len(days) - most} more" if len(days) > most else shown


def parse_vendor_list(payload: bytes) -> list[date]:
    """Read the vendor's document: a JSON list of ``YYYY-MM-DD``; FailedError where it is anything else."""
    try:
        document = parse_json(payload)
        if not isinstance(document, list) or not document:
            raise ValueError("not a list with at least one day")
        return sorted({date.fromisoformat(text) for text in document})
    except (ValueError, TypeError) as error:
        raise FailedError(f"the holiday list is not usable: {error}", "check TQ_CHINESE_HOLIDAY_URL") from error


def fetch_vendor_list(settings: Settings, timeout_s: float = 5.0) -> list[date]:
    """The list at ``TQ_CHINESE_HOLIDAY_URL``, or the vendor's own where that is empty; nothing is stored.

    Raises
    ------
    ConfigError
        The setting is no http(s) address.
    UnreachableError
        Nobody answers there.
    FailedError
        The answer is no list of days.
    """
    url = list_url(settings)
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"TQ_CHINESE_HOLIDAY_URL is no web address: {hide_secrets(url)}", "correct it, or unset it")
    try:
        payload = fetch_document(url, timeout_s, _MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnreachableError(
            f"no holiday list at {hide_secrets(url)}: {hide_secrets(str(reason), url)}",
            "start that server or unset TQ_CHINESE_HOLIDAY_URL; the list at hand stays",
        ) from error
    return parse_vendor_list(payload)


def list_url(settings: Settings) -> str:
    """Where a home fetches its list from, secrets included: what is shown or kept goes through `hide_secrets`."""
    return settings.tq_chinese_holiday_url or VENDOR_HOLIDAY_URL


def refresh_holidays(
    settings: Settings, stored: Collection[date] = (), now: datetime | None = None, timeout_s: float = 5.0
) -> ListChange:
    """Fetch the list and take it into the home; errors as `fetch_vendor_list` and `adopt_list`."""
    where = hide_secrets(list_url(settings))
    try:
        return adopt_list(settings, fetch_vendor_list(settings, timeout_s), where, stored, now)
    except FailedError as error:
        note_refusal(settings, error.message, where)
        raise


def adopt_list(
    settings: Settings,
    days: Collection[date],
    source: str,
    stored: Collection[date] = (),
    now: datetime | None = None,
) -> ListChange:
    """Make a fetched list the home's, from the year before this one on; the years before that stay as they are.

    Parameters
    ----------
    days : collection of date
        Its holidays; weekends are passed over.
    source : str
        Where it came from.
    stored : collection of date
        Days of which ticks are in the lake: they traded.
    now : datetime, optional
        This machine's time by default.

    Raises
    ------
    FailedError
        The list is torn, leaves years out, or calls a stored day a holiday. What the home had stays in force.
    """
    known, today = load_calendar(settings), (now or datetime.now(SHANGHAI)).astimezone(SHANGHAI).date()
    first, last, holidays = _judged(known, days, set(stored), today)
    merged = merged_calendar(known, holidays, first, last)
    taken_back = tuple(day for day in holidays if day <= known.last and known.is_trading_day(day))
    kept = _own_list(settings)
    first, last = min(kept.get("first", first), first), max(min(kept.get("last", last), known.last), last)
    save_holidays(settings.data, [day for day in merged.holidays if first <= day <= last], source, first, last)
    (holidays_path(settings.data).parent / _REFUSED).unlink(missing_ok=True)
    return ListChange(calendar=load_calendar(settings), before=known.last, taken_back=taken_back)


def _judged(
    known: TradingCalendar, days: Collection[date], stored: set[date], today: date
) -> tuple[date, date, list[date]]:
    """First and last day a list changes, and its holidays in between; FailedError where it is to be refused."""
    holidays = sorted({day for day in days if day.weekday() < 5})
    if not holidays:
        raise FailedError("the holiday list names no weekday", "check TQ_CHINESE_HOLIDAY_URL")
    first, last = max(date(holidays[0].year, 1, 1), date(today.year - 1, 1, 1)), reach_of(holidays)
    if first > known.last + timedelta(days=1):
        raise _refusal(f"it says nothing of {known.last + timedelta(days=1)} to {first - timedelta(days=1)}")
    if last < first:
        raise _refusal(f"it ends on {last}, and the list at hand reaches {known.last}")
    if last < known.last and (last.month, last.day) != (12, 31):
        raise _refusal(f"it breaks off on {holidays[-1]}, and the list at hand reaches {known.last}")
    holidays = [day for day in holidays if first <= day <= last]
    counts = Counter(day.year for day in holidays)
    for year in range(first.year, last.year + 1):
        if last >= date(year, 12, 31) and counts[year] < _FEWEST_A_YEAR:
            raise _refusal(f"it names only {counts[year]} weekdays of {year}, so it is torn")
        if counts[year] > _MOST_A_YEAR:
            raise _refusal(f"it names {counts[year]} weekdays of {year}, more than any year has")
    if (closed := _longest_closure(holidays)) > _MOST_IN_A_ROW:
        raise _refusal(f"it names {closed} weekdays in a row, longer than any holiday")
    dropped = [day for day in known.holidays if first <= day <= last and day not in set(holidays)]
    if dropped:
        raise _refusal(f"it leaves out {_named(dropped)}, known to be holidays")
    if contradicted := sorted(stored.intersection(holidays)):
        raise _refusal(f"it calls {_named(contradicted)} a holiday, and ticks of that day are stored")
    return first, last, holidays


def _longest_closure(holidays: Sequence[date]) -> int:
    """Most weekdays in a row among ascending days."""
    longest = run = 0
    before: date | None = None
    for day in holidays:
        follows = before is not None and day - before == timedelta(days=3 if day.weekday() == 0 else 1)
        run, before = run + 1 if follows else 1, day
        longest = max(longest, run)
    return longest


def _refusal(why: str) -> FailedError:
    return FailedError(
        f"the holiday list is refused: {why}",
        "check TQ_CHINESE_HOLIDAY_URL; the list at hand stays. Is it right after all, edit data/calendar/holidays.json",
    )


def save_holidays(
    data: Path, days: Collection[date], source: str, first: date | None = None, last: date | None = None
) -> Path:
    """Keep a list in the home, atomically and unjudged; by default it speaks for whole years, as far as it reaches."""
    path = holidays_path(data)
    document = {
        "source": source,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "first": str(first or date(min(days).year, 1, 1)),
        "last": str(last or reach_of(days)),
        "holidays": [str(day) for day in sorted(days) if day.weekday() < 5],
    }
    atomic_write_json(path, with_checksum(document))
    return path


def note_refusal(settings: Settings, reason: str, source: str) -> None:
    """Keep why a fetched list did not count, for `status`."""
    why = reason.removeprefix("the holiday list is refused: ")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    atomic_write_json(holidays_path(settings.data).parent / _REFUSED, {"reason": why, "source": source, "at": at})


def calendar_state(settings: Settings, stored: Collection[date] = (), now: datetime | None = None) -> CalendarState:
    """How the home's calendar stands at `now`, by default this machine's time.

    Parameters
    ----------
    stored : collection of date
        Days of which anything is stored, to be held against the list.

    Raises
    ------
    IntegrityError
        The home's list is there but garbled.
    """
    calendar, today = load_calendar(settings), (now or datetime.now(SHANGHAI)).astimezone(SHANGHAI).date()
    refused = _document(holidays_path(settings.data).parent / _REFUSED)
    days = sorted(set(stored))
    own = _document(holidays_path(settings.data))
    return CalendarState(
        first=calendar.first,
        last=calendar.last,
        days_left=(calendar.last - today).days,
        source=str(own.get("source", "")),
        fetched_at=str(own.get("fetched_at", "")),
        refused=str(refused.get("reason", "")),
        taken_back=tuple(day for day in days if calendar.speaks_for(day) and not calendar.is_trading_day(day)),
        unknown=tuple(day for day in days if not calendar.speaks_for(day)),
    )


def _own_list(settings: Settings) -> dict[str, date]:
    document = _document(holidays_path(settings.data))
    return {name: date.fromisoformat(document[name]) for name in ("first", "last") if name in document}


def _document(path: Path) -> dict[str, Any]:
    """A small JSON file of ours, empty where it is not there or not readable."""
    if path.exists():
        with contextlib.suppress(GhtraderError):
            document = read_json(path)
            return document if isinstance(document, dict) else {}
    return {}
