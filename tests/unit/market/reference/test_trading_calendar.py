"""Trading days, nights and sessions: known days, and properties against a slow and simple calendar."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import BeyondCalendarError, UsageError
from ghtrader_market.reference import refresh_holidays as calendar_refresh
from ghtrader_market.reference.session_times import CLOSING_NS
from ghtrader_market.reference.trading_calendar import (
    NS_PER_DAY,
    NS_PER_HOUR,
    TradingCalendar,
    bundled_calendar,
    last_finished_day,
    last_known_finished_day,
    midnight_ns,
    parse_day,
)
from ghtrader_market.reference.varieties import all_varieties

SHANGHAI = timezone(timedelta(hours=8))
CALENDAR = bundled_calendar()


def ns(text: str) -> int:
    """UTC epoch ns of a Shanghai wall-clock time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp()) * 1_000_000_000


def test_the_bundled_list_is_what_its_generator_makes() -> None:
    path = Path(calendar_refresh.TARGET)
    made, kept = calendar_refresh.generate(), json.loads(path.read_text())
    # A newer library may reach further and name its version; what both speak for must agree.
    assert kept["first"] == made["first"] and kept["last"] <= made["last"]
    assert kept["holidays"] == [day for day in made["holidays"] if day <= kept["last"]]


def test_known_days() -> None:
    assert not CALENDAR.is_trading_day(date(2025, 1, 28))  # Spring Festival
    assert not CALENDAR.is_trading_day(date(2025, 1, 26))  # a Sunday that was a working day elsewhere
    assert CALENDAR.next_day(date(2025, 1, 27)) == date(2025, 2, 5)
    assert CALENDAR.previous_day(date(2025, 2, 5)) == date(2025, 1, 27)
    assert CALENDAR.days(date(2025, 1, 24), date(2025, 2, 5)) == [
        date(2025, 1, 24),
        date(2025, 1, 27),
        date(2025, 2, 5),
    ]
    assert CALENDAR.days(date(2025, 2, 5), date(2025, 1, 24)) == []


@pytest.mark.parametrize(
    ("day", "night"),
    [
        (date(2025, 2, 5), False),  # first day after Spring Festival
        (date(2025, 2, 6), True),
        (date(2025, 2, 10), True),  # a Monday: an ordinary weekend
        (date(2025, 1, 27), True),  # the last day before a holiday has its night
        (date(2025, 1, 2), False),  # after New Year
        (date(2020, 2, 4), False),  # suspended
        (date(2020, 5, 6), False),
        (date(2020, 5, 7), True),  # resumed on the evening of the 6th
        (date(2025, 2, 8), False),  # no trading day at all
    ],
)
def test_nights(day: date, night: bool) -> None:
    assert CALENDAR.has_night(day) is night


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2025-02-07 09:00:00", date(2025, 2, 7)),
        ("2025-02-07 17:59:59", date(2025, 2, 7)),
        ("2025-02-07 18:00:00", date(2025, 2, 10)),  # Friday evening is Monday's
        ("2025-02-08 01:00:00", date(2025, 2, 10)),
        ("2025-02-10 00:30:00", date(2025, 2, 10)),
        ("2025-01-27 21:00:00", date(2025, 2, 5)),
    ],
)
def test_trading_day_of(moment: str, day: date) -> None:
    assert CALENDAR.trading_day_of(ns(moment)) == day
    assert CALENDAR.trading_day_of(np.array([ns(moment)])).tolist() == [day]


def test_sessions_of_a_monday_start_on_friday_evening() -> None:
    sessions = CALENDAR.sessions("au", date(2025, 2, 10))
    assert sessions[0] == (ns("2025-02-07 21:00:00"), ns("2025-02-08 02:30:00"))
    assert sessions[1] == (ns("2025-02-10 09:00:00"), ns("2025-02-10 10:15:00"))
    assert len(CALENDAR.sessions("au", date(2025, 2, 5))) == 3
    assert CALENDAR.sessions("IF", date(2025, 2, 10))[0][0] == ns("2025-02-10 09:30:00")
    with pytest.raises(UsageError, match="not a trading day"):
        CALENDAR.sessions("cu", date(2025, 2, 8))


def test_session_index_leaves_out_auctions_and_breaks() -> None:
    moments = {
        "2025-02-07 20:59:00": -1,
        "2025-02-07 21:00:00": 0,
        "2025-02-08 00:59:59": 0,
        "2025-02-08 01:00:00": 0,  # the snapshot that ends a session is its last
        "2025-02-08 01:00:01": -1,
        "2025-02-10 08:59:00": -1,
        "2025-02-10 09:00:00": 1,
        "2025-02-10 10:15:00": 1,
        "2025-02-10 10:15:01": -1,
        "2025-02-10 13:30:00": 3,
        "2025-02-10 15:00:01": -1,
        "2025-02-11 09:30:00": -1,
    }
    found = CALENDAR.session_index("cu", date(2025, 2, 10), np.array([ns(text) for text in moments]))
    assert found.dtype == np.int16 and found.tolist() == list(moments.values())


def test_require_tells_the_nearest_days() -> None:
    assert CALENDAR.require_trading_day(date(2025, 2, 10)) == date(2025, 2, 10)
    with pytest.raises(UsageError, match="2025-02-08 is not a trading day") as caught:
        CALENDAR.require_trading_day(date(2025, 2, 8))
    assert "2025-02-07 and 2025-02-10" in caught.value.hint
    with pytest.raises(UsageError, match="starts after it ends"):
        CALENDAR.require_days(date(2025, 2, 10), date(2025, 2, 7))
    with pytest.raises(UsageError, match="no trading day from 2025-01-28 to 2025-02-04") as caught:
        CALENDAR.require_days(date(2025, 1, 28), date(2025, 2, 4))
    assert "2025-01-27 and 2025-02-05" in caught.value.hint
    with pytest.raises(UsageError, match="speaks for"):
        CALENDAR.require_days(date(2025, 1, 28), date(2099, 2, 4))
    with pytest.raises(UsageError, match="no date"):
        parse_day("2025-13-01")


# ---- properties, against a calendar that walks day by day ----
holiday_sets = st.sets(st.dates(date(2024, 1, 1), date(2024, 12, 31)), max_size=40)
moments_2024 = st.integers(ns("2024-01-10 00:00:00"), ns("2024-12-20 00:00:00"))


def slow_next(holidays: set[date], day: date) -> date:
    while day.weekday() >= 5 or day in holidays:
        day += timedelta(days=1)
    return day


@given(holiday_sets, moments_2024)
def test_trading_day_of_agrees_with_walking(holidays: set[date], moment: int) -> None:
    calendar = TradingCalendar(holidays)
    wall = datetime.fromtimestamp(moment // 1_000_000_000, UTC).astimezone(SHANGHAI)
    day = slow_next(holidays, wall.date() + timedelta(days=wall.hour >= 18))
    assert calendar.trading_day_of(moment) == day
    start, end = calendar.bounds(day)
    assert start <= moment < end


@given(holiday_sets, st.lists(moments_2024, max_size=30))
def test_scalar_and_vector_agree(holidays: set[date], moments: list[int]) -> None:
    calendar = TradingCalendar(holidays)
    assert calendar.trading_day_of(np.array(moments, np.int64)).tolist() == [
        calendar.trading_day_of(m) for m in moments
    ]


@given(holiday_sets, st.dates(date(2024, 1, 10), date(2024, 12, 20)), st.sampled_from(["cu", "au", "IF"]))
def test_every_session_lies_in_its_own_trading_day(holidays: set[date], start: date, variety: str) -> None:
    calendar = TradingCalendar(holidays)
    day = calendar.next_day(start)
    assert calendar.previous_day(calendar.next_day(day)) == day
    low, high = calendar.bounds(day)
    sessions = calendar.sessions(variety, day)
    assert low <= sessions[0][0] and sessions[-1][1] <= high
    assert [t for session in sessions for t in session] == sorted({t for session in sessions for t in session})
    edges = np.array([t for session in sessions for t in (session[0], session[1], session[1] + CLOSING_NS)])
    assert calendar.session_index(variety, day, edges).tolist() == [
        value for index in range(len(sessions)) for value in (index, index, -1)
    ]
    gap = {day - timedelta(days=n) for n in range(1, (day - calendar.previous_day(day)).days)}
    holiday_before = any(d.weekday() < 5 for d in gap)
    assert calendar.has_night(day) is not holiday_before
    assert (len(sessions) == 4) is (variety != "IF" and not holiday_before)


def test_trading_days_partition_time() -> None:
    days = CALENDAR.days(date(2019, 12, 20), date(2020, 5, 20))
    bounds = [CALENDAR.bounds(day) for day in days]
    assert all(end == start for (_, end), (start, _) in zip(bounds, bounds[1:], strict=False))
    assert all((end - start) % NS_PER_DAY == 0 and end - start >= 24 * NS_PER_HOUR for start, end in bounds)


def test_trading_days_are_those_of_xshg() -> None:
    import exchange_calendars
    import pandas as pd

    xshg = exchange_calendars.get_calendar("XSHG", start="2018-01-01", end="2026-12-31")
    theirs = {day.date() for day in xshg.sessions}
    ours = set(CALENDAR.days(date(2018, 1, 1), date(2026, 12, 31)))
    # Day that only one of the two trades on -> why. Futures and shares have had the same days all these years.
    explained: dict[date, str] = {}
    assert ours ^ theirs == set(explained)
    assert len(ours) == len(pd.DatetimeIndex(xshg.sessions)) == 2184


@pytest.mark.parametrize("variety", [variety.key for variety in all_varieties()])
def test_the_edges_of_every_session_since_2018_belong_to_their_day(variety: str) -> None:
    days = CALENDAR.days(date(2018, 1, 2), date(2026, 12, 30))
    edges = [
        (t, day)
        for day in days
        for start, end in CALENDAR.sessions(variety, day)
        for t in (start - 60 * 10**9, start - 1, start, start + 1, end - 1, end, end + 60 * 10**9)
    ]
    moments, expected = np.array([t for t, _ in edges]), np.array([day for _, day in edges], "datetime64[D]")
    assert len(edges) >= 7 * 2 * len(days)
    assert (CALENDAR.trading_day_of(moments) == expected).all()
    shuffled = np.random.default_rng(1).permutation(len(edges))
    assert (CALENDAR.trading_day_of(moments[shuffled]) == expected[shuffled]).all()
    for index in range(0, len(edges), 97):
        assert CALENDAR.trading_day_of(edges[index][0]) == edges[index][1]


def test_nights_by_variety_and_date() -> None:
    suspended = CALENDAR.days(date(2020, 2, 3), date(2020, 5, 6))
    assert not any(CALENDAR.has_night(day, key) for day in suspended for key in ("cu", "au", "ag", None))
    assert all(len(CALENDAR.sessions("cu", day)) == 3 for day in suspended)
    assert CALENDAR.has_night(date(2020, 5, 7), "cu") and CALENDAR.has_night(date(2020, 1, 23), "ag")
    assert not CALENDAR.has_night(date(2025, 2, 10), "IF") and CALENDAR.has_night(date(2025, 2, 10))
    assert CALENDAR.has_night(date(2013, 7, 9), "au") and not CALENDAR.has_night(date(2013, 7, 9), "cu")
    assert CALENDAR.sessions("IF", date(2015, 12, 31))[0][0] == ns("2015-12-31 09:15:00")


@given(st.lists(st.integers(ns("2009-12-01 00:00:00"), ns("2026-12-31 17:59:59")), min_size=1, max_size=20))
def test_moments_far_apart_agree_with_one_at_a_time(moments: list[int]) -> None:
    found = CALENDAR.trading_day_of(np.array(moments, np.int64))
    assert found.tolist() == [CALENDAR.trading_day_of(np.array([m], np.int64)).item() for m in moments]


@given(st.integers(-(2**62), 2**62))
def test_a_moment_outside_the_list_has_no_trading_day(moment: int) -> None:
    inside = CALENDAR.bounds(date(2010, 1, 4))[0] <= moment < CALENDAR.bounds(date(2026, 12, 31))[1]
    for asked in (moment, np.array([moment, moment]), np.array([ns("2020-01-06 12:00:00"), moment])):
        try:
            CALENDAR.trading_day_of(asked)
        except BeyondCalendarError as error:
            assert not inside and "speaks for 2009-12-01 to 2026-12-31, not for the trading day of" in error.message


def test_the_last_day_of_the_list_is_whole_and_nothing_behind_it_is_guessed() -> None:
    last = date(2026, 12, 31)
    assert CALENDAR.previous_day(date(2027, 1, 1)) == last and CALENDAR.is_trading_day(last)
    assert {CALENDAR.trading_day_of(ns(text)) for text in ("2026-12-30 21:00:00", "2026-12-31 15:00:00")} == {last}
    assert [len(CALENDAR.sessions(key, last)) for key in ("cu", "IF")] == [4, 2]
    assert CALENDAR.bounds(last) == (ns("2026-12-30 18:00:00"), ns("2026-12-31 18:00:00"))
    assert CALENDAR.require_days(date(2026, 12, 30), last) == CALENDAR.days(date(2026, 12, 30), last)
    # 2027-01-01 is a public holiday, so no night session begins on its eve; a list that ends there does not even know.
    guesses = {
        "the trading day after 2026-12-31": lambda: CALENDAR.next_day(last),
        "the trading day of 2027-01-01": lambda: CALENDAR.trading_day_of(ns("2026-12-31 21:00:00")),
        "2027-01-01": lambda: CALENDAR.is_trading_day(date(2027, 1, 1)),
        "2027-01-04": lambda: CALENDAR.sessions("cu", date(2027, 1, 4)),
        "the trading day before 2027-01-04": lambda: CALENDAR.bounds(date(2027, 1, 4)),
        "2027-01-05": lambda: CALENDAR.has_night(date(2027, 1, 5)),
        "2027-01-06": lambda: CALENDAR.days(last, date(2027, 1, 6)),
        "2027-01-08": lambda: CALENDAR.require_days(last, date(2027, 1, 8)),
        "the trading day before 2009-12-01": lambda: CALENDAR.previous_day(date(2009, 12, 1)),
    }
    for asked, guess in guesses.items():
        message = f"speaks for 2009-12-01 to 2026-12-31, not for {asked}$"
        with pytest.raises(BeyondCalendarError, match=message) as caught:
            guess()
        assert "refresh it" in caught.value.hint and caught.value.exit_code == 2
    assert not CALENDAR.is_trading_day(date(2027, 1, 2)), "a weekend never trades"
    assert CALENDAR.known_days(date(2026, 12, 30), date(2027, 3, 1)) == [date(2026, 12, 30), last]
    assert CALENDAR.assuming_weekdays.next_day(last) == date(2027, 1, 1), "a simulated world decides itself"


@given(holiday_sets, st.dates(date(2024, 1, 1), date(2024, 12, 31)), st.dates(date(2024, 1, 1), date(2024, 12, 31)))
def test_a_longer_list_changes_no_answer(holidays: set[date], reach: date, day: date) -> None:
    whole = TradingCalendar(holidays, date(2023, 12, 1), date(2025, 1, 31))
    cut = TradingCalendar({d for d in holidays if d <= reach}, date(2023, 12, 1), reach)
    for ask in (
        lambda c: c.next_day(day),
        lambda c: c.previous_day(day),
        lambda c: c.is_trading_day(day),
        lambda c: c.trading_day_of(midnight_ns(day) + 20 * NS_PER_HOUR),
        lambda c: c.days(date(2024, 1, 1), day),
        lambda c: c.has_night(day, "cu"),
    ):
        try:
            found = ask(cut)
        except BeyondCalendarError:
            continue
        assert found == ask(whole)


@pytest.mark.clock
@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-11-27 15:29:59", "2026-11-26"),
        ("2026-11-27 15:30:00", "2026-11-27"),
        ("2026-11-28 00:30:00", "2026-11-27"),  # over midnight, into the weekend
        ("2026-11-30 09:00:00", "2026-11-27"),
        ("2026-09-30 17:30:00", "2026-09-30"),  # before a holiday
        ("2026-10-07 17:30:00", "2026-09-30"),
        ("2025-12-31 17:30:00", "2025-12-31"),
        ("2026-12-31 17:30:00", "2026-12-31"),  # the list ends tonight
        ("2027-01-01 12:00:00", "2026-12-31"),
    ],
)
def test_a_trading_day_is_over_half_an_hour_after_its_close(now: str, day: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=SHANGHAI)
    assert str(last_finished_day(CALENDAR, moment)) == str(last_known_finished_day(CALENDAR, moment)) == day


@pytest.mark.clock
def test_behind_the_list_the_last_finished_day_is_refused() -> None:
    moment = datetime(2027, 1, 4, 17, 30, tzinfo=SHANGHAI)
    with pytest.raises(BeyondCalendarError, match="not for 2027-01-04"):
        last_finished_day(CALENDAR, moment)
    assert last_known_finished_day(CALENDAR, moment) == date(2026, 12, 31)


def test_nights_of_the_years_before_2020() -> None:
    first = {"au": date(2013, 7, 8), "ag": date(2013, 7, 8), "cu": date(2013, 12, 23)}
    for key, day in first.items():
        assert CALENDAR.has_night(day, key) and len(CALENDAR.sessions(key, day)) == 4
        before = CALENDAR.days(date(2010, 1, 4), CALENDAR.previous_day(day))
        assert not any(CALENDAR.has_night(each, key) for each in before)
    assert CALENDAR.sessions("cu", date(2010, 1, 4))[0][0] == ns("2010-01-04 09:00:00")
    assert not CALENDAR.has_night(date(2014, 1, 2), "cu"), "none before the first day after New Year"


def test_more_moments_than_one_block_holds_are_each_what_they_are_in_a_small_one() -> None:
    rng = np.random.default_rng(0)
    moments = rng.integers(ns("2018-01-02 00:00:00"), ns("2026-12-30 00:00:00"), (3, (1 << 17) - 7))
    found = CALENDAR.trading_day_of(moments)
    parts = [CALENDAR.trading_day_of(part) for part in np.array_split(moments.reshape(-1), 100)]
    assert found.shape == moments.shape and (found.reshape(-1) == np.concatenate(parts)).all()
