"""Lists a scenario's contracts, how open interest migrates between them, and which one is main on a day.

Open interest follows a contract's time to expiry alone, so every answer here is exact before a single tick is made:
days close at the open interest this file says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from ghtrader_base.errors import UsageError
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import Variety

TOTAL_OPEN_INTEREST = {"cu": 400_000, "au": 350_000, "ag": 600_000}
"""Lots of a whole variety at the market's own pace; thinned days hold proportionally less."""
MAIN_RATIO = 1.1
EXPIRY_DAY = 15
LOWEST_ACTIVITY = 0.02
ACTIVITY_PER_SHARE = 2.5
"""Contracts with 0.4 of the open interest are at full activity, so that the flow a model learnt before a roll is the
flow it meets after it. At 1.3 the main contract's depth halves on the way to its roll, and models lose a tenth of the
oracle's gain to that drift alone."""
_MONTHS_AHEAD = 8


def expiry(symbol: str, calendar: TradingCalendar) -> date:
    """Last trading day of a contract: the 15th of its delivery month or the next trading day.

    Beyond the holiday list a world's contracts expire on weekdays: it decides that itself.
    """
    world = calendar.assuming_weekdays
    day = date(*parse_symbol(symbol).delivered(calendar.first), EXPIRY_DAY)
    return day if world.is_trading_day(day) else world.next_day(day)


def share_weight(days_left: int) -> float:
    """Weight of a contract with that many trading days to expiry: it grows from about 60 and melts from about 30.

    A product of two logistic curves; with monthly deliveries the main contract changes about every 21 days.
    """
    if days_left < 0:
        return 0.0
    return 1.0 / (1.0 + math.exp((24 - days_left) / 4.0)) / (1.0 + math.exp((days_left - 52) / 4.0))


def live_days(scenario: Scenario, calendar: TradingCalendar) -> list[date]:
    """The trading days behind the history, ascending."""
    days = [calendar.next_day(scenario.end)]
    while len(days) < scenario.live_days:
        days.append(calendar.next_day(days[-1]))
    return days


@dataclass(frozen=True)
class Listing:
    """The contracts of one variety in one scenario."""

    variety: Variety
    scenario: Scenario
    calendar: TradingCalendar

    @cached_property
    def days(self) -> list[date]:
        """Every trading day that exists here: the history and the live days."""
        return self.calendar.days(self.scenario.start, live_days(self.scenario, self.calendar)[-1])

    @cached_property
    def contracts(self) -> tuple[str, ...]:
        """Symbols listed, by delivery, from the first day's main contract on: at least as many as the scenario asks
        for, and every one that becomes main."""
        every = self._delivering(self.scenario.start)
        first = every.index(self.main_contract(self.days[0]))
        last = every.index(self.main_contract(self.days[-1]))
        return tuple(every[first : max(first + self.scenario.contracts, last + 1)])

    def expiry(self, symbol: str) -> date:
        """Last trading day of `symbol`."""
        return expiry(symbol, self.calendar)

    def trades_on(self, symbol: str, day: date) -> bool:
        """Whether `symbol` is listed here, `day` is a day of the scenario, and the contract has not expired."""
        return symbol in self.contracts and day in self._mains and day <= self.expiry(symbol)

    def closing_interest(self, symbol: str, day: date) -> int:
        """Open interest, in lots, after the last snapshot of `day`; the next day opens with it."""
        total = TOTAL_OPEN_INTEREST[self.variety.key] * 0.5 / self.scenario.snapshot_seconds
        return round(total * self._share(symbol, day))

    def opening_interest(self, symbol: str, day: date) -> int:
        """Open interest, in lots, that `day` starts from."""
        return self.closing_interest(symbol, self.calendar.previous_day(day))

    def activity(self, symbol: str, day: date) -> float:
        """How busy a contract's order flow is, 1 for a main contract at its height."""
        return max(LOWEST_ACTIVITY, min(1.0, ACTIVITY_PER_SHARE * self._share(symbol, self.calendar.previous_day(day))))

    def main_contract(self, day: date) -> str:
        """The main contract of `day` by the open-interest rule, applied from the scenario's first day on.

        The rule needs a day's close, so it speaks from the second day on; the first day has the second day's.
        """
        found = self._mains.get(day)
        if found is None:
            raise UsageError(f"{day} is not a day of this scenario", f"it has {self.days[0]} to {self.days[-1]}")
        return found

    def rolls(self) -> list[date]:
        """First days with a new main contract."""
        days = self.days
        return [b for a, b in zip(days, days[1:], strict=False) if self.main_contract(a) != self.main_contract(b)]

    @cached_property
    def _mains(self) -> dict[date, str]:
        days = self.days
        every = self._delivering(self.scenario.start)
        mains: dict[date, str] = {}
        main = ""
        for closed, following in zip(days, days[1:], strict=False):
            interest = {symbol: self.closing_interest(symbol, closed) for symbol in every}
            largest = max(every, key=interest.__getitem__)
            if not main or interest[largest] > MAIN_RATIO * interest[main]:
                main = largest
            mains[following] = main
        return {days[0]: mains[days[1]], **mains}

    @cached_property
    def _shares(self) -> dict[date, dict[str, float]]:
        return {}

    def _share(self, symbol: str, day: date) -> float:
        shares = self._shares.get(day)
        if shares is None:
            weights = {s: share_weight(self._days_left(s, day)) for s in self._delivering(day)}
            total = sum(weights.values())
            shares = self._shares[day] = {s: weight / total for s, weight in weights.items()}
        return shares.get(symbol, 0.0)

    def _days_left(self, symbol: str, day: date) -> int:
        return len(self.calendar.assuming_weekdays.days(day, self.expiry(symbol))) - 1

    def _delivering(self, day: date) -> list[str]:
        """Every contract with a delivery month from that of `day` on, listed here or not, for the days to come."""
        horizon = max(self.days[-1], day) + timedelta(days=31 * _MONTHS_AHEAD)
        months = range(day.year * 12 + day.month - 1, horizon.year * 12 + horizon.month)
        name = f"{self.variety.exchange}.{self.variety.product}"
        return [f"{name}{month // 12 % 100:02d}{month % 12 + 1:02d}" for month in months]


def start_before_roll(variety: Variety, calendar: TradingCalendar, not_before: date, lead: int = 4) -> date:
    """The first day, from `not_before` on, whose `lead`-th following trading day has a new main contract.

    `lead` is 2 or more: the second day's main contract is the scenario's first.
    """
    day = not_before if calendar.is_trading_day(not_before) else calendar.next_day(not_before)
    for _ in range(80):
        end = day
        for _ in range(lead):
            end = calendar.next_day(end)
        listing = Listing(variety, Scenario(varieties=(variety.key,), start=day, end=end), calendar)
        if listing.rolls()[:1] == [end]:
            return day
        day = calendar.next_day(day)
    raise UsageError(f"no roll of {variety.key} found after {not_before}", "choose another day")
