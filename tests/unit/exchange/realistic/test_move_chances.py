"""The oracle of the fitted world: exact where a closed form exists, calibrated, and silent without a signal."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ghtrader_exchange.world.realistic.day_playing import RealisticPath, draw_path
from ghtrader_exchange.world.realistic.market_fit import MoveLaw, RealisticWorld, packaged_fit
from ghtrader_exchange.world.realistic.move_chances import (
    MoveChances,
    class_table,
    driver_grid,
    expected_moves,
    mean_over_horizon,
    regime_factors,
    size_chances,
)

ROWS, DAYS = 12_000, 12


@cache
def paths(strength: float) -> list[RealisticPath]:
    world = RealisticWorld(packaged_fit(), strength)
    return [draw_path(world, np.uint64(seed), ROWS, 0) for seed in range(900, 900 + DAYS)]


@cache
def chances(strength: float, horizon: int) -> MoveChances:
    return MoveChances(RealisticWorld(packaged_fit(), strength), paths(strength)[0].mean_move, horizon, 1)


def net(path: RealisticPath, horizon: int) -> np.ndarray:
    """Half ticks over the following `horizon` snapshots, at each row that has so many left."""
    total = np.concatenate([[0], np.cumsum(path.mid_moves)])
    return total[1 + horizon :] - total[1:-horizon]


def mean_and_error(numbers: list[float]) -> tuple[float, float]:
    return float(np.mean(numbers)), float(np.std(numbers, ddof=1) / np.sqrt(len(numbers)))


@pytest.mark.parametrize(
    ("shape", "zero_chance", "mean"), [(1, 0.0, 0.4), (1, 0.2, 5.0), (3, 0.1, 2.2), (20, 0.0, 0.9)]
)
def test_sizes_are_as_often_as_their_chances_say(shape: int, zero_chance: float, mean: float) -> None:
    from ghtrader_exchange.world.order_book_kernel import STATE, seed
    from ghtrader_exchange.world.realistic.snapshot_kernel import draw_size

    law = MoveLaw(shape, zero_chance, (0.5,), (0.5,), (1.0,), (1.0,))
    chance = size_chances(law, np.array([mean]), 400)[0]
    assert chance.sum() == pytest.approx(1.0) and (chance > -1e-12).all()
    assert chance @ np.arange(chance.size) == pytest.approx(mean)
    state = np.zeros(1, STATE)
    seed(state[0], np.uint64(5))
    drawn = np.array([draw_size(state[0], mean, shape, zero_chance) for _ in range(4000)])
    for size in range(4):
        assert (drawn == size).mean() == pytest.approx(chance[size], abs=4 * np.sqrt(0.25 / drawn.size))


def test_exponential_sizes_have_a_closed_form() -> None:
    """E max(0, g - j) of an exponential of mean m is m exp(-j / m)."""
    mean = 1.7
    beyond = mean * np.exp(-np.arange(12) / mean)
    found = size_chances(MoveLaw(1, 0.0, (1.0,), (0.5,), (1.0,), (1.0,)), np.array([mean]), 10)[0]
    assert np.allclose(found[1:], beyond[:-2] - 2 * beyond[1:-1] + beyond[2:])


def test_one_snapshot_ahead_is_a_sum_over_sizes_and_regimes() -> None:
    """The regime and the driver of the next snapshot, its size, its sign: added up one by one."""
    world = RealisticWorld(packaged_fit(), 2.0)
    moves, mean = world.fit.moves, 2.0
    driver, transition = driver_grid()
    factors = regime_factors(moves)
    sizes = size_chances(moves, mean * factors, 500)
    large = sizes[:, 2:].sum(axis=1)
    turn = np.ones((1, 1))
    for renewal, high_chance in zip(moves.renewal, moves.high_chance, strict=True):  # bit 0 varies fastest
        rise, fall = renewal * high_chance, renewal * (1 - high_chance)
        turn = np.kron(np.array([[1 - rise, rise], [fall, 1 - fall]]), turn)
    up = 0.5 * (1.0 + world.skew * (transition @ np.tanh(driver)))
    table = class_table(world, mean, 1, 1)
    assert np.allclose(table[:, :, 2], (turn @ large)[:, None] * up[None, :], atol=1e-9)
    assert np.allclose(table[:, :, 0], (turn @ large)[:, None] * (1 - up)[None, :], atol=1e-9)


@pytest.mark.parametrize(("horizon", "threshold"), [(1, 1), (10, 3), (20, 1)])
def test_the_table_is_a_symmetric_distribution(horizon: int, threshold: int) -> None:
    table = class_table(RealisticWorld(packaged_fit(), 1.5), 2.0, horizon, threshold)
    assert np.allclose(table.sum(axis=-1), 1.0) and (table > 0).all()
    assert np.allclose(table, table[:, ::-1, ::-1], atol=1e-10), "mirrored driver, mirrored chances"
    assert (np.diff(table[..., 2], axis=1) > 0).all(), "the more the driver points up, the likelier up"


def test_without_strength_it_knows_how_far_but_not_where_to() -> None:
    table = class_table(RealisticWorld(packaged_fit(), 0.0), 2.0, 10, 1)
    assert np.allclose(table[..., 0], table[..., 2], atol=1e-10) and np.allclose(table, table[:, :1], atol=1e-10)
    assert table[0, 0, 1] > 1.5 * table[-1, 0, 1], "quiet regimes are flat more often"
    path = paths(0.0)[0]
    world = RealisticWorld(packaged_fit(), 0.0)
    assert not expected_moves(world, path.driver, path.regime, path.mean_move, 10).any()


@pytest.mark.parametrize("horizon", [1, 20])
def test_the_expected_move_is_exact(horizon: int) -> None:
    """What is left of the move is noise whose mean is 0, also where the most is expected."""
    world = RealisticWorld(packaged_fit(), 2.0)
    left, far, slopes = [], [], []
    for path in paths(2.0):
        wanted = expected_moves(world, path.driver, path.regime, path.mean_move, horizon)[:-horizon]
        got = net(path, horizon) / 2.0
        left.append(float((got - wanted).mean()))
        edge = np.abs(wanted)
        strong = edge > np.quantile(edge, 0.8)
        far.append(float((np.sign(wanted) * (got - wanted))[strong].mean() / edge[strong].mean()))
        slopes.append(float(wanted @ got / (wanted @ wanted)))
    for numbers, aim in ((left, 0.0), (far, 0.0), (slopes, 1.0)):
        mean, error = mean_and_error(numbers)
        assert abs(mean - aim) < 4 * error
    assert mean_and_error(slopes)[1] < 0.1, "the test can tell 1 from 0.6 and from 1.4"


@pytest.mark.parametrize("horizon", [1, 10])
def test_the_chances_are_calibrated_and_beat_the_prior(horizon: int) -> None:
    table = chances(2.0, horizon)
    gains, ups, misses = [], [], []
    for path in paths(2.0):
        move = net(path, horizon)
        found = np.where(move >= 2, 2, np.where(move <= -2, 0, 1))
        mean_move = mean_over_horizon(path.mean_move, horizon)
        made = table.at(path.driver, path.regime, mean_move)[:-horizon]
        assert np.allclose(made.sum(axis=1), 1.0)
        frequency = np.bincount(found, minlength=3) / found.size
        gains.append(float(np.log(made[np.arange(found.size), found]).mean() - np.log(frequency[found]).mean()))
        misses.append(frequency - made.mean(axis=0))
        strong = path.driver[:-horizon] > 1.5
        ups.append(float((found == 2)[strong].mean() - made[strong, 2].mean()))
    mean, error = mean_and_error(gains)
    assert mean > 8 * error > 0
    for k in range(3):
        mean, error = mean_and_error([float(miss[k]) for miss in misses])
        assert abs(mean) < 4 * error + 1e-3
    mean, error = mean_and_error(ups)
    assert abs(mean) < 4 * error + 1e-3, "also where the driver points hard up"


def test_between_its_levels_the_table_is_as_exact_as_on_them() -> None:
    world, horizon = RealisticWorld(packaged_fit(), 2.0), 10
    driver, _ = driver_grid()
    for level in (1.9, 3.1):
        exact = class_table(world, level, horizon, 1)
        for regime in (0, 5, exact.shape[0] - 1):
            at = chances(2.0, horizon).at(driver, np.full(driver.size, regime), np.full(driver.size, level))
            assert np.abs(at - exact[regime]).max() < 2e-3


def test_the_mean_over_the_horizon_goes_on_beyond_the_end() -> None:
    assert np.array_equal(mean_over_horizon(np.array([1.0, 2.0, 4.0]), 2), [3.0, 4.0, 4.0])
