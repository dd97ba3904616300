"""Each kind of anomaly is found where it was put, with its rows, and a faultless day has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_market.quality.anomalies import EXAMPLES, KINDS, MEANING, Anomaly, Limits, find_anomalies
from ghtrader_market.quality.day_profile import profile_day
from ghtrader_market.reference.tick_schema import COLUMN_INDEX as C
from ghtrader_market.reference.trading_calendar import bundled_calendar
from tests.support.copper_day import DAY, whole_day

CALENDAR = bundled_calendar()
SESSIONS = CALENDAR.sessions("cu", DAY)
TIMES, VALUES = whole_day()
ROWS_OF = [np.flatnonzero(CALENDAR.session_index("cu", DAY, TIMES) == index) for index in range(len(SESSIONS))]
Bend = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def found_in(times: np.ndarray, values: np.ndarray, limits: Limits | None = None) -> dict[str, Anomaly]:
    index = CALENDAR.session_index("cu", DAY, times)
    found = find_anomalies(times, values, index, SESSIONS, 10.0, True, limits)
    return {anomaly.kind: anomaly for anomaly in found}


def put(column: str, row: int, value: float) -> Bend:
    def bend(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values[C[column], row] = value
        return times, values

    return bend


def swap_times(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    times[[100, 101]] = times[[101, 100]]
    return times, values


def repeat_time(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    times[101] = times[100]
    return times, values


def cross(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values[C["bid_price1"], 100] = values[C["ask_price1"], 100] + 10
    return times, values


def lock(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values[C["bid_price1"], 100] = values[C["ask_price1"], 100]
    return times, values


def empty_side(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values[[C[f"ask_price{i}"] for i in range(1, 6)], 100] = np.nan
    return times, values


def empty_book(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values[[C["ask_price1"], C["bid_price1"]], 100] = np.nan
    return times, values


def leave_out(rows: np.ndarray) -> Bend:
    return lambda times, values: (np.delete(times, rows), np.delete(values, rows, axis=1))


def freeze_book(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    book = [index for name, index in C.items() if name.startswith(("bid_", "ask_"))]
    values[book, 100:150] = values[book, 100:101]
    return times, values


def jump(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values[C["last_price"], 100] *= 1.1
    values[C["last_price"], 100] = round(values[C["last_price"], 100], -1)
    return times, values


@pytest.mark.parametrize(
    ("bend", "kinds", "row"),
    [
        (swap_times, {"disordered_time"}, 101),
        (repeat_time, {"duplicate_time"}, 101),
        (put("bid_volume3", 100, -1), {"negative_value"}, 100),
        (put("open_interest", 100, -5), {"negative_value"}, 100),
        (put("ask_price2", 100, 0.0), {"negative_value"}, 100),
        (put("volume", 100, 0), {"volume_backwards"}, 100),
        (put("amount", 100, 0), {"volume_backwards"}, 100),
        (cross, {"crossed_book"}, 100),
        (lock, {"locked_book"}, 100),
        (put("ask_price5", 100, 74_003.0), {"off_grid"}, 100),
        (empty_side, {"limit_move"}, 100),
        (empty_book, {"absent_book"}, 100),
        (jump, {"price_jump"}, 100),
        (leave_out(ROWS_OF[1][100:150]), {"gap"}, ROWS_OF[1][99]),
        (leave_out(ROWS_OF[2][-50:]), {"gap"}, ROWS_OF[2][-51]),
        (leave_out(ROWS_OF[0][:50]), {"gap"}, -1),
        (freeze_book, {"stale_quotes"}, 100),
        (leave_out(ROWS_OF[0]), {"night_missing"}, -1),
        (leave_out(ROWS_OF[2]), {"session_missing"}, -1),
    ],
)
def test_each_kind_is_found_where_it_was_put(bend: Bend, kinds: set[str], row: int) -> None:
    found = found_in(*bend(TIMES.copy(), VALUES.copy()))
    assert set(found) == kinds
    (anomaly,) = found.values()
    assert anomaly.examples[0][0] == row
    told = anomaly.to_json()
    assert told["meaning"] == MEANING[anomaly.kind] and told["first"][0]["time"].startswith("2025-02-1")


def test_a_row_that_is_there_twice_is_told_from_one_of_the_same_second() -> None:
    times, values = TIMES.copy(), VALUES.copy()
    times[101], values[:, 101] = times[100], values[:, 100]
    found = found_in(times, values)
    assert {kind: one.examples[0][0] for kind, one in found.items()} == {"duplicate_time": 101}, "to the second"
    times[::2] += 500_000_000
    times[101] = times[100]
    found = found_in(times, values)
    assert {kind: one.examples[0][0] for kind, one in found.items()} == {"duplicate_time": 101, "duplicate_row": 101}


def test_a_whole_day_has_none_and_every_kind_is_explained() -> None:
    assert found_in(TIMES, VALUES) == {}
    assert set(MEANING) == set(KINDS)


def test_seconds_of_a_gap_and_of_a_stale_book() -> None:
    gap = found_in(*leave_out(ROWS_OF[1][100:150])(TIMES.copy(), VALUES.copy()))["gap"]
    assert (gap.count, gap.seconds) == (1, 51 * 3.0)
    stale = found_in(*freeze_book(TIMES.copy(), VALUES.copy()))["stale_quotes"]
    assert (stale.count, stale.seconds) == (1, 49 * 3.0)


def test_a_book_that_stands_still_without_trades_is_not_stale() -> None:
    times, values = freeze_book(TIMES.copy(), VALUES.copy())
    values[C["volume"], 100:150] = values[C["volume"], 100]
    assert found_in(times, values) == {}


def test_a_thin_contract_is_not_one_long_gap() -> None:
    rows = np.arange(len(TIMES)) % 20 != 0  # one tick a minute
    assert found_in(*leave_out(np.flatnonzero(rows))(TIMES, VALUES), replace(Limits(), gap_s=5.0)) == {}


def test_ticks_outside_the_sessions_are_not_judged_by_their_book() -> None:
    times = np.concatenate([[SESSIONS[0][0] - 60 * 10**9], TIMES])
    values = np.concatenate([VALUES[:, :1], VALUES], axis=1)
    values[C["bid_price1"], 0] = values[C["ask_price1"], 0] + 50
    assert found_in(times, values) == {}


def test_an_empty_day_lacks_every_session() -> None:
    found = found_in(TIMES[:0], VALUES[:, :0])
    assert {kind: anomaly.count for kind, anomaly in found.items()} == {"night_missing": 1, "session_missing": 3}
    assert profile_day(TIMES[:0], VALUES[:, :0], np.zeros(0, np.int16), SESSIONS, 10.0).rows == 0


@given(st.sets(st.integers(1, len(TIMES) - 1), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_counts_are_the_rows_that_were_bent_and_examples_the_first(rows: set[int]) -> None:
    times, values = TIMES.copy(), VALUES.copy()
    values[C["bid_volume1"], list(rows)] = -1
    (anomaly,) = found_in(times, values).values()
    assert (anomaly.kind, anomaly.count) == ("negative_value", len(rows))
    assert [row for row, _ in anomaly.examples] == sorted(rows)[:EXAMPLES]
    assert [ns for _, ns in anomaly.examples] == TIMES[sorted(rows)[:EXAMPLES]].tolist()


def test_profile_of_a_whole_day() -> None:
    index = CALENDAR.session_index("cu", DAY, TIMES)
    profile = profile_day(TIMES, VALUES, index, SESSIONS, 10.0)
    assert profile.session_rows == tuple(len(rows) for rows in ROWS_OF)
    assert (profile.rows, profile.rows_outside, profile.levels) == (len(TIMES), 0, 5)
    assert profile.interval_s.median == profile.interval_s.max == 3.0
    assert profile.spread_ticks.median == 1.0
    assert profile.volume == VALUES[C["volume"], -1]
    means = VALUES[C["bid_volume1"]].mean() + VALUES[C["ask_volume1"]].mean()
    assert profile.depth_lots[0] == pytest.approx(means, abs=0.01)
    flat = VALUES.copy()
    flat[[C[f"{side}_price{i}"] for i in range(2, 6) for side in ("bid", "ask")]] = np.nan
    assert profile_day(TIMES, flat, index, SESSIONS, 10.0).levels == 1
