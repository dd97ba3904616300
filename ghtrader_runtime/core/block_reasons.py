"""Lists the reasons that limit trading, what each one blocks and what ends it."""

from __future__ import annotations

from ghtrader_base.plain_str_enum import PlainStrEnum


class BlockReason(PlainStrEnum):
    """What limits trading now. Each is set and cleared by itself; of those that stand the strictest trading state wins.

    RECONCILE
        HALTED: what is held or on its way is not known; until the broker's complete list tells.
    BROKER
        HALTED: the trading line is down, and the broker cannot be asked. Until it is back.
    LEDGER
        HALTED: no intent can be made durable. Until the disk takes them again.
    REJECTS
        REDUCING: too many orders in a row were rejected; closing orders still leave. Until an operator sets ACTIVE.
    MONITOR
        HALTED, for good: this gateway only watches; it sends no cancels either.
    KILL
        HALTED: the kill switch is tripped; REDUCING while a switch that flattens has something to close. Until reset.
    OPERATOR
        HALTED or REDUCING, as a person set it. Until that person sets ACTIVE.
    DATA
        REDUCING: a symbol that should tick is silent. Until it ticks.
    CLOCK
        REDUCING: this machine's clock is half a minute or more off the service's, so that sessions, timeouts and order
        times would be wrong. Until it is right.
    DATA_LINK
        REDUCING: the market data line is down. Until it is back.
    ROLL
        REDUCING: something of another contract than the day's is or may be held; HALTED where no contract is the day's.
    HOLDING
        REDUCING: the contract has reached the last trading day on which a natural person may hold it. Until another
        contract is the day's.
    """

    RECONCILE = "reconcile"
    BROKER = "broker"
    LEDGER = "ledger"
    REJECTS = "rejects"
    MONITOR = "monitor"
    KILL = "kill"
    OPERATOR = "operator"
    DATA = "data"
    DATA_LINK = "data-link"
    ROLL = "roll"
    HOLDING = "holding"
    CLOCK = "clock"
