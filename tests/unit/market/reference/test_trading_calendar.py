"""Trading days, nights and sessions: known days, and properties against a slow and simple calendar."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import ConfigError, FailedError, IntegrityError, UnreachableError, UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference import refresh_holidays as calendar_refresh
from ghtrader_market.reference.trading_calendar import (
    NS_PER_DAY,
    NS_PER_HOUR,
    TradingCalendar,
    bundled_calendar,
    holidays_path,
    load_calendar,
    parse_day,
    refresh_holidays,
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
        "2025-02-08 01:00:00": -1,
        "2025-02-10 08:59:00": -1,
        "2025-02-10 09:00:00": 1,
        "2025-02-10 10:15:00": -1,
        "2025-02-10 13:30:00": 3,
        "2025-02-10 15:00:00": -1,
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
    edges = np.array([t for session in sessions for t in (session[0], session[1] - 1, session[1])])
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


@given(st.lists(st.integers(-(2**61), 2**61), min_size=1, max_size=20))
def test_moments_far_apart_agree_with_one_at_a_time(moments: list[int]) -> None:
    found = CALENDAR.trading_day_of(np.array(moments, np.int64))
    assert found.tolist() == [CALENDAR.trading_day_of(np.array([m], np.int64)).item() for m in moments]


def test_how_many_moments_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    moments = rng.integers(ns("2018-01-02 00:00:00"), ns("2026-12-30 00:00:00"), 2_000_000)
    began = time.process_time()
    CALENDAR.trading_day_of(moments)
    with capsys.disabled():
        print(f" trading_day_of: {len(moments) / (time.process_time() - began) * 60 / 1e6:.0f} million a CPU minute")


# ---- the home's list ----
@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A loopback web server that answers with `body["it"]`."""
    body = {"it": b"[]"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body["it"])

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/holidays.json", body
    server.shutdown()
    server.server_close()
    thread.join(5)


def at(home: Path, url: str) -> Settings:
    return load_settings(home).model_copy(update={"tq_chinese_holiday_url": url})


def test_a_fetched_list_wins_for_its_years_and_the_bundled_one_elsewhere(tmp_path: Path, served) -> None:
    url, body = served
    settings = at(tmp_path, url)
    assert load_calendar(settings) is CALENDAR
    body["it"] = json.dumps(["2030-01-01", "2030-02-04", "2030-02-05"]).encode()
    calendar = refresh_holidays(settings)
    assert not calendar.is_trading_day(date(2030, 2, 4)) and calendar.is_trading_day(date(2030, 2, 6))
    assert calendar.require_trading_day(date(2030, 2, 6)) and calendar.last == date(2030, 12, 31)
    assert not calendar.is_trading_day(date(2025, 1, 28))
    body["it"] = json.dumps(["2025-05-01", "2025-05-02"]).encode()
    calendar = refresh_holidays(settings)
    assert calendar.is_trading_day(date(2025, 1, 28)) and not calendar.is_trading_day(date(2025, 5, 1))
    assert not calendar.is_trading_day(date(2024, 10, 1))


@pytest.mark.parametrize("payload", [b"<html>", b"[]", b'{"a": 1}', b'["soon"]', b"[3]"])
def test_a_list_that_is_none_changes_nothing(tmp_path: Path, served, payload: bytes) -> None:
    url, body = served
    body["it"] = payload
    with pytest.raises(FailedError, match="not usable"):
        refresh_holidays(at(tmp_path, url))
    assert not holidays_path(tmp_path / "data").exists()


def test_nobody_there_and_no_address(tmp_path: Path, served) -> None:
    with pytest.raises(UnreachableError, match="no holiday list at") as caught:
        refresh_holidays(at(tmp_path, "http://127.0.0.1:1/holidays.json"), timeout_s=2.0)
    assert caught.value.exit_code == 4
    with pytest.raises(ConfigError):
        refresh_holidays(at(tmp_path, ""))
    path = holidays_path(tmp_path / "data")
    path.parent.mkdir(parents=True)
    path.write_text('{"holidays": ["later"], "first": "2025-01-01", "last": "2025-12-31"}')
    with pytest.raises(IntegrityError, match="no holiday list"):
        load_calendar(at(tmp_path, ""))
