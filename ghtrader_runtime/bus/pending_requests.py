"""Keeps requests until they are acknowledged: what to send again, and when to give up. Pure: times come in.

A request is repeated under the revision it had, so that the other side can tell a repetition from a new request; since
that side remembers revisions the effect is exactly one, whatever is lost on the way, in either direction.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghtrader_runtime.bus.backoff import Backoff
from ghtrader_runtime.bus.messages import Message

FIRST_S, LONGEST_S, GIVE_UP_S = 0.5, 4.0, 15.0


@dataclass
class _Waiting:
    message: Message
    kind: str
    first_ns: int
    due_ns: int
    backoff: Backoff


class PendingRequests:
    """Requests on their way.

    Parameters
    ----------
    first_s, longest_s : float
        Seconds until the first repetition, and at most between two.
    give_up_s : float
        Seconds after which a request counts as unanswered and is dropped.

    Attributes
    ----------
    repeated, given_up : int
        Counters.
    """

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S, give_up_s: float = GIVE_UP_S) -> None:
        self.first_s, self.longest_s, self._give_up_ns = first_s, longest_s, int(give_up_s * 1e9)
        self.repeated = 0
        self.given_up = 0
        self._waiting: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def sent(self, message: Message, kind: str, now_ns: int, *, replaces: bool = False) -> None:
        """A request left. With `replaces`, earlier ones of its kind are no longer wanted (a newer target)."""
        if replaces:
            for revision in [r for r, waiting in self._waiting.items() if waiting.kind == kind]:
                del self._waiting[revision]
        backoff = Backoff(self.first_s, self.longest_s)
        due_ns = now_ns + int(backoff.next_s() * 1e9)
        self._waiting[message.revision] = _Waiting(message, kind, now_ns, due_ns, backoff)

    def answered(self, revision: int) -> bool:
        """Its acknowledgement came; False where nobody waits for it (any more)."""
        return self._waiting.pop(revision, None) is not None

    def due(self, now_ns: int) -> list[Message]:
        """Requests to send again now, oldest first."""
        again = []
        for revision, waiting in list(self._waiting.items()):
            if now_ns - waiting.first_ns > self._give_up_ns:
                del self._waiting[revision]
                self.given_up += 1
            elif now_ns >= waiting.due_ns:
                waiting.due_ns = now_ns + int(waiting.backoff.next_s() * 1e9)
                self.repeated += 1
                again.append(waiting.message)
        return again

    def clear(self) -> None:
        """Forget all: the other side is another one now."""
        self._waiting.clear()
