"""Shuts a strategy down gracefully: asks for a flat position and ends once the gateway confirms it.

Pure: messages and times come in, what to do goes out.
"""

from __future__ import annotations

from collections.abc import Iterable

from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.core.actions import AnswerStatus

WAIT_S, AGAIN_S = 15.0, 1.0
"""Seconds after which it goes whatever is held, and between two requests for a flat position."""


def is_flat(state: msg.AccountState, symbols: Iterable[str]) -> bool:
    """Whether nothing is held of `symbols` or wanted, and no order works.

    Between the two orders of a reversal nothing is held and nothing works, either: what is wanted tells.
    """
    return not state.working and not any(state.positions.get(s, 0) or state.targets.get(s, 0) for s in symbols)


class Shutdown:
    """The graceful shutdown of one strategy."""

    def __init__(self) -> None:
        self._leave_by = self._next_ask = 0.0
        self._first_asked = 0
        self._heard_ns = 0
        self.begun = False

    def begin(self, now_s: float) -> None:
        """Begin: from now on a flat position is wanted."""
        self.begun = True
        self._leave_by = now_s + WAIT_S

    def too_late(self, now_s: float) -> bool:
        """Whether it has waited long enough."""
        return self.begun and now_s >= self._leave_by

    def asks(self, now_s: float) -> bool:
        """Whether to ask for a flat position, again, now."""
        due = self.begun and now_s >= self._next_ask
        if due:
            self._next_ask = now_s + AGAIN_S
        return due

    def asked(self, revision: int) -> None:
        """A flat position was asked for under this revision of ours."""
        self._first_asked = self._first_asked or revision

    def on_ack(self, ack: msg.Ack) -> None:
        """The gateway takes our messages in order: whatever it answers from then on, it knows of the shutdown."""
        if self._first_asked and ack.answers >= self._first_asked and ack.status != AnswerStatus.UNKNOWN:
            self._heard_ns = self._heard_ns or ack.sent_ns

    def may_go(self, state: msg.AccountState, symbols: Iterable[str]) -> bool:
        """Whether a state was told after the gateway knew of it, and nothing is left to do."""
        told = 0 < self._heard_ns < state.sent_ns
        return told and (is_flat(state, symbols) or state.trading_state == "HALTED")
