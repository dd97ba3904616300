"""Updates positions from a broker's list and from fills.

The rules of lots and fees are `ghtrader_market.accounting.positions`'.
"""

from __future__ import annotations

from ghtrader_market.accounting.fill import Fill, Side
from ghtrader_market.accounting.positions import Position, apply_fill
from ghtrader_market.reference.varieties import FeeRates
from ghtrader_runtime.core.events import TradeReport
from ghtrader_runtime.core.orders import Holding

_NO_FEES = FeeRates()


def held(holding: Holding) -> Position:
    """Lots as a broker reports them; what they cost only the broker knows."""
    return Position(
        long_today=holding.long_today,
        long_his=holding.long_his,
        short_today=holding.short_today,
        short_his=holding.short_his,
    )


def after_trade(position: Position, trade: TradeReport) -> Position:
    """The position after one fill; its fee is none of the core's business.

    Raises
    ------
    RefusedError
        It closes lots we do not know of: what we believe is wrong.
    """
    return apply_fill(position, fill_of(trade), _NO_FEES, 1).position


def fill_of(trade: TradeReport) -> Fill:
    """The fill a broker reports."""
    return Fill(
        symbol=trade.symbol, side=Side.of(trade.side), offset=trade.offset, volume=trade.volume, price=trade.price,
        fee=trade.commission, market_ns=trade.market_ns, trade_id=trade.trade_id,
        order_id=trade.order_id,
    )  # fmt: skip
