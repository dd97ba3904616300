"""Keeps what a gateway trades and the day so far: contract, trading day, ticks, marks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from ghtrader_market.accounting.marks import mark_price
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_runtime.brokers.base import Market, TickRow
from ghtrader_runtime.gateway.contract_binding import Binding
from ghtrader_runtime.gateway.day_ticks import DayTicks
from ghtrader_runtime.gateway.trading_day_clock import TradingDayClock

_BID, _ASK, _LAST = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"], COLUMN_INDEX["last_price"]


@dataclass(kw_only=True)
class TradedMarket:
    """The contract that is traded and its trading day; `TradingDay` and `TickRelay` write it, others read.

    Attributes
    ----------
    market : Market
        Price tick, multiplier and trading day, as the broker has them.
    binding : Binding
        Contract of the day, and by which schedule.
    day : TradingDayClock
        The trading day of the last tick.
    ticks : DayTicks
        The contract's ticks of that day.
    marks : dict
        What each contract is valued at now, CNY (`accounting/marks.py`).
    limits : dict
        The day's lowest and highest price of each contract, CNY; NaN where unknown.
    days_traded : set of str
        Days with ticks while a strategy was ready.
    rolls : int
        Rolls during this run.
    holding_note : str
        That the last day a natural person may hold the contract is near or there; empty where it is neither.
    cold_note : str
        Why the contract's day so far is not known; empty where it is.
    tick_revision : int
        Number of the last tick that was published.
    tick_s : float
        When it came, seconds of the monotonic clock; NaN before the first.
    """

    market: Market
    binding: Binding
    day: TradingDayClock
    ticks: DayTicks = field(default_factory=DayTicks)
    marks: dict[str, float] = field(default_factory=dict)
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    days_traded: set[str] = field(default_factory=set)
    rolls: int = 0
    holding_note: str = ""
    cold_note: str = ""
    tick_revision: int = 0
    tick_s: float = math.nan

    @property
    def trading_day(self) -> str:
        """The trading day at hand; before the first tick, the broker's."""
        return self.day.name or str(self.market.trading_day)

    @property
    def date(self) -> date:
        """The same as a date."""
        return date.fromisoformat(self.trading_day)

    def keep(self, row: TickRow) -> None:
        """Append a tick of the contract to the day's."""
        self.ticks.add(self.day.name, row.id, row.datetime_ns, row.values)

    def mark(self, symbol: str, values: np.ndarray) -> None:
        """Value a contract at a tick of it, float64[27]; a tick without a price changes nothing."""
        lower, upper = self.limits.get(symbol, (math.nan, math.nan))
        before = self.marks.get(symbol, math.nan)
        bid, ask, last = float(values[_BID]), float(values[_ASK]), float(values[_LAST])
        self.marks[symbol] = mark_price(bid, ask, last, before, self.market.price_tick, lower, upper)
