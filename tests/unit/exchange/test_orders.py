"""Reading what clients send."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_exchange.connections.account_items import CONDITIONS
from ghtrader_exchange.enums import Lifetime, Offset, PriceType, Side
from ghtrader_exchange.protocol.client_messages import (
    CancelOrder,
    InsertOrder,
    Login,
    MalformedOrder,
    OtherMessage,
    PeekMessage,
    SetChart,
    parse_market_data_message,
    parse_trading_message,
)

GOOD = {
    "aid": "insert_order",
    "user_id": "u",
    "order_id": "a1",
    "exchange_id": "SHFE",
    "instrument_id": "cu2503",
    "direction": "BUY",
    "offset": "OPEN",
    "volume": 2,
    "price_type": "LIMIT",
    "limit_price": 74000.0,
    "time_condition": "GFD",
    "volume_condition": "ANY",
}


def parse(pack: dict) -> object:
    return parse_trading_message(json.dumps(pack))


def test_a_good_order():
    order = parse(GOOD)
    assert isinstance(order, InsertOrder)
    assert (order.symbol, order.direction, order.offset, order.volume, order.limit_price, order.lifetime) == (
        "SHFE.cu2503",
        Side.BUY,
        Offset.OPEN,
        2,
        74000.0,
        Lifetime.GFD,
    )
    bare = parse({name: GOOD[name] for name in ("aid", "order_id", "direction", "offset", "volume")})
    assert (bare.lifetime, bare.price_type, bare.limit_price) == (Lifetime.GFD, PriceType.LIMIT, 0.0)
    assert type(parse(GOOD | {"limit_price": 74000}).limit_price) is float


@pytest.mark.parametrize(
    ("time", "volume", "lifetime"), [("GFD", "ANY", "GFD"), ("IOC", "ANY", "FAK"), ("IOC", "ALL", "FOK")]
)
def test_lifetimes_come_back_as_they_were(time, volume, lifetime):
    order = parse(GOOD | {"time_condition": time, "volume_condition": volume})
    assert order.lifetime == lifetime
    assert CONDITIONS[order.lifetime] == (time, volume)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"order_id": ""}, "CTP:报单引用为空或过长"),
        ({"order_id": None}, "CTP:报单引用为空或过长"),
        ({"order_id": "x" * 129}, "CTP:报单引用为空或过长"),
        ({"direction": "LONG"}, "CTP:报单字段有误: direction"),
        ({"offset": "CLOSEYESTERDAY"}, "CTP:报单字段有误: offset"),
        ({"volume": 0}, "CTP:报单字段有误: volume"),
        ({"volume": -1}, "CTP:报单字段有误: volume"),
        ({"volume": 1.5}, "CTP:报单字段有误: volume"),
        ({"volume": 2**63}, "CTP:报单字段有误: volume"),
        ({"volume": True}, "CTP:报单字段有误: volume"),
        ({"limit_price": "74000"}, "CTP:报单字段有误: limit_price"),
        ({"limit_price": None}, "CTP:报单字段有误: limit_price"),
        ({"time_condition": "GTC"}, "CTP:不支持的报单有效期 GTC/ANY"),
        ({"volume_condition": "MIN"}, "CTP:不支持的报单有效期 GFD/MIN"),
    ],
)
def test_nonsense_is_refused(change, reason):
    assert parse(GOOD | change).reason == reason


@pytest.mark.parametrize("name", ["order_id", "direction", "offset", "volume"])
def test_what_lacks_is_named(name):
    reason = parse({key: value for key, value in GOOD.items() if key != name}).reason
    assert reason == ("CTP:报单引用为空或过长" if name == "order_id" else f"CTP:报单字段有误: {name}")


def test_what_fits_no_order_is_still_known_by_name():
    assert parse({"aid": "confirm_settlement"}) == OtherMessage("confirm_settlement", "")
    assert parse({"aid": 7, "order_id": 8}) == OtherMessage("7", "8") and parse({}) == OtherMessage("None", "")
    assert parse({"aid": "cancel_order", "order_id": 5}) == CancelOrder("5")
    assert parse({"aid": "req_login", "user_name": "u", "password": [], "client_system_info": 1}) == Login()
    assert parse({"aid": "peek_message"}) == PeekMessage()
    for text in ("", "{", "[]", "7", '"x"', "null", '{"aid":"peek_message"'):
        assert parse_trading_message(text) is None and parse_market_data_message(text) is None


def test_a_chart_keeps_its_request():
    chart = parse_market_data_message('{"aid": "set_chart", "chart_id": "c", "view_width": 20.0, "other": [1, null]}')
    assert chart == SetChart(
        chart_id="c", view_width=20.0, echo='{"aid":"set_chart","chart_id":"c","view_width":20.0,"other":[1,null]}'
    )
    assert parse_market_data_message('{"aid":"set_chart","duration":"x"}') == OtherMessage("set_chart", "")


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=1)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(set(GOOD) - {"aid"})), values))
def test_any_message_is_an_order_or_a_reason(change):
    told = parse(GOOD | change)
    if told is None:  # json writes NaN and Infinity, which are no JSON
        assert not all(math.isfinite(value) for value in change.values() if isinstance(value, float))
    else:
        assert isinstance(told, InsertOrder) or (isinstance(told, MalformedOrder) and told.reason.startswith("CTP:"))
