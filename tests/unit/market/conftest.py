"""Contract-days of plausible ticks for the tests of the market room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values


@pytest.fixture(scope="session")
def make_ticks() -> Callable[..., pa.Table]:
    """`make_ticks(times int64[n], seed=0, first_id=0)` -> a valid raw tick table."""

    def make(times: np.ndarray, seed: int = 0, first_id: int = 0) -> pa.Table:
        n = len(times)
        rng = np.random.default_rng(seed)
        values = np.zeros((27, n))
        mid = 74_000 + 10 * np.cumsum(rng.integers(-1, 2, n))
        values[COLUMN_INDEX["last_price"]] = mid
        values[COLUMN_INDEX["average"]] = 74_000 + rng.random(n)
        values[COLUMN_INDEX["highest"]] = np.maximum.accumulate(mid) if n else mid
        values[COLUMN_INDEX["lowest"]] = np.minimum.accumulate(mid) if n else mid
        values[COLUMN_INDEX["volume"]] = np.cumsum(rng.integers(0, 9, n))
        values[COLUMN_INDEX["amount"]] = np.cumsum(rng.integers(0, 9, n) * 370_000.0)
        values[COLUMN_INDEX["open_interest"]] = 200_000 + rng.integers(-9, 9, n)
        for level in range(1, 6):
            for side, sign in (("bid", -1), ("ask", 1)):
                values[COLUMN_INDEX[f"{side}_price{level}"]] = mid + sign * 10 * level
                values[COLUMN_INDEX[f"{side}_volume{level}"]] = rng.integers(1, 50, n)
        return table_from_values(first_id + np.arange(n), np.asarray(times, np.int64), values)

    return make


@pytest.fixture(scope="session")
def ticks_of() -> Callable[..., pa.Table]:
    """`ticks_of(times, values)` -> a raw tick table."""
    return lambda times, values: table_from_values(np.arange(len(times)), times, values)
