"""Keeps the trading day's ticks for clients that join late."""

from __future__ import annotations

import numpy as np

from ghtrader_market.reference.tick_schema import VALUE_COLUMNS

_WIDTH = len(VALUE_COLUMNS)


def _twice(array: np.ndarray) -> np.ndarray:
    """The same rows with room for as many more, which cost no memory before they are written."""
    found = np.empty((2 * len(array), *array.shape[1:]), array.dtype)
    found[: len(array)] = array
    return found


class DayTicks:
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
            self._ids, self._times, self._values = map(_twice, (self._ids, self._times, self._values))
        self._ids[self.size], self._times[self.size], self._values[self.size] = tick_id, datetime_ns, values
        self.size += 1

    @property
    def last_ns(self) -> int:
        """Time of the last tick, 0 where there is none."""
        return int(self._times[self.size - 1]) if self.size else 0

    def after(self, tick_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids int64[n], times int64[n], values float64[n, 27] of the ticks with a greater id (views)."""
        first = int(np.searchsorted(self._ids[: self.size], tick_id, side="right"))
        part = slice(first, self.size)
        return self._ids[part], self._times[part], self._values[part]
