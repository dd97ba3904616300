"""Defines the words that options of a gateway and of a strategy take: run mode, time in force, peg, policies.

Side and offset are those of a fill, `ghtrader_market/accounting/fill.py`; the words of an order that no option takes
are `ghtrader_runtime/core/orders.py`.
"""

from __future__ import annotations

from ghtrader_base.plain_str_enum import PlainStrEnum


class RunMode(PlainStrEnum):
    """Which account a run trades.

    PAPER
        One kept in the process, whose fills we work out ourselves.
    SIM
        A simulated one, see `SimKind`.
    LIVE
        A real one.
    """

    PAPER = "paper"
    SIM = "sim"
    LIVE = "live"


class SimKind(PlainStrEnum):
    """Where the account of a `sim` run lives.

    TQKQ
        At the service; it outlives the process.
    TQSIM
        In the client library; it dies with the process.
    """

    TQKQ = "tqkq"
    TQSIM = "tqsim"


class TimeInForce(PlainStrEnum):
    """How long an order may work.

    FAK
        What does not fill at once is cancelled.
    FOK
        All of it at once, or nothing.
    GFD
        Until the trading day ends.
    """

    FAK = "FAK"
    FOK = "FOK"
    GFD = "GFD"


class Peg(PlainStrEnum):
    """Where a resting order is placed.

    CROSS
        At the opposite best price, or beyond.
    JOIN
        At our own side's best price.
    """

    CROSS = "cross"
    JOIN = "join"


class OnKill(PlainStrEnum):
    """What a tripped kill switch does with positions.

    HOLD
        Leaves them.
    FLATTEN
        Closes them, then halts.
    """

    HOLD = "hold"
    FLATTEN = "flatten"


class UnknownOrders(PlainStrEnum):
    """What happens to working orders that this process run did not send.

    CANCEL
        They are cancelled.
    ADOPT
        They work on, and count.
    """

    CANCEL = "cancel"
    ADOPT = "adopt"


class Succession(PlainStrEnum):
    """When a newly promoted champion takes over.

    DAY
        With the next trading day.
    FLAT
        Once nothing is held, wanted or on its way.
    KEEP
        Never in this run.
    """

    DAY = "day"
    FLAT = "flat"
    KEEP = "keep"
