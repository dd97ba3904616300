"""Defines the sources of the factor language: what an expression reads from one tick, or from it and the one before.

What belongs here: names, arguments, meaning, unit and paper of each source. The arithmetic is in `kernel`, or in the
simpler expressions a source lowers to. Prices are in price ticks of the contract (rounded to the grid, so that mids are
exact half-integers), volumes in lots. A level that is absent (its price is NaN) makes the source NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

from ghtrader_models.factors.language.expressions import (
    Abs,
    Add,
    Clip,
    Const,
    Expression,
    Mul,
    Ratio,
    Sign,
    Sub,
    Window,
)
from ghtrader_models.factors.language.rolling_windows import Diff, Lag


def _total(parts: list[Expression]) -> Expression:
    return reduce(Add, parts)


@dataclass(frozen=True)
class Source(Expression):
    """A leaf of every expression."""


@dataclass(frozen=True)
class BidPrice(Source):
    """Bid price of a level, in price ticks."""

    level: int


@dataclass(frozen=True)
class AskPrice(Source):
    """Ask price of a level, in price ticks."""

    level: int


@dataclass(frozen=True)
class BidVolume(Source):
    """Lots bid at a level."""

    level: int


@dataclass(frozen=True)
class AskVolume(Source):
    """Lots offered at a level."""

    level: int


@dataclass(frozen=True)
class LastPrice(Source):
    """Price of the last trade, in price ticks."""

    reads: ClassVar[frozenset[str]] = frozenset({"last_price"})


@dataclass(frozen=True)
class Highest(Source):
    """Highest trade price of the trading day so far, in price ticks."""

    reads: ClassVar[frozenset[str]] = frozenset({"highest"})


@dataclass(frozen=True)
class Lowest(Source):
    """Lowest trade price of the trading day so far, in price ticks."""

    reads: ClassVar[frozenset[str]] = frozenset({"lowest"})


@dataclass(frozen=True)
class DayVolume(Source):
    """Lots traded in the trading day so far."""

    reads: ClassVar[frozenset[str]] = frozenset({"volume"})


@dataclass(frozen=True)
class DayTurnover(Source):
    """Turnover of the trading day so far, over multiplier and price tick: lots x price ticks."""

    reads: ClassVar[frozenset[str]] = frozenset({"amount"})


@dataclass(frozen=True)
class OpenInterest(Source):
    """Open interest, in lots."""

    reads: ClassVar[frozenset[str]] = frozenset({"open_interest"})


@dataclass(frozen=True)
class Mid(Source):
    """``(bid_1 + ask_1) / 2`` in price ticks; NaN where a side is empty."""

    def lower(self) -> Expression:
        return Mul(Add(BidPrice(1), AskPrice(1)), Const(0.5))


@dataclass(frozen=True)
class Spread(Source):
    """``ask_1 - bid_1`` in price ticks."""

    def lower(self) -> Expression:
        return Sub(AskPrice(1), BidPrice(1))


@dataclass(frozen=True)
class MicropriceOffset(Source):
    """``Microprice() - Mid()`` in price ticks: above zero where the bid queue is the longer.

    ``Spread() * Imbalance(1) / 2``.
    """

    def lower(self) -> Expression:
        return Mul(Mul(Spread(), Imbalance(1)), Const(0.5))


@dataclass(frozen=True)
class Microprice(Source):
    """``(bid_1 q_ask + ask_1 q_bid) / (q_bid + q_ask)`` in price ticks.

    The volume-weighted mid, the first-order form of the microprice of Stoikov (2018), "The micro-price: a
    high-frequency estimator of future prices", Quantitative Finance 18(12).
    """

    def lower(self) -> Expression:
        return Add(Mid(), MicropriceOffset())


@dataclass(frozen=True)
class MidReturn(Source):
    """Move of the mid over the last ``lag`` ticks (or time), in price ticks."""

    lag: Window

    def lower(self) -> Expression:
        return Diff(Mid(), self.lag)


@dataclass(frozen=True)
class Imbalance(Source):
    """``(q_bid - q_ask) / (q_bid + q_ask)`` of one level, from -1 to 1; 0 where both are empty. No unit.

    Queue imbalance of Gould and Bonart (2016), "Queue imbalance as a one-tick-ahead price predictor in a limit order
    book", Market Microstructure and Liquidity 2(2).
    """

    level: int

    def lower(self) -> Expression:
        bid, ask = BidVolume(self.level), AskVolume(self.level)
        return Ratio(Sub(bid, ask), Add(bid, ask))


@dataclass(frozen=True)
class Depth(Source):
    """Lots waiting on one side (``'bid'`` or ``'ask'``), summed over levels 1 to ``levels``."""

    side: str
    levels: int

    def lower(self) -> Expression:
        return _total([_volume(self.side, level) for level in range(1, self.levels + 1)])


@dataclass(frozen=True)
class CumImbalance(Source):
    """Imbalance of the lots on levels 1 to ``levels``, from -1 to 1; 0 where both are empty. No unit.

    Cao, Hansch and Wang (2009), "The information content of an open limit-order book", Journal of Futures Markets
    29(1).
    """

    levels: int

    def lower(self) -> Expression:
        bid, ask = Depth("bid", self.levels), Depth("ask", self.levels)
        return Ratio(Sub(bid, ask), Add(bid, ask))


@dataclass(frozen=True)
class DepthCentre(Source):
    """Where the lots of a side wait: their mean distance from the mid over levels 1 to ``levels``, in price ticks.

    ``sum q_k |p_k - mid| / sum q_k``; 0 where no lot waits.
    """

    side: str
    levels: int

    def lower(self) -> Expression:
        rungs = range(1, self.levels + 1)
        moment = _total([Mul(_volume(self.side, k), _distance(self.side, k)) for k in rungs])
        return Ratio(moment, Depth(self.side, self.levels))


@dataclass(frozen=True)
class BookSlope(Source):
    """How fast depth builds up away from the mid, in lots per price tick.

    Least-squares slope through the origin of the cumulated lots on the distance from the mid, levels 1 to ``levels``:
    ``sum d_k Q_k / sum d_k^2``. After Naes and Skjeltorp (2006), "Order book characteristics and the volume-volatility
    relation", Journal of Financial Markets 9(4).
    """

    side: str
    levels: int

    def lower(self) -> Expression:
        rungs = range(1, self.levels + 1)
        away = {k: _distance(self.side, k) for k in rungs}
        up = _total([Mul(away[k], Depth(self.side, k)) for k in rungs])
        return Ratio(up, _total([Mul(away[k], away[k]) for k in rungs]))


@dataclass(frozen=True)
class BookConvexity(Source):
    """Whether the lots of a side wait far out (above 0) or at the front (below), from -1 to 1; equal queues: 0.

    No unit.

    ``1 - 2 A / (L Q_L)``, ``A`` the area under the cumulated lots over levels 0 to ``L = levels``; 0 where no lot
    waits.
    """

    side: str
    levels: int

    def lower(self) -> Expression:
        count = self.levels
        weights = {k: 1.0 - (2.0 * (count - k) + 1.0) / count for k in range(1, count + 1)}
        moment = _total([Mul(_volume(self.side, k), Const(weight)) for k, weight in weights.items()])
        return Ratio(moment, Depth(self.side, count))


@dataclass(frozen=True)
class BookWidth(Source):
    """Distance from level 1 to level ``levels`` of a side, in price ticks: ``levels - 1`` in a book without gaps."""

    side: str
    levels: int

    def lower(self) -> Expression:
        far, near = (_price(self.side, level) for level in (self.levels, 1))
        return Sub(near, far) if self.side == "bid" else Sub(far, near)


@dataclass(frozen=True)
class Ofi(Source):
    """Order-flow imbalance of one level since the tick before, in lots.

    ``[b >= b'] q_b - [b <= b'] q_b' - [a <= a'] q_a + [a >= a'] q_a'`` with ``'`` the tick before: Cont, Kukanov and
    Stoikov (2014), "The price impact of order book events", Journal of Financial Econometrics 12(1).
    """

    history: ClassVar[int] = 2
    level: int

    def lower(self) -> Expression:
        return Sub(SideFlow("bid", self.level), SideFlow("ask", self.level))


@dataclass(frozen=True)
class MultiOfi(Source):
    """``Ofi(1) + ... + Ofi(levels)``, in lots.

    Multi-level order-flow imbalance, summed: Xu, Gould and Howison (2018), "Multi-level order-flow imbalance in a limit
    order book", Market Microstructure and Liquidity 4(3-4).
    """

    history: ClassVar[int] = 2
    levels: int

    def lower(self) -> Expression:
        return _total([Ofi(level) for level in range(1, self.levels + 1)])


@dataclass(frozen=True)
class SideFlow(Source):
    """One side's part of `Ofi`, in lots: what joined that queue less what left it.

    Bid: ``[b >= b'] q_b - [b <= b'] q_b'``; ask: ``[a <= a'] q_a - [a >= a'] q_a'``. Cont, Kukanov and Stoikov (2014).
    """

    history: ClassVar[int] = 2
    side: str
    level: int


@dataclass(frozen=True)
class VolumeDelta(Source):
    """Lots traded since the tick before; NaN where the day's cumulative volume falls."""

    history: ClassVar[int] = 2
    reads: ClassVar[frozenset[str]] = frozenset({"volume"})


@dataclass(frozen=True)
class TurnoverDelta(Source):
    """Turnover since the tick before, over multiplier and price tick: lots x price ticks."""

    history: ClassVar[int] = 2

    def lower(self) -> Expression:
        return Diff(DayTurnover(), 1)


@dataclass(frozen=True)
class OpenInterestChange(Source):
    """Change of the open interest since the tick before, in lots."""

    history: ClassVar[int] = 2

    def lower(self) -> Expression:
        return Diff(OpenInterest(), 1)


@dataclass(frozen=True)
class VwapOffset(Source):
    """Average price of the lots traded since the tick before, less the mean of the mids before and now; price ticks.

    0 where nothing traded. The average is turnover over volume and multiplier.
    """

    history: ClassVar[int] = 2

    def lower(self) -> Expression:
        lots = VolumeDelta()
        return Ratio(Sub(TurnoverDelta(), Mul(lots, _half(Add(Mid(), Lag(Mid(), 1))))), lots)


@dataclass(frozen=True)
class VwapDeviation(Source):
    """Mid less the average price of the trading day so far, in price ticks; 0 before the first trade of the day."""

    def lower(self) -> Expression:
        return Ratio(Sub(Mul(Mid(), DayVolume()), DayTurnover()), DayVolume())


@dataclass(frozen=True)
class SignedVolume(Source):
    """Lots bought less lots sold by aggressors since the tick before, inferred: no tape is printed.

    ``volume * clip(VwapOffset / half, -1, 1)`` with ``half`` the mean half spread before and now: exact where buys
    trade at the ask and sells at the bid of a book that stands. 0 where nothing traded. The quote rule of Lee and
    Ready (1991), "Inferring trade direction from intraday data", Journal of Finance 46(2), applied to the average.
    """

    history: ClassVar[int] = 2

    def lower(self) -> Expression:
        half = Mul(Add(Spread(), Lag(Spread(), 1)), Const(0.25))
        return Mul(VolumeDelta(), Clip(Ratio(VwapOffset(), half), -1.0, 1.0))


@dataclass(frozen=True)
class TradeSign(Source):
    """Sign of `SignedVolume`: -1, 0 or 1. No unit."""

    history: ClassVar[int] = 2

    def lower(self) -> Expression:
        return Sign(SignedVolume())


@dataclass(frozen=True)
class TickInterval(Source):
    """Seconds since the tick before."""

    history: ClassVar[int] = 2

    def lower(self) -> Expression:
        return Diff(DaySeconds(), 1)


@dataclass(frozen=True)
class DaySeconds(Source):
    """Seconds since the trading day's first tick, to the microsecond."""


@dataclass(frozen=True)
class SessionTime(Source):
    """Part of the trading day's session time that has passed, from 0 to 1; breaks do not count. No unit."""

    uses_session: ClassVar[bool] = True


@dataclass(frozen=True)
class SessionAge(Source):
    """Seconds since the present session opened; NaN outside sessions."""

    uses_session: ClassVar[bool] = True


@dataclass(frozen=True)
class SessionLeft(Source):
    """Seconds until the present session closes; NaN outside sessions."""

    uses_session: ClassVar[bool] = True


def _half(x: Expression) -> Expression:
    return Mul(x, Const(0.5))


def _price(side: str, level: int) -> Expression:
    return BidPrice(level) if side == "bid" else AskPrice(level)


def _volume(side: str, level: int) -> Expression:
    return BidVolume(level) if side == "bid" else AskVolume(level)


def _distance(side: str, level: int) -> Expression:
    return Abs(Sub(_price(side, level), Mid()))
