"""Keeps the faults in force on orders and connections, for tests.

Faults that act once on connections (a dropped line) are carried out by the server; the ones that change how orders
are treated are kept here and asked by the trading side; those that hit downloads stand in `data_faults`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghtrader_exchange.faults.fault_kinds import FaultKind


@dataclass
class OrderFaults:
    """Faults in force on the trading socket.

    Attributes
    ----------
    ack_delay_s : float
        Machine seconds every trading message is held back; the order itself is treated at once.
    repeat_next : int
        How many of the next trading messages are said twice.
    reject_next : int
        How many of the next orders are refused.
    reject_reason : str
        What the refusal says.
    lose_next : int
        How many of the next orders vanish on the way: never treated, never answered.
    """

    ack_delay_s: float = 0.0
    repeat_next: int = 0
    reject_next: int = 0
    reject_reason: str = "CTP:交易所拒绝报单"
    lose_next: int = 0

    def set(self, kind: FaultKind, seconds: float = 0.0, count: int = 1, reason: str = "") -> None:
        """Put one of `ORDER_FAULTS` in force, or end them all with ``clear``; ValueError for nonsense."""
        if seconds < 0 or count < 0:
            raise ValueError("seconds and count cannot be negative")
        if kind == FaultKind.DELAY_ACKS:
            self.ack_delay_s = float(seconds)
        elif kind == FaultKind.REPEAT_ACKS:
            self.repeat_next = count
        elif kind == FaultKind.REJECT_NEXT_ORDER:
            self.reject_next = count
            self.reject_reason = reason or OrderFaults.reject_reason
        elif kind == FaultKind.LOSE_NEXT_ORDER:
            self.lose_next = count
        elif kind == FaultKind.CLEAR:
            self.__init__()  # type: ignore[misc]
        else:
            raise ValueError(f"{kind} is no fault of orders")

    def takes_rejection(self) -> str | None:
        """The reason, if the order that arrives now is to be refused (which uses up one refusal)."""
        if self.reject_next <= 0:
            return None
        self.reject_next -= 1
        return self.reject_reason

    def takes_repeat(self) -> bool:
        """Whether the message that is said now is said twice."""
        if self.repeat_next <= 0:
            return False
        self.repeat_next -= 1
        return True

    def takes_loss(self) -> bool:
        """Whether the order that arrives now vanishes."""
        if self.lose_next <= 0:
            return False
        self.lose_next -= 1
        return True
