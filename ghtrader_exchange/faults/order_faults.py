"""Keeps the faults in force on orders and connections, for tests.

Faults that act once on connections (a dropped line) are carried out by the server; the ones that change how orders
are treated are kept here and asked by the trading side; those that hit downloads stand in `data_faults`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghtrader_exchange.faults.data_faults import DATA_FAULTS

CONNECTION_FAULTS = ("abort-md", "abort-td", "close-md", "close-td", "garbage-md", "garbage-td")
"""`abort`: the line breaks without a word. `close`: closed politely with code 1000, after which TqSdk reconnects to
market data, subscribes nothing again and receives no more. `garbage`: text that is no JSON is said."""
ORDER_FAULTS = ("delay-acks", "repeat-acks", "reject-next-order", "lose-next-order")
FAULTS = (*CONNECTION_FAULTS, *ORDER_FAULTS, *DATA_FAULTS, "clear")


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

    def set(self, kind: str, seconds: float = 0.0, count: int = 1, reason: str = "") -> None:
        """Put one of `ORDER_FAULTS` in force, or end them all with ``clear``; ValueError for nonsense."""
        if seconds < 0 or count < 0:
            raise ValueError("seconds and count cannot be negative")
        if kind == "delay-acks":
            self.ack_delay_s = float(seconds)
        elif kind == "repeat-acks":
            self.repeat_next = int(count)
        elif kind == "reject-next-order":
            self.reject_next = int(count)
            self.reject_reason = reason or OrderFaults.reject_reason
        elif kind == "lose-next-order":
            self.lose_next = int(count)
        elif kind == "clear":
            self.__init__()  # type: ignore[misc]
        else:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(FAULTS)}")

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
