"""What trading days leave and need: the bound contract's file, the day's watch, money by contract, a paper account."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ghtrader_base.errors import BeyondCalendarError, IntegrityError, UsageError
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import FeeRates, get_variety
from ghtrader_runtime.brokers.base import Market, Pumped, TickRow, Ticks
from ghtrader_runtime.brokers.paper import PaperBroker
from ghtrader_runtime.brokers.recorded_feed import ReplayFeed
from ghtrader_runtime.core.events import OrderReport, TradeReport
from ghtrader_runtime.core.orders import Order
from ghtrader_runtime.gateway.contract_binding import read_bound, write_bound
from ghtrader_runtime.gateway.trading_day_clock import TradingDayClock
from tests.support.runtime_kit import synthetic_values

OLD, NEW, MAIN = "SHFE.cu2504", "SHFE.cu2505", "KQ.m@SHFE.cu"
CALENDAR = bundled_calendar()


def test_the_bound_contract_is_kept_by_series_and_a_damaged_file_is_refused(tmp_path) -> None:
    assert read_bound(tmp_path, MAIN) == ""
    write_bound(tmp_path, MAIN, OLD)
    write_bound(tmp_path, MAIN, NEW)
    assert read_bound(tmp_path, MAIN) == NEW and read_bound(tmp_path, "KQ.m@SHFE.au") == ""
    (path,) = tmp_path.glob("bound-*.json")
    path.write_text(path.read_text().replace("cu2505", "cu2504"))
    for text in (None, "{}", "[]", "{"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(IntegrityError):
            read_bound(tmp_path, MAIN)


def test_a_day_is_over_and_a_run_of_days_is_not() -> None:
    day, variety = date(2025, 3, 7), get_variety("cu")
    sessions = CALENDAR.sessions(variety, day)
    watch = TradingDayClock(CALENDAR, variety)
    watch.enter(sessions[0][0])
    assert watch.covers(sessions[-1][1] - 1) and not watch.covers(CALENDAR.bounds(day)[1])
    watch.saw(sessions[-1][1] - 10**9, 100.0)
    assert watch.over(102.0, 60.0) == "" and watch.over(104.0, 60.0) == "the trading day is over"
    assert watch.over(100_000.0, 60.0, goes_on=True) == "", "the night is long"
    watch.saw(sessions[-1][1] - 30 * 10**9, 100.0)
    assert watch.over(161.0, 60.0) == watch.over(161.0, 0.0) == "the trading day is over", "its end has passed since"
    assert watch.over(161.0, 60.0, goes_on=True) == "", "closed by now"
    watch.saw(sessions[1][0] + 10**9, 100.0)
    assert "no tick" in watch.over(161.0, 60.0, goes_on=True)
    watch.saw(sessions[2][1] - 20 * 10**9, 100.0)  # 11:29:40
    assert {watch.over(100.0 + s, 30.0) for s in (25, 35, 1000, 2 * 3600 - 1)} == {""}, "a break is silent"
    assert "no tick" in watch.over(100.0 + 20 + 2 * 3600 + 31, 30.0), "but the afternoon is not"


def test_the_day_of_a_tick_behind_the_holiday_list_is_refused_and_the_last_day_goes_on() -> None:
    last, variety = date(2026, 12, 31), get_variety("cu")
    sessions = CALENDAR.sessions(variety, last)
    watch = TradingDayClock(CALENDAR, variety)
    watch.enter(sessions[-1][1] - 1)
    assert watch.name == "2026-12-31" and watch.covers(CALENDAR.bounds(last)[1] - 1)
    with pytest.raises(BeyondCalendarError, match="not for the trading day of 2027-01-01"):
        watch.enter(CALENDAR.bounds(last)[1])
    assert watch.name == "2026-12-31", "what was known stays"
    watch.saw(sessions[-1][1] - 1, 100.0)
    assert watch.over(104.0, 0.0) == "the trading day is over" and watch.over(90_000.0, 60.0, goes_on=True) == ""


def no_fees(symbol: str, market_ns: int) -> FeeRates:
    return FeeRates()


class TwoContracts(ReplayFeed):
    """A recorded feed that can be bound to a second contract, as a live one can."""

    def bind(self, symbol: str) -> Market:
        self.before, self.market = self.market, Market(symbol, self.day, 10.0, 5)
        return self.market

    def pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        pumped = super().pump(timeout_s, may_advance)
        if hasattr(self, "before") and pumped.ticks is not None:
            prices = 100.0 * np.array(["_price" in name for name in VALUE_COLUMNS])
            cheaper = [TickRow(row.id, row.datetime_ns, row.values - prices) for row in pumped.ticks.rows]
            pumped.expiring = [Ticks(self.before.symbol, cheaper, pumped.ticks.now_ns)]
        return pumped


def test_a_paper_account_holds_two_contracts_and_ages_over_the_night() -> None:
    values = synthetic_values(6, seed=5)
    feed = TwoContracts(
        Market(OLD, date(2025, 3, 6), 10.0, 5), np.arange(6), np.arange(6), np.ascontiguousarray(values.T)
    )
    broker = PaperBroker(feed, no_fees, ExecutionModel(latency_ms=0.0))
    broker.pump(0.0, True)
    ask = float(values[COLUMN_INDEX["ask_price1"], 0])
    broker.submit(Order(order_id="a", symbol=OLD, side=1, offset="OPEN", volume=1, price=ask, tif="FAK", left=1))
    broker.submit(
        Order(order_id="rest", symbol=OLD, side=1, offset="OPEN", volume=1, price=ask - 500.0, tif="GFD", left=1)
    )
    assert sum(isinstance(one, TradeReport) for one in broker.drain()) == 1
    broker.enter_day()
    (ended,) = broker.drain()
    assert isinstance(ended, OrderReport) and ended.order_id == "rest" and ended.finished
    (holding,) = broker.snapshot().holdings
    assert (holding.symbol, holding.long_today, holding.long_his) == (OLD, 0, 1)
    broker.bind(NEW)
    broker.pump(0.0, True)
    worth = broker.balance()
    bid = float(values[COLUMN_INDEX["bid_price1"], 1]) - 100.0
    broker.submit(Order(order_id="b", symbol=OLD, side=-1, offset="CLOSETODAY", volume=1, price=bid, tif="FAK", left=1))
    (refused,) = broker.drain()
    assert refused.error and "CLOSETODAY of 1, 0 there" in refused.message
    broker.submit(Order(order_id="c", symbol=OLD, side=-1, offset="CLOSE", volume=1, price=bid, tif="FAK", left=1))
    trade, _ = broker.drain()
    assert isinstance(trade, TradeReport) and trade.price == bid, "at the old contract's own book"
    broker.submit(
        Order(
            order_id="d",
            symbol=NEW,
            side=1,
            offset="OPEN",
            volume=1,
            price=float(values[COLUMN_INDEX["ask_price1"], 1]),
            tif="FAK",
            left=1,
        )
    )
    held = {one.symbol: one.long_today + one.long_his for one in broker.snapshot().holdings}
    assert held == {OLD: 0, NEW: 1} and abs(broker.balance() - worth) <= 5 * 30.0
    with pytest.raises(UsageError, match="one of SHFE.cu2504"):
        plain = ReplayFeed(Market(OLD, date(2025, 3, 6), 10.0, 5), np.arange(6), np.arange(6), values.T)
        PaperBroker(plain, no_fees).bind(NEW)
