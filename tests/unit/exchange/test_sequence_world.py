"""The world `sequence`: its truth is in the order of trades, its oracle exact, and no single snapshot tells."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import IntegrityError
from ghtrader_exchange.world import day_simulation
from ghtrader_exchange.world.oracle import Oracle, block_distribution, block_table, class_table
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import ContractDay, History
from ghtrader_exchange.world.worlds import NONE, sequence

DAY = date(2025, 4, 1)
BLOCK = 50


@cache
def played(seed: int = 5, strength: float = 1.0) -> History:
    return History(Scenario(world="sequence", seed=seed, strength=strength))


def main_days(history: History) -> list[ContractDay]:
    return [history.day(symbol, day) for day, symbol in history.continuous("cu")]


def mid_ticks(ticks: ContractDay) -> np.ndarray:
    return (ticks.values["bid_price1"] + ticks.values["ask_price1"]) / 20


def mean_and_error(numbers: list[float]) -> tuple[float, float]:
    return float(np.mean(numbers)), float(np.std(numbers, ddof=1) / np.sqrt(len(numbers)))


def test_blocks_run_through_the_day_and_each_ones_code_steers_the_next() -> None:
    phases = []
    for seed in range(40):
        path = day_simulation.draw_path(sequence(1.0), seed, "cu", DAY, 2000)
        starts = np.flatnonzero(path.age == 0)
        assert (np.diff(starts) == BLOCK).all() and (np.diff(path.age)[np.diff(path.age) != 1] == 1 - BLOCK).all()
        assert set(path.code) <= {-1, 1} and set(path.driver) <= {-1.0, 1.0}
        for start in starts[1:]:
            assert (path.driver[start : start + BLOCK] == path.code[start - 1]).all()
        assert (np.diff(path.code)[np.diff(path.age) == 1] == 0).all(), "a code holds for its block"
        phases.append(path.age[0])
    assert len(set(phases)) > 15, "days begin anywhere in a block"


def test_a_known_block_ahead_has_a_closed_form() -> None:
    """Within one block the jumps are one compound Poisson number; across two they add up by convolution."""
    path = sequence(2.0).path
    inside = block_table(path, 10)
    skewed = NONE.path._replace(driver_memory=1e12, skew=path.skew * np.tanh(5.0))
    grid, frozen = class_table(skewed, 10)
    steady = np.array([frozen[0], frozen[-1]])  # the grid's ends, where tanh is all but one
    assert grid[-1] == 5.0
    for before in (0, 1):
        assert np.allclose(inside[before, :, : BLOCK - 10], steady[before], atol=2e-4)
    ticks, chance = block_distribution(path, 20)
    short, one = block_distribution(path, 10)
    at = BLOCK - 11  # ten snapshots of this block are left
    for before in (0, 1):
        for spelt in (0, 1):
            both = np.convolve(one[before, 0, 0], one[spelt, 0, 0])
            moves = short[0] * 2 + np.arange(both.size)
            exact = dict(zip(moves.tolist(), both.tolist(), strict=True))
            assert np.allclose(chance[before, spelt, at], [exact.get(int(k), 0.0) for k in ticks], atol=1e-10)


@pytest.mark.parametrize(("horizon", "threshold"), [(1, 1), (10, 3), (50, 1), (200, 2)])
def test_the_table_is_a_symmetric_distribution(horizon: int, threshold: int) -> None:
    table = block_table(sequence(1.5).path, horizon, threshold)
    assert table.shape == (2, 2, BLOCK, 3)
    assert np.allclose(table.sum(axis=-1), 1.0) and (table > 0).all()
    assert np.allclose(table, table[::-1, ::-1, :, ::-1], atol=1e-12), "mirrored signs, mirrored chances"
    assert (table[1, 1, :, 2] >= table[0, 1, :, 2] - 1e-12).all(), "the sign that steers now points where it says"


def test_without_strength_the_oracle_is_the_prior() -> None:
    table = block_table(sequence(0.0).path, 50)
    assert np.allclose(table, table[0, 0, 0], atol=1e-12)
    assert np.allclose(table[0, 0, 0], class_table(NONE.path, 50)[1][0], atol=1e-9), "the walk is that of `none`"


@pytest.mark.parametrize("horizon", [10, 50, 200])
def test_the_oracle_beats_the_prior_and_is_calibrated(horizon: int) -> None:
    table = block_table(sequence(1.0).path, horizon)
    gains, misses, sure = [], [], []
    for seed in range(30):
        path = day_simulation.draw_path(sequence(1.0), seed, "cu", DAY, 20_000)
        moves = np.zeros(path.driver.size)
        np.add.at(moves, np.floor(path.jump_time / 0.5).astype(int), path.jump_ticks)
        price = np.cumsum(moves)
        ahead = price[horizon:] - price[:-horizon]
        found = np.where(ahead >= 1, 2, np.where(ahead <= -1, 0, 1))
        index = (path.driver > 0).astype(int), (path.code > 0).astype(int), path.age
        chances = table[index][:-horizon]
        frequency = np.bincount(found, minlength=3) / found.size
        gains.append(float(np.log(chances[np.arange(found.size), found]).mean() - np.log(frequency[found]).mean()))
        misses.append(frequency - chances.mean(axis=0))
        agree = (index[0] + index[1])[:-horizon] == 2
        sure.append((found == 2)[agree].mean() - chances[agree, 2].mean())
    mean, error = mean_and_error(gains)
    assert mean > 8 * error > 0, "beats even each day's own class frequencies"
    for k in range(3):
        mean, error = mean_and_error([miss[k] for miss in misses])
        assert abs(mean) < 4 * error + 1e-3
    mean, error = mean_and_error(sure)
    assert abs(mean) < 4 * error + 1e-3, "also where both signs point up"


def test_through_the_files_over_printed_ticks_and_across_the_roll(tmp_path: Path) -> None:
    history = played()
    history.write_truth(tmp_path)
    oracle = Oracle(tmp_path)
    gains = []
    for ticks in main_days(history):
        mid = mid_ticks(ticks)
        ahead = mid[50:] - mid[:-50]
        found = np.where(ahead >= 1, 2, np.where(ahead <= -1, 0, 1))
        chances = oracle.probabilities("cu", ticks.day, ticks.datetime_ns, 50)[:-50]
        assert np.allclose(chances.sum(axis=1), 1.0)
        frequency = np.bincount(found, minlength=3) / found.size
        gains.append(float(np.log(chances[np.arange(found.size), found]).mean() - np.log(frequency[found]).mean()))
    mean, error = mean_and_error(gains)
    assert mean > 4 * error and 0.06 < mean < 0.2
    backwards = oracle.probabilities("cu", ticks.day, ticks.datetime_ns[::-1], 10)
    assert np.array_equal(backwards[::-1], oracle.probabilities("cu", ticks.day, ticks.datetime_ns, 10))
    stored = tmp_path / "cu" / f"{ticks.day}.npz"
    np.savez(stored, datetime_ns=ticks.datetime_ns, x=np.ones(ticks.datetime_ns.size))
    with pytest.raises(IntegrityError, match="garbled"):
        oracle.probabilities("cu", ticks.day, ticks.datetime_ns, 10)


def test_successive_trades_repeat_or_turn_as_the_block_says_in_every_contract() -> None:
    history = played()
    day = history.days[5]
    path = history.path("cu", day)
    for symbol in history.contracts("cu")[:2]:
        trades = history.day(symbol, day).trades
        side = np.where(trades.side == 0, 1, -1)
        large = trades.volume >= 3  # pattern orders have 3 to 6 lots; noise is mostly smaller
        repeats = side[large][1:] * side[large][:-1]
        code = path.code[trades.row[large][1:]]
        assert (repeats * code).mean() > 0.5


def test_two_thirds_of_the_snapshots_trade_and_the_price_walks_as_in_none() -> None:
    for ticks in main_days(played()):
        assert 0.6 < (np.diff(ticks.values["volume"]) > 0).mean() < 0.75
    drawn = [day_simulation.draw_path(sequence(2.0), seed, "cu", DAY, 20_000).jump_ticks for seed in range(10)]
    jumps = np.concatenate(drawn)
    assert jumps.size == pytest.approx(0.22 * 10_000 * 10, rel=0.02)
    assert np.allclose(np.bincount(np.abs(jumps), minlength=4)[1:] / jumps.size, [0.92, 0.06, 0.02], atol=0.006)


def test_no_single_snapshot_tells() -> None:
    """Neither the book nor what traded in the snapshot says where the price goes; the block's code does."""
    told: dict[str, list[float]] = {"touch": [], "book": [], "traded": [], "truth": []}
    for seed in (5, 6, 7):
        history = played(seed, strength=2.0)
        for ticks in main_days(history):
            values, mid = ticks.values, mid_ticks(ticks)
            bids, asks = (sum(values[f"{side}_volume{k}"] for k in range(1, 6)) for side in ("bid", "ask"))
            bought = np.bincount(ticks.trades.row, np.where(ticks.trades.side == 0, 1, -1), mid.size)
            path = history.path("cu", ticks.day)
            seen = {
                "touch": (values["bid_volume1"] - values["ask_volume1"])
                / (values["bid_volume1"] + values["ask_volume1"]),
                "book": (bids - asks) / (bids + asks),
                "traded": np.sign(bought),
                "truth": np.where(path.age < BLOCK // 2, path.driver, path.code),
            }
            # A snapshot that held a jump shows its direction in what traded; the jump itself is no news to anyone.
            quiet = np.diff(mid, prepend=mid[0])[:-50] == 0
            ahead = np.sign(mid[50:] - mid[:-50])[quiet]
            for name, column in seen.items():
                told[name].append(float(np.corrcoef(column[:-50][quiet], ahead)[0, 1]))
    for name in ("touch", "book", "traded"):
        mean, error = mean_and_error(told[name])
        assert abs(mean) < 4 * error + 0.005, name
    mean, error = mean_and_error(told["truth"])
    assert mean > 0.3 and mean > 10 * error


def test_the_worlds_strength_changes_neither_codes_nor_jump_times() -> None:
    weak, strong = (day_simulation.draw_path(sequence(s), 3, "cu", DAY, 4000) for s in (0.2, 2.0))
    assert np.array_equal(weak.code, strong.code) and np.array_equal(weak.jump_time, strong.jump_time)
    assert not np.array_equal(weak.jump_ticks, strong.jump_ticks)


def test_a_day_alone_equals_the_day_after_all_others() -> None:
    scenario = Scenario(world="sequence", snapshot_seconds=30.0)
    whole, alone = History(scenario), History(scenario)
    made = {(s, d): whole.day(s, d) for s in whole.instruments for d in whole.contract_days(s)}
    for key in list(made)[::-5]:
        again = alone.day(*key)
        assert all(np.array_equal(again.values[name], column) for name, column in made[key].values.items())
