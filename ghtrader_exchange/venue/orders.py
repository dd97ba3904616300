"""Defines clients' orders and trades as the exchange keeps them, and how they go over the wire. No rule lives here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from ghtrader_exchange.venue.matching import Lifetime, Side

Offset = Literal["OPEN", "CLOSE", "CLOSETODAY"]


@dataclass(frozen=True, kw_only=True)
class OrderRequest:
    """What a client asks for, checked for form alone.

    `price` in CNY, `volume` in lots. `time_condition` and `volume_condition` are DIFF's words for `lifetime`.
    """

    order_id: str
    symbol: str
    side: Side
    offset: Offset
    volume: int
    price: float
    lifetime: Lifetime
    price_type: str = "LIMIT"

    @property
    def time_condition(self) -> str:
        """GFD or IOC."""
        return "GFD" if self.lifetime == "GFD" else "IOC"

    @property
    def volume_condition(self) -> str:
        """ANY or ALL."""
        return "ALL" if self.lifetime == "FOK" else "ANY"


def parse_order(pack: dict[str, Any]) -> OrderRequest:
    """Read an `insert_order` message.

    Raises
    ------
    ValueError
        A field is missing or makes no sense; the text goes to the client.
    """
    order_id = pack.get("order_id")
    if not isinstance(order_id, str) or not order_id or len(order_id) > 128:
        raise ValueError("CTP:报单引用为空或过长")
    side, offset, volume = pack.get("direction"), pack.get("offset"), pack.get("volume")
    if side not in ("BUY", "SELL"):
        raise ValueError("CTP:报单字段有误: direction")
    if offset not in ("OPEN", "CLOSE", "CLOSETODAY"):
        raise ValueError("CTP:报单字段有误: offset")
    if type(volume) is not int or volume <= 0:
        raise ValueError("CTP:报单字段有误: volume")
    time_condition, volume_condition = pack.get("time_condition", "GFD"), pack.get("volume_condition", "ANY")
    lifetimes: dict[str, Lifetime] = {"GFD/ANY": "GFD", "IOC/ANY": "FAK", "IOC/ALL": "FOK"}
    lifetime = lifetimes.get(f"{time_condition}/{volume_condition}")
    if lifetime is None:
        raise ValueError(f"CTP:不支持的报单有效期 {time_condition}/{volume_condition}")
    price_type, price = str(pack.get("price_type", "LIMIT")), pack.get("limit_price", 0.0)
    if isinstance(price, bool) or not isinstance(price, int | float):
        raise ValueError("CTP:报单字段有误: limit_price")
    symbol = f"{pack.get('exchange_id', '')}.{pack.get('instrument_id', '')}"
    return OrderRequest(
        order_id=order_id,
        symbol=symbol,
        side=side,
        offset=offset,
        volume=volume,
        price=float(price),
        lifetime=lifetime,
        price_type=price_type,
    )


@dataclass(kw_only=True)
class Order:
    """An order as it stands. `left` lots are not filled; an empty `exchange_order_id` means it was refused."""

    request: OrderRequest
    seqno: int
    inserted_ns: int
    trading_day: date
    left: int
    exchange_order_id: str = ""
    status: Literal["ALIVE", "FINISHED"] = "ALIVE"
    last_msg: str = "报单已提交"
    frozen_margin: float = 0.0
    frozen_fee: float = 0.0

    def row(self, user: str) -> dict[str, Any]:
        """The order as DIFF carries it."""
        request = self.request
        exchange_id, instrument_id = request.symbol.split(".", 1)
        return {
            "user_id": user,
            "order_id": request.order_id,
            "seqno": self.seqno,
            "exchange_id": exchange_id,
            "instrument_id": instrument_id,
            "exchange_order_id": self.exchange_order_id,
            "direction": request.side,
            "offset": request.offset,
            "volume_orign": request.volume,
            "volume_left": self.left,
            "price_type": request.price_type,
            "limit_price": request.price,
            "time_condition": request.time_condition,
            "volume_condition": request.volume_condition,
            "insert_date_time": self.inserted_ns,
            "status": self.status,
            "last_msg": self.last_msg,
            "frozen_margin": self.frozen_margin,
            "frozen_commission": self.frozen_fee,
        }


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

    def row(self, user: str) -> dict[str, Any]:
        """The trade as DIFF carries it."""
        exchange_id, instrument_id = self.symbol.split(".", 1)
        return {
            "user_id": user,
            "trade_id": self.trade_id,
            "order_id": self.order_id,
            "seqno": self.seqno,
            "exchange_trade_id": f"{self.seqno:012d}",
            "exchange_id": exchange_id,
            "instrument_id": instrument_id,
            "direction": self.side,
            "offset": self.offset,
            "price": self.price,
            "volume": self.volume,
            "commission": self.fee,
            "trade_date_time": self.traded_ns,
        }
