"""Tick to target: from the moment an update holding the tick is in hand to the moment its answer has left.

The answer is the last order that a target caused (its durable intent included), or the decision to send none.
Only the bookkeeping belongs here; the gateway says when things happened (monotonic ns).
"""

from __future__ import annotations

from typing import Any

import numpy as np


class TickToTarget:
    """Collects one sample for every tick that was answered."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._waiting: dict[str, int] = {}
        self._orders: dict[int, int] = {}
        self._ids: list[int] = []
        self._ns: list[int] = []
        self._ordered: list[bool] = []
        self._intents: list[int] = []

    @property
    def unanswered(self) -> int:
        """Ticks whose answer has not left yet."""
        return len(self._open)

    @property
    def undecided(self) -> int:
        """Ticks no target came for yet."""
        return len(self._open) - len(self._orders)

    def tick(self, tick_id: int, now_ns: int) -> None:
        """A tick is in hand."""
        self._open[tick_id] = now_ns

    def answered(self, tick_id: int, order_ids: list[str], now_ns: int) -> None:
        """Its target was dealt with; `order_ids` are on their way out, none means there is nothing to send."""
        if tick_id not in self._open:
            return
        if not order_ids:
            self._finish(tick_id, now_ns, ordered=False)
            return
        self._orders[tick_id] = len(order_ids)
        for order_id in order_ids:
            self._waiting[order_id] = tick_id

    def intent_written(self, ns: int) -> None:
        """An intent became durable in so many ns: the disk's part of the samples with orders."""
        self._intents.append(ns)

    def order_left(self, order_id: str, now_ns: int) -> None:
        """An order was handed to the network (or to the paper book)."""
        tick_id = self._waiting.pop(order_id, None)
        if tick_id is None:
            return
        self._orders[tick_id] -= 1
        if self._orders[tick_id] == 0:
            del self._orders[tick_id]
            self._finish(tick_id, now_ns, ordered=True)

    def _finish(self, tick_id: int, now_ns: int, ordered: bool) -> None:
        self._ids.append(tick_id)
        self._ns.append(now_ns - self._open.pop(tick_id))
        self._ordered.append(ordered)

    def arrays(self) -> dict[str, np.ndarray]:
        """Tick ids int64[n], samples in ns int64[n], and whether an order went out bool[n]."""
        return {
            "tick_id": np.array(self._ids, np.int64),
            "ns": np.array(self._ns, np.int64),
            "ordered": np.array(self._ordered, bool),
        }

    def summary(self) -> dict[str, Any]:
        """Milliseconds: p50, p99, p999, max, count, unanswered; the same for ticks that sent orders and not,
        and what of it was making an order's intent durable."""
        arrays = self.arrays()
        found = _quantiles(arrays["ns"])
        found["unanswered"] = self.unanswered
        found["with_orders"] = _quantiles(arrays["ns"][arrays["ordered"]])
        found["without_orders"] = _quantiles(arrays["ns"][~arrays["ordered"]])
        found["durable_intent"] = _quantiles(np.array(self._intents, np.int64))
        return found


def _quantiles(ns: np.ndarray) -> dict[str, Any]:
    if not len(ns):
        return {"p50": None, "p99": None, "p999": None, "max": None, "count": 0}
    p50, p99, p999 = (float(value) for value in np.quantile(ns / 1e6, (0.5, 0.99, 0.999)))
    return {"p50": p50, "p99": p99, "p999": p999, "max": float(ns.max() / 1e6), "count": len(ns)}
