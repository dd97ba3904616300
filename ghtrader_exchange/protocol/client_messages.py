"""Reads what TqSdk sends over the market-data and the trading socket: JSON texts into structs, once, at the edge.

What is no JSON object is None, an unknown message an `OtherMessage`. A message is taken for the fields named here;
those that an answer repeats as a whole keep their text.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
import orjson

from ghtrader_exchange.enums import Lifetime, Offset, PriceType, Side
from ghtrader_exchange.protocol.encoding import dumps

_LIFETIMES = {"GFD/ANY": Lifetime.GFD, "IOC/ANY": Lifetime.FAK, "IOC/ALL": Lifetime.FOK}
_FIELD = re.compile(r"(?:`\$\.|field `)(\w+)")
"""The field that msgspec names: where it found something wrong, or which one lacks."""
_BAD_ORDER_ID = "CTP:报单引用为空或过长"
Number = int | float
Scalar = str | int | float | bool | None
Value = Scalar | list[Scalar]
"""An argument of a query, or a variable that stands for one."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="aid"):
    """Base of the messages; `aid` says which it is."""


class PeekMessage(Message, frozen=True, tag="peek_message"):
    """The client is ready for the next pack."""


class Login(Message, frozen=True, tag="req_login"):
    """A trading login. Hardware identifiers and the like come with it and are left out here."""

    user_name: str = ""
    password: str = ""


class InsertOrder(Message, frozen=True, kw_only=True, tag="insert_order"):
    """An order; `volume` in lots, `limit_price` in CNY."""

    order_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    exchange_id: str = ""
    instrument_id: str = ""
    direction: Side
    offset: Offset
    volume: Annotated[int, msgspec.Meta(gt=0, le=2**63 - 1)]
    price_type: PriceType = PriceType.LIMIT
    limit_price: float = 0.0
    time_condition: str = "GFD"
    volume_condition: str = "ANY"

    @property
    def symbol(self) -> str:
        """Exchange and contract: SHFE.cu2505."""
        return f"{self.exchange_id}.{self.instrument_id}"

    @property
    def lifetime(self) -> Lifetime:
        """How long it works."""
        return _LIFETIMES[f"{self.time_condition}/{self.volume_condition}"]

    def __post_init__(self) -> None:
        conditions = f"{self.time_condition}/{self.volume_condition}"
        if conditions not in _LIFETIMES:
            raise ValueError(f"CTP:不支持的报单有效期 {conditions}")


class CancelOrder(Message, frozen=True, tag="cancel_order"):
    """A cancellation."""

    order_id: str = ""


class PreInsertOrder(Message, frozen=True, kw_only=True, tag="pre_insert_order"):
    """A question of TqSdk's local risk rules: what would one lot bind? All fields go back as they came."""

    order_id: str = ""
    exchange_id: str = ""
    instrument_id: str = ""
    direction: str = ""
    offset: str = ""

    @property
    def symbol(self) -> str:
        """Exchange and contract: SHFE.cu2505."""
        return f"{self.exchange_id}.{self.instrument_id}"


class SubscribeQuote(Message, frozen=True, tag="subscribe_quote"):
    """The symbols whose quotes the client wants, all of them, separated by commas."""

    ins_list: str = ""


class SetChart(Message, frozen=True, kw_only=True, tag="set_chart"):
    """A window on the ticks (`duration` 0) or bars (`duration` in ns) of a symbol; an empty `ins_list` ends it.

    `view_width` is in rows. At most one of `left_kline_id`, `focus_datetime` and `trading_day_start` (UTC epoch ns)
    says where a window stands that does not scroll. `echo` is the whole message as JSON.
    """

    chart_id: str = ""
    ins_list: str = ""
    duration: Number = 0
    view_width: Number = 1
    left_kline_id: Number | None = None
    focus_datetime: Number | None = None
    focus_position: Number = 0
    trading_day_start: Number | None = None
    echo: str = ""


class InstrumentQuery(Message, frozen=True, kw_only=True, tag="ins_query"):
    """A GraphQL query for instruments; `echo` is the message without `aid` as JSON, which the answer repeats."""

    query_id: str = ""
    query: str = ""
    variables: dict[str, Value] | None = None
    echo: str = ""


class MalformedOrder(msgspec.Struct, frozen=True):
    """An `insert_order` that is no order; `reason` goes to the client."""

    order_id: str
    reason: str


class OtherMessage(msgspec.Struct, frozen=True):
    """Anything else; nothing of it but what it was and which order."""

    name: str
    order_id: str


class _Head(msgspec.Struct, frozen=True):
    """What is read of a message that does not fit its struct."""

    aid: Any = None
    order_id: Any = ""


TradingMessage = PeekMessage | Login | InsertOrder | CancelOrder | PreInsertOrder
MarketDataMessage = PeekMessage | SubscribeQuote | SetChart | InstrumentQuery
_TRADING: msgspec.json.Decoder[TradingMessage] = msgspec.json.Decoder(TradingMessage)
_MARKET_DATA: msgspec.json.Decoder[MarketDataMessage] = msgspec.json.Decoder(MarketDataMessage)
_HEAD = msgspec.json.Decoder(_Head)


def parse_trading_message(text: str) -> TradingMessage | MalformedOrder | OtherMessage | None:
    """A message of the trading socket; None for what is no JSON object."""
    try:
        return _TRADING.decode(text)
    except msgspec.ValidationError as error:
        head = _head(text)
        if head is None:
            return None
        aid, order_id = str(head.aid), str(head.order_id)
        match aid:
            case "insert_order":
                return MalformedOrder(order_id=order_id, reason=_order_reason(error))
            case "cancel_order":
                return CancelOrder(order_id=order_id)
            case "req_login":
                return Login()
        return OtherMessage(name=aid, order_id=order_id)
    except msgspec.DecodeError:
        return None


def parse_market_data_message(text: str) -> MarketDataMessage | OtherMessage | None:
    """A message of the market-data socket; None for what is no JSON object."""
    try:
        message = _MARKET_DATA.decode(text)
        if isinstance(message, SetChart):
            return msgspec.structs.replace(message, echo=_whole(text, ()))
        if isinstance(message, InstrumentQuery):
            return msgspec.structs.replace(message, echo=_whole(text, ("aid", "result", "error")))
        return message
    except msgspec.ValidationError:
        head = _head(text)
        return None if head is None else OtherMessage(name=str(head.aid), order_id="")
    except (msgspec.DecodeError, orjson.JSONDecodeError):
        return None


def _head(text: str) -> _Head | None:
    try:
        return _HEAD.decode(text)
    except msgspec.DecodeError:
        return None


def _whole(text: str, left_out: tuple[str, ...]) -> str:
    """The message's own JSON, without some of its fields."""
    return dumps({name: value for name, value in orjson.loads(text).items() if name not in left_out})


def _order_reason(error: msgspec.ValidationError) -> str:
    """Why an order is none, in the words clients know from CTP."""
    if isinstance(error.__cause__, ValueError):
        return str(error.__cause__)
    found = _FIELD.search(str(error))
    name = found.group(1) if found else "aid"
    return _BAD_ORDER_ID if name == "order_id" else f"CTP:报单字段有误: {name}"
