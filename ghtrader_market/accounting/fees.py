"""Computes an exchange's fee for a fill."""

from __future__ import annotations

from ghtrader_market.accounting.fill import Offset
from ghtrader_market.reference.varieties import FeeRates


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
