"""Tells a dead feed from a market that says nothing: when the service is asked, and what its answer means.

Pure: times come in as arguments. Whether ticks are due at all is `recorder.ticks_expected`; the question is put by
`sources.tqsdk.newest_bar`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

_LONGEST_WAIT_S = 300.0
ANSWER_S = 10.0
"""The service has this long to say when the contracts last ticked."""


class Step(Enum):
    """What to do about a silence."""

    NOTHING = auto()
    ASK = auto()
    TELL = auto()
    RESTART = auto()


class SilenceWatch:
    """How long nothing came, and what was found out about it.

    Parameters
    ----------
    stale_s : float
        Silence after which the service is asked, and after which it is asked again.

    Attributes
    ----------
    why : str
        What was found out, for people: after `Step.RESTART` and `Step.TELL`, that once a silence of the market has
        doubled.
    """

    def __init__(self, stale_s: float) -> None:
        self.why = ""
        self._stale_s = stale_s
        self._wait_s = 0.0
        self._since = 0.0
        self._asked: float | None = None
        self._tell_from_s = 0.0

    def connected(self, now: float) -> None:
        """A client was started; times in seconds of the monotonic clock."""
        self._since, self._asked = now, None

    def step(
        self, now: float, heard: float, newest_ns: int, due: Callable[[], bool], answer: Mapping[str, int] | None
    ) -> Step:
        """What to do now.

        Parameters
        ----------
        now, heard : float
            This moment, and when the last tick came, seconds of the monotonic clock.
        newest_ns : int
            Market time of the newest tick of all contracts, UTC epoch ns; -1 where none came yet.
        due : callable
            Whether the market is in no break; asked in a silence alone.
        answer : mapping of str to int, optional
            When each contract last ticked by the service, UTC epoch ns, since `Step.ASK`; None before it answered.
        """
        if heard > self._since:  # a client that brings ticks is a good one
            self._wait_s = self._tell_from_s = 0.0
        silent = now - max(heard, self._since)
        if silent <= max(self._stale_s, self._wait_s) or not due():
            self._asked = None
            return Step.NOTHING
        if self._asked is None:
            self._asked = now
            return Step.ASK
        if answer is None and now - self._asked < ANSWER_S:
            return Step.NOTHING
        if answer is not None and all(time_ns <= newest_ns for time_ns in answer.values()):
            self._since, self._asked = now, None  # locked at its limit, halted: asked again after as long a silence
            if now - heard < self._tell_from_s:
                return Step.NOTHING
            self._tell_from_s = 2 * (now - heard)
            self.why = f"no tick for {now - heard:.0f} s, and the service has none either: the market is silent"
            return Step.TELL
        finding = "the service does not answer either" if answer is None else "the service has newer ones"
        self.why = f"no tick for {now - heard:.0f} s in trading hours, and {finding}: starting the client again"
        self._wait_s = min(max(self._wait_s, self._stale_s) * 2, _LONGEST_WAIT_S)
        return Step.RESTART
