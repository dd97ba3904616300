"""The floor on a real tape: what is refused, what is filled, what accounts hear, how a day ends."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pytest

from ghtrader_exchange.connections.account_items import notice_item, update_item
from ghtrader_exchange.connections.market_data import MdSession
from ghtrader_exchange.connections.market_feed import MarketFeed
from ghtrader_exchange.enums import Lifetime, Offset, PriceType, Side
from ghtrader_exchange.faults.data_faults import DataFaults
from ghtrader_exchange.faults.fault_kinds import FaultKind
from ghtrader_exchange.faults.order_faults import OrderFaults
from ghtrader_exchange.protocol.chart_series import TickSeries
from ghtrader_exchange.venue.account_updates import Notice
from ghtrader_exchange.venue.market_view import MarketView
from ghtrader_exchange.venue.orders import OrderRequest
from ghtrader_exchange.venue.venue import Venue
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History

SECOND = 1_000_000_000
SCENARIO = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 3), snapshot_seconds=60.0, contracts=2)


@pytest.fixture(scope="module")
def history():
    return History(SCENARIO)


class Floor:
    """A venue whose clock stands; one client that keeps what it hears."""

    def __init__(self, history):
        self.market = MarketView(history)
        self.feed = MarketFeed(self.market, DataFaults())
        self.venue = Venue(self.market, OrderFaults())
        self.heard = []
        self.account = self.venue.login("u")
        self.venue.listen("u", self.hear)
        self.symbol = history.main_contract("cu", history.live_day)
        self.count = 0

    def hear(self, told):
        self.heard.append(json.loads(notice_item(told) if isinstance(told, Notice) else update_item(told)))

    def at(self, ns):
        self.market.clock.set(at_ns=ns)
        self.venue.step()

    def later(self, seconds):
        self.at(self.market.now() + seconds * SECOND)

    def order(self, side="BUY", offset="OPEN", volume=1, price=None, advanced=None, **changes):
        self.count += 1
        quote = self.feed.quote(self.symbol)
        price = price if price is not None else quote["ask_price1"] if side == "BUY" else quote["bid_price1"]
        request = OrderRequest(
            **{
                "order_id": f"o{self.count}",
                "symbol": self.symbol,
                "side": Side(side),
                "offset": Offset(offset),
                "volume": volume,
                "price": price,
                "lifetime": Lifetime(advanced or "GFD"),
            }
            | changes
        )
        self.heard.clear()
        self.venue.insert(self.account, request)
        return self.account.orders.get(request.order_id)


@pytest.fixture
def floor(history):
    return Floor(history)


def test_the_clock_begins_at_the_live_days_open(floor, history):
    assert floor.market.today() == history.live_day
    assert floor.market.now() == history.calendar.sessions("cu", history.live_day)[0][0]


def test_a_crossing_order_is_told_in_one_item(floor):
    quote = floor.feed.quote(floor.symbol)
    order = floor.order(volume=2)
    assert order.status == "FINISHED" and order.exchange_order_id and order.left == 0
    (item,) = floor.heard
    told = item["trade"]["u"]
    assert set(told) == {"orders", "trades", "positions", "accounts"}
    assert sum(trade["volume"] for trade in told["trades"].values()) == 2
    assert next(iter(told["trades"].values()))["price"] == quote["ask_price1"]
    assert told["positions"][floor.symbol]["pos_long_today"] == 2


def test_close_is_yesterdays_alone(floor):
    floor.order()
    assert floor.order("SELL", "CLOSE").last_msg == "CTP:平昨仓位不足"
    assert floor.order("SELL", "CLOSETODAY").last_msg == "全部成交"


def test_the_day_ends_and_today_becomes_yesterday(history):
    floor = Floor(history)
    floor.market.clock.set(at_ns=history.calendar.sessions("cu", history.days[0])[0][0])
    floor.venue = Venue(floor.market, OrderFaults())
    floor.account = floor.venue.login("u")
    floor.venue.listen("u", floor.hear)
    floor.order(volume=2)
    resting = floor.order(price=floor.feed.quote(floor.symbol)["lower_limit"])
    bought = floor.account.todays_trades(history.days[0])
    floor.at(history.calendar.sessions("cu", history.days[2])[0][0])
    assert resting.status == "FINISHED" and "交易日结束" in resting.last_msg
    now = floor.venue.snapshot(floor.account)
    (position,) = now.positions
    assert (position.symbol, position.long.today, position.long.his) == (floor.symbol, 0, 2)
    assert now.orders == [] and now.trades == []
    settled = history.daily_bar(floor.symbol, history.days[1]).settlement
    paid = sum(trade.price * trade.volume for trade in bought)
    fees = sum(trade.fee for trade in bought)
    assert now.money.pre_balance == pytest.approx(1e7 + (2 * settled - paid) * 5 - fees)
    assert floor.order("SELL", "CLOSETODAY").last_msg == "CTP:平今仓位不足"
    assert floor.order("SELL", "CLOSE", 2).left == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"symbol": "SHFE.cu9912"}, "找不到合约"),
        ({"symbol": "KQ.m@SHFE.cu"}, "找不到合约"),
        ({"price_type": PriceType.ANY}, "价格类型"),
        ({"volume": 501}, "手数"),
        ({"price": 74005.0}, "最小变动价位"),
        ({"price": float("inf")}, "最小变动价位"),
        ({"price": 10.0}, "涨跌停"),
        ({"price": 990000.0}, "涨跌停"),
        ({"volume": 500}, "资金不足"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_binds_nothing(floor, changes, reason):
    order = floor.order(**changes)
    assert order.status == "FINISHED" and order.exchange_order_id == "" and reason in order.last_msg
    assert floor.venue.snapshot(floor.account).money.available == 1e7
    assert any("notify" in item for item in floor.heard)


def test_outside_the_sessions_nothing_is_accepted(floor, history):
    start, end = history.calendar.sessions("cu", history.live_day)[0]
    floor.at(end - 1)
    assert floor.order().status == "FINISHED" and floor.account.trades
    floor.at(end)
    assert "交易时间段" in floor.order().last_msg


def test_a_duplicate_is_never_executed_twice(floor):
    first = floor.order()
    fills = len(floor.account.trades)
    again = floor.order(order_id="o1", side=Side.SELL)
    assert again is first and len(floor.account.trades) == fills
    (item,) = floor.heard
    assert item["trade"]["u"]["orders"]["o1"]["status"] == "FINISHED" and "重复" in json.dumps(item, ensure_ascii=False)


def test_cancel_frees_what_was_bound(floor):
    order = floor.order(price=floor.feed.quote(floor.symbol)["lower_limit"])
    assert order.status == "ALIVE" and floor.venue.snapshot(floor.account).money.frozen_margin > 0
    floor.venue.cancel(floor.account, "o1")
    assert order.status == "FINISHED" and order.left == 1
    assert floor.venue.snapshot(floor.account).money.available == 1e7
    floor.heard.clear()
    floor.venue.cancel(floor.account, "o1")
    assert "notify" in floor.heard[0] and "trade" not in floor.heard[0]


def test_a_resting_order_is_filled_when_the_tape_comes_to_it(floor, history):
    ticks = history.day(floor.symbol, history.live_day)
    low = float(ticks.values["lowest"][-1])
    order = floor.order(price=low + 10)
    floor.at(history.calendar.sessions("cu", history.live_day)[-1][1] - 1)
    assert order.status == "FINISHED" and order.left == 0
    (trade,) = floor.account.trades.values()
    assert trade.maker and trade.price == low + 10 and trade.traded_ns in set(ticks.datetime_ns.tolist())


def test_fills_do_not_depend_on_how_often_the_exchange_looks(history):
    def play(steps):
        floor = Floor(history)
        quote = floor.feed.quote(floor.symbol)
        for k, price in enumerate((quote["bid_price1"], quote["bid_price3"], quote["ask_price1"] + 50)):
            floor.order("SELL" if k == 2 else "BUY", price=price, volume=5)
        for _ in range(steps):
            floor.later(7200 // steps)
        return [(t.order_id, t.price, t.volume, t.traded_ns) for t in floor.account.trades.values()]

    assert play(1) == play(240) and play(1)


def test_faults_lose_and_refuse(floor):
    floor.venue.faults.set(FaultKind.LOSE_NEXT_ORDER)
    assert floor.order() is None and floor.heard == []
    floor.venue.faults.set(FaultKind.REJECT_NEXT_ORDER, reason="no")
    assert floor.order().last_msg == "no"
    assert floor.order().left == 0


class Socket:
    """Keeps what a session says."""

    peeked = True

    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(json.loads(item))

    async def flush(self):
        pass


def test_charts_show_the_past_alone_and_scroll(history):
    import asyncio

    market, socket = MarketView(history), Socket()
    feed = MarketFeed(market, DataFaults())
    symbol = history.main_contract("cu", history.live_day)
    session = MdSession(socket=socket, feed=feed)
    kept: dict = {}

    def ask(**pack):
        socket.items.clear()
        asyncio.run(session.receive(json.dumps(pack)))
        for item in socket.items:
            for row, value in item.get("ticks", {}).get(symbol, {}).get("data", {}).items():
                kept.pop(row, None) if value is None else kept.__setitem__(row, value)
        return socket.items

    chart = {"aid": "set_chart", "chart_id": "c", "ins_list": symbol, "duration": 0, "view_width": 10}
    ask(**chart)
    series = feed.series(symbol, 0)
    assert isinstance(series, TickSeries)
    last = history.first_id(symbol, history.live_day)  # the tick at the open, and nothing behind it
    assert sorted(map(int, kept)) == list(range(last - 9, last + 1))
    market.clock.set(at_ns=market.now() + 180 * SECOND)
    (item,) = ask(aid="peek_message")
    assert item["ticks"][symbol]["last_id"] == last + 3 and sorted(map(int, kept)) == list(range(last - 6, last + 4))
    assert ask(aid="peek_message") == []
    # a window of the past, longer than what there is: its right end is not clamped
    (item,) = ask(**chart | {"chart_id": "d", "left_kline_id": last, "view_width": 100})
    assert (item["charts"]["d"]["left_id"], item["charts"]["d"]["right_id"]) == (last, last + 99)
    assert sorted(map(int, kept)) == list(range(last - 6, last + 4))
    ask(**chart | {"ins_list": ""})
    assert sorted(map(int, kept)) == list(range(last, last + 4))
    future = history.day(symbol, history.live_day).datetime_ns[-1].item()
    (item,) = ask(**chart | {"chart_id": "e", "focus_datetime": future, "focus_position": 0})
    assert item["charts"]["e"]["left_id"] == last + 4 and item["ticks"][symbol]["data"] == {}


def test_daily_and_minute_bars_grow_with_the_clock(history):
    market = MarketView(history)
    feed = MarketFeed(market, DataFaults())
    symbol = history.main_contract("cu", history.live_day)
    ticks = history.day(symbol, history.live_day)
    market.clock.set(at_ns=int(ticks.datetime_ns[7]))
    now, today = market.moment()
    daily = feed.series(symbol, 86_400 * SECOND)
    last = daily.last_id(now, today)
    assert last == 3
    bar = json.loads("{" + daily.texts(last, last + 1, now, today)[0] + "}")["3"]
    assert bar["close"] == ticks.values["last_price"][7] and bar["volume"] == ticks.values["volume"][7]
    whole = json.loads("{" + daily.texts(2, 3, now, today)[0] + "}")["2"]
    told = history.daily_bar(symbol, history.days[2])
    assert (whole["open"], whole["high"], whole["low"], whole["close"], whole["volume"], whole["close_oi"]) == (
        told.open,
        told.high,
        told.low,
        told.close,
        told.volume,
        told.open_interest,
    )
    bars = feed.series(symbol, 300 * SECOND)
    end = bars.last_id(now, today)
    rows = json.loads("{" + ",".join(bars.texts(end - 1, end + 1, now, today)) + "}")
    full, growing = rows[str(end - 1)], rows[str(end)]
    assert full["volume"] == ticks.values["volume"][4] and growing["close"] == ticks.values["last_price"][7]
    assert growing["volume"] == ticks.values["volume"][7] - ticks.values["volume"][4]
    assert np.diff([full["datetime"], growing["datetime"]]) == 300 * SECOND


def test_a_live_bar_is_told_again_while_it_grows(history):
    import asyncio

    market, socket = MarketView(history), Socket()
    feed = MarketFeed(market, DataFaults())
    symbol = history.main_contract("cu", history.live_day)
    volume = history.day(symbol, history.live_day).values["volume"]
    session = MdSession(socket=socket, feed=feed)
    duration = 300 * SECOND
    chart = {"aid": "set_chart", "chart_id": "c", "ins_list": symbol, "duration": duration, "view_width": 3}

    def ask(**pack):
        socket.items.clear()
        asyncio.run(session.receive(json.dumps(pack)))
        return socket.items[-1]["klines"][symbol][str(duration)]

    first = ask(**chart)
    last = str(first["last_id"])
    assert len(first["data"]) == 3 and first["data"][last]["volume"] == volume[0]
    market.clock.set(at_ns=market.now() + 120 * SECOND)
    assert ask(aid="peek_message")["data"] == {
        last: first["data"][last]
        | {
            "volume": volume[2].item(),
            "high": pytest.approx(max(history.day(symbol, history.live_day).values["last_price"][:3])),
            "low": pytest.approx(min(history.day(symbol, history.live_day).values["last_price"][:3])),
            "close": history.day(symbol, history.live_day).values["last_price"][2],
            "close_oi": history.day(symbol, history.live_day).values["open_interest"][2].item(),
        }
    }
    market.clock.set(at_ns=market.now() + 240 * SECOND)
    told = ask(aid="peek_message")["data"]
    following = str(int(last) + 1)
    gone = str(int(last) - 2)
    assert set(told) == {last, following, gone} and told[gone] is None
    assert told[last]["volume"] + told[following]["volume"] == volume[6]


def test_the_record_tells_what_became_of_orders_step_by_step(floor):
    floor.order(volume=2)
    floor.order(side="SELL", offset="CLOSE")  # yesterday's lots: there are none
    floor.order(price=floor.feed.quote(floor.symbol)["bid_price1"] - 100)
    floor.venue.cancel(floor.account, f"o{floor.count}")
    record = floor.venue.record
    told = [(row.what, row.order_id, row.left) for row in record if row.what != "filled"]
    assert told == [("accepted", "o1", 2), ("refused", "o2", 1), ("accepted", "o3", 1), ("cancelled", "o3", 1)]
    assert sum(row.volume for row in record if row.what == "filled") == 2
    assert [row.at_ns for row in record] == sorted(row.at_ns for row in record)
    faults = OrderFaults()
    faults.set(FaultKind.REPEAT_ACKS, count=1)
    assert [faults.takes_repeat(), faults.takes_repeat()] == [True, False]
