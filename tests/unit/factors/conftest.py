"""Ticks for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ghtrader_market.ticks import COLUMN_INDEX, VALUE_COLUMNS

PRICE_TICK, MULTIPLIER = 10.0, 5.0


def random_ticks(n: int, seed: int = 0, gaps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Times int64[n] and values float64[27, n] of a book that moves; `gaps` is the share of absent levels."""
    rng = np.random.default_rng(seed)
    values = np.full((len(VALUE_COLUMNS), n), np.nan)
    bid = 7000 + np.cumsum(rng.integers(-1, 2, n) * (rng.random(n) < 0.3))
    spread = rng.choice([1, 1, 1, 2, 3], n)
    lots = rng.integers(0, 30, n) * (rng.random(n) < 0.6)
    paid = (bid + rng.random(n) * spread) * PRICE_TICK
    values[COLUMN_INDEX["last_price"]] = np.rint(paid / PRICE_TICK) * PRICE_TICK
    values[COLUMN_INDEX["volume"]] = 1000 + np.cumsum(lots)
    values[COLUMN_INDEX["amount"]] = 1e8 + np.cumsum(lots * MULTIPLIER * paid)
    values[COLUMN_INDEX["open_interest"]] = 90_000 + np.cumsum(rng.integers(-3, 4, n))
    for level in range(1, 6):
        for side, price in (("bid", bid - level + 1), ("ask", bid + spread + level - 1)):
            absent = rng.random(n) < gaps
            values[COLUMN_INDEX[f"{side}_price{level}"]] = np.where(absent, np.nan, price * PRICE_TICK)
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = np.where(absent, 0, rng.integers(1, 60, n))
    times = 1_700_000_000_000_000_000 + np.cumsum(rng.integers(1, 4, n)) * 500_000_000
    return times, values


@pytest.fixture(scope="session")
def make_ticks() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """The function `random_ticks`."""
    return random_ticks
