"""Defines clients' orders and trades as the exchange keeps them. No rule lives here, and nothing of the wire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ghtrader_exchange.enums import Lifetime, Offset, OrderStatus, PriceType, Side


@dataclass(frozen=True, kw_only=True)
class OrderRequest:
    """What a client asks for, checked for form alone. `price` in CNY, `volume` in lots."""

    order_id: str
    symbol: str
    side: Side
    offset: Offset
    volume: int
    price: float
    lifetime: Lifetime
    price_type: PriceType = PriceType.LIMIT


@dataclass(kw_only=True)
class Order:
    """An order as it stands. `left` lots are not filled; an empty `exchange_order_id` means it was refused."""

    request: OrderRequest
    seqno: int
    inserted_ns: int
    trading_day: date
    left: int
    exchange_order_id: str = ""
    status: OrderStatus = OrderStatus.ALIVE
    last_msg: str = "报单已提交"
    frozen_margin: float = 0.0
    frozen_fee: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Trade:
    """One fill: `price` in CNY, `fee` in CNY, `maker` where the order was resting."""

    trade_id: str
    order_id: str
    seqno: int
    symbol: str
    side: Side
    offset: Offset
    price: float
    volume: int
    fee: float
    traded_ns: int
    trading_day: date
    maker: bool
