"""Counts messages that brought nothing about for want of authority, and says what the journal is told of them.

A line at most each second, whatever is sent. Pure: times come in.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ghtrader_runtime.gateway.bus_sessions import Refusal

_EVERY_NS = 1_000_000_000
_NAMES, _NAME_CHARACTERS = 3, 40


class RefusedMessages:
    """Refusals of a run.

    Attributes
    ----------
    counts : Counter
        How many there were, by `Refusal`.
    """

    def __init__(self) -> None:
        self.counts: Counter[Refusal] = Counter()
        self._untold: Counter[Refusal] = Counter()
        self._names: dict[str, None] = {}
        self._told_ns = -_EVERY_NS

    @property
    def strangers(self) -> int:
        """Messages over connections on which nobody had joined."""
        return self.counts[Refusal.STRANGER]

    @property
    def unauthorized(self) -> int:
        """All others."""
        return self.counts.total() - self.strangers

    def note(self, refusal: Refusal, session: str, *, told: bool = True) -> None:
        """A message was refused; `session` is the name it carried. What is not `told` is counted alone."""
        self.counts[refusal] += 1
        if told:
            self._untold[refusal] += 1
            if len(self._names) < _NAMES:
                self._names[session[:_NAME_CHARACTERS]] = None

    def due(self, now_ns: int) -> dict[str, Any] | None:
        """Fields of the journal line to write now: how many by reason since the last one, and the first names that
        they carried."""
        if not self._untold or now_ns - self._told_ns < _EVERY_NS:
            return None
        fields = {"counts": {str(reason): count for reason, count in self._untold.items()}, "names": list(self._names)}
        self._untold.clear()
        self._names.clear()
        self._told_ns = now_ns
        return fields
