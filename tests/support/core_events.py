"""Builds the events that unit tests of the trading core hand to it: books and trades of one copper contract."""

from __future__ import annotations

from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.core import events as ev

CU, DAY = "SHFE.cu2502", "2025-01-08"


def book(
    tick: int = 1, bid: float = 70_000.0, ask: float = 70_010.0, *, now: int | None = None, day: str = DAY
) -> ev.Book:
    """The book of tick number `tick`, at so many ns of the market and, unless `now` says otherwise, of ours."""
    now_ns = tick if now is None else now
    return ev.Book(symbol=CU, trading_day=day, market_ns=tick, tick_id=tick, bid=bid, ask=ask, now_ns=now_ns)


def trade(
    trade_id: str, order_id: str, *, volume: int = 1, side: int = 1, offset: Offset = Offset.OPEN, now: int = 3
) -> ev.TradeReport:
    """A fill at 70,010 CNY."""
    return ev.TradeReport(
        trade_id=trade_id, order_id=order_id, symbol=CU, side=side, offset=offset, volume=volume, price=70_010.0,
        market_ns=now, now_ns=now,
    )  # fmt: skip
