"""The vocabulary of the gateway's mind: what can happen (events), what it wants done (actions), and its records.

Plain data; msgspec can encode all of it, so that a run can be kept and played again. Times: `market_ns` is the market's
(UTC epoch ns, may run faster than ours), `now_ns` the monotonic clock; both are always given, never read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

NAN = float("nan")


class TradingState(StrEnum):
    """ACTIVE sends anything; REDUCING only orders that close; HALTED nothing (cancels stay possible)."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class OrderStatus(StrEnum):
    """Where an order stands, as far as anybody told us.

    SENT
        Intent durable, handed to the broker, no word yet.
    WORKING
        The exchange has it.
    CANCELLING
        We asked for a cancel; it may still fill.
    UNKNOWN
        No word in time: it may be there or not, may have filled or not, until the broker's own list tells.
    SETTLING
        The broker says it is over with more lots filled than trades reported: the trades are awaited.
    FILLED, CANCELLED, REJECTED
        Over, all its trades counted.
    UNSENT
        Proven never to have reached the broker.
    """

    SENT = "SENT"
    WORKING = "WORKING"
    CANCELLING = "CANCELLING"
    UNKNOWN = "UNKNOWN"
    SETTLING = "SETTLING"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    UNSENT = "UNSENT"


FINAL = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.UNSENT})


class Order(msgspec.Struct):
    """One order of the account. `left` is what the broker says is not filled; `traded` sums the trades seen.

    `kind` says who wanted it: `target` (the executor), `direct` (a session by hand), `earlier` (an earlier life of this
    gateway), `stranger` (somebody else at the same account). `heard` is True once the exchange was seen to have it,
    `over` once it can fill no more.
    """

    order_id: str
    symbol: str
    side: int
    offset: str
    volume: int
    price: float
    tif: str
    left: int
    status: OrderStatus = OrderStatus.SENT
    price_type: str = "LIMIT"
    kind: str = "target"
    session: str = ""
    traded: int = 0
    sent_ns: int = 0
    sent_market_ns: int = 0
    cancel_ns: int = 0
    heard: bool = False
    over: bool = False
    over_ns: int = 0
    error: bool = False
    closed: bool = False

    @property
    def filled(self) -> int:
        """Lots filled as far as anybody told us: the larger of both accounts."""
        return max(self.volume - self.left, self.traded)

    @property
    def pending(self) -> int:
        """Lots that may still move the position we know of: not filled yet, or filled without a trade report."""
        return (self.volume - self.left if self.over else self.volume) - self.traded

    @property
    def live(self) -> bool:
        """Whether it may still fill, or has fills whose trade reports are missing."""
        return self.status not in FINAL


class Intent(msgspec.Struct, frozen=True):
    """An order somebody decided to send, as the ledger keeps it. `side` is +1 buy, -1 sell.

    `target_session` and `target_revision` name the request it serves; `market_ns` is the market's time, `wall_ns` the
    wall clock's (UTC), `sent_ns` the reader's monotonic clock's (0: long ago).
    """

    order_id: str
    number: int
    symbol: str
    side: int
    offset: str
    volume: int
    price: float
    tif: str
    target_session: str = ""
    target_revision: int = -1
    market_ns: int = 0
    price_type: str = "LIMIT"
    wall_ns: int = 0
    sent_ns: int = 0


# Events ------------------------------------------------------------------------------------------------------------


class _Event(msgspec.Struct, frozen=True, tag=True):
    pass


class Terms(_Event, frozen=True):
    """What a contract's trading day allows: sessions [(first ns, end ns)], price limits (NaN where unknown).

    `market_ns` is when it last ticked, as far as its history goes: where that is in a session, ticks are due from now
    on (0: nobody knows).
    """

    symbol: str
    trading_day: str
    sessions: tuple[tuple[int, int], ...]
    now_ns: int
    lower: float = NAN
    upper: float = NAN
    market_ns: int = 0


class Bound(_Event, frozen=True, gc=False):
    """`symbol` is the contract that `requested` stands for: every other one that was traded here is closed first. An
    empty `symbol` with a `reason`: nothing may be traded, what is held is closed."""

    requested: str
    symbol: str
    now_ns: int
    price_tick: float = NAN
    multiplier: int = 0
    needs_close_today: bool = False
    reason: str = ""


class Book(_Event, frozen=True, gc=False):
    """The best quotes of a tick (NaN where a side is empty)."""

    symbol: str
    trading_day: str
    market_ns: int
    tick_id: int
    bid: float
    ask: float
    now_ns: int


class TargetWanted(_Event, frozen=True, gc=False):
    """A strategy wants to hold `volume` lots of `symbol`."""

    session: str
    revision: int
    symbol: str
    volume: int
    now_ns: int
    tick_id: int = -1
    reason: str = ""


class OrderWanted(_Event, frozen=True, gc=False):
    """A session wants this very order: `price_type` LIMIT (at `price`), ANY, BEST or FIVELEVEL; `tif` FAK, FOK, GFD."""

    session: str
    revision: int
    symbol: str
    side: int
    offset: str
    volume: int
    now_ns: int
    price: float = NAN
    price_type: str = "LIMIT"
    tif: str = "FAK"


class CancelWanted(_Event, frozen=True, gc=False):
    """A session takes back its direct order (all of them where `order_id` is empty)."""

    session: str
    revision: int
    now_ns: int
    order_id: str = ""


class OrderReport(_Event, frozen=True, gc=False):
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
    price: float = NAN


class TradeReport(_Event, frozen=True, gc=False):
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
    commission: float = NAN


class Timer(_Event, frozen=True, gc=False):
    """Time passed."""

    now_ns: int


class Equity(_Event, frozen=True, gc=False):
    """What the account is worth, CNY."""

    balance: float
    now_ns: int


class LinkChange(_Event, frozen=True, gc=False):
    """`broker` (trading), `data` (market data) or `ledger` (the disk takes what must be durable) is up or down, or
    strategy session `who` left (`up` False)."""

    who: str
    up: bool
    now_ns: int
    reason: str = ""


class KillChange(_Event, frozen=True, gc=False):
    """The durable kill switch was seen to be tripped or reset."""

    tripped: bool
    reason: str
    now_ns: int


class StateWanted(_Event, frozen=True, gc=False):
    """A person sets the trading state by hand."""

    state: TradingState
    reason: str
    now_ns: int = 0


class Holding(msgspec.Struct, frozen=True, gc=False):
    """Lots held, today's and older, as the broker reports them."""

    symbol: str
    long_today: int = 0
    long_his: int = 0
    short_today: int = 0
    short_his: int = 0


class Snapshot(_Event, frozen=True):
    """All the broker knows of the account, freshly asked, later than every report handed over before.

    `complete` False means that something may be missing: then what it says counts, and what it does not say means
    nothing.
    """

    trading_day: str
    holdings: tuple[Holding, ...]
    orders: tuple[OrderReport, ...]
    trades: tuple[TradeReport, ...]
    now_ns: int
    complete: bool = True


class AskFailed(_Event, frozen=True, gc=False):
    """The broker could not be asked."""

    reason: str
    now_ns: int


Event = (
    Terms | Bound | Book | TargetWanted | OrderWanted | CancelWanted | OrderReport | TradeReport | Timer | Equity
    | LinkChange | KillChange | StateWanted | Snapshot | AskFailed
)  # fmt: skip

# Actions, to be carried out in the order given ---------------------------------------------------------------------


class WriteIntent(msgspec.Struct, frozen=True):
    """Make the intent of an order durable; what follows may only be done once it is."""

    order: Order
    target_session: str
    target_revision: int
    market_ns: int


class SendOrder(msgspec.Struct, frozen=True):
    """Send an order whose intent is durable."""

    order: Order


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Ask the broker to cancel."""

    order_id: str


class CloseIntent(msgspec.Struct, frozen=True, gc=False):
    """Record in the ledger how an order ended. Need not be durable at once: after a crash the broker is asked."""

    order_id: str
    outcome: str
    left: int


class WriteMarks(msgspec.Struct, frozen=True, gc=False):
    """Make the day's equity marks durable: what it opened at and its peak, CNY."""

    trading_day: str
    opening: float
    peak: float


class WriteBinding(msgspec.Struct, frozen=True, gc=False):
    """Make durable that all but `symbol` is flat, before anything that follows: what a later life may find held."""

    requested: str
    symbol: str


class TripKill(msgspec.Struct, frozen=True, gc=False):
    """Trip the durable kill switch, before anything that follows."""

    reason: str


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Acknowledge a target, an order or a cancel: `accepted`, `refused` or `duplicate`."""

    session: str
    revision: int
    status: str
    reason: str = ""
    order_id: str = ""


class Resync(msgspec.Struct, frozen=True, gc=False):
    """Log in anew and ask what there is; answer with a `Snapshot` or `AskFailed`."""

    reason: str


class Resubscribe(msgspec.Struct, frozen=True, gc=False):
    """Market data has gone silent: subscribe anew."""

    reason: str


class Record(msgspec.Struct, frozen=True):
    """A line for the journal."""

    kind: str
    fields: dict[str, Any] = {}


Action = (
    WriteIntent | SendOrder | Cancel | CloseIntent | WriteMarks | WriteBinding | TripKill | Answer | Resync
    | Resubscribe | Record
)  # fmt: skip
