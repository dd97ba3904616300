"""The whole library through both drivers: the same bits whatever the blocks, the restarts and the holes in the data."""

from __future__ import annotations

import numpy as np
import pytest

from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.factors.library.sets import get_factor_set

SECOND = 1_000_000_000


def bits(factors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(factors).view(np.uint32)


@pytest.fixture(scope="module")
def days(make_ticks) -> list[tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]]:
    """Two trading days, the second of another contract (a segment change), with a break and holes in their levels."""
    found = []
    for seed, level in ((1, 0.0), (2, 3000.0)):
        times, values = make_ticks(3000, seed, 0.002)
        for name, row in COLUMN_INDEX.items():
            if "price" in name:
                values[row] += level
        times = times + np.where(np.arange(3000) >= 1700, 5400 * SECOND, 0)
        bounds = [(int(times[0]), int(times[1699]) + 1), (int(times[1700]), int(times[-1]) + SECOND)]
        found.append((times, values, bounds))
    return found


def batch_of(days, block: int) -> np.ndarray:
    engine = FactorEngine(get_factor_set("core"), 10.0, 5.0, days[0][2])
    out = []
    for times, values, bounds in days:
        engine.reset(bounds)
        out.append(engine.batch(times, values, block=block))
    return np.concatenate(out)


@pytest.fixture(scope="module")
def expected(days) -> np.ndarray:
    return bits(batch_of(days, 256))


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_core_is_the_same_in_any_blocks(days, expected, block):
    assert (bits(batch_of(days, block)) == expected).all()


def test_core_is_the_same_live_with_restarts_at_random_ticks(days, expected):
    rng = np.random.default_rng(0)
    engine = FactorEngine(get_factor_set("core"), 10.0, 5.0, days[0][2])
    rows = []
    for times, values, bounds in days:
        engine.reset(bounds)
        for t in range(len(times)):
            if rng.random() < 0.003:  # saved, and loaded into an engine that has seen something else
                state = engine.state()
                engine = FactorEngine(get_factor_set("core"), 10.0, 5.0, days[0][2])
                engine.batch(times[:50], values[:, :50])
                engine.load_state(state)
            rows.append(engine.update(int(times[t]), values[:, t]).copy())
    assert (bits(np.array(rows)) == expected).all()


def test_no_factor_of_core_looks_ahead(days):
    times, values, bounds = days[0]
    engine = FactorEngine(get_factor_set("core"), 10.0, 5.0, bounds)
    before = bits(engine.batch(times, values))
    rng = np.random.default_rng(3)
    for cut in (0, 1, 255, 256, 1699, 2500):
        changed, later = values.copy(), times.copy()
        changed[:, cut + 1 :] *= rng.uniform(0.5, 2.0, changed[:, cut + 1 :].shape)
        changed[:, cut + 1 :][rng.random(changed[:, cut + 1 :].shape) < 0.1] = np.nan
        later[cut + 1 :] += np.cumsum(rng.integers(0, 3, len(times) - cut - 1)) * SECOND
        engine.reset()
        after = bits(engine.batch(later, changed))
        changed_factors = (before[: cut + 1] != after[: cut + 1]).any(axis=0)
        assert not changed_factors.any(), np.array(engine.names)[changed_factors]


def test_windows_do_not_drift_over_ten_million_ticks():
    """Levels from 1e9 down to 1e-3: at the end each window says what it says of its own ticks alone."""
    texts = {
        "mean": "Mean(BidVolume(1), 97)",
        "std": "Std(BidVolume(1), 300)",
        "z": "ZScore(BidVolume(1), 50)",
        "corr": "Corr(BidVolume(1), AskVolume(1), 100)",
        "slope": "Slope(BidVolume(1), 60)",
        "skew": "Skew(BidVolume(1), 75)",
        "clock": "Std(BidVolume(1), '30s')",
    }
    small = FactorSet("drift", {name: parse(text) for name, text in texts.items()})
    engine, alone = (FactorEngine(small, 10.0, 5.0) for _ in range(2))
    rng = np.random.default_rng(7)
    chunk, checked = 250_000, 0
    for number, level in enumerate([1e9, 1e-3, -1e6, 1.0] * 10):
        values = np.full((len(COLUMN_INDEX), chunk), np.nan)
        values[COLUMN_INDEX["bid_price1"]] = values[COLUMN_INDEX["ask_price1"]] = 10.0
        for side in ("bid", "ask"):
            values[COLUMN_INDEX[f"{side}_volume1"]] = level * (1 + 0.1 * rng.standard_normal(chunk))
        times = (number * chunk + np.arange(chunk, dtype=np.int64)) * (SECOND // 2)
        got = engine.batch(times, values)
        alone.reset()
        want = alone.batch(times[-1000:], values[:, -1000:])
        assert (bits(got[-500:]) == bits(want[-500:])).all()
        checked += chunk
    assert checked == 10_000_000
