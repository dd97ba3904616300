"""The snapshot that ends a session belongs to it, wherever a time is mapped to a session."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_market.reference.session_times import (
    closing_ns_of,
    factor_clock,
    factor_clock_at,
    in_sessions,
    session_index,
    session_silence_ns,
)
from ghtrader_market.reference.trading_calendar import SHANGHAI, bundled_calendar

CALENDAR, DAY = bundled_calendar(), date(2025, 2, 11)


def ns(text: str) -> int:
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=SHANGHAI)
    return int(moment.replace(microsecond=0).timestamp()) * 10**9 + moment.microsecond * 1000


@pytest.mark.parametrize(
    ("time", "session"),
    [
        ("2025-02-11 01:00:00.000", 0),
        ("2025-02-11 01:00:00.500", 0),
        ("2025-02-11 10:15:00.000", 1),
        ("2025-02-11 10:15:00.300", 1),
        ("2025-02-11 11:30:00.000", 2),
        ("2025-02-11 11:30:00.500", 2),
        ("2025-02-11 15:00:00.000", 3),
        ("2025-02-11 15:00:00.900", 3),
        ("2025-02-11 15:00:01.000", -1),
        ("2025-02-11 10:29:59.500", -1),
        ("2025-02-11 10:30:00.000", 2),
        ("2025-02-11 08:59:00.000", -1),
        ("2025-02-10 20:59:00.500", -1),
        ("2025-02-11 15:30:00.000", -1),
    ],
)
def test_the_snapshot_at_the_end_is_the_sessions_last(time: str, session: int) -> None:
    moment = ns(time)
    assert CALENDAR.session_index("cu", DAY, np.array([moment])).tolist() == [session]
    # What older versions built knew no end: their days are still judged by that.
    before = CALENDAR.session_index("cu", DAY, np.array([moment]), closing_ns_of(None)).tolist()
    inside = any(start <= moment < end for start, end in CALENDAR.sessions("cu", DAY))
    assert before == [session if inside else -1]


def test_where_one_session_follows_at_once_its_opening_is_its_own() -> None:
    sessions = [(0, 10), (10, 20)]
    assert session_index(np.array([9, 10, 19, 20, -1]), sessions).tolist() == [0, 1, 1, 1, -1]
    assert [factor_clock_at(t, sessions) for t in (9, 10, 20, -1)] == [9, 10, 19, None]


@pytest.mark.parametrize(
    ("last", "after_s", "silent_s"),
    [
        ("2025-02-11 11:29:40.000", 15, 15),  # in the session still
        ("2025-02-11 11:29:40.000", 20, 0),  # 11:30
        ("2025-02-11 11:29:40.000", 2 * 3600, 0),
        ("2025-02-11 11:29:40.000", 2 * 3600 + 20, 0),  # 13:30: the afternoon counts anew
        ("2025-02-11 11:29:40.000", 2 * 3600 + 60, 40),
        ("2025-02-11 10:14:30.000", 60 * 10, 0),  # the halt from 10:15 to 10:30
        ("2025-02-11 10:14:30.000", 60 * 16, 30),
        ("2025-02-11 00:59:50.000", 5 * 3600, 0),  # the end of the night
        ("2025-02-11 14:59:30.000", 100, 0),  # and of the day
        ("2025-02-11 10:00:00.000", 600, 600),  # dead in mid-session
        ("2025-02-11 11:30:00.500", 60, 0),
    ],
)
def test_silence_is_time_of_a_session_without_a_tick(last: str, after_s: int, silent_s: int) -> None:
    sessions = CALENDAR.sessions("cu", DAY)
    assert session_silence_ns(sessions, ns(last), after_s * 10**9) == silent_s * 10**9


@given(st.lists(st.integers(-2 * 10**9, 12 * 10**9), max_size=30))
def test_the_clock_of_factors_never_leaves_the_session(moments: list[int]) -> None:
    sessions = [(0, 3 * 10**9), (5 * 10**9, 9 * 10**9)]
    times = np.array(sorted(moments), np.int64)
    times = times[in_sessions(times, sessions)]
    clock = factor_clock(times, sessions)
    assert (np.diff(clock) >= 0).all() and (session_index(clock, sessions, 0) == session_index(times, sessions)).all()
    assert clock.tolist() == [factor_clock_at(t, sessions) for t in times.tolist()]
    assert (clock[session_index(times, sessions, 0) >= 0] == times[session_index(times, sessions, 0) >= 0]).all()
