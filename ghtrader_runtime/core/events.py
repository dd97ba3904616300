"""Defines the events that the trading core takes, one struct each.

Plain data; msgspec can encode all of it, so that a run can be kept and replayed. Times: `market_ns` is the market's
(UTC epoch ns, may run faster than ours), `now_ns` the monotonic clock; both are always given, never read. Orders and
holdings are `orders.py`, what the core answers with `actions.py`.
"""

from __future__ import annotations

import msgspec

from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.core.orders import NAN, Holding, TradingState

# Events ------------------------------------------------------------------------------------------------------------


class _Event(msgspec.Struct, frozen=True, tag=True):
    pass


class Terms(_Event, frozen=True, kw_only=True):
    """What a contract's trading day allows: sessions [(first ns, end ns)], price limits (NaN where unknown).

    `market_ns` is the market's time at `now_ns`, as near as it is known: ticks are due from then on, in a break from
    the next session on (0: nobody knows). `next_sessions`: of the trading day after, in the first of which the feed
    must not stay silent either; empty where the contract does not trade then, or nobody knows.
    """

    symbol: str
    trading_day: str
    sessions: tuple[tuple[int, int], ...]
    now_ns: int
    lower: float = NAN
    upper: float = NAN
    market_ns: int = 0
    next_sessions: tuple[tuple[int, int], ...] = ()


class Bound(_Event, frozen=True, gc=False, kw_only=True):
    """`symbol` is the contract that `requested` stands for: every other one that was traded here is closed first. An
    empty `symbol` with a `reason`: nothing may be traded, what is held is closed. `no_open_from`: see `SymbolSpec`."""

    requested: str
    symbol: str
    now_ns: int
    price_tick: float = NAN
    multiplier: int = 0
    needs_close_today: bool = False
    reason: str = ""
    no_open_from: str = ""


class Book(_Event, frozen=True, gc=False, kw_only=True):
    """The best quotes of a tick (NaN where a side is empty)."""

    symbol: str
    trading_day: str
    market_ns: int
    tick_id: int
    bid: float
    ask: float
    now_ns: int


class FeedChecked(_Event, frozen=True, gc=False, kw_only=True):
    """The service was asked anew and has no newer tick of a silent symbol than the last that is known here."""

    symbol: str
    now_ns: int


class ClockChecked(_Event, frozen=True, gc=False, kw_only=True):
    """This machine's clock was compared with the service's; `reason`: how far it is off, where too far to trade on."""

    now_ns: int
    reason: str = ""


class TargetWanted(_Event, frozen=True, gc=False, kw_only=True):
    """A strategy wants to hold `volume` lots of `symbol`."""

    session: str
    revision: int
    symbol: str
    volume: int
    now_ns: int
    tick_id: int = -1
    reason: str = ""


class OrderWanted(_Event, frozen=True, gc=False, kw_only=True):
    """A session wants this very order.

    `side` is +1 or -1, `offset`, `price_type` and `tif` are words of `Offset`, `PriceType` and `TimeInForce`: as the
    session wrote them, so that `order_planning.why_not` can refuse what is none in words of its own.
    """

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
    """A session cancels its direct order (all of them where `order_id` is empty)."""

    session: str
    revision: int
    now_ns: int
    order_id: str = ""


class OrderReport(_Event, frozen=True, gc=False, kw_only=True):
    """The broker's word on an order. `finished` orders never fill again; `error` tells a rejection."""

    order_id: str
    symbol: str
    side: int
    offset: Offset
    volume: int
    left: int
    finished: bool
    error: bool
    exchange_order_id: str
    message: str
    now_ns: int
    price: float = NAN


class TradeReport(_Event, frozen=True, gc=False, kw_only=True):
    """One fill. `commission` is NaN where the broker does not say."""

    trade_id: str
    order_id: str
    symbol: str
    side: int
    offset: Offset
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
    """`broker` (trading), `data` (market data) or `ledger` (the disk accepts durable writes) is up or down, or
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


class Snapshot(_Event, frozen=True, kw_only=True):
    """All the broker knows of the account, freshly asked, later than every report passed on before.

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
    Terms | Bound | Book | FeedChecked | ClockChecked | TargetWanted | OrderWanted | CancelWanted | OrderReport
    | TradeReport | Timer | Equity | LinkChange | KillChange | StateWanted | Snapshot | AskFailed
)  # fmt: skip
