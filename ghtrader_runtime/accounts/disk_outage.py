"""Blocks trading while the disk refuses writes and replays pending writes once it recovers.

Nothing is sent whose intent could not be written, since the core is told before the next action is looked at. Pending
writes (how orders ended, the day's marks, a tripped switch) are written before trading goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from ghtrader_base.errors import GhtraderError, UnwritableError, in_words
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
        self._pending_trip = False
        self._noted_line = 0
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

    def trip(self, reason: str, by: str = "risk") -> None:
        """Trip the switch; where the disk refuses, it holds all the same, and the file is written later.

        Nobody is waited for, and nothing is raised: what follows a trip is the way to a halt.
        """
        self._pending_trip = True
        try:
            self._kill.trip(reason, by, wait_s=0.0)
            self._pending_trip = False
        except (OSError, GhtraderError) as exc:
            self._refused(f"the kill switch cannot be written: {in_words(exc)}")
        self.note_kill_line()

    def kill_state(self) -> KillState:
        """The switch as it is, or as it will be once the pending write of it is done."""
        return self._kill.read()

    def note_kill_line(self) -> None:
        """Have the ledger know the last line of the switch's file, where it is a new one."""
        line = self._kill.known
        if line is not None and line.number != self._noted_line:
            self._noted_line = line.number
            self.attempt(partial(self._ledger.write_kill_line, line), keep=True)

    def look(self) -> None:
        """Every `RETRY_S`: try the pending writes again; once the disk has recovered, tell the core."""
        if not self.failure or time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + RETRY_S
        try:
            if self._pending_trip:
                self._kill.write_pending()
                self._pending_trip = False
            while self._pending:
                self._pending[0]()
                self._pending.pop(0)
            self._ledger.prove()
        except (OSError, GhtraderError):
            return
        self.failure = ""
        self._tell(LinkChange("ledger", True, time.monotonic_ns()))

    def _refused(self, why: str) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        if not self.failure:
            self.failure = why
            self._tell(LinkChange("ledger", False, time.monotonic_ns(), why))
