"""Days played with the packaged fit look like the recorded day, and are made as fast as a driver day."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from functools import cache

import numpy as np
import pytest

from ghtrader_base.errors import BadRecordingError
from ghtrader_exchange.world.realistic.fit_report import compared_figures, within_tolerance
from ghtrader_exchange.world.realistic.fitting import fit_market, play, play_statistics
from ghtrader_exchange.world.realistic.market_fit import RealisticWorld, packaged_fit
from ghtrader_exchange.world.realistic.recorded_day import snapshots_in_sessions
from ghtrader_exchange.world.realistic.statistics import MarketStatistics, SnapshotDay, measure
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.samples import IF2101
from ghtrader_market.sources.recordings.reader import read_recording


@cache
def recorded() -> tuple[SnapshotDay, float]:
    ((symbol, day, ticks),) = read_recording(IF2101)
    return snapshots_in_sessions(symbol, day, ticks, bundled_calendar())


@cache
def played() -> MarketStatistics:
    """The mean of five days that the fit was not corrected by."""
    return play_statistics(packaged_fit(), recorded()[0].bid.size, 5, first_seed=1)


def test_the_packaged_fit_holds_the_statistics_of_the_packaged_day() -> None:
    day, tick_share = recorded()
    found = measure(day)
    stored = packaged_fit().recorded.lines()
    assert found.lines() == pytest.approx(stored, rel=1e-9)
    assert tick_share == pytest.approx(packaged_fit().tick_share, rel=1e-5)
    assert found.unchanged == pytest.approx(0.28, abs=0.01)
    assert found.move_autocorrelation[0] == pytest.approx(0.34, abs=0.01)
    assert found.volume_autocorrelation[0] == pytest.approx(0.54, abs=0.01)
    assert found.mean_depth == pytest.approx(3.0, abs=0.05)


def test_the_mean_of_five_played_days_is_within_a_third_of_every_recorded_figure() -> None:
    real = packaged_fit().recorded.lines()
    beyond = {n: (real[n], got) for n, got in played().lines().items() if not within_tolerance(real[n], got)}
    assert not beyond


def test_the_comparison_marks_what_is_beyond_a_third() -> None:
    rows = [figure.to_dict() for figure in compared_figures(packaged_fit())]
    assert [row["statistic"] for row in rows[:3]] == ["unchanged", "half ticks", "mean move"]
    assert all(row[""] == "" for row in rows)
    assert not within_tolerance(3.0, 4.01) and within_tolerance(3.0, 3.99) and within_tolerance(0.0, 0.0)


def test_a_day_of_the_driver_world_is_not_like_it() -> None:
    """What the world was made for: the same figures that `realistic` meets are far off in `driver`."""
    history = History(Scenario(world="driver", snapshot_seconds=3.0))
    values = history.day(history.main_contract("cu", history.days[1]), history.days[1]).values
    found = measure(
        SnapshotDay(
            *(np.round(values[n] / 10).astype(np.int64) for n in ("bid_price1", "ask_price1")),
            *(values[n] for n in ("bid_volume1", "ask_volume1", "volume")),
        )
    )
    assert (
        found.unchanged > 0.85
        and abs(found.move_autocorrelation[0]) < 0.1
        and abs(found.volume_autocorrelation[0]) < 0.1
    )
    assert found.half_ticks == 1.0 and found.mean_depth > 30


def test_a_day_is_made_at_least_half_as_fast_as_a_day_of_driver() -> None:
    def seconds(world: str) -> float:
        history = History(Scenario(world=world, snapshot_seconds=0.5))

        def make() -> None:
            history._paths.clear()
            history._memory.clear()
            history.day("SHFE.cu2505", history.days[1])

        make()
        return min(_processor_seconds(make) for _ in range(3))

    assert seconds("realistic") < 2.0 * seconds("driver")


def _processor_seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def test_days_are_their_seeds_and_differ_by_them() -> None:
    world = RealisticWorld(packaged_fit(), 1.0)
    one, again, other = play(world, 7, 3000), play(world, 7, 3000), play(world, 8, 3000)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_cannot_be_fitted_is_said() -> None:
    day, share = recorded()
    few = SnapshotDay(*(column[:500] for column in day))
    still = SnapshotDay(*(np.full(4000, k) for k in (10, 11, 1, 1, 5)))
    crossed = SnapshotDay(np.full(4000, 10), np.full(4000, 9), *(np.ones(4000, np.int64) for _ in range(3)))
    rises = np.arange(4000) // 40
    one_lot = (np.arange(4000) == 2000).astype(np.int64).cumsum()
    rare = SnapshotDay(rises, rises + 1, *(np.ones(4000, np.int64) for _ in range(2)), one_lot)
    wild = SnapshotDay(100 * np.arange(4000), 100 * np.arange(4000) + 1, rises + 1, rises + 1, np.arange(4000))
    for bad, says in (
        (few, "500 snapshots"), (still, "hardly moves"), (rare, "hardly moves or trades"), (crossed, "crossed"),
        (wild, "200 half ticks of move"),
    ):  # fmt: skip
        with pytest.raises(BadRecordingError, match=says):
            fit_market(bad, "CFFEX.IF2101", date(2021, 1, 4), share)


def test_a_day_whose_moves_and_volumes_are_all_alike_is_fitted() -> None:
    ones, bid = np.ones(2000, np.int64), 1000 + np.arange(2000) % 2
    same = SnapshotDay(bid, bid + 1, ones, ones, np.arange(2000))
    fitted = fit_market(same, "CFFEX.IF2101", date(2021, 1, 4), 1e-4)
    assert fitted.mean_move == 2.0 and fitted.mean_volume == 1.0 and not any(fitted.volume_amplitude)


def test_rows_outside_the_sessions_do_not_count() -> None:
    ((symbol, day, ticks),) = read_recording(IF2101)
    times = ticks.column("datetime_ns").to_numpy()
    bounds = bundled_calendar().sessions("IF", day)
    inside = sum(int(((times >= a) & (times < b)).sum()) for a, b in bounds)
    assert recorded()[0].bid.size == inside < times.size
    with pytest.raises(BadRecordingError, match="in sessions"):
        snapshots_in_sessions(symbol, day, ticks.slice(ticks.num_rows - 2), bundled_calendar())
