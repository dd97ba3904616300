"""Defines the actions that the core asks for and the gateway carries out."""

from __future__ import annotations

from typing import Any

import msgspec

from ghtrader_base.plain_str_enum import PlainStrEnum
from ghtrader_runtime.core.orders import Order, OrderOutcome


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
    outcome: OrderOutcome
    left: int


class WriteMarks(msgspec.Struct, frozen=True, gc=False):
    """Make the day's equity marks durable: what it opened at and its peak, CNY."""

    trading_day: str
    opening: float
    peak: float


class WriteBinding(msgspec.Struct, frozen=True, gc=False):
    """Make durable that all but `symbol` is flat, before anything that follows: what a later run may find held."""

    requested: str
    symbol: str


class TripKill(msgspec.Struct, frozen=True, gc=False):
    """Trip the durable kill switch, before anything that follows."""

    reason: str


class AnswerStatus(PlainStrEnum):
    """What became of a request.

    ACCEPTED
        It holds from now on.
    REFUSED
        It changes nothing; the reason is told.
    DUPLICATE
        It was acted on before.
    UNKNOWN
        Its session has not joined: say hello first.
    """

    ACCEPTED = "accepted"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Acknowledge a target, an order or a cancel."""

    session: str
    revision: int
    status: AnswerStatus
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
