"""Computes an exchange's fee for a fill."""

from __future__ import annotations

from ghtrader_market.accounting.fill import Fill, Offset
from ghtrader_market.reference.closing_rules import ClosingRule, closing_rule
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import FeeRates, Variety


def fee(rates: FeeRates, offset: Offset, price: float, volume: int, multiplier: int) -> float:
    """Fee of one fill in CNY: ratio of notional plus CNY a lot.

    `offset` is the kind of lots that were traded: OPEN, CLOSE (yesterday's), CLOSETODAY (today's).
    """
    ratio, lot = {
        Offset.OPEN: (rates.open_ratio, rates.open_lot),
        Offset.CLOSE: (rates.close_ratio, rates.close_lot),
        Offset.CLOSETODAY: (rates.close_today_ratio, rates.close_today_lot),
    }[offset]
    return volume * (price * multiplier * ratio + lot)


def rates_at(variety: Variety, calendar: TradingCalendar, contract: str, market_ns: int) -> FeeRates:
    """Fees of the trading day that a moment belongs to (UTC epoch ns of the market), which need not be the day at hand:
    a fill that is told late is charged by its own."""
    return variety.fees(contract, calendar.trading_day_of(market_ns))


def fill_fee(rates: FeeRates, fill: Fill, closed_today: int | None, multiplier: int) -> float:
    """Fee in CNY of a fill whose position is not at hand.

    Parameters
    ----------
    rates : FeeRates
        Of the contract on the trading day of the fill.
    fill : Fill
        With its offset.
    closed_today : int or None
        How many of the lots it closed were opened on its day (`positions.closed_today`); None where nobody knows: then
        they count as those that its exchange closes first.
    multiplier : int
        Units a lot.
    """
    if fill.offset is None:
        raise ValueError(f"a fill without an offset has no fee by the table: {fill}")
    if fill.offset == Offset.OPEN:
        return fee(rates, Offset.OPEN, fill.price, fill.volume, multiplier)
    if closed_today is None:
        rule = closing_rule(fill.symbol)
        todays = rule == ClosingRule.TODAY_FIRST or fill.offset == Offset.CLOSETODAY
        closed_today = fill.volume if todays else 0
    earlier = fee(rates, Offset.CLOSE, fill.price, fill.volume - closed_today, multiplier)
    return earlier + fee(rates, Offset.CLOSETODAY, fill.price, closed_today, multiplier)
