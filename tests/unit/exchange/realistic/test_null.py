"""With the signal off nobody can predict the direction, and no rule earns anything, though volatility clusters."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ghtrader_exchange.world.realistic.fitting import play
from ghtrader_exchange.world.realistic.market_fit import RealisticWorld, packaged_fit
from ghtrader_exchange.world.realistic.statistics import SnapshotDay

ROWS, DAYS, HORIZON = 12_000, 16, 10


@cache
def days(strength: float) -> list[SnapshotDay]:
    world = RealisticWorld(packaged_fit(), strength)
    return [play(world, seed, ROWS) for seed in range(500, 500 + DAYS)]


def features(day: SnapshotDay) -> np.ndarray:
    """What a model would try first, float64[n, k]: past moves, imbalance, its mean, spread, volume with the move."""
    mid = (day.bid + day.ask).astype(float)
    move = np.diff(mid, prepend=mid[0])
    imbalance = (day.bid_volume - day.ask_volume) / (day.bid_volume + day.ask_volume)
    mean = np.convolve(imbalance, np.full(40, 1 / 40))[: mid.size]
    lots = np.diff(day.volume, prepend=day.volume[0])
    past = [mid - np.concatenate([np.full(k, mid[0]), mid[:-k]]) for k in (1, 2, 5, 20, 100)]
    return np.column_stack([*past, imbalance, mean, imbalance * (day.ask - day.bid), np.sign(move) * lots])


def gained(day: SnapshotDay, position: np.ndarray) -> tuple[float, float]:
    """Ticks a snapshot that a position taken on each snapshot earns in the next, before and after half spreads."""
    mid = (day.bid + day.ask) / 2.0
    gross = position[:-1] * np.diff(mid)
    cost = np.abs(np.diff(position[:-1], prepend=0.0)) * (day.ask - day.bid)[:-1] / 2.0
    return float(gross.mean()), float((gross - cost).mean())


def mean_and_error(numbers: list[float]) -> tuple[float, float]:
    return float(np.mean(numbers)), float(np.std(numbers, ddof=1) / np.sqrt(len(numbers)))


def out_of_sample(strength: float) -> tuple[float, float]:
    """Correlation of a regression's forecast with the moves of later days: mean and error over the test days."""
    train, test = days(strength)[: DAYS // 2], days(strength)[DAYS // 2 :]

    def ahead(day: SnapshotDay) -> np.ndarray:
        mid = (day.bid + day.ask).astype(float)
        return mid[HORIZON:] - mid[:-HORIZON]

    inputs = np.concatenate([features(day)[:-HORIZON] for day in train])
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    weights = np.linalg.lstsq((inputs - centre) / scale, np.concatenate([ahead(d) for d in train]), rcond=None)[0]
    found = [np.corrcoef((features(d)[:-HORIZON] - centre) / scale @ weights, ahead(d))[0, 1] for d in test]
    return mean_and_error([float(c) for c in found])


def test_a_regression_finds_nothing_without_a_signal_and_something_with_one() -> None:
    mean, error = out_of_sample(0.0)
    assert abs(mean) < 4 * error
    mean, error = out_of_sample(2.0)
    assert mean > 4 * error


@pytest.mark.parametrize("rule", ["momentum", "reversal", "imbalance", "volume"])
def test_no_rule_earns_anything_without_a_signal(rule: str) -> None:
    gross, net = [], []
    for day in days(0.0):
        seen = features(day)
        columns = {"momentum": seen[:, 3], "reversal": -seen[:, 0], "imbalance": seen[:, 6], "volume": seen[:, 8]}
        before, after = gained(day, np.sign(columns[rule]))
        gross.append(before)
        net.append(after)
    mean, error = mean_and_error(gross)
    assert abs(mean) < 4 * error, "nothing before costs"
    mean, error = mean_and_error(net)
    assert mean < -3 * error, "a loss after half the spread"


def test_returns_are_uncorrelated_though_their_size_is_not() -> None:
    signed, sized = [], []
    for day in days(0.0):
        move = day.moves
        signed.append(float(np.corrcoef(move[:-1], move[1:])[0, 1]))
        sized.append(float(np.corrcoef(np.abs(move[:-1]), np.abs(move[1:]))[0, 1]))
    mean, error = mean_and_error(signed)
    assert abs(mean) < 4 * error
    assert mean_and_error(sized)[0] > 0.2


def test_strength_changes_the_signs_of_moves_and_nothing_else_that_moves_the_market() -> None:
    off, on = days(0.0)[0], days(2.0)[0]
    assert np.array_equal(np.abs(off.moves), np.abs(on.moves)) and not np.array_equal(off.moves, on.moves)
    assert np.array_equal(off.traded, on.traded) and np.array_equal(off.spread % 2, on.spread % 2)
