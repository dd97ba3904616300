"""Tells which requests were acted on already: one number a session, in bounded memory.

A session counts its requests up, so the highest number acted on stands for all before it. Sessions are forgotten only
once they have been silent for a time to live; where too many are alive at once a new one is refused, so that no flood
of made-up sessions can push a real one out and have its old requests accepted again. As many again have a place whose
request only reduces a position: nobody is kept from leaving by how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_SESSIONS = 64
TTL_NS = 3600 * 1_000_000_000


@dataclass
class Watermark:
    """Highest revision of each session, with when it was last heard of (ns; any clock that does not go back).

    Attributes
    ----------
    marks : dict
        Session to (revision, ns), the one heard of longest ago first.
    """

    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    max_sessions: int = MAX_SESSIONS
    ttl_ns: int = TTL_NS

    @classmethod
    def of(cls, known: Iterable[tuple[str, int]], now_ns: int = 0) -> Watermark:
        """Take over (session, revision) pairs, as if heard of at `now_ns`."""
        return cls({session: (revision, now_ns) for session, revision in known})

    def note(self, session: str, revision: int, now_ns: int, reduces: bool = False) -> str:
        """`new` (and noted), `duplicate` (nothing changes), or `full` (too many sessions: refuse it).

        `reduces`: the request only brings a position nearer to zero; a second share of places is kept for such.
        """
        known = self.marks.get(session)
        if known is not None:
            if revision <= known[0]:
                return "duplicate"
            del self.marks[session]
        elif len(self.marks) >= self.max_sessions * (1 + reduces) and not self._forget(now_ns):
            return "full"
        self.marks[session] = (revision, now_ns)
        return "new"

    def _forget(self, now_ns: int) -> bool:
        oldest = next(iter(self.marks))
        if now_ns - self.marks[oldest][1] < self.ttl_ns:
            return False
        del self.marks[oldest]
        return True
