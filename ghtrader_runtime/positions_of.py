"""Positions as the runtime meets them: from a broker's report, a fill, a change of day. The rules are the market's."""

from __future__ import annotations

from ghtrader_market.positions import Fill, Position, Side, apply_fill
from ghtrader_market.varieties import FeeRates
from ghtrader_runtime.events import Holding, TradeReport

_NO_FEES = FeeRates()


def side_name(side: int) -> Side:
    """+1 as BUY, -1 as SELL."""
    return "BUY" if side > 0 else "SELL"


def held(holding: Holding) -> Position:
    """Lots as a broker reports them; what they cost is the broker's affair."""
    return Position(holding.long_today, holding.long_his, holding.short_today, holding.short_his)


def after_trade(position: Position, trade: TradeReport, needs_close_today: bool) -> Position:
    """The position after one fill.

    Raises
    ------
    RefusedError
        It closes lots we do not know of: what we believe is wrong.
    """
    fill = Fill(side_name(trade.side), trade.offset, trade.price, trade.volume)
    return apply_fill(position, fill, _NO_FEES, 1, needs_close_today).position
