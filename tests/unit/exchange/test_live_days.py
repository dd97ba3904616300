"""The clock passes from one live day into the next: the main contract rolls, accounts and books go on."""

from __future__ import annotations

from datetime import date

import pytest

from ghtrader_base.errors import ConfigError
from ghtrader_exchange.connections.market_feed import MarketFeed
from ghtrader_exchange.enums import Lifetime, Offset, Side
from ghtrader_exchange.faults.data_faults import DataFaults
from ghtrader_exchange.faults.order_faults import OrderFaults
from ghtrader_exchange.protocol.encoding import beijing_text
from ghtrader_exchange.venue.market_view import MarketView
from ghtrader_exchange.venue.orders import OrderRequest
from ghtrader_exchange.venue.venue import Venue
from ghtrader_exchange.world.scenario import Scenario, parse_scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.trading_calendar import NS_PER_HOUR, midnight_ns

SCENARIO = Scenario(start=date(2025, 3, 4), end=date(2025, 3, 5), snapshot_seconds=60.0, contracts=2, live_days=3)
OLD, NEW, MAIN = "SHFE.cu2504", "SHFE.cu2505", "KQ.m@SHFE.cu"
DAYS = [date(2025, 3, 6), date(2025, 3, 7), date(2025, 3, 10)]


def order(symbol: str, number: str, side: Side, offset: Offset, price: float) -> OrderRequest:
    return OrderRequest(
        order_id=number, symbol=symbol, side=side, offset=offset, volume=1, price=price, lifetime=Lifetime.FAK
    )


def test_a_position_is_carried_over_a_roll_into_the_next_live_day() -> None:
    history = History(SCENARIO)
    assert history.live_days == DAYS and history.live_day == DAYS[0]
    assert [history.main_contract("cu", day) for day in DAYS] == [OLD, NEW, NEW]
    market = MarketView(history)
    feed = MarketFeed(market, DataFaults())
    venue = Venue(market, OrderFaults())
    account = venue.login("u")
    assert market.today() == DAYS[0] and market.main_contracts("cu")[-1] == (DAYS[0], OLD)
    venue.insert(account, order(OLD, "a", Side.BUY, Offset.OPEN, feed.quote(OLD)["ask_price1"]))
    opened = history.calendar.sessions("cu", DAYS[1])[0][0]
    market.clock.set(at_ns=history.calendar.sessions("cu", DAYS[0])[-1][1] - 1)
    venue.step()
    before = feed.series(OLD, 0).last_id(*market.moment())
    market.clock.set(frozen=False, speed=1e5)  # closed hours take no time
    while market.now() < opened:
        pass
    market.clock.set(frozen=True, at_ns=opened)
    venue.step()
    assert market.today() == DAYS[1] and market.main_contracts("cu")[-1] == (DAYS[1], NEW)
    assert feed.quote(MAIN)["datetime"] == feed.quote(OLD)["datetime"] == beijing_text(opened)
    assert feed.series(OLD, 0).last_id(*market.moment()) == before + 1, "ids go on"
    now = venue.snapshot(account)
    (held,) = now.positions
    assert now.trading_day == DAYS[1] and (held.symbol, held.long.today, held.long.his) == (OLD, 0, 1)
    venue.insert(account, order(OLD, "b", Side.SELL, Offset.CLOSETODAY, feed.quote(OLD)["bid_price1"]))
    assert account.orders["b"].last_msg == "CTP:平今仓位不足"
    venue.insert(account, order(OLD, "c", Side.SELL, Offset.CLOSE, feed.quote(OLD)["bid_price1"]))
    assert account.orders["c"].last_msg == "全部成交"
    assert market.settlement(OLD, DAYS[0]) == feed.quote(OLD)["pre_settlement"]


def test_as_many_live_days_as_a_scenario_says() -> None:
    assert parse_scenario(SCENARIO.to_toml()) == SCENARIO and Scenario().live_days == 1
    for wrong in (0, 11, 1.5):
        with pytest.raises(ConfigError, match="live_days"):
            Scenario(live_days=wrong)


def test_the_last_day_of_the_holiday_list_is_played_to_its_end() -> None:
    scenario = Scenario(start=date(2026, 12, 28), end=date(2026, 12, 30), snapshot_seconds=300.0)
    history = History(scenario)
    last = date(2026, 12, 31)
    assert history.live_days == [last]
    market = MarketView(history)
    venue = Venue(market, OrderFaults())
    account = venue.login("u")
    feed = MarketFeed(market, DataFaults())
    symbol = history.main_contract("cu", last)
    market.clock.set(at_ns=history.calendar.sessions("cu", last)[1][0] + 10**9)
    venue.insert(account, order(symbol, "a", Side.BUY, Offset.OPEN, market.terms(symbol, last).upper_limit))
    for hour in (15, 17, 18, 21, 33, 100):  # the evening, its night, and days behind the list
        market.clock.set(at_ns=midnight_ns(last) + hour * NS_PER_HOUR)
        venue.step()
        assert feed.quote(symbol)["datetime"] < "2026-12-31 15:00:01" and feed.instruments()
        (held,) = venue.snapshot(account).positions
        assert (held.long.today, held.long.his) == ((0, 1) if hour >= 18 else (1, 0))
    assert all(instrument.expires > last for instrument in history.instruments.values()), "in 2027, as the world has it"
    with pytest.raises(ConfigError, match="ends on 2026-12-31, before the 2 live days after 2026-12-30"):
        scenario.with_changes(live_days=2)
