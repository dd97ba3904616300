"""A home's holiday list: what a fetched one may change, what is refused by name, and how long the list reaches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ghtrader_base.errors import (
    BeyondCalendarError,
    ConfigError,
    FailedError,
    GhtraderError,
    IntegrityError,
    UnreachableError,
)
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.holiday_list import (
    adopt_list,
    calendar_state,
    parse_vendor_list,
    refresh_holidays,
    save_holidays,
)
from ghtrader_market.reference.trading_calendar import bundled_calendar, holidays_path, load_calendar, reach_of
from tests.support.served_text import served_text

pytestmark = pytest.mark.clock

SHANGHAI = timezone(timedelta(hours=8))
CALENDAR = bundled_calendar()
NOW = datetime(2026, 11, 30, 17, 30, tzinfo=SHANGHAI)
OF_2027 = [
    date(2027, 1, 1), *(date(2027, 2, day) for day in (5, 8, 9, 10, 11)), date(2027, 4, 5), date(2027, 5, 3),
    date(2027, 5, 4), date(2027, 5, 5), date(2027, 6, 9), date(2027, 9, 15),
    *(date(2027, 10, day) for day in (1, 4, 5, 6, 7)),
]  # fmt: skip
WHOLE = [*CALENDAR.holidays, *OF_2027]


def every(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, bytes]]]:
    with served_text() as found:
        yield found


def at(home: Path, url: str) -> Settings:
    return load_settings(home).model_copy(update={"tq_chinese_holiday_url": url})


def payload(days: list[date]) -> bytes:
    return json.dumps([str(day) for day in days]).encode()


def test_a_list_that_reaches_further_is_taken(tmp_path: Path, served) -> None:
    url, body = served
    settings = at(tmp_path, url)
    assert load_calendar(settings) is CALENDAR
    body["it"] = payload(WHOLE)
    change = refresh_holidays(settings, now=NOW)
    calendar = load_calendar(settings)
    assert change.calendar.last == calendar.last == date(2027, 12, 31) and change.taken_back == ()
    assert calendar.next_day(date(2026, 12, 31)) == date(2027, 1, 4)
    assert not calendar.has_night(date(2027, 1, 4), "cu"), "none on the eve of a holiday"
    evening = int(datetime(2026, 12, 31, 21, tzinfo=SHANGHAI).timestamp()) * 10**9
    assert calendar.trading_day_of(evening) == date(2027, 1, 4)
    assert calendar.require_days(date(2026, 12, 30), date(2027, 1, 5))[-2:] == [date(2027, 1, 4), date(2027, 1, 5)]
    assert "reaches 2027-12-31 now" in change.words()
    again = refresh_holidays(settings, now=NOW)
    assert again.words() == "the holiday list has nothing new" and load_calendar(settings).holidays == calendar.holidays
    # The years before the last one stay as the package has them, whatever a list says of them.
    body["it"] = payload([day for day in WHOLE if day.year > 2020])
    refresh_holidays(settings, now=NOW)
    assert load_calendar(settings).holidays == calendar.holidays


def test_a_next_year_that_is_named_in_part_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    settings = at(tmp_path, "")
    adopt_list(settings, [*CALENDAR.holidays, date(2027, 1, 1)], "vendor", now=NOW)
    calendar = load_calendar(settings)
    assert calendar.last == date(2027, 1, 4) and calendar.next_day(date(2026, 12, 31)) == date(2027, 1, 4)
    with pytest.raises(BeyondCalendarError, match="the trading day after 2027-01-04"):
        calendar.next_day(date(2027, 1, 4))
    adopt_list(settings, WHOLE, "vendor", now=NOW)
    assert load_calendar(settings).last == date(2027, 12, 31)


@pytest.mark.parametrize(
    ("days", "why"),
    [
        ([day for day in WHOLE if day < date(2026, 6, 1)], "it breaks off on 2026-05-05"),
        ([day for day in WHOLE if day.month != 10 or day.year != 2026], "it leaves out 2026-10-01"),
        ([day for day in WHOLE if day.year != 2026], "it names only 0 weekdays of 2026"),
        ([*CALENDAR.holidays, date(2027, 10, 1)], "it names only 1 weekdays of 2027"),
        ([date(2030, 1, 1), date(2030, 2, 4), date(2030, 10, 1)], "it says nothing of 2028-01-01 to 2029-12-31"),
        ([day for day in WHOLE if day.year < 2020], "it ends on 2019-12-31"),
        ([*WHOLE, date(2026, 11, 27)], "it calls 2026-11-27 a holiday, and ticks of that day are stored"),
        ([date(2026, 11, 28)], "names no weekday"),
        ([*WHOLE, *every(date(2027, 1, 1), date(2027, 12, 31))], "it names 261 weekdays of 2027, more than any year"),
        ([*WHOLE, *every(date(2026, 12, 1), date(2026, 12, 25))], "it names 19 weekdays in a row, longer than any"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_right_is_refused_by_name(tmp_path: Path, served, days: list[date], why: str) -> None:
    url, body = served
    settings = at(tmp_path, url)
    adopt_list(settings, WHOLE, "before", now=NOW)
    before = holidays_path(settings.data).read_bytes()
    body["it"] = payload(days)
    with pytest.raises(FailedError, match=why):
        refresh_holidays(settings, [date(2026, 11, 26), date(2026, 11, 27)], now=NOW)
    assert holidays_path(settings.data).read_bytes() == before
    state = calendar_state(settings, now=NOW)
    assert why in state.refused and any(why in text for text in state.warnings)
    adopt_list(settings, WHOLE, "after", now=NOW)
    assert calendar_state(settings, now=NOW).refused == ""


@pytest.mark.parametrize("payload", [b"<html>", b"[]", b'{"a": 1}', b'["soon"]', b"[3]", payload(WHOLE)[:-20]])
def test_a_list_that_is_none_changes_nothing(tmp_path: Path, served, payload: bytes) -> None:
    url, body = served
    body["it"] = payload
    settings = at(tmp_path, url)
    with pytest.raises(FailedError, match="not usable"):
        refresh_holidays(settings, now=NOW)
    assert not holidays_path(settings.data).exists() and load_calendar(settings) is CALENDAR
    assert "not usable" in calendar_state(settings, now=NOW).refused


def test_nobody_there_no_address_and_a_garbled_home(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="no holiday list at") as caught:
        refresh_holidays(at(tmp_path, "http://127.0.0.1:1/holidays.json"), timeout_s=2.0)
    assert caught.value.exit_code == 4
    with pytest.raises(ConfigError, match="no web address"):
        refresh_holidays(at(tmp_path, "file:///etc/holidays.json"))
    path = holidays_path(tmp_path / "data")
    path.parent.mkdir(parents=True)
    garbled = '{"holidays": ["later"], "first": "2025-01-01", "last": "2025-12-31"}'
    for text in (garbled, '{"holidays": []}', "[1]", "{"):
        path.write_text(text)
        with pytest.raises(IntegrityError):
            load_calendar(at(tmp_path, ""))


def test_a_list_of_an_older_home_still_reads(tmp_path: Path) -> None:
    settings, path = at(tmp_path, ""), holidays_path(tmp_path / "data")
    path.parent.mkdir(parents=True)
    old = {"source": "http://x", "fetched_at": "2025-12-01T09:00:00+00:00", "first": "2024-01-01"}
    old["last"] = "2026-12-31"
    path.write_text(json.dumps({**old, "holidays": [str(day) for day in CALENDAR.holidays if day.year >= 2024]}))
    assert load_calendar(settings).holidays == CALENDAR.holidays and load_calendar(settings).last == CALENDAR.last
    # Written when a single day of the next year was out, and said to speak for all of it: that was a guess.
    days = [*(str(day) for day in CALENDAR.holidays if day.year >= 2024), "2027-01-01"]
    path.write_text(json.dumps({**old, "last": "2027-12-31", "holidays": days}))
    assert load_calendar(settings).last == date(2027, 1, 4)
    # A list that left years out counts for nothing behind the gap.
    path.write_text(json.dumps({**old, "first": "2030-01-01", "last": "2030-12-31", "holidays": ["2030-10-01"]}))
    assert load_calendar(settings) is CALENDAR
    adopt_list(settings, WHOLE, "vendor", now=NOW)
    assert load_calendar(settings).last == date(2027, 12, 31)


def test_a_holiday_announced_late_is_taken_back_by_name(tmp_path: Path) -> None:
    settings, late = at(tmp_path, ""), date(2026, 12, 7)
    change = adopt_list(settings, [*WHOLE, late], "vendor", [date(2026, 11, 27)], NOW)
    assert change.taken_back == (late,) and f"no trading days any more: {late}" in change.words()
    assert not load_calendar(settings).is_trading_day(late)
    state = calendar_state(settings, [date(2026, 11, 27), late, date(2028, 1, 3)], NOW)
    assert state.taken_back == (late,) and state.unknown == (date(2028, 1, 3),)
    assert any(f"stored, and holidays by the list: {late}" in text for text in state.warnings)


@pytest.mark.parametrize(("now", "left", "warned"), [
    (datetime(2026, 11, 1, tzinfo=SHANGHAI), 60, ""),
    (datetime(2026, 11, 2, tzinfo=SHANGHAI), 59, "ends in 59 days, on 2026-12-31"),
    (datetime(2026, 12, 31, 23, 59, tzinfo=SHANGHAI), 0, "ends in 0 days"),
    (datetime(2027, 1, 1, tzinfo=SHANGHAI), -1, "ended on 2026-12-31"),
])  # fmt: skip
def test_sixty_days_before_its_end_the_list_says_so(tmp_path: Path, now: datetime, left: int, warned: str) -> None:
    state = calendar_state(at(tmp_path, ""), now=now)
    assert state.days_left == state.to_json()["days_left"] == left
    assert [warned in text for text in state.warnings] == ([True] if warned else [])


@given(st.sets(st.dates(date(2026, 1, 1), date(2027, 12, 31)), min_size=1))
def test_a_list_reaches_no_further_than_its_last_named_holiday_says(days: set[date]) -> None:
    weekdays = [day for day in days if day.weekday() < 5]
    if not weekdays:
        return
    reach = reach_of(days)
    assert reach > max(weekdays) or reach == max(weekdays) == date(reach.year, 12, 31)
    assert reach <= date(max(weekdays).year, 12, 31) and (reach - max(weekdays)).days <= 92


@limits(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.lists(st.dates() | st.text(max_size=4), max_size=6).map(
    lambda items: json.dumps([str(item) for item in items]).encode()))  # fmt: skip
def test_no_bytes_escape_as_another_error(tmp_path_factory, data: bytes) -> None:
    settings = at(tmp_path_factory.mktemp("home"), "")
    try:
        adopt_list(settings, parse_vendor_list(data), "vendor", now=NOW)
    except GhtraderError:
        assert load_calendar(settings) is CALENDAR


def test_saved_and_read_back(tmp_path: Path) -> None:
    save_holidays(tmp_path / "data", OF_2027, "by hand")
    calendar = load_calendar(at(tmp_path, ""))
    assert calendar.last == date(2027, 12, 31) and not calendar.is_trading_day(date(2027, 2, 8))
