"""The vocabulary of the gateway's mind: what can happen (events), what it wants done (actions), and its records.

Plain data without behaviour that reaches outside. Times: `market_ns` is the market's time (UTC epoch ns, may run
faster than ours), `now_ns` the monotonic clock; both are always given, never read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class TradingState(StrEnum):
    """ACTIVE sends anything; REDUCING only orders that close; HALTED nothing (cancels stay possible)."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class OrderStatus(StrEnum):
    """SENT until the broker reports it, WORKING, UNKNOWN where no report came in time, FINISHED."""

    SENT = "SENT"
    WORKING = "WORKING"
    UNKNOWN = "UNKNOWN"
    FINISHED = "FINISHED"


@dataclass(slots=True)
class Order:
    """One of our orders. `left` is what the broker says is not filled; `traded` sums the trade reports seen."""

    order_id: str
    symbol: str
    side: int
    offset: str
    volume: int
    price: float
    tif: str
    left: int
    status: OrderStatus = OrderStatus.SENT
    traded: int = 0
    sent_ns: int = 0
    sent_market_ns: int = 0
    cancel_ns: int = 0
    finished_ns: int = 0
    error: bool = False
    closed: bool = False
    unsent: bool = False

    @property
    def filled(self) -> int:
        """Lots filled as far as anybody told us: the larger of both accounts."""
        return max(self.volume - self.left, self.traded)

    @property
    def live(self) -> bool:
        """Whether it may still fill, or has fills whose trade reports are missing."""
        return self.status is not OrderStatus.FINISHED or self.traded < self.volume - self.left


# Events ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Book:
    """The best quotes of a tick (NaN where a side is empty)."""

    symbol: str
    trading_day: str
    market_ns: int
    tick_id: int
    bid: float
    ask: float
    now_ns: int


@dataclass(slots=True, frozen=True)
class TargetWanted:
    """A strategy wants to hold `volume` lots of `symbol`."""

    session: str
    revision: int
    symbol: str
    volume: int
    now_ns: int
    tick_id: int = -1
    reason: str = ""


@dataclass(slots=True, frozen=True)
class OrderReport:
    """The broker's word on an order. `finished` orders never fill again; `error` tells a rejection."""

    order_id: str
    symbol: str
    side: int
    offset: str
    volume: int
    left: int
    finished: bool
    error: bool
    exchange_order_id: str
    message: str
    now_ns: int
    price: float = float("nan")


@dataclass(slots=True, frozen=True)
class TradeReport:
    """One fill. `commission` is NaN where the broker does not say."""

    trade_id: str
    order_id: str
    symbol: str
    side: int
    offset: str
    volume: int
    price: float
    market_ns: int
    now_ns: int
    commission: float = float("nan")


@dataclass(slots=True, frozen=True)
class Timer:
    """Time passed."""

    now_ns: int


@dataclass(slots=True, frozen=True)
class LinkChange:
    """`broker` is up or down, or strategy session `who` was lost (`up` False) or left."""

    who: str
    up: bool
    now_ns: int


@dataclass(slots=True, frozen=True)
class KillChange:
    """The durable kill switch was seen to be tripped or reset."""

    tripped: bool
    reason: str
    now_ns: int


@dataclass(slots=True, frozen=True)
class StateWanted:
    """A person sets the trading state by hand."""

    state: TradingState
    reason: str


@dataclass(slots=True, frozen=True)
class Holding:
    """Lots held, today's and older, as the broker reports them."""

    symbol: str
    long_today: int = 0
    long_his: int = 0
    short_today: int = 0
    short_his: int = 0


@dataclass(slots=True, frozen=True)
class Snapshot:
    """All the broker knows of the account, freshly asked: authoritative for positions and finished orders.

    `fresh` is True after a new login: an intent that is not in it was never received.
    """

    trading_day: str
    holdings: tuple[Holding, ...]
    orders: tuple[OrderReport, ...]
    trades: tuple[TradeReport, ...]
    now_ns: int
    fresh: bool = True


Event = (
    Book | TargetWanted | OrderReport | TradeReport | Timer | LinkChange | KillChange | StateWanted | Snapshot
)

# Actions -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Submit:
    """Make the intent durable, then send the order. In this order, always."""

    order: Order
    target_session: str
    target_revision: int
    market_ns: int


@dataclass(slots=True, frozen=True)
class Cancel:
    """Ask the broker to cancel."""

    order_id: str


@dataclass(slots=True, frozen=True)
class CloseIntent:
    """Record in the ledger how an order ended."""

    order_id: str
    outcome: str
    left: int


@dataclass(slots=True, frozen=True)
class Answer:
    """Acknowledge a target."""

    session: str
    revision: int
    status: str
    reason: str = ""


@dataclass(slots=True, frozen=True)
class Resync:
    """An order's fate is unknown: log in anew and ask."""

    reason: str


@dataclass(slots=True, frozen=True)
class Record:
    """A line for the journal."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


Action = Submit | Cancel | CloseIntent | Answer | Resync | Record
