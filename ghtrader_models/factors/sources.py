"""The sources of the factor language: what an expression reads from one tick, or from a tick and the one before.

What belongs here: names, arguments, meaning, unit and paper of each source. The arithmetic is in `kernel`. Prices are
in price ticks of the contract (rounded to the grid, so that mids are exact half-integers), volumes in lots. A level
that is absent (its price is NaN) makes the source NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ghtrader_models.factors.expressions import Add, Diff, Expression, Ratio, Sign, Sub


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


@dataclass(frozen=True)
class Mid(Source):
    """``(bid_1 + ask_1) / 2`` in price ticks; NaN where a side is empty."""


@dataclass(frozen=True)
class Spread(Source):
    """``ask_1 - bid_1`` in price ticks."""


@dataclass(frozen=True)
class Microprice(Source):
    """``(bid_1 q_ask + ask_1 q_bid) / (q_bid + q_ask)`` in price ticks.

    The volume-weighted mid, the first-order form of the microprice of Stoikov (2018), "The micro-price: a
    high-frequency estimator of future prices", Quantitative Finance 18(12).
    """


@dataclass(frozen=True)
class MicropriceOffset(Source):
    """``Microprice() - Mid()`` in price ticks: above zero where the bid queue is the longer."""

    def lower(self) -> Expression:
        return Sub(Microprice(), Mid())


@dataclass(frozen=True)
class MidReturn(Source):
    """Move of the mid over the last ``lag`` ticks, in price ticks."""

    lag: int

    def lower(self) -> Expression:
        return Diff(Mid(), self.lag)


@dataclass(frozen=True)
class Imbalance(Source):
    """``(q_bid - q_ask) / (q_bid + q_ask)`` of one level, from -1 to 1.

    Queue imbalance of Gould and Bonart (2016), "Queue imbalance as a one-tick-ahead price predictor in a limit order
    book", Market Microstructure and Liquidity 2(2).
    """

    level: int


@dataclass(frozen=True)
class Depth(Source):
    """Lots waiting on one side (``'bid'`` or ``'ask'``), summed over levels 1 to ``levels``."""

    side: str
    levels: int


@dataclass(frozen=True)
class CumImbalance(Source):
    """Imbalance of the lots on levels 1 to ``levels``, from -1 to 1."""

    levels: int

    def lower(self) -> Expression:
        bid, ask = Depth("bid", self.levels), Depth("ask", self.levels)
        return Ratio(Sub(bid, ask), Add(bid, ask))


@dataclass(frozen=True)
class Ofi(Source):
    """Order-flow imbalance of one level since the tick before, in lots.

    ``[b >= b'] q_b - [b <= b'] q_b' - [a <= a'] q_a + [a >= a'] q_a'`` with ``'`` the tick before: Cont, Kukanov and
    Stoikov (2014), "The price impact of order book events", Journal of Financial Econometrics 12(1).
    """

    history: ClassVar[int] = 2
    level: int


@dataclass(frozen=True)
class MultiOfi(Source):
    """``Ofi(1) + ... + Ofi(levels)``, in lots.

    Multi-level order-flow imbalance, summed: Xu, Gould and Howison (2018), "Multi-level order-flow imbalance in a limit
    order book", Market Microstructure and Liquidity 4(3-4).
    """

    history: ClassVar[int] = 2
    levels: int

    def lower(self) -> Expression:
        total: Expression = Ofi(1)
        for level in range(2, self.levels + 1):
            total = Add(total, Ofi(level))
        return total


@dataclass(frozen=True)
class VolumeDelta(Source):
    """Lots traded since the tick before; NaN where the day's cumulative volume falls."""

    history: ClassVar[int] = 2


@dataclass(frozen=True)
class OpenInterestChange(Source):
    """Change of the open interest since the tick before, in lots."""

    history: ClassVar[int] = 2


@dataclass(frozen=True)
class VwapOffset(Source):
    """Average price of the lots traded since the tick before, less the mean of the mids before and now; price ticks.

    0 where nothing traded. The average is turnover over volume and multiplier.
    """

    history: ClassVar[int] = 2


@dataclass(frozen=True)
class SignedVolume(Source):
    """Lots bought less lots sold by aggressors since the tick before, inferred: no tape is printed.

    ``volume * clip(VwapOffset / half, -1, 1)`` with ``half`` the mean half spread before and now: exact where buys
    trade at the ask and sells at the bid of a book that stands. 0 where nothing traded. The quote rule of Lee and
    Ready (1991), "Inferring trade direction from intraday data", Journal of Finance 46(2), applied to the average.
    """

    history: ClassVar[int] = 2


@dataclass(frozen=True)
class TradeSign(Source):
    """Sign of `SignedVolume`: -1, 0 or 1."""

    history: ClassVar[int] = 2

    def lower(self) -> Expression:
        return Sign(SignedVolume())


@dataclass(frozen=True)
class TickInterval(Source):
    """Seconds since the tick before."""

    history: ClassVar[int] = 2


@dataclass(frozen=True)
class SessionTime(Source):
    """Part of the trading day's session time that has passed, from 0 to 1; breaks do not count."""

    uses_session: ClassVar[bool] = True


@dataclass(frozen=True)
class SessionAge(Source):
    """Seconds since the present session opened; NaN outside sessions."""

    uses_session: ClassVar[bool] = True
