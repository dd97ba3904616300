"""Blocks trading while the disk refuses writes and replays pending writes once it recovers.

Nothing is sent whose intent could not be written, since the core is told before the next action is looked at. Pending
writes (how orders ended, the day's marks, a tripped switch) are written before trading goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ghtrader_base.errors import UnwritableError
from ghtrader_runtime.accounts.kill_switch import KillState, KillSwitch
from ghtrader_runtime.accounts.order_ledger import Ledger
from ghtrader_runtime.core.events import LinkChange

RETRY_S = 1.0
"""Seconds between two looks at a disk that refused."""


class DurableWrites:
    """Writes of one gateway.

    Parameters
    ----------
    ledger, kill
        The account's.
    tell : callable
        Takes the `LinkChange` of `ledger` for the core, and does what follows.
    """

    def __init__(self, ledger: Ledger, kill: KillSwitch, tell: Callable[[LinkChange], object]) -> None:
        self._ledger, self._kill, self._tell = ledger, kill, tell
        self._pending: list[Callable[[], object]] = []
        self._pending_trip = ""
        self._retry_at = 0.0
        self.failure = ""

    def attempt(self, write: Callable[[], object], keep: bool = False) -> bool:
        """Do one write of the ledger's; False where the disk refuses it. `keep`: try again until the disk recovers."""
        try:
            write()
        except UnwritableError as exc:
            if keep:
                self._pending.append(write)
            self._refused(exc.message)
            return False
        return True

    def trip(self, reason: str) -> None:
        """Trip the switch; where the disk refuses, trading is halted all the same, and it is tried again."""
        try:
            self._kill.trip(reason, by="risk")
            self._pending_trip = ""
        except OSError as exc:
            self._pending_trip = reason
            self._refused(f"the kill switch cannot be written: {exc.strerror or exc}")

    def kill_state(self) -> KillState:
        """The switch as it is, or as it will be once the pending write of it is done."""
        state = self._kill.read()
        if self._pending_trip and not state.tripped:
            return KillState(True, self._pending_trip, "", "risk")
        return state

    def look(self) -> None:
        """Every `RETRY_S`: try the pending writes again; once the disk has recovered, tell the core."""
        if not self.failure or time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + RETRY_S
        try:
            while self._pending:
                self._pending[0]()
                self._pending.pop(0)
            self._ledger.prove()
        except UnwritableError:
            return
        if self._pending_trip:
            self.trip(self._pending_trip)
        if not self._pending_trip:
            self.failure = ""
            self._tell(LinkChange("ledger", True, time.monotonic_ns()))

    def _refused(self, why: str) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        if not self.failure:
            self.failure = why
            self._tell(LinkChange("ledger", False, time.monotonic_ns(), why))
