"""TqSdk is told plain words, and what it tells becomes members of our enums or is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ghtrader_base.errors import IntegrityError
from ghtrader_base.trading_enums import TimeInForce
from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.brokers.tqsdk import order_report, tqsdk_order, trade_report
from ghtrader_runtime.core.orders import Order, PriceType


def order(**changes: Any) -> Order:
    fields = {"side": -1, "offset": Offset.CLOSETODAY, "tif": TimeInForce.FAK, "price": 70_000.0}
    return Order(order_id="o1", symbol="SHFE.cu2502", volume=2, left=2, **(fields | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ("SELL", "CLOSETODAY", 70_000.0, "FAK")),
        ({"side": 1, "offset": Offset.OPEN, "tif": TimeInForce.GFD}, ("BUY", "OPEN", 70_000.0, None)),
        ({"price_type": PriceType.ANY, "tif": TimeInForce.FOK}, ("SELL", "CLOSETODAY", None, "FOK")),
        ({"price_type": PriceType.BEST}, ("SELL", "CLOSETODAY", "BEST", "FAK")),
        ({"price_type": PriceType.FIVELEVEL}, ("SELL", "CLOSETODAY", "FIVELEVEL", "FAK")),
    ],
)
def test_an_order_is_told_in_plain_words(changes: dict[str, Any], told: tuple[Any, ...]) -> None:
    words = tqsdk_order(order(**changes))
    assert (words["direction"], words["offset"], words["limit_price"], words["advanced"]) == told
    assert {type(value) for value in words.values()} <= {str, int, float, type(None)}, "no member of an enum"


def an_order(offset: str) -> SimpleNamespace:
    """As TqSdk holds it."""
    return SimpleNamespace(
        order_id="o1", exchange_id="SHFE", instrument_id="cu2502", direction="BUY", offset=offset, volume_orign=2,
        volume_left=1, status="ALIVE", exchange_order_id="7", last_msg="", limit_price=70_000.0,
    )  # fmt: skip


def test_an_orders_offset_that_is_not_known_counts_as_new_risk() -> None:
    assert order_report(an_order("CLOSETODAY"), 5).offset is Offset.CLOSETODAY
    assert order_report(an_order("CLOSEYESTERDAY"), 5).offset is Offset.OPEN
    assert order_report(an_order(""), 5).offset is Offset.OPEN


def test_a_trades_offset_that_is_not_known_is_refused() -> None:
    fields = {
        "trade_id": "t1", "order_id": "o1", "exchange_id": "SHFE", "instrument_id": "cu2502", "direction": "SELL",
        "volume": 1, "price": 70_000.0, "trade_date_time": 9,
    }  # fmt: skip
    report = trade_report(SimpleNamespace(**fields, offset="CLOSE"), 5)
    assert report.offset is Offset.CLOSE and report.side == -1
    with pytest.raises(IntegrityError, match="trade t1 with an unknown offset 'CLOSEYESTERDAY'"):
        trade_report(SimpleNamespace(**fields, offset="CLOSEYESTERDAY"), 5)
