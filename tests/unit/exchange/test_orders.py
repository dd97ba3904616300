"""Reading what clients send."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_exchange.venue.orders import parse_order

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


def test_a_good_order():
    request = parse_order(GOOD)
    assert (request.symbol, request.side, request.volume, request.price, request.lifetime) == (
        "SHFE.cu2503",
        "BUY",
        2,
        74000.0,
        "GFD",
    )


@pytest.mark.parametrize(
    ("time", "volume", "lifetime"), [("GFD", "ANY", "GFD"), ("IOC", "ANY", "FAK"), ("IOC", "ALL", "FOK")]
)
def test_lifetimes_come_back_as_they_were(time, volume, lifetime):
    request = parse_order(GOOD | {"time_condition": time, "volume_condition": volume})
    assert request.lifetime == lifetime
    assert (request.time_condition, request.volume_condition) == (time, volume)


@pytest.mark.parametrize(
    "change",
    [
        {"order_id": ""},
        {"order_id": None},
        {"order_id": "x" * 129},
        {"direction": "LONG"},
        {"offset": "CLOSEYESTERDAY"},
        {"volume": 0},
        {"volume": -1},
        {"volume": 1.5},
        {"volume": True},
        {"limit_price": "74000"},
        {"limit_price": None},
        {"time_condition": "GTC"},
        {"volume_condition": "MIN"},
    ],
)
def test_nonsense_is_refused(change):
    with pytest.raises(ValueError, match="CTP"):
        parse_order(GOOD | change)


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=1)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), values))
def test_any_message_is_an_order_or_a_value_error(change):
    with contextlib.suppress(ValueError):
        parse_order(GOOD | change)
