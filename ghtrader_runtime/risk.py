"""Risk rules, one small class each; every refusal is a sentence a person can read.

A rule sees a proposed order and what the account would look like, and answers with a reason or an empty string.
Rates count on market time, which may run faster than ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, frozen=True)
class Proposed:
    """An order about to be sent, with the account around it.

    Attributes
    ----------
    symbol, side, volume
        The order; `side` +1 buys, -1 sells.
    net : int
        Net position now, lots.
    working : int
        Signed lots of orders already out there that may still fill, same direction as `side` only.
    market_ns : int
        Market time, UTC epoch ns.
    sent_ns : deque of int
        Market times of the orders sent so far, oldest first.
    """

    symbol: str
    side: int
    volume: int
    net: int
    working: int
    market_ns: int
    sent_ns: deque[int]


class Rule(Protocol):
    """What every rule can do."""

    def check(self, order: Proposed) -> str:
        """A reason to refuse, or an empty string."""
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
        if abs(after) > self.lots and abs(after) >= abs(order.net):
            return f"{order.symbol}: position would become {after:+d}, at most {self.lots} allowed"
        return ""


@dataclass(frozen=True)
class OrderSize:
    """No order of more than `lots`."""

    lots: int

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        if not 0 < order.volume <= self.lots:
            return f"{order.symbol}: order of {order.volume} lots, 1 to {self.lots} allowed"
        return ""


@dataclass(frozen=True)
class OrderRate:
    """At most `orders` in any `window_s` seconds of market time."""

    orders: int
    window_s: float

    def check(self, order: Proposed) -> str:
        """See `Rule.check`."""
        since = order.market_ns - int(self.window_s * 1e9)
        recent = sum(1 for ns in order.sent_ns if ns > since)
        if recent >= self.orders:
            return f"{recent} orders in the last {self.window_s:g} s of market time, {self.orders} allowed"
        return ""


@dataclass(frozen=True)
class RiskLimits:
    """Limits of one account; every field is lots or a count.

    Attributes
    ----------
    max_position : int
        Largest position, long or short, of one symbol.
    max_order : int
        Largest single order.
    rate_orders, rate_window_s
        At most so many orders in so many seconds of market time.
    """

    max_position: int = 1
    max_order: int = 10
    rate_orders: int = 20
    rate_window_s: float = 60.0

    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order they are asked."""
        return (
            MaxPosition(self.max_position),
            OrderSize(self.max_order),
            OrderRate(self.rate_orders, self.rate_window_s),
        )


def first_reason(rules: Sequence[Rule], order: Proposed) -> str:
    """The first rule's reason to refuse, or an empty string."""
    return next((reason for rule in rules if (reason := rule.check(order))), "")
