"""Measures tick to target: from the moment an update with the tick is in hand to the moment its answer has left.

The answer is the last order that a target caused (its durable intent included), or the decision to send none.
Only the bookkeeping belongs here; the gateway says when things happened (monotonic ns).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Any, TypedDict

import msgspec
import numpy as np

STAGES = ("receive", "factors", "inference", "decision", "send", "acknowledge", "total")
"""Of one tick: in hand -> at the strategy -> factors done -> model done -> decided -> its answer has left; the
broker's first word on an order; all of it from in hand to left."""
PARTS = ("receive", "factors", "inference", "decision", "return", "send")
"""What a sample is the sum of, exactly: as `STAGES`, with `send` split into the target's way to the gateway (`return`)
and what the gateway does about it, the durable intent included."""
BUCKETS_NS: tuple[int, ...] = tuple(10**decade * step for decade in range(3, 9) for step in (1, 2, 5))
"""Upper bounds of the histograms, 1 us to 0.5 s; what is above counts in one more bucket."""
_NO_PARTS = (-1,) * len(PARTS)


class Histogram:
    """Counts of durations; adding one costs a bisection."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_NS) + 1)
        self.sum_ns = 0

    def add(self, ns: int) -> None:
        """One duration."""
        self.counts[bisect_left(BUCKETS_NS, ns)] += 1
        self.sum_ns += ns

    def plain(self) -> list[int]:
        """The counts, and the sum as last."""
        return [*self.counts, self.sum_ns]


def quantile_ms(plain: list[int], q: float) -> float | None:
    """Upper bound of the bucket that holds the `q` quantile of a `Histogram.plain`, ms; None where it is empty."""
    counts = plain[:-1]
    wanted, seen = q * sum(counts), 0
    for bound, count in zip((*BUCKETS_NS, BUCKETS_NS[-1]), counts, strict=True):
        seen += count
        if count and seen >= wanted:
            return bound / 1e6
    return None


class Samples(TypedDict):
    """One sample a tick: ids int64[n], durations in ns int64[n], whether an order went out bool[n], and the `PARTS` of
    each in ns int64[n, 6] (-1 where the target told none)."""

    tick_id: np.ndarray
    ns: np.ndarray
    ordered: np.ndarray
    parts: np.ndarray


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in ms; None where there is no sample."""

    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None
    count: int = 0


class PartTimes(msgspec.Struct, frozen=True, kw_only=True):
    """One of `PARTS` in ms: median, p99, and the mean over the slowest hundredth of the ticks."""

    p50: float
    p99: float
    slow: float


class LatencySummary(Quantiles, frozen=True, kw_only=True):
    """Tick to target over a run, ms.

    Attributes
    ----------
    unanswered, skipped : int
        Ticks that nobody answered, and those that a later tick's answer covers.
    with_orders, without_orders : Quantiles
        The same for ticks that sent orders, and that sent none.
    durable_intent : Quantiles
        What of it was making an order's intent durable.
    parts : dict
        `PARTS` -> times; empty where no target told any.
    """

    unanswered: int
    skipped: int
    with_orders: Quantiles
    without_orders: Quantiles
    durable_intent: Quantiles
    parts: dict[str, PartTimes]

    def to_json(self) -> dict[str, Any]:
        """As in `summary.json`."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


class TickToTarget:
    """Collects one sample for every tick that was answered."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._waiting: dict[str, int] = {}
        self._orders: dict[int, int] = {}
        self._decided: dict[int, tuple[int, ...]] = {}
        self._left: dict[str, int] = {}
        self._ids, self._ns, self._ordered, self._intents = array("q"), array("q"), array("b"), array("q")
        self._parts = array("q")
        self.stages = {name: Histogram() for name in STAGES}
        self.skipped = self._abandoned = 0

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

    def marked(self, tick_id: int, marks_ns: tuple[int, ...], now_ns: int) -> None:
        """Its target came at `now_ns` and told: received, factors done, model done, decided."""
        if tick_id in self._open and tick_id not in self._orders and len(marks_ns) == 4:
            self._decided[tick_id] = (*marks_ns, now_ns)

    def answered(self, tick_id: int, order_ids: list[str], now_ns: int) -> None:
        """Its target was dealt with; `order_ids` are on their way out, none means there is nothing to send.

        A strategy may answer a tick again while orders of its first answer are on their way: the sample ends with the
        last order of both.
        """
        if tick_id not in self._open:
            return
        if tick_id in self._orders and not order_ids:
            return
        for earlier in [one for one in self._open if one < tick_id and one not in self._orders]:
            del self._open[earlier]  # a strategy that took over or came back answers the latest tick for all before it
            self._decided.pop(earlier, None)
            self.skipped += 1
        if not order_ids:
            self._finish(tick_id, now_ns, ordered=False)
            return
        self._orders[tick_id] = self._orders.get(tick_id, 0) + len(order_ids)
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
        self._left[order_id] = now_ns
        self._orders[tick_id] -= 1
        if self._orders[tick_id] == 0:
            del self._orders[tick_id]
            self._finish(tick_id, now_ns, ordered=True)

    def reported(self, order_id: str, now_ns: int) -> None:
        """The broker reported something of an order; the first report counts."""
        left = self._left.pop(order_id, None)
        if left is not None:
            self.stages["acknowledge"].add(max(0, now_ns - left))

    def _finish(self, tick_id: int, now_ns: int, ordered: bool) -> None:
        before = self._open.pop(tick_id)
        marks, stages = self._decided.pop(tick_id, None), self.stages
        total = now_ns - before
        if marks is None:
            self._parts.extend(_NO_PARTS)
        else:
            for stage, now in zip(STAGES[:4], marks[:4], strict=True):
                stages[stage].add(max(0, now - before))
                self._parts.append(now - before)
                before = now
            stages["send"].add(max(0, now_ns - before))
            self._parts.extend((marks[4] - before, now_ns - marks[4]))
        stages["total"].add(total)
        self._ids.append(tick_id)
        self._ns.append(total)
        self._ordered.append(ordered)

    def abandon(self) -> None:
        """Nobody is left to answer the ticks that are open."""
        self._abandoned += len(self._open)
        self._open.clear()
        self._orders.clear()
        self._decided.clear()
        self._waiting.clear()

    def arrays(self) -> Samples:
        """The samples so far."""
        return {
            "tick_id": np.array(self._ids, np.int64),
            "ns": np.array(self._ns, np.int64),
            "ordered": np.array(self._ordered, bool),
            "parts": np.array(self._parts, np.int64).reshape(-1, len(PARTS)),
        }

    def summary(self) -> LatencySummary:
        """The run so far."""
        arrays = self.arrays()
        every = _quantiles(arrays["ns"])
        return LatencySummary(
            p50=every.p50, p99=every.p99, p999=every.p999, max=every.max, count=every.count,
            unanswered=self.unanswered + self._abandoned, skipped=self.skipped,
            with_orders=_quantiles(arrays["ns"][arrays["ordered"]]),
            without_orders=_quantiles(arrays["ns"][~arrays["ordered"]]),
            durable_intent=_quantiles(np.array(self._intents, np.int64)),
            parts=_parts(arrays["ns"], arrays["parts"]),
        )  # fmt: skip


def _parts(ns: np.ndarray, parts: np.ndarray) -> dict[str, PartTimes]:
    told = parts[:, 0] >= 0
    ns, parts = ns[told], parts[told] / 1e6
    if not len(ns):
        return {}
    slow = parts[ns >= np.quantile(ns, 0.99)]
    p50s, p99s = np.quantile(parts, (0.5, 0.99), axis=0)
    table = zip(PARTS, p50s, p99s, slow.mean(axis=0), strict=True)
    return {name: PartTimes(p50=float(p50), p99=float(p99), slow=float(mean)) for name, p50, p99, mean in table}


def _quantiles(ns: np.ndarray) -> Quantiles:
    if not len(ns):
        return Quantiles()
    p50, p99, p999 = (float(value) for value in np.quantile(ns / 1e6, (0.5, 0.99, 0.999)))
    return Quantiles(p50=p50, p99=p99, p999=p999, max=float(ns.max() / 1e6), count=len(ns))
