"""Defines the closed sets of words of orders at the exchange: side, offset, lifetime, price type, status, event.

They are the exchange's own, apart from those of the accounting and of the trading processes that it checks. Values are
the words of the DIFF protocol where it has one. Kinds of faults are in `faults.fault_kinds`.
"""

from __future__ import annotations

from ghtrader_base.plain_str_enum import PlainStrEnum


class Side(PlainStrEnum):
    """Whether an order buys or sells."""

    BUY = "BUY"
    SELL = "SELL"


class Offset(PlainStrEnum):
    """Which position an order changes: a new one, one of earlier days, today's."""

    OPEN = "OPEN"
    CLOSE = "CLOSE"
    CLOSETODAY = "CLOSETODAY"


class Lifetime(PlainStrEnum):
    """How long an order works: for the day, or at once for what can be filled (FAK) or for all of it (FOK)."""

    GFD = "GFD"
    FAK = "FAK"
    FOK = "FOK"


class PriceType(PlainStrEnum):
    """How an order names its price; the exchange accepts LIMIT alone."""

    LIMIT = "LIMIT"
    ANY = "ANY"
    BEST = "BEST"
    FIVELEVEL = "FIVELEVEL"


class OrderStatus(PlainStrEnum):
    """Whether an order can still be filled."""

    ALIVE = "ALIVE"
    FINISHED = "FINISHED"


class OrderEventKind(PlainStrEnum):
    """What became of an order at one step."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FILLED = "filled"
    CANCELLED = "cancelled"


class NoticeLevel(PlainStrEnum):
    """How serious a notice to a client is."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
