"""Defines the kinds of faults that a test can inject, and which part of the exchange carries each out.

Light on purpose: a client of the control API imports it.
"""

from __future__ import annotations

from ghtrader_base.plain_str_enum import PlainStrEnum


class FaultKind(PlainStrEnum):
    """One fault, by the word that `/control/fault` takes."""

    ABORT_MD = "abort-md"
    ABORT_TD = "abort-td"
    CLOSE_MD = "close-md"
    CLOSE_TD = "close-td"
    GARBAGE_MD = "garbage-md"
    GARBAGE_TD = "garbage-td"
    DELAY_ACKS = "delay-acks"
    REPEAT_ACKS = "repeat-acks"
    REJECT_NEXT_ORDER = "reject-next-order"
    LOSE_NEXT_ORDER = "lose-next-order"
    DROP_DATA = "drop-data"
    CLOSE_DATA = "close-data"
    STALL_DATA = "stall-data"
    SLOW_DATA = "slow-data"
    GARBAGE_DATA = "garbage-data"
    REFUSE_LOGIN = "refuse-login"
    WITHHOLD_HISTORY = "withhold-history"
    EMPTY_DAY = "empty-day"
    PARTIAL_DAY = "partial-day"
    DUPLICATE_ROWS = "duplicate-rows"
    DISORDERED_ROWS = "disordered-rows"
    CROSSED_ROWS = "crossed-rows"
    NAN_ROWS = "nan-rows"
    CLEAR = "clear"


CONNECTION_FAULTS = (
    FaultKind.ABORT_MD, FaultKind.ABORT_TD, FaultKind.CLOSE_MD, FaultKind.CLOSE_TD, FaultKind.GARBAGE_MD,
    FaultKind.GARBAGE_TD,
)  # fmt: skip
"""`abort`: the line breaks without a word. `close`: closed politely with code 1000, after which TqSdk reconnects to
market data, subscribes nothing again and receives no more. `garbage`: text that is no JSON is said."""
ORDER_FAULTS = (
    FaultKind.DELAY_ACKS, FaultKind.REPEAT_ACKS, FaultKind.REJECT_NEXT_ORDER, FaultKind.LOSE_NEXT_ORDER,
)  # fmt: skip
LINE_FAULTS = (
    FaultKind.DROP_DATA, FaultKind.CLOSE_DATA, FaultKind.STALL_DATA, FaultKind.SLOW_DATA, FaultKind.GARBAGE_DATA,
)  # fmt: skip
"""The line breaks, is closed politely, says nothing (for `seconds`, or for ever), answers `seconds` later, or sends
text that is no JSON: each the next `count` times a download is about to be sent a window of `symbol` that begins in
`day` (empty: any)."""
LOGIN_FAULTS = (FaultKind.REFUSE_LOGIN, FaultKind.WITHHOLD_HISTORY)
"""The login service answers 503 for `seconds`; who logs in from now on has no right to history (`tq_dl`)."""
DAY_FAULTS = (
    FaultKind.EMPTY_DAY, FaultKind.PARTIAL_DAY, FaultKind.DUPLICATE_ROWS, FaultKind.DISORDERED_ROWS,
    FaultKind.CROSSED_ROWS, FaultKind.NAN_ROWS,
)  # fmt: skip
"""The tape of `symbol` on `day` is served without rows, two thirds of it, or with damage to every fiftieth row."""
DATA_FAULTS = (*LINE_FAULTS, *LOGIN_FAULTS, *DAY_FAULTS)
