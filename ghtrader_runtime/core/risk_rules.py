"""Checks orders and equity against risk rules, one small class each.

Every refusal is a sentence a person can read.

An order rule sees a proposed order and the account around it and answers with a reason to refuse it, or an empty
string. **No rule traps a position**: an order that only brings it nearer to zero is refused where the exchange could
not take it (outside its hours, a price off its grid or beyond the day's limits), and for nothing else. An account rule
sees the day's equity and answers with a reason to trip the kill switch. Rates and sessions count on market time, which
may run faster than ours; the age of data counts on ours.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from ghtrader_base.trading_limits import RATE_WINDOW_S, default
from ghtrader_market.accounting.fill import Offset

GRID = 1e-6
"""Price ticks a price may lie beside the grid: what floating point leaves of a quotient, whatever the price."""
_OPEN = Offset.OPEN


class Proposed(msgspec.Struct, gc=False, kw_only=True):
    """An order about to be sent, with the account around it.

    Attributes
    ----------
    symbol, side, volume, offset
        The order; `side` +1 buys, -1 sells; `volume` lots.
    price : float
        Limit price, CNY; NaN for an order without one.
    net : int
        Net position now, lots.
    working : int
        Signed lots of orders already out there that may still fill, same direction as `side` only.
    market_ns : int
        Market time, UTC epoch ns.
    sent_ns : deque of int
        Market times of the orders sent so far, oldest first.
    latest_ns : int
        Latest market time of this process run; a market clock may go back behind it. 0 where that is `market_ns`.
    open_orders : int
        Orders of the account that may still fill.
    reference : float
        Mid of the last book (its only side, where one is empty), CNY.
    multiplier : int
        Units a lot.
    price_tick, lower, upper : float
        Price grid and the day's limits, CNY; NaN where unknown.
    sessions : tuple of (first ns, end ns), or None
        When the contract trades on the day; None where nobody told.
    data_age_s : float
        Seconds (ours) since the last tick.
    trading_day : str
        YYYY-MM-DD.
    no_open_from : str
        Trading day from which on the contract is only closed; empty where there is none.
    """

    symbol: str
    side: int
    volume: int
    offset: Offset
    price: float
    net: int
    working: int
    market_ns: int
    sent_ns: deque[int]
    latest_ns: int = 0
    open_orders: int = 0
    reference: float = math.nan
    multiplier: int = 1
    price_tick: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    sessions: tuple[tuple[int, int], ...] | None = None
    data_age_s: float = 0.0
    trading_day: str = ""
    no_open_from: str = ""

    @property
    def opens(self) -> bool:
        """Whether it takes on new risk."""
        return self.offset == _OPEN

    @property
    def reduces(self) -> bool:
        """Whether it only brings the position nearer to zero, whatever of its side that is out fills."""
        return not self.opens and 0 < self.volume <= -self.side * (self.net + self.working)


def on_grid(price: float, price_tick: float) -> bool:
    """Whether a price (CNY) is a whole number of price ticks; False for NaN and infinity."""
    steps = price / price_tick
    return math.isfinite(steps) and abs(steps - round(steps)) <= GRID


def beyond_holding(no_open_from: str, trading_day: str) -> bool:
    """Whether a contract is only closed on `trading_day` (YYYY-MM-DD)."""
    return bool(no_open_from) and trading_day >= no_open_from


def only_closed(symbol: str, no_open_from: str) -> str:
    """Why nothing is opened any more."""
    return f"{symbol}: the last day a natural person may hold it is {no_open_from}, it is only closed"


class Rule(Protocol):
    """What every order rule can do."""

    def check(self, order: Proposed) -> str:
        """A reason to refuse, or an empty string."""
        ...


class AccountRule(Protocol):
    """What every account rule can do."""

    def check(self, opening: float, peak: float, now: float) -> str:
        """A reason to trip the kill switch, or an empty string; CNY."""
        ...


@dataclass(frozen=True)
class MaxPosition:
    """No order whose complete fill, with those already out, leaves more than `lots` long or short.

    An order that makes a too large position smaller passes.
    """

    lots: int

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        after = order.net + order.working + order.side * order.volume
        if abs(after) > self.lots and (order.opens or abs(after) >= abs(order.net)):
            return f"{order.symbol}: position would become {after:+d}, at most {self.lots} allowed"
        return ""


@dataclass(frozen=True)
class OrderSize:
    """No order of more than `lots`, unless it only reduces the position."""

    lots: int

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        if not (0 < order.volume <= self.lots or order.reduces):
            return f"{order.symbol}: order of {order.volume} lots, 1 to {self.lots} allowed"
        return ""


@dataclass(frozen=True)
class FatFinger:
    """No order worth more than `notional` CNY: a price or volume typed with a zero too many.

    One that only reduces the position cannot be larger than that, and passes.
    """

    notional: float

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        price = order.reference if math.isnan(order.price) else max(order.price, order.reference)
        worth = order.volume * order.multiplier * price
        if not (worth <= self.notional or order.reduces):
            return f"{order.symbol}: an order worth {worth:,.0f} CNY, at most {self.notional:,.0f} allowed"
        return ""


@dataclass(frozen=True)
class OrderRate:
    """At most `orders` in any `window_s` seconds of market time; one that only reduces counts, and passes.

    What was sent later than the market has come to is of another run, over a later day, and does not count.
    """

    orders: int
    window_s: float

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        sent, latest_ns = order.sent_ns, max(order.latest_ns, order.market_ns)
        since = order.market_ns - int(self.window_s * 1e9)
        if order.reduces or len(sent) < self.orders or (sent[-1] <= latest_ns and sent[-self.orders] <= since):
            return ""
        if sum(since < sent_ns <= latest_ns for sent_ns in sent) >= self.orders:
            return f"{self.orders} orders in the last {self.window_s:g} s of market time, at most {self.orders} allowed"
        return ""


@dataclass(frozen=True)
class OpenOrders:
    """At most `orders` at work at once, of all symbols and owners; one that only reduces the position passes."""

    orders: int

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        if order.open_orders >= self.orders and not order.reduces:
            return f"{order.open_orders} orders are open, {self.orders} allowed"
        return ""


@dataclass(frozen=True)
class InSession:
    """No order outside the contract's trading hours; where they are not known, none but one that only reduces."""

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        if order.sessions is None:
            return "" if order.reduces else f"{order.symbol}: its trading hours are not known"
        if not any(first <= order.market_ns < end for first, end in order.sessions):
            return f"{order.symbol}: outside its trading hours"
        return ""


@dataclass(frozen=True)
class DataAge:
    """No opening order on a book older than `seconds` of ours (0: any age)."""

    seconds: float

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        if self.seconds and order.opens and order.data_age_s > self.seconds:
            return f"{order.symbol}: the last tick is {order.data_age_s:.1f} s old, {self.seconds:g} s allowed"
        return ""


@dataclass(frozen=True)
class HoldingLimit:
    """No opening order from the last trading day on which a natural person may hold the contract."""

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        if order.opens and beyond_holding(order.no_open_from, order.trading_day):
            return only_closed(order.symbol, order.no_open_from)
        return ""


@dataclass(frozen=True)
class PriceCollar:
    """No limit price off the grid, beyond the day's limits, or further than `fraction` from the market.

    How far is not asked of an order that only reduces the position: a market that ran away from its last known book
    must not hold it fast.
    """

    fraction: float

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        price = order.price
        if math.isnan(price):
            return ""
        if not 0.0 < price < math.inf:
            return f"{order.symbol}: no price: {price}"
        if not on_grid(price, order.price_tick):
            return f"{order.symbol}: {price:.10g} is no multiple of the price tick {order.price_tick:g}"
        if price > order.upper or price < order.lower:
            return f"{order.symbol}: {price:.10g} is beyond the day's limits {order.lower:.10g} to {order.upper:.10g}"
        market = order.reference
        if not (abs(price - market) <= self.fraction * market or order.reduces):
            return f"{order.symbol}: {price:.10g} is more than {self.fraction:.1%} from the market at {market:.10g}"
        return ""


@dataclass(frozen=True)
class DailyLoss:
    """Equity may fall by less than `amount` CNY from where the day opened (0: no limit)."""

    amount: float

    def check(self, opening: float, peak: float, now: float) -> str:
        """See `AccountRule.check`."""
        if self.amount and opening - now >= self.amount:
            return f"lost {opening - now:,.0f} CNY since the day opened, limit {self.amount:,.0f}"
        return ""


@dataclass(frozen=True)
class Drawdown:
    """Equity may fall by less than `amount` CNY from the day's peak (0: no limit)."""

    amount: float

    def check(self, opening: float, peak: float, now: float) -> str:
        """See `AccountRule.check`."""
        if self.amount and peak - now >= self.amount:
            return f"fell {peak - now:,.0f} CNY from the day's peak, limit {self.amount:,.0f}"
        return ""


@dataclass(frozen=True, kw_only=True)
class RiskLimits:
    """Limits of one account; defaults and ranges are `ghtrader_base.trading_limits`.

    Attributes
    ----------
    max_position : int
        Lots of one symbol, long or short.
    max_order : int
        Lots of one order.
    rate_orders : int
        Orders in `rate_window_s` of market time.
    rate_window_s : float
        Seconds of market time.
    max_open_orders : int
        Orders at work at once, of the whole account.
    max_notional : float
        CNY of one order.
    price_collar : float
        Largest distance of a limit price from the mid, as a fraction of it.
    data_age_s : float
        Seconds (ours) without a tick, in a session, after which nothing is opened any more and market data is
        subscribed anew; 0 never.
    daily_loss : float
        CNY lost since the trading day opened at which the kill switch trips; 0 never.
    drawdown : float
        CNY below the trading day's highest equity at which the kill switch trips; 0 never.
    """

    max_position: int = default("max_position")
    max_order: int = default("max_order")
    rate_orders: int = default("rate_orders")
    rate_window_s: float = RATE_WINDOW_S
    max_open_orders: int = default("max_open_orders")
    max_notional: float = default("max_notional")
    price_collar: float = default("price_collar")
    data_age_s: float = default("data_age_s")
    daily_loss: float = default("daily_loss")
    drawdown: float = default("drawdown")

    def rules(self) -> tuple[Rule, ...]:
        """The order rules in the order they are asked."""
        return (
            MaxPosition(self.max_position),
            OrderSize(self.max_order),
            PriceCollar(self.price_collar),
            FatFinger(self.max_notional),
            InSession(),
            HoldingLimit(),
            DataAge(self.data_age_s),
            OpenOrders(self.max_open_orders),
            OrderRate(self.rate_orders, self.rate_window_s),
        )

    def account_rules(self) -> tuple[AccountRule, ...]:
        """The account rules in the order they are asked."""
        return (DailyLoss(self.daily_loss), Drawdown(self.drawdown))


def first_reason(rules: Sequence[Rule], order: Proposed) -> str:
    """The first rule's reason to refuse, or an empty string."""
    for rule in rules:
        if reason := rule.check(order):
            return reason
    return ""


def first_breach(rules: Sequence[AccountRule], opening: float, peak: float, now: float) -> str:
    """The first account rule's reason to trip the kill switch, or an empty string."""
    for rule in rules:
        if reason := rule.check(opening, peak, now):
            return reason
    return ""
