"""Defines what the exchange records for tests: messages that came over trading sockets, and steps of orders.

Control API and its client exchange these structs as JSON.
"""

from __future__ import annotations

import msgspec

from ghtrader_exchange.enums import Offset, OrderEventKind, Side


class ReceivedMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of a trading socket, obeyed or not: what it was and which order, nothing of a login's secrets.

    Attributes
    ----------
    aid : str
        What it was, in DIFF's words.
    order_id : str
        Empty where it is about no order.
    user : str
        Empty before the login.
    symbol, direction, offset, volume, limit_price
        Of an order that is well formed, else None; lots and CNY.
    at_ns : int
        The machine's monotonic clock.
    """

    aid: str
    order_id: str
    user: str
    symbol: str | None = None
    direction: Side | None = None
    offset: Offset | None = None
    volume: int | None = None
    limit_price: float | None = None
    at_ns: int


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of an order.

    Attributes
    ----------
    at_ns : int
        The machine's monotonic clock.
    left : int
        Lots not filled after it.
    reason : str, optional
        Why it was refused.
    trade_id, volume, price
        Of a fill, else None; lots and CNY.
    """

    at_ns: int
    what: OrderEventKind
    user: str
    order_id: str
    symbol: str
    direction: Side
    offset: Offset
    left: int
    reason: str | None = None
    trade_id: str | None = None
    volume: int | None = None
    price: float | None = None
