"""A stale row before an opening and a swapped pair cost a row, not the day; nothing else is touched."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_market.reference.row_judgement import JudgedRows, RowFault, judge_rows
from ghtrader_market.reference.trading_calendar import bundled_calendar

SESSIONS = bundled_calendar().sessions("cu", date(2019, 9, 17))
SECOND = 1_000_000_000
NIGHT, MORNING = SESSIONS[0], SESSIONS[1]


def clean(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A valid stretch of a night and the morning after: times strictly rising, volume and amount never falling."""
    rng = np.random.default_rng(seed)
    half = rows // 2
    starts = np.repeat([NIGHT[0], MORNING[0]], [half, rows - half])
    gone = rng.integers(1, 5, rows)
    times = starts + SECOND * np.concatenate([np.cumsum(gone[:half]), np.cumsum(gone[half:])])
    volume = np.cumsum(rng.integers(0, 9, rows)).astype(float)
    return times, volume, volume * 239_000.0


def judge(times: np.ndarray, volume: np.ndarray, amount: np.ndarray | None = None) -> JudgedRows:
    return judge_rows(times, volume, volume * 239_000.0 if amount is None else amount, SESSIONS)


@given(st.integers(0, 60), st.integers(0, 99))
def test_a_clean_day_stays_as_it_is(rows: int, seed: int) -> None:
    verdict = judge(*clean(rows, seed))
    assert verdict.kept.tolist() == list(range(rows))
    assert verdict.notes == ()


@given(st.integers(4, 60), st.integers(0, 99), st.data())
def test_a_swapped_pair_is_put_back(rows: int, seed: int, data: st.DataObject) -> None:
    times, volume, amount = clean(rows, seed)
    at = data.draw(st.integers(0, rows - 2))
    order = np.arange(rows)
    order[[at, at + 1]] = at + 1, at
    verdict = judge(times[order], volume[order], amount[order])
    assert times[order][verdict.kept].tolist() == times.tolist()
    assert volume[order][verdict.kept].tolist() == volume.tolist()
    assert [(note.row, note.fault) for note in verdict.notes] == [(at, RowFault.SWAPPED)]


@given(st.integers(2, 60), st.integers(0, 99), st.integers(1, 3), st.booleans())
def test_stale_rows_a_minute_before_an_opening_are_left_out(rows: int, seed: int, count: int, by_night: bool) -> None:
    times, volume, amount = clean(rows, seed)
    at = 0 if by_night else rows // 2
    opening = NIGHT[0] if by_night else MORNING[0]
    stale = opening - 60 * SECOND + np.arange(count) * SECOND
    day = np.insert(times, at, stale), np.insert(volume, at, [120_000.0] * count), np.insert(amount, at, [3e10] * count)
    verdict = judge(*day)
    assert verdict.kept.tolist() == [row for row in range(rows + count) if not at <= row < at + count]
    assert [(note.row, note.fault) for note in verdict.notes] == [(at + k, RowFault.STALE) for k in range(count)]
    assert "with volume 120000 where" in verdict.notes[0].detail


def test_yesterdays_snapshot_with_its_own_time_is_left_out() -> None:
    """A front's last snapshot keeps its time of day: 15:00:01, which reads as the end of the new trading day."""
    times, volume, _ = clean(20, 3)
    close = SESSIONS[-1][1] + SECOND
    verdict = judge(np.insert(times, 0, close), np.insert(volume, 0, 120_000.0))
    assert [(note.row, note.fault) for note in verdict.notes] == [(0, RowFault.STALE)]


def test_an_auction_row_before_the_opening_is_kept() -> None:
    times, volume, _ = clean(20, 3)
    verdict = judge(np.insert(times, 0, NIGHT[0] - 60 * SECOND), np.insert(volume, 0, 0.0))
    assert verdict.kept.tolist() == list(range(21))
    assert not verdict.notes


def test_other_faults_are_left_to_be_refused() -> None:
    times, volume, amount = clean(60, 5)
    fallen = volume.copy()
    fallen[30] = 0.0  # in a session: what traded is not known
    back = times.copy()
    back[40] = times[10]
    shuffled = np.random.default_rng(1).permutation(60)
    for case in (
        (times, fallen, amount),
        (back, volume, amount),
        (times[shuffled], volume[shuffled], amount[shuffled]),
    ):
        assert judge_rows(*case, SESSIONS).kept.tolist() == list(range(60))
    unknown = np.full(60, np.nan)
    assert not judge_rows(times, unknown, unknown, SESSIONS).notes


def test_no_rows_and_no_sessions() -> None:
    empty = np.zeros(0)
    assert judge_rows(empty.astype(np.int64), empty, empty, SESSIONS).kept.tolist() == []
    times, volume, amount = clean(4, 1)
    assert judge_rows(times, volume, amount, []).kept.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("pairs", [1, 30])
def test_many_swapped_pairs_are_a_disordered_day(pairs: int) -> None:
    times, volume, amount = clean(200, 7)
    order = np.arange(200)
    for pair in range(pairs):
        order[[5 * pair, 5 * pair + 1]] = order[[5 * pair + 1, 5 * pair]]
    verdict = judge(times[order], volume[order], amount[order])
    assert len(verdict.notes) == (1 if pairs == 1 else 0)
