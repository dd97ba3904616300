"""Defines an account's orders, order states, holdings and trading states; plain data."""

from __future__ import annotations

import msgspec

from ghtrader_base.plain_str_enum import PlainStrEnum
from ghtrader_base.trading_enums import TimeInForce
from ghtrader_market.accounting.fill import Offset

NAN = float("nan")


class TradingState(PlainStrEnum):
    """What may be sent now.

    ACTIVE
        Anything within the risk limits.
    REDUCING
        Only closing orders that bring the net position nearer to zero, never across it; cancels.
    HALTED
        Nothing but cancels.
    """

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class OrderStatus(PlainStrEnum):
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


class PriceType(PlainStrEnum):
    """At which price an order may fill, as TqSdk 3.10.4 passes it on.

    LIMIT
        At its price or better.
    ANY
        At any: a market order.
    BEST
        At the opposite best price.
    FIVELEVEL
        At the five best opposite prices.
    """

    LIMIT = "LIMIT"
    ANY = "ANY"
    BEST = "BEST"
    FIVELEVEL = "FIVELEVEL"


class OrderKind(PlainStrEnum):
    """Who wanted an order.

    TARGET
        The executor, on the way to a target.
    DIRECT
        A session, this very order.
    EARLIER
        An earlier process run of this gateway.
    STRANGER
        Somebody else at the same account.
    """

    TARGET = "target"
    DIRECT = "direct"
    EARLIER = "earlier"
    STRANGER = "stranger"


class OrderOutcome(PlainStrEnum):
    """How an order ended, as the ledger keeps it.

    FILLED, CANCELLED, REJECTED
        As the broker said.
    UNSENT
        It never reached the broker.
    """

    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNSENT = "unsent"


class Order(msgspec.Struct, kw_only=True):
    """One order of the account. `left` is what the broker says is not filled; `traded` sums the trades seen.

    `side` is +1 buy, -1 sell. `heard` is True once the exchange was seen to have it, `over` once it can fill no more.
    """

    order_id: str
    symbol: str
    side: int
    offset: Offset
    volume: int
    price: float
    tif: TimeInForce
    left: int
    status: OrderStatus = OrderStatus.SENT
    price_type: PriceType = PriceType.LIMIT
    kind: OrderKind = OrderKind.TARGET
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


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """An order somebody decided to send, as the ledger keeps it. `side` is +1 buy, -1 sell.

    `target_session` and `target_revision` name the request it serves; `market_ns` is the market's time, `wall_ns` the
    wall clock's (UTC), `sent_ns` the reader's monotonic clock's (0: long ago).
    """

    order_id: str
    number: int
    symbol: str
    side: int
    offset: Offset
    volume: int
    price: float
    tif: TimeInForce
    target_session: str = ""
    target_revision: int = -1
    market_ns: int = 0
    price_type: PriceType = PriceType.LIMIT
    wall_ns: int = 0
    sent_ns: int = 0


class Holding(msgspec.Struct, frozen=True, gc=False):
    """Lots held, today's and older, as the broker reports them."""

    symbol: str
    long_today: int = 0
    long_his: int = 0
    short_today: int = 0
    short_his: int = 0
