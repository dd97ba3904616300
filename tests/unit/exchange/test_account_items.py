"""What goes over the trading socket, to the byte, and what of a client's message is recorded."""

from __future__ import annotations

import asyncio
import json
from datetime import date

from ghtrader_exchange.connections.account_items import login_item, notice_item, update_item
from ghtrader_exchange.connections.http_api import Credentials
from ghtrader_exchange.connections.trading import TdSession
from ghtrader_exchange.enums import Lifetime, NoticeLevel, Offset, OrderStatus, Side
from ghtrader_exchange.faults.order_faults import OrderFaults
from ghtrader_exchange.venue.account_updates import AccountSnapshot, AccountUpdate, Notice
from ghtrader_exchange.venue.accounts import Account
from ghtrader_exchange.venue.event_log import ReceivedMessage
from ghtrader_exchange.venue.market_view import MarketView
from ghtrader_exchange.venue.orders import Order, OrderRequest
from ghtrader_exchange.venue.venue import Venue
from ghtrader_exchange.world.contract_terms import ContractTerms
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.varieties import FeeRates

DAY = date(2025, 1, 22)
TERMS = ContractTerms(
    symbol="SHFE.cu2503",
    multiplier=5,
    price_tick=10.0,
    fees=FeeRates(open_ratio=5e-5, close_ratio=5e-5, close_today_ratio=1e-4),
    margin_ratio=0.1,
    needs_close_today=True,
    pre_settlement=74000.0,
    upper_limit=79920.0,
    lower_limit=68080.0,
)
ORDER_TEXT = (
    '{"user_id":"u","order_id":"a","seqno":1,"exchange_id":"SHFE","instrument_id":"cu2503",'
    '"exchange_order_id":"000000000001","direction":"BUY","offset":"OPEN","volume_orign":3,"volume_left":1,'
    '"price_type":"LIMIT","limit_price":74000.0,"time_condition":"GFD","volume_condition":"ANY",'
    '"insert_date_time":1737550803000000000,"status":"ALIVE","last_msg":"部分成交","frozen_margin":37000.0,'
    '"frozen_commission":18.5}'
)
TRADE_TEXT = (
    '{"user_id":"u","trade_id":"a|2","order_id":"a","seqno":2,"exchange_trade_id":"000000000002",'
    '"exchange_id":"SHFE","instrument_id":"cu2503","direction":"BUY","offset":"OPEN","price":73990.0,"volume":2,'
    '"commission":36.995000000000005,"trade_date_time":1737550804000000000}'
)
POSITION_TEXT = (
    '{"user_id":"u","exchange_id":"SHFE","instrument_id":"cu2503","last_price":74010.0,"pos_long_today":2,'
    '"volume_long_today":2,"volume_long_frozen_today":0,"pos_long_his":0,"volume_long_his":0,'
    '"volume_long_frozen_his":0,"volume_long":2,"volume_long_frozen":0,"open_cost_long":739900.0,'
    '"open_price_long":73990.0,"float_profit_long":200.0,"position_cost_long":739900.0,'
    '"position_price_long":73990.0,"position_profit_long":200.0,"margin_long":73990.0,"pos_short_today":0,'
    '"volume_short_today":0,"volume_short_frozen_today":0,"pos_short_his":0,"volume_short_his":0,'
    '"volume_short_frozen_his":0,"volume_short":0,"volume_short_frozen":0,"open_cost_short":0.0,'
    '"open_price_short":"-","float_profit_short":-0.0,"position_cost_short":0.0,"position_price_short":"-",'
    '"position_profit_short":-0.0,"margin_short":0.0,"float_profit":200.0,"position_profit":200.0,"margin":73990.0}'
)
MONEY_TEXT = (
    '{"user_id":"u","currency":"CNY","pre_balance":1000000.0,"static_balance":1000000.0,"balance":1000163.005,'
    '"available":889154.505,"ctp_balance":1000163.005,"ctp_available":889154.505,"float_profit":200.0,'
    '"position_profit":200.0,"close_profit":0.0,"margin":73990.0,"frozen_margin":37000.0,"commission":36.995000000000005,'
    '"frozen_commission":18.5,"premium":0.0,"frozen_premium":0.0,"deposit":0.0,"withdraw":0.0,"market_value":0.0,'
    '"risk_ratio":0.0739779412256905}'
)
"""What the exchange sent before its rows were structs."""


def traded() -> Account:
    """An account with an order of three lots, two of them filled."""
    account = Account("u", 1_000_000.0)
    request = OrderRequest(
        order_id="a", symbol="SHFE.cu2503", side=Side.BUY, offset=Offset.OPEN, volume=3, price=74000.0,
        lifetime=Lifetime.GFD,
    )  # fmt: skip
    order = Order(request=request, seqno=1, inserted_ns=1737550803000000000, trading_day=DAY, left=3)
    account.place(order, TERMS)
    order.exchange_order_id, order.last_msg = "000000000001", "部分成交"
    account.fill(order, TERMS, "a|2", 2, 73990.0, 2, 1737550804000000000, False)
    assert order.status == OrderStatus.ALIVE
    return account


def update(account: Account, **more: object) -> AccountUpdate:
    held = account.values({"SHFE.cu2503": (74010.0, TERMS)})
    parts = {
        "orders": list(account.orders.values()), "trades": list(account.trades.values()), "gone": [], "positions": held,
    }  # fmt: skip
    return AccountUpdate(user="u", money=account.money(held), **(parts | more))


def test_an_update_is_the_same_bytes_as_ever() -> None:
    item = update_item(update(traded()))
    assert item == (
        '{"trade":{"u":{"orders":{"a":' + ORDER_TEXT + '},"trades":{"a|2":' + TRADE_TEXT + '},'
        '"positions":{"SHFE.cu2503":' + POSITION_TEXT + '},"accounts":{"CNY":' + MONEY_TEXT + "}}}}"
    )  # fmt: skip


def test_parts_without_anything_are_left_out_and_what_is_gone_is_null() -> None:
    account, notice = traded(), Notice(number=7, text="CTP:不")
    told = '"notify":{"N7":{"type":"MESSAGE","level":"WARNING","code":5,"content":"CTP:不"}}'
    nothing = {"orders": [], "trades": [], "positions": []}
    assert update_item(update(account, **nothing)) == '{"trade":{"u":{"accounts":{"CNY":' + MONEY_TEXT + "}}}}"
    item = update_item(update(account, **nothing | {"gone": ["SHFE.cu2502"], "notice": notice}))
    assert item == (
        '{"trade":{"u":{"positions":{"SHFE.cu2502":null},"accounts":{"CNY":' + MONEY_TEXT + "}}}," + told + "}"
    )
    assert notice_item(notice) == "{" + told + "}"


def test_a_login_is_answered_with_everything() -> None:
    account = traded()
    now = update(account)
    snapshot = AccountSnapshot(
        user="u", trading_day=DAY, money=now.money, positions=now.positions, orders=now.orders, trades=now.trades
    )
    assert login_item(Notice(number=1, text="登录成功", level=NoticeLevel.INFO, code=1), snapshot) == (
        '{"notify":{"N1":{"type":"MESSAGE","level":"INFO","code":1,"content":"登录成功"}},'
        '"trade":{"u":{"user_id":"u","trading_day":"20250122","trade_more_data":false,'
        '"session":{"user_id":"u","session_id":"1","max_order_id":"0","trading_day":"20250122"},'
        '"accounts":{"CNY":' + MONEY_TEXT + '},"positions":{"SHFE.cu2503":' + POSITION_TEXT + '},'
        '"orders":{"a":' + ORDER_TEXT + '},"trades":{"a|2":' + TRADE_TEXT + '},"banks":{},"transfers":{}}}}'
    )  # fmt: skip


class Socket:
    """Keeps what a session says."""

    def __init__(self) -> None:
        self.peeked, self.items = False, []

    def push(self, item: str) -> None:
        self.items.append(json.loads(item))

    async def flush(self) -> None:
        pass


def test_what_is_recorded_of_a_message_is_no_secret() -> None:
    scenario = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 1), snapshot_seconds=300.0, contracts=2)
    venue = Venue(MarketView(History(scenario)), OrderFaults())
    who, socket = Credentials(), Socket()
    session = TdSession(socket, venue, who)
    order = {
        "aid": "insert_order", "order_id": "a", "exchange_id": "SHFE", "instrument_id": "cu9999", "direction": "BUY",
        "offset": "OPEN", "volume": 1, "limit_price": 5,
    }  # fmt: skip
    login = {"aid": "req_login", "user_name": "8000", "password": who.account_password, "client_system_info": "secret"}
    packs = [order, login, order, order | {"order_id": "b", "volume": -1}, {"aid": "cancel_order", "order_id": "z"}]
    for pack in [*packs, {"aid": "confirm_settlement"}, {"aid": "peek_message"}]:
        asyncio.run(session.receive(json.dumps(pack)))
    full = {"symbol": "SHFE.cu9999", "direction": Side.BUY, "offset": Offset.OPEN, "volume": 1, "limit_price": 5.0}
    at = [message.at_ns for message in venue.received]
    assert at == sorted(at) and venue.received == [
        ReceivedMessage(aid="insert_order", order_id="a", user="", at_ns=at[0], **full),
        ReceivedMessage(aid="req_login", order_id="", user="", at_ns=at[1]),
        ReceivedMessage(aid="insert_order", order_id="a", user="8000", at_ns=at[2], **full),
        ReceivedMessage(aid="insert_order", order_id="b", user="8000", at_ns=at[3]),
        ReceivedMessage(aid="cancel_order", order_id="z", user="8000", at_ns=at[4]),
        ReceivedMessage(aid="confirm_settlement", order_id="", user="8000", at_ns=at[5]),
    ]
    told = [notice["content"] for item in socket.items for notice in item.get("notify", {}).values()]
    assert told == [
        "登录成功", "CTP:找不到合约", "CTP:报单字段有误: volume", "CTP:撤单找不到相应报单",
    ]  # fmt: skip
    (kept,) = venue.accounts["8000"].orders.values()
    assert kept.request.order_id == "a", "the one before the login is dropped"
