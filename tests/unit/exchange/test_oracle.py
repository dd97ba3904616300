"""The oracle: calibrated on simulated days, exact where a closed form exists, silent in `none`."""

from __future__ import annotations

from datetime import date
from functools import cache
from math import factorial
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import ConfigError, IntegrityError, UsageError
from ghtrader_exchange.world import day_simulation
from ghtrader_exchange.world.oracle import Oracle, class_table, move_distribution
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_exchange.world.worlds import NONE, PathParameters, driver

DAY = date(2025, 4, 1)


@cache
def paths(strength: float | None, count: int, steps: int = 20_000) -> list[tuple[np.ndarray, np.ndarray]]:
    """(driver, efficient price after each snapshot) of days made from the path alone."""
    world = NONE if strength is None else driver(strength)
    made = []
    for seed in range(count):
        path = day_simulation.draw_path(world, seed, "cu", DAY, steps)
        moves = np.zeros(steps)
        np.add.at(moves, np.floor(path.jump_time / 0.5).astype(int), path.jump_ticks)
        made.append((path.driver, np.cumsum(moves)))
    return made


def classes(price: np.ndarray, horizon: int, threshold: int = 1) -> np.ndarray:
    move = price[horizon:] - price[:-horizon]
    return np.where(move >= threshold, 2, np.where(move <= -threshold, 0, 1))


def log_loss(chances: np.ndarray, found: np.ndarray) -> float:
    return float(-np.log(chances[np.arange(found.size), found]).mean())


def mean_and_error(numbers: list[float]) -> tuple[float, float]:
    return float(np.mean(numbers)), float(np.std(numbers, ddof=1) / np.sqrt(len(numbers)))


def test_one_snapshot_has_a_closed_form() -> None:
    """With jumps of one tick and a frozen driver, ups and downs are two independent Poisson numbers."""
    path = PathParameters(jump_rate=0.5, two_ticks=0.0, three_ticks=0.0, driver_memory=1e9, skew=0.9)
    grid, ticks, chance = move_distribution(path, 1)
    for at in (0, 50, 80):
        up = 0.25 * 0.5 * (1 + 0.9 * np.tanh(grid[at]))
        down = 0.25 - up
        for net in range(-3, 4):
            exact = sum(
                np.exp(-up) * up ** (k + net) / factorial(k + net) * np.exp(-down) * down**k / factorial(k)
                for k in range(max(0, -net), 25)
            )
            assert chance[at, ticks == net].item() == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(("horizon", "threshold"), [(1, 1), (10, 3), (50, 1), (200, 2)])
def test_the_table_is_a_symmetric_distribution(horizon: int, threshold: int) -> None:
    grid, table = class_table(driver(1.5).path, horizon, threshold)
    assert np.allclose(table.sum(axis=1), 1.0) and (table > 0).all()
    assert np.allclose(table, table[::-1, ::-1], atol=1e-12), "mirrored driver, mirrored chances"
    assert (np.diff(table[:, 2]) > 0).all(), "the more the driver points up, the likelier up"


def test_a_finer_grid_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from ghtrader_exchange.world import oracle

    grid, coarse = class_table(driver(2.0).path, 50)
    monkeypatch.setattr(oracle, "GRID_POINTS", 201)
    fine_grid, fine = class_table(driver(2.0).path, 50)
    inside = np.abs(grid) < 3.5
    assert np.allclose(fine_grid[::2], grid)
    assert np.abs(fine[::2] - coarse)[inside].max() < 1e-6


@pytest.mark.parametrize("strength", [1.0, 2.0])
@pytest.mark.parametrize("horizon", [10, 50, 200])
def test_in_driver_it_beats_the_prior_and_is_calibrated(strength: float, horizon: int) -> None:
    grid, table = class_table(driver(strength).path, horizon)
    gains, misses, tails = [], [], []
    for x, price in paths(strength, 30):
        found = classes(price, horizon)
        x = x[:-horizon]
        chances = np.column_stack([np.interp(x, grid, table[:, k]) for k in range(3)])
        frequency = np.bincount(found, minlength=3) / found.size
        gains.append(log_loss(np.tile(frequency, (found.size, 1)), found) - log_loss(chances, found))
        misses.append(frequency - chances.mean(axis=0))
        tails.append((found == 2)[x > 1.5].mean() - chances[x > 1.5, 2].mean())
    mean, error = mean_and_error(gains)
    assert mean > 8 * error > 0, "beats even each day's own class frequencies"
    for k in range(3):
        mean, error = mean_and_error([miss[k] for miss in misses])
        assert abs(mean) < 4 * error + 1e-3
    mean, error = mean_and_error(tails)
    assert abs(mean) < 4 * error + 1e-3, "also where the driver points hard up"


def test_strength_sets_the_gain_and_nothing_else() -> None:
    weak, strong = paths(0.5, 2), paths(2.0, 2)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(weak, strong, strict=True)), "one driver"
    _, low = class_table(driver(0.2).path, 50)
    _, high = class_table(driver(2.0).path, 50)
    assert np.ptp(low[:, 2]) < 0.25 * np.ptp(high[:, 2])


@pytest.mark.parametrize("world", [NONE, driver(0.0)])
def test_without_a_signal_the_oracle_is_the_prior(world) -> None:
    _, table = class_table(world.path, 50)
    assert np.allclose(table, table[0], atol=1e-12)
    assert table[0, 0] == pytest.approx(table[0, 2], abs=1e-12)
    frequency = np.mean([np.bincount(classes(p, 50), minlength=3) / (p.size - 50) for _, p in paths(None, 30)], axis=0)
    assert np.abs(frequency - table[0]).max() < 0.01


def test_jumps_are_as_often_and_as_wide_as_the_world_says() -> None:
    ticks = np.concatenate([day_simulation.draw_path(NONE, s, "cu", DAY, 55_800).jump_ticks for s in range(10)])
    assert ticks.size == pytest.approx(0.22 * 27_900 * 10, rel=0.02)
    widths = np.bincount(np.abs(ticks), minlength=4)[1:] / ticks.size
    assert np.allclose(widths, [0.92, 0.06, 0.02], atol=0.005)
    assert abs(np.sign(ticks).mean()) < 4 / np.sqrt(ticks.size), "up as often as down"


def test_the_printed_mid_is_what_the_oracle_speaks_of(tmp_path: Path) -> None:
    """Through the files, over printed ticks of the main contract, across the roll."""
    history = History(Scenario(seed=5))
    history.write_truth(tmp_path)
    oracle = Oracle(tmp_path)
    gains = []
    for day, symbol in history.continuous("cu"):
        ticks = history.day(symbol, day)
        found = classes((ticks.values["bid_price1"] + ticks.values["ask_price1"]) / 20, 50)
        chances = oracle.probabilities("cu", day, ticks.datetime_ns, 50)[:-50]
        assert np.allclose(chances.sum(axis=1), 1.0)
        frequency = np.bincount(found, minlength=3) / found.size
        gains.append(log_loss(np.tile(frequency, (found.size, 1)), found) - log_loss(chances, found))
    mean, error = mean_and_error(gains)
    assert mean > 4 * error and 0.03 < mean < 0.08


@pytest.mark.parametrize(("world", "sees"), [("driver", True), ("none", False)])
def test_the_books_imbalance_tells_the_future_only_in_driver(world: str, sees: bool) -> None:
    history = History(Scenario(world=world, seed=6))
    correlations = []
    for day, symbol in history.continuous("cu"):
        values = history.day(symbol, day).values
        bids, asks = (sum(values[f"{side}_volume{k}"] for k in range(1, 6)) for side in ("bid", "ask"))
        imbalance = (bids - asks) / (bids + asks)
        mid = values["bid_price1"] + values["ask_price1"]
        correlations.append(np.corrcoef(imbalance[:-50], mid[50:] - mid[:-50])[0, 1])
    mean, error = mean_and_error(correlations)
    assert (mean > 0.1 and mean > 5 * error) if sees else abs(mean) < 4 * error


def test_truth_files_hold_every_day_and_garbled_ones_are_named(tmp_path: Path) -> None:
    history = History(Scenario(varieties=("au", "cu"), snapshot_seconds=60.0))
    history.write_truth(tmp_path)
    for variety in ("au", "cu"):
        days = sorted(path.stem for path in (tmp_path / variety).glob("*.npz"))
        assert days == [str(day) for day in (*history.days, history.live_day)]
    oracle = Oracle(tmp_path)
    assert oracle.scenario == history.scenario
    day, times = history.days[0], history.layout("cu", history.days[0]).datetime_ns
    backwards = oracle.probabilities("cu", day, times[::-1], 10)
    assert np.array_equal(backwards[::-1], oracle.probabilities("cu", day, times, 10))
    with pytest.raises(IntegrityError, match="not those the exchange printed"):
        oracle.probabilities("cu", day, times + 1, 10)
    with pytest.raises(UsageError, match="no truth"):
        oracle.probabilities("ag", day, times, 10)
    with pytest.raises(UsageError, match="horizon"):
        oracle.probabilities("cu", day, times, 0)
    (tmp_path / "cu" / f"{day}.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(IntegrityError, match="garbled"):
        oracle.probabilities("cu", day, times, 10)
    with pytest.raises(ConfigError):
        Oracle(tmp_path / "nowhere")
