"""Defines the requests and replies of `/control`, for the exchange's server and for its clients.

JSON over HTTP. Rows of the trading socket come with its names; what the exchange recorded of messages and orders is in
`venue.event_log`.
"""

from __future__ import annotations

from datetime import date

import msgspec

from ghtrader_exchange.faults.fault_kinds import FaultKind
from ghtrader_exchange.protocol.trading_rows import MoneyRow, OrderRow, PositionRow, TradeRow


class SetClock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Change of the clock; None leaves what is.

    Attributes
    ----------
    speed : float, optional
        Market seconds a second, above 0.
    frozen : bool, optional
        Stand.
    at_ns : int, optional
        UTC epoch ns; time cannot be set back.
    skip_closed : bool, optional
        Jump over closed hours.
    """

    speed: float | None = None
    frozen: bool | None = None
    at_ns: int | None = None
    skip_closed: bool | None = None


class ClockReply(msgspec.Struct, frozen=True, kw_only=True):
    """The clock: `now_ns` in UTC epoch ns and as `beijing` time, `speed` in market seconds a second."""

    now_ns: int
    speed: float
    frozen: bool
    skip_closed: bool
    beijing: str
    trading_day: date


class FillRecord(TradeRow, frozen=True, kw_only=True):
    """A fill by the exchange's own record; `maker` where the order was resting."""

    symbol: str
    trading_day: date
    maker: bool


class OrderRecord(OrderRow, frozen=True, kw_only=True):
    """An order by the exchange's own record."""

    symbol: str
    trading_day: date


class AccountRecord(msgspec.Struct, frozen=True):
    """Money and positions of an account, these by contract."""

    account: MoneyRow
    positions: dict[str, PositionRow]

    def net(self, symbol: str) -> int:
        """Long minus short lots of a contract."""
        return self.positions[symbol].net if symbol in self.positions else 0


class InjectFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Let something go wrong; a kind takes of the other fields what it needs, see `faults.fault_kinds`."""

    kind: FaultKind
    seconds: float = 0.0
    count: int = 1
    reason: str = ""
    symbol: str = ""
    day: date | None = None


class LineFaultState(msgspec.Struct, frozen=True):
    """A fault of the line that is still to happen `count` times; `symbol` empty and `day` None are any."""

    kind: FaultKind
    symbol: str
    day: date | None
    count: int
    seconds: float


class DayFaultState(msgspec.Struct, frozen=True):
    """The damage to one day of a symbol."""

    symbol: str
    day: date
    kind: FaultKind


class DataFaultsState(msgspec.Struct, frozen=True):
    """Faults in force on downloads; `refuse_login_s` is for how many seconds more nobody may log in,
    `history_withheld` whether a new login has no right to history."""

    lines: list[LineFaultState]
    days: list[DayFaultState]
    refuse_login_s: float
    history_withheld: bool = False


class FaultsState(msgspec.Struct, frozen=True, kw_only=True):
    """Faults in force, see `faults.order_faults.OrderFaults`."""

    ack_delay_s: float
    repeat_next: int
    reject_next: int
    reject_reason: str
    lose_next: int
    data: DataFaultsState


class FaultReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a fault did: how many `connections` it hit at once, or what is in force from now on."""

    kind: FaultKind
    connections: int | None = None
    in_force: FaultsState | None = None


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    error: str
