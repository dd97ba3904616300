"""Defines what the venue tells clients: an account's money, positions, orders and trades, and notices.

How they go over the wire is decided in `connections`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import msgspec

from ghtrader_exchange.enums import NoticeLevel
from ghtrader_exchange.venue.orders import Order, Trade


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence for a client; `number` is its own among all notices of the exchange."""

    number: int
    text: str
    level: NoticeLevel = NoticeLevel.WARNING
    code: int = 5


class AccountMoney(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money at the prices of a moment, CNY; `risk_ratio` is margin over balance."""

    pre_balance: float
    balance: float
    available: float
    float_profit: float
    position_profit: float
    close_profit: float
    margin: float
    frozen_margin: float
    fees_paid: float
    frozen_fee: float
    risk_ratio: float


class PositionSide(msgspec.Struct, frozen=True, kw_only=True):
    """The long or the short lots of one contract, by age, and what they are worth.

    `frozen_today` and `frozen_his` count lots that working orders are to close. Costs, profits and margin are in CNY;
    prices in CNY of one unit, None where there are no lots. `open_` is reckoned from what the lots were opened for,
    `position_` from the last settlement, or the opening price for today's.
    """

    today: int
    his: int
    frozen_today: int
    frozen_his: int
    open_cost: float
    open_price: float | None
    float_profit: float
    position_cost: float
    position_price: float | None
    position_profit: float
    margin: float


class PositionValue(msgspec.Struct, frozen=True, kw_only=True):
    """The position in one contract at a last price, CNY."""

    symbol: str
    last_price: float
    long: PositionSide
    short: PositionSide

    @property
    def float_profit(self) -> float:
        """Profit since the lots were opened, CNY."""
        return self.long.float_profit + self.short.float_profit

    @property
    def position_profit(self) -> float:
        """Profit since the last settlement, CNY."""
        return self.long.position_profit + self.short.position_profit

    @property
    def margin(self) -> float:
        """Margin that both sides bind, CNY."""
        return self.long.margin + self.short.margin


class AccountSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of an account, as it is told after a login. Orders are the live objects: read them at once."""

    user: str
    trading_day: date
    money: AccountMoney
    positions: list[PositionValue]
    orders: list[Order]
    trades: list[Trade]


class AccountUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in an account, told in one: a client must never see an order without its trade or position.

    `gone` names contracts whose position has left the account. Orders are the live objects: read them at once.
    """

    user: str
    orders: list[Order]
    trades: list[Trade]
    gone: list[str]
    positions: list[PositionValue]
    money: AccountMoney
    notice: Notice | None = None


Listener = Callable[[AccountUpdate | Notice], None]
"""Called with each update of one account, and with notices that come without one."""
