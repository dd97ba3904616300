"""Shows the market at the clock's present time: hours, contract terms, settlements, last prices, main contracts.

The one place where the tape, which reaches into the future, meets the clock. How it is written for clients is decided
in `connections.market_feed`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from datetime import date

import numpy as np

from ghtrader_exchange.venue.clock import VirtualClock
from ghtrader_exchange.world.contract_terms import ContractTerms
from ghtrader_exchange.world.tick_history import ContractDay, History
from ghtrader_market.reference.varieties import Variety, get_variety, variety_of

PRICE_LIMIT_RATIO = 0.08
"""Daily price limits around the previous settlement; simulated, the exchanges set and change their own."""


class MarketView:
    """The market of one history at the time of one clock.

    Parameters
    ----------
    history : History
    speed, frozen, skip_closed
        Of the clock, which begins at the first live day's open.
    """

    def __init__(self, history: History, speed: float = 1.0, frozen: bool = True, skip_closed: bool = True) -> None:
        self.history = history
        # The clock runs on after the last live day, whether the holiday list reaches further or not.
        self.calendar = history.calendar.assuming_weekdays
        self.varieties: tuple[Variety, ...] = tuple(get_variety(key) for key in history.scenario.varieties)
        self.days: tuple[date, ...] = (*history.days, *history.live_days)
        hours = sorted({b for v in self.varieties for day in self.days for b in self.calendar.sessions(v, day)})
        start = min(self.calendar.sessions(v, history.live_day)[0][0] for v in self.varieties)
        self.clock = VirtualClock(start, speed, frozen, _united(hours), skip_closed)
        self._terms: dict[tuple[str, date], ContractTerms] = {}
        self._contract_days: dict[str, list[date]] = {}

    # ---- time
    def now(self) -> int:
        """Market time, UTC epoch ns."""
        return self.clock.now()

    def today(self) -> date:
        """The trading day now."""
        return self.calendar.trading_day_of(self.now())

    def moment(self) -> tuple[int, date]:
        """Now and its trading day, of one look at the clock."""
        now = self.now()
        return now, self.calendar.trading_day_of(now)

    def day_end(self, day: date) -> int:
        """When a trading day ends: 18:00, UTC epoch ns."""
        return self.calendar.bounds(day)[1]

    def is_open(self, symbol: str, at_ns: int) -> bool:
        """Whether a contract trades at a moment."""
        sessions = self.calendar.sessions(variety_of(symbol), self.calendar.trading_day_of(at_ns))
        return any(start <= at_ns < end for start, end in sessions)

    def close_of(self, symbol: str, day: date) -> int:
        """End of the last session of a trading day."""
        return self.calendar.sessions(variety_of(symbol), day)[-1][1]

    # ---- contracts
    def trades_on(self, symbol: str, day: date) -> bool:
        """Whether a contract is listed here and has a tape on `day`."""
        return symbol in self.history.instruments and day in self._days_of(symbol)

    def has_ended(self, symbol: str, day: date) -> bool:
        """Whether a contract has expired before `day`."""
        return day > self.history.instruments[symbol].expires

    def main_contracts(self, variety: str) -> list[tuple[date, str]]:
        """Main contract of each trading day up to today."""
        today = self.today()
        return [(day, contract) for day, contract in self.history.continuous(variety) if day <= today]

    def terms(self, symbol: str, day: date) -> ContractTerms:
        """What a contract's orders and positions are reckoned by on `day`."""
        key = symbol, day
        if key not in self._terms:
            variety = variety_of(symbol)
            tick = variety.price_tick(symbol, day)
            before = self._reference(symbol, day)
            self._terms[key] = ContractTerms(
                symbol=symbol,
                multiplier=variety.multiplier,
                price_tick=tick,
                fees=variety.fees(symbol, day),
                margin_ratio=variety.margin_ratio(symbol, day),
                needs_close_today=variety.needs_close_today,
                pre_settlement=before,
                upper_limit=round(math.floor(before * (1 + PRICE_LIMIT_RATIO) / tick + 1e-9) * tick, 6),
                lower_limit=round(math.ceil(before * (1 - PRICE_LIMIT_RATIO) / tick - 1e-9) * tick, 6),
            )
        return self._terms[key]

    def settlement(self, symbol: str, day: date) -> float:
        """Settlement of a day that is over; where the contract did not trade, the one before."""
        if not self.trades_on(symbol, day):
            return self.terms(symbol, day).pre_settlement
        return self.history.daily_bar(symbol, day).settlement

    def _reference(self, symbol: str, day: date) -> float:
        """The settlement before `day`; on a contract's first day here the price its series starts from."""
        days = self._days_of(symbol)
        if before := bisect_left(days, day):
            return self.settlement(symbol, days[before - 1])
        instrument = self.history.instruments[symbol]
        return round(instrument.base_ticks * instrument.price_tick, instrument.decimals)

    # ---- tape
    def day_ticks(self, symbol: str, day: date) -> ContractDay | None:
        """A contract's whole tape of `day`, the future included: for matching alone."""
        return self.history.day(symbol, day) if self.trades_on(symbol, day) else None

    def last_price(self, symbol: str) -> float:
        """Last price now; the previous settlement before the first trade."""
        now, today = self.moment()
        days = self._days_of(symbol)
        for day in days[: bisect_right(days, today)][::-1]:
            ticks = self.history.day(symbol, day)
            seen = int(np.searchsorted(ticks.datetime_ns, now, "right"))
            if seen:
                price = float(ticks.values["last_price"][seen - 1])
                return price if price == price else self.terms(symbol, today).pre_settlement
        return self.terms(symbol, today).pre_settlement

    def _days_of(self, symbol: str) -> list[date]:
        """Days on which a contract trades, ascending."""
        if symbol not in self._contract_days:
            self._contract_days[symbol] = self.history.contract_days(symbol)
        return self._contract_days[symbol]


def _united(hours: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping bounds of several varieties made one."""
    united: list[tuple[int, int]] = []
    for start, end in hours:
        if united and start <= united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((start, end))
    return united
