"""The trading day's ticks so far, kept by the gateway for whoever joins late."""

from __future__ import annotations

import numpy as np

from ghtrader_market.ticks import VALUE_COLUMNS

_WIDTH = len(VALUE_COLUMNS)


class DayBook:
    """Ticks of one trading day, appended one by one; a later day's first tick empties it."""

    def __init__(self, capacity: int = 8192) -> None:
        self.day = ""
        self.size = 0
        self._ids = np.empty(capacity, np.int64)
        self._times = np.empty(capacity, np.int64)
        self._values = np.empty((capacity, _WIDTH))

    def add(self, day: str, tick_id: int, datetime_ns: int, values: np.ndarray) -> None:
        """Append one tick, `values` float64[27]."""
        if day != self.day:
            self.day, self.size = day, 0
        if self.size == len(self._ids):
            self._ids, self._times, self._values = (
                np.concatenate([array, np.empty_like(array)]) for array in (self._ids, self._times, self._values)
            )
        self._ids[self.size], self._times[self.size], self._values[self.size] = tick_id, datetime_ns, values
        self.size += 1

    def after(self, tick_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids int64[n], times int64[n], values float64[n, 27] of the ticks with a greater id (views)."""
        first = int(np.searchsorted(self._ids[: self.size], tick_id, side="right"))
        part = slice(first, self.size)
        return self._ids[part], self._times[part], self._values[part]
