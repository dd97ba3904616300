"""Defines a fill of an order: what was traded, at which price, on which side."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ghtrader_base.plain_str_enum import PlainStrEnum


class Side(PlainStrEnum):
    """Who took the lots: the buyer, or the seller."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for a purchase, -1 for a sale: what positions and prices are worked out with."""
        return 1 if self is Side.BUY else -1

    @classmethod
    def of(cls, signed: int) -> Side:
        """The side of a signed number of lots, or of a sign; BUY where it is positive."""
        return cls.BUY if signed > 0 else cls.SELL


class Offset(PlainStrEnum):
    """What an order does with the position.

    OPEN
        Adds to it.
    CLOSE
        Takes from it; at SHFE and INE the lots of earlier days only.
    CLOSETODAY
        Takes today's lots from it, at SHFE and INE.
    """

    OPEN = "OPEN"
    CLOSE = "CLOSE"
    CLOSETODAY = "CLOSETODAY"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """One execution.

    Attributes
    ----------
    symbol : str
        The contract.
    side, offset
        As the exchange names them; `offset` is None where it was not told, as in a backtest on net positions, whose
        fill may close and open in one.
    volume : int
        Lots, positive.
    price, fee : float
        CNY; `fee` for the whole fill, NaN where it is not known.
    market_ns : int
        When, UTC epoch ns of the market; 0 where it does not matter.
    trade_id, order_id : str
        As the broker names the trade and we our order; empty where there is none.
    """

    symbol: str
    side: Side
    offset: Offset | None
    volume: int
    price: float
    fee: float = math.nan
    market_ns: int = 0
    trade_id: str = ""
    order_id: str = ""

    @property
    def signed(self) -> int:
        """Lots bought, negative where they were sold."""
        return self.volume if self.side == Side.BUY else -self.volume

    @property
    def paid(self) -> float:
        """Fee in CNY, 0 where it is not known."""
        return self.fee if math.isfinite(self.fee) else 0.0
