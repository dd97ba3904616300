"""Defines what the trading socket sends of an account, under DIFF's names and in its order, and writes it as JSON.

The rows' values come from the venue; they are put in by `connections.account_items`.
"""

from __future__ import annotations

from datetime import date

import msgspec

from ghtrader_exchange.enums import NoticeLevel, Offset, OrderStatus, PriceType, Side
from ghtrader_exchange.protocol.encoding import MISSING, dumps

BROKERS_TEXT = dumps({"aid": "rtn_brokers", "brokers": ["simnow", "快期模拟"], "capabilities": {}})
"""First words of the server."""


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order; volumes in lots, prices and frozen money in CNY, times in UTC epoch ns."""

    user_id: str
    order_id: str
    seqno: int
    exchange_id: str
    instrument_id: str
    exchange_order_id: str
    direction: Side
    offset: Offset
    volume_orign: int
    volume_left: int
    price_type: PriceType
    limit_price: float
    time_condition: str
    volume_condition: str
    insert_date_time: int
    status: OrderStatus
    last_msg: str
    frozen_margin: float
    frozen_commission: float


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A fill; `volume` in lots, `price` and `commission` in CNY, times in UTC epoch ns."""

    user_id: str
    trade_id: str
    order_id: str
    seqno: int
    exchange_trade_id: str
    exchange_id: str
    instrument_id: str
    direction: Side
    offset: Offset
    price: float
    volume: int
    commission: float
    trade_date_time: int


class PositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A position in one contract, CNY and lots; a price of no lots is None."""

    user_id: str
    exchange_id: str
    instrument_id: str
    last_price: float
    pos_long_today: int
    volume_long_today: int
    volume_long_frozen_today: int
    pos_long_his: int
    volume_long_his: int
    volume_long_frozen_his: int
    volume_long: int
    volume_long_frozen: int
    open_cost_long: float
    open_price_long: float | None
    float_profit_long: float
    position_cost_long: float
    position_price_long: float | None
    position_profit_long: float
    margin_long: float
    pos_short_today: int
    volume_short_today: int
    volume_short_frozen_today: int
    pos_short_his: int
    volume_short_his: int
    volume_short_frozen_his: int
    volume_short: int
    volume_short_frozen: int
    open_cost_short: float
    open_price_short: float | None
    float_profit_short: float
    position_cost_short: float
    position_price_short: float | None
    position_profit_short: float
    margin_short: float
    float_profit: float
    position_profit: float
    margin: float

    @property
    def net(self) -> int:
        """Long minus short lots."""
        return self.volume_long - self.volume_short


class MoneyRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money, CNY."""

    user_id: str
    currency: str = "CNY"
    pre_balance: float
    static_balance: float
    balance: float
    available: float
    ctp_balance: float
    ctp_available: float
    float_profit: float
    position_profit: float
    close_profit: float
    margin: float
    frozen_margin: float
    commission: float
    frozen_commission: float
    premium: float = 0.0
    frozen_premium: float = 0.0
    deposit: float = 0.0
    withdraw: float = 0.0
    market_value: float = 0.0
    risk_ratio: float


class NoticeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A notification; `key` is its name among all of them."""

    key: str
    level: NoticeLevel
    code: int
    content: str


class MarginRow(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `pre_insert_order`: what one lot would bind, CNY."""

    order_id: str
    exchange_id: str
    instrument_id: str
    direction: str
    offset: str
    pre_margin: float


Row = OrderRow | TradeRow | PositionRow | MoneyRow | MarginRow


def update_text(
    user: str,
    orders: list[OrderRow],
    trades: list[TradeRow],
    gone: list[str],
    positions: list[PositionRow],
    money: MoneyRow,
    notice: NoticeRow | None,
) -> str:
    """One item with all that changed in an account; parts without anything are left out.

    Parameters
    ----------
    user : str
        The account.
    orders, trades, positions, money
        What is told of it.
    gone : list of str
        Contracts whose position is deleted.
    notice : NoticeRow, optional
        A sentence with it.
    """
    held = dict.fromkeys(gone) | _positions(positions)
    told: dict[str, object] = {}
    if orders:
        told["orders"] = {row.order_id: _written(row) for row in orders}
    if trades:
        told["trades"] = {row.trade_id: _written(row) for row in trades}
    if held:
        told["positions"] = held
    told["accounts"] = {"CNY": _written(money)}
    item: dict[str, object] = {"trade": {user: told}}
    return dumps(item | _notify(notice) if notice else item)


def notice_text(notice: NoticeRow) -> str:
    """One item with a notification alone."""
    return dumps(_notify(notice))


def login_text(
    notice: NoticeRow,
    user: str,
    trading_day: date,
    money: MoneyRow,
    positions: list[PositionRow],
    orders: list[OrderRow],
    trades: list[TradeRow],
) -> str:
    """The answer to a login: a notification and everything of the account."""
    day = f"{trading_day:%Y%m%d}"
    account = {
        "user_id": user,
        "trading_day": day,
        "trade_more_data": False,
        "session": {"user_id": user, "session_id": "1", "max_order_id": "0", "trading_day": day},
        "accounts": {"CNY": _written(money)},
        "positions": _positions(positions),
        "orders": {row.order_id: _written(row) for row in orders},
        "trades": {row.trade_id: _written(row) for row in trades},
        "banks": {},
        "transfers": {},
    }
    return dumps(_notify(notice) | {"trade": {user: account}})


def margin_text(user: str, row: MarginRow) -> str:
    """The answer to `pre_insert_order`."""
    return dumps({"trade": {user: {"pre_insert_orders": {row.order_id: _written(row)}}}})


def _positions(rows: list[PositionRow]) -> dict[str, object]:
    return {f"{row.exchange_id}.{row.instrument_id}": _written(row) for row in rows}


def _notify(notice: NoticeRow) -> dict[str, object]:
    told = {"type": "MESSAGE", "level": notice.level, "code": notice.code, "content": notice.content}
    return {"notify": {notice.key: told}}


def _written(row: Row) -> dict[str, object]:
    """A row as DIFF has it: "-" where there is no number, since null would delete."""
    values = msgspec.structs.astuple(row)
    return {
        name: MISSING if value is None or value != value else value
        for name, value in zip(row.__struct_fields__, values, strict=True)
    }
