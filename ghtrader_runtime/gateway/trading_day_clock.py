"""Tells which trading day a tick belongs to, and whether the day's ticks have ended."""

from __future__ import annotations

from datetime import date

from ghtrader_market.reference.session_times import session_silence_ns
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

        The day is over a moment after a tick at its very end, or once its end must have passed since the last one,
        unless the run goes on with the next day; and where a tick has been due for `idle_end_s` seconds (0: never),
        which none is in a break.
        """
        if self._seen_s is None:
            return ""
        quiet = now_s - self._seen_s
        gone_ns, close_ns = int(quiet * 1e9), self._sessions[-1][1]
        at_the_end = self._market_ns >= close_ns - _TOLERANCE_NS
        if not goes_on and quiet > _QUIET_S and (at_the_end or self._market_ns + gone_ns > close_ns + _TOLERANCE_NS):
            return "the trading day is over"
        if idle_end_s and session_silence_ns(self._sessions, self._market_ns, gone_ns) > idle_end_s * 1e9:
            return f"no tick for {idle_end_s:g} s"
        return ""
