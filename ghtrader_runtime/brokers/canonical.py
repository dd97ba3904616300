"""Live rows brought to the form that downloads have, so that the same tick is the same bits both ways.

The rule is `ghtrader_market.sources.base.canonical_table`'s; here it works on small float arrays in the hot path.
"""

from __future__ import annotations

import numpy as np

from ghtrader_market.reference.tick_schema import COLUMN_INDEX, RAW_TICK_SCHEMA, VALUE_COLUMNS
from ghtrader_market.sources.base import canonical_time

PRICE_LIMIT = 1e12
_PRICES = np.array([i for i, name in enumerate(VALUE_COLUMNS) if "_price" in name and name != "last_price"])
_VOLUMES = np.array([COLUMN_INDEX[VALUE_COLUMNS[i].replace("price", "volume")] for i in _PRICES])
_COUNTS = np.array([i for i, name in enumerate(VALUE_COLUMNS) if RAW_TICK_SCHEMA.field(name).type == "int64"])

__all__ = ["canonical_time", "canonical_values"]


def canonical_values(values: np.ndarray) -> np.ndarray:
    """Rows of a live series as a download has them.

    Parameters
    ----------
    values : float64[n, 27]
        In `VALUE_COLUMNS` order; overwritten.

    Returns
    -------
    float64[n, 27]
        `values`: absent levels NaN with volume 0, counts whole.
    """
    prices = values[:, _PRICES]
    with np.errstate(invalid="ignore"):
        absent = ~((prices > 0) & (prices < PRICE_LIMIT))
    prices[absent] = np.nan
    values[:, _PRICES] = prices
    volumes = values[:, _VOLUMES]
    volumes[absent] = 0.0
    values[:, _VOLUMES] = volumes
    counts = values[:, _COUNTS]
    values[:, _COUNTS] = np.rint(np.where(np.isnan(counts), 0.0, counts))
    return values
