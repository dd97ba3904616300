"""Feeds a recorded day: in lock-step (the next tick waits for the answer to the last), or at a stated pace.

It carries no account: put a `PaperBroker` around it.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable
from datetime import date

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_runtime.brokers.base import Market, Pumped, TickRow, Ticks


class ReplayFeed:
    """Ticks of one contract and day; it misses none.

    Parameters
    ----------
    market : Market
        The contract.
    ids, times : int64[n]
        The source's ids and market times (UTC epoch ns).
    values : float64[n, 27]
        Rows in `VALUE_COLUMNS` order.
    from_ns : int
        Ticks before this moment are history, the others are played.
    pace : float
        Ticks a second; 0 is lock-step.
    """

    missed = 0

    def __init__(
        self,
        market: Market,
        ids: np.ndarray,
        times: np.ndarray,
        values: np.ndarray,
        from_ns: int = 0,
        pace: float = 0.0,
    ) -> None:
        if pace < 0:
            raise UsageError(f"a pace of {pace} ticks/s makes no sense", "0 is lock-step, 50 is a tick every 20 ms")
        self.market = market
        self.lockstep = pace == 0
        self._period_ns = int(1e9 / pace) if pace else 0
        self._ids, self._times, self._values = ids, times, np.ascontiguousarray(values)
        self._first = int(np.searchsorted(times, from_ns, side="left"))
        if self._first >= len(times):
            raise UsageError("nothing to play: every tick lies before the start", "choose an earlier start")
        self._next = self._first
        self._due_ns = 0
        self._poll = select.poll()
        self._wake: Callable[[], None] | None = None

    @property
    def day(self) -> date:
        """The trading day."""
        return self.market.trading_day

    def open(self, symbol: str) -> Market:
        """The contract of the day, whatever `symbol` is asked for."""
        return self.market

    def bind(self, symbol: str) -> Market:
        """See `Broker.bind`; a recorded day has one contract."""
        raise UsageError(f"this recorded day is one of {self.market.symbol}, not of {symbol}")

    def price_limits(self, symbol: str) -> tuple[float, float]:
        """Not known of a recorded day: NaN, NaN."""
        return math.nan, math.nan

    def history(self) -> list[TickRow]:
        """Rows before the start."""
        return [self._row(i) for i in range(self._first)]

    def is_current(self) -> bool:
        """See `Broker.is_current`: a recorded day brings its ticks when it is asked for them."""
        return True

    @property
    def cold_note(self) -> str:
        """See `Broker.cold_note`: a recorded day has all of its ticks."""
        return ""

    def _row(self, i: int) -> TickRow:
        return TickRow(int(self._ids[i]), int(self._times[i]), self._values[i])

    def attach(self, fd: int, wake: Callable[[], None]) -> None:
        """See `Broker.attach`."""
        self._poll.register(fd, select.POLLIN)
        self._wake = wake

    def _wait(self, timeout_s: float) -> None:
        if self._poll.poll(max(timeout_s, 0.0) * 1000) and self._wake is not None:
            self._wake()

    def reopen(self) -> None:
        """See `Broker.reopen`: there is no connection."""

    def close(self) -> None:
        """See `Broker.close`: there is no connection."""

    def pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        """See `Broker.pump`."""
        if self._next >= len(self._times):
            if not may_advance:
                self._wait(timeout_s)
            return Pumped(ended="the recorded day is over")
        if self.lockstep:
            if not may_advance:
                self._wait(timeout_s)
                return Pumped()
        else:
            now = time.monotonic_ns()
            if not may_advance and self._next == self._first:  # the pace starts when the strategy is ready
                self._due_ns = now
                self._wait(timeout_s)
                return Pumped()
            if now < self._due_ns:
                self._wait(min(timeout_s, (self._due_ns - now) / 1e9))
                if time.monotonic_ns() < self._due_ns:
                    return Pumped()
            self._due_ns = max(self._due_ns, now) + self._period_ns
        row = self._row(self._next)
        self._next += 1
        return Pumped(Ticks(self.market.symbol, [row], time.monotonic_ns()))
