"""Keeps a gateway's broker connected: passes calls on while it is, and opens it anew when the core asks for that."""

from __future__ import annotations

import time
from collections.abc import Callable

from ghtrader_base.errors import GhtraderError
from ghtrader_runtime.brokers.base import Broker, Pumped
from ghtrader_runtime.core import events as ev


class BrokerConnection:
    """A broker that may be away for a while.

    Parameters
    ----------
    broker : Broker
        Opened by whoever starts the gateway.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.connected = True
        self._reopen_reason = ""
        self._check_reason = ""

    def pump(self, timeout_s: float, may_advance: bool, wait: Callable[[float], object]) -> Pumped:
        """What the broker has within `timeout_s`; while it is away, `wait` for the bus that long."""
        if self.connected:
            return self.broker.pump(timeout_s, may_advance)
        wait(timeout_s)
        return Pumped()

    def cancel(self, order_id: str) -> None:
        """Ask for a cancel, where the broker is there to hear it."""
        if self.connected:
            self.broker.cancel(order_id)

    def request_check(self, reason: str) -> None:
        """Look at the next turn whether the silent feed is current, and open the broker anew where it is not."""
        self._check_reason = reason

    def request_reopen(self, reason: str) -> None:
        """Open the broker anew at the next turn of the gateway's loop."""
        self._reopen_reason = reason

    def take_reopen_reason(self) -> str:
        """Why it is to be opened anew, once; an empty string where it is not."""
        reason, self._reopen_reason = self._reopen_reason, ""
        return reason

    def look_at_feed(self) -> bool:
        """Whether a look was asked for and found the feed current; where it did not, the broker is opened anew."""
        reason, self._check_reason = self._check_reason, ""
        if not reason or self._reopen_reason:
            return False
        if self.connected and self.broker.is_current():
            return True
        self.request_reopen(reason)
        return False

    def reopen(self) -> ev.Event:
        """Open it anew: the account as the broker has it, or `AskFailed`; the core asks again, with back-off."""
        try:
            answer: ev.Event = self.broker.reopen()
            self.connected = True
        except GhtraderError as exc:
            self.connected = False
            answer = ev.AskFailed(exc.message, time.monotonic_ns())
        return answer
