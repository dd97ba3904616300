"""Watches this machine's clock while a real account is traded: asks the service for its time, notices a jump at once.

Between two answers the monotonic clock tells how the machine's moved. What being wrong limits is the core's
(`BlockReason.CLOCK`); the question itself is `sources.service_clock`'s.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from ghtrader_base.errors import GhtraderError
from ghtrader_market.sources.service_clock import REFUSE_S, ClockState

ASK_EVERY_S = 1800
RETRY_S = 60
"""A service that did not tell its time is asked again after this long."""
_JUMP_S = 1.0
_LOOK_EVERY_S = 0.5
_READING_S = 0.1
"""Both clocks read within this long belong together; a process that was paused between them reads them again."""


class ClockWatch:
    """How far this machine's clock is off, from what the service said and how the clock moved since.

    Parameters
    ----------
    ask : callable
        Asks the service; raises GhtraderError where it does not tell. Called on a thread of its own, since it may take
        seconds.
    wall, monotonic : callable
        This machine's clocks, seconds.

    Attributes
    ----------
    state : ClockState
        How the clock stands now, as far as is known; before the first answer, how it moved since the start.
    """

    def __init__(
        self,
        ask: Callable[[], ClockState],
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = ClockState()
        self._ask, self._wall, self._monotonic = ask, wall, monotonic
        self._answers: queue.SimpleQueue[tuple[ClockState | None, float]] = queue.SimpleQueue()
        self._asking = False
        self._answered = ClockState()
        self._offset = self._asked_offset = self._wall() - self._monotonic()
        self._next_s = self._look_s = self._monotonic()

    def ask_now(self) -> None:
        """Ask at the next look: the line was opened anew."""
        self._next_s = self._monotonic()

    @property
    def too_far_off(self) -> str:
        """Why nothing may be opened, for people; empty where the clock is right, or as far as anybody knows."""
        return self.state.words() if self.state.off_s >= REFUSE_S else ""

    def look(self) -> bool:
        """Take an answer that came, and see how the clock moved; whether `state.warning` or `too_far_off` began or
        ended."""
        now = self._monotonic()
        if now < self._look_s:
            return False
        offset = self._wall() - now
        if self._monotonic() - now > _READING_S:
            return False
        self._look_s = now + _LOOK_EVERY_S
        self._take_answer(now)
        moved_s = offset - self._offset
        before = (bool(self.state.warning), bool(self.too_far_off))
        if self._answered.ahead_s is not None or abs(moved_s) >= _JUMP_S:
            self.state = replace(self._answered, ahead_s=(self._answered.ahead_s or 0.0) + moved_s)
        if not self._asking and (now >= self._next_s or abs(offset - self._asked_offset) >= _JUMP_S):
            self._begin_asking(offset)
        return before != (bool(self.state.warning), bool(self.too_far_off))

    def _take_answer(self, now: float) -> None:
        with contextlib.suppress(queue.Empty):
            answer, offset = self._answers.get_nowait()
            self._asking = False
            self._next_s = now + (RETRY_S if answer is None else ASK_EVERY_S)
            if answer is not None:
                self._answered, self._offset = answer, offset

    def _begin_asking(self, offset: float) -> None:
        self._asking, self._asked_offset = True, offset

        def ask() -> None:
            try:
                self._answers.put((self._ask(), offset))
            except GhtraderError:
                self._answers.put((None, offset))

        threading.Thread(target=ask, name="clock-watch", daemon=True).start()
