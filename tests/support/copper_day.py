"""Makes a whole, faultless copper day of five-level ticks."""

from __future__ import annotations

from datetime import date

import numpy as np

from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_market.reference.trading_calendar import bundled_calendar

DAY = date(2025, 2, 11)
CONTRACT = "SHFE.cu2503"


def whole_day(day: date = DAY, seconds: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """times int64[n], values float64[27, n] of a five-level book without a fault."""
    step = round(seconds * 1e9)
    times = np.concatenate([np.arange(a, b, step) for a, b in bundled_calendar().sessions("cu", day)])
    rng, n = np.random.default_rng(seed), len(times)
    values = np.zeros((27, n))
    bid = 7400 + np.cumsum(rng.integers(-1, 2, n))
    lots = rng.integers(1, 30, n)
    values[COLUMN_INDEX["last_price"]] = values[COLUMN_INDEX["average"]] = bid * 10.0
    values[COLUMN_INDEX["highest"]], values[COLUMN_INDEX["lowest"]] = bid.max() * 10.0, bid.min() * 10.0
    values[COLUMN_INDEX["volume"]] = np.cumsum(lots)
    values[COLUMN_INDEX["amount"]] = np.cumsum(lots * 50.0 * bid)
    values[COLUMN_INDEX["open_interest"]] = 200_000
    for level in range(1, 6):
        values[COLUMN_INDEX[f"bid_price{level}"]] = (bid - level + 1) * 10.0
        values[COLUMN_INDEX[f"ask_price{level}"]] = (bid + level) * 10.0
        for side in ("bid", "ask"):
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = rng.integers(1, 60, n)
    return times, values
