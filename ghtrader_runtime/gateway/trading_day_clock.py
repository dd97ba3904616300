"""Tells which trading day a tick belongs to, and whether the day's ticks have ended."""

from __future__ import annotations

from datetime import date

from ghtrader_market.reference.session_times import CLOSING_NS
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import Variety

_TOLERANCE_NS = 10_000_000_000


_QUIET_S = 3.0


class TradingDayClock:
    """Which trading day a tick belongs to, and whether the day's ticks have ended. Clocks come in as arguments."""

    def __init__(self, calendar: TradingCalendar, variety: Variety) -> None:
        self._calendar, self._variety = calendar, variety
        self.name = ""
        self._bounds = (0, 0)
        self._sessions: list[tuple[int, int]] = []
        self._market_ns = 0
        self._seen_s: float | None = None

    def enter(self, market_ns: int) -> None:
        """Note the trading day of a moment (UTC epoch ns)."""
        if self._bounds[0] <= market_ns < self._bounds[1]:
            return
        day: date = self._calendar.trading_day_of(market_ns)
        self._bounds, self.name = self._calendar.bounds(day), str(day)
        self._sessions = self._calendar.sessions(self._variety, day)

    def covers(self, market_ns: int) -> bool:
        """Whether a moment lies in the day at hand."""
        return self._bounds[0] <= market_ns < self._bounds[1]

    def saw(self, market_ns: int, now_s: float) -> None:
        """A tick came at `now_s` (seconds, our monotonic clock)."""
        self._market_ns, self._seen_s = market_ns, now_s

    def over(self, now_s: float, idle_end_s: float, goes_on: bool = False) -> str:
        """Why no more ticks are to be expected, or an empty string.

        The day is over a moment after a tick at its very end, unless the run goes on with the next one; and without any
        tick for `idle_end_s` seconds (0: never), unless the last one came right before a break, or a run that goes on
        has come out of the sessions since.
        """
        if self._seen_s is None:
            return ""
        quiet = now_s - self._seen_s
        if not goes_on and quiet > _QUIET_S and self._market_ns >= self._sessions[-1][1] - _TOLERANCE_NS:
            return "the trading day is over"
        by_now = self._market_ns + int(quiet * 1e9)
        if goes_on and not any(first <= by_now < end for first, end in self._sessions):
            return ""
        at_a_break = any(-CLOSING_NS <= end - self._market_ns <= _TOLERANCE_NS for _, end in self._sessions)
        if idle_end_s and quiet > idle_end_s and not at_a_break:
            return f"no tick for {idle_end_s:g} s"
        return ""
