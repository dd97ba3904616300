"""Tracks whether the other side of a link is alive: states, counters and silence. Pure: times come in.

A link is CONNECTING until something arrives, LIVE while messages arrive and nothing is amiss, DEGRADED while they
arrive but something is (messages lost, a repair under way), STALE after a short silence, DOWN after a long one or when
it is known that it broke. Times are monotonic ns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

HEARTBEAT_S = 0.5
"""How often each side sends something."""
STALE_S = 1.5
"""Silence after which a link is stale: three heartbeats."""
DOWN_S = 10.0
"""Silence after which it is down."""


class LinkState(StrEnum):
    """See the module."""

    CONNECTING = "CONNECTING"
    LIVE = "LIVE"
    DEGRADED = "DEGRADED"
    STALE = "STALE"
    DOWN = "DOWN"


@dataclass(frozen=True)
class LinkChange:
    """One change of a link: an event that journal, state file, metrics and views show."""

    name: str
    before: LinkState
    after: LinkState
    reason: str
    now_ns: int

    @property
    def usable(self) -> bool:
        """Whether the other side can be relied on after the change."""
        return self.after in (LinkState.LIVE, LinkState.DEGRADED)


@dataclass(kw_only=True)
class Link:
    """One link to one peer.

    Attributes
    ----------
    name : str
        Who is at the other end.
    stale_s, down_s : float
        Seconds of silence.
    changes, outages : int
        How often the state changed, and how often it became STALE or DOWN from something better.
    """

    name: str = "peer"
    stale_s: float = STALE_S
    down_s: float = DOWN_S
    state: LinkState = LinkState.CONNECTING
    reason: str = "nothing received yet"
    changes: int = 0
    outages: int = 0
    _last_ns: int = -1
    _troubles: dict[str, str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether the other side can be relied on."""
        return self.state in (LinkState.LIVE, LinkState.DEGRADED)

    def heard(self, now_ns: int) -> LinkChange | None:
        """Something arrived; the change this makes, if any."""
        self._last_ns = max(self._last_ns, now_ns)
        if self.state is LinkState.LIVE and not self._troubles:  # of nearly every message
            return None
        return self._settle(now_ns)

    def trouble(self, kind: str, reason: str, now_ns: int) -> LinkChange | None:
        """Something is amiss until `mended` is called with the same kind: the link is no better than DEGRADED."""
        self._troubles[kind] = reason
        return self._settle(now_ns) if self.usable else None

    def mended(self, kind: str, now_ns: int) -> LinkChange | None:
        """What was amiss is over."""
        self._troubles.pop(kind, None)
        return self._settle(now_ns) if self.usable else None

    def broke(self, reason: str, now_ns: int) -> LinkChange | None:
        """We know that the other side is gone, however short the silence."""
        return self._become(LinkState.DOWN, reason, now_ns)

    def check(self, now_ns: int) -> LinkChange | None:
        """Time passed."""
        if self.state in (LinkState.CONNECTING, LinkState.DOWN):
            return None
        silent_s = self.silent_s(now_ns)
        if silent_s > self.down_s:
            return self._become(LinkState.DOWN, f"silent for more than {self.down_s:g} s", now_ns)
        if silent_s > self.stale_s:
            return self._become(LinkState.STALE, f"silent for more than {self.stale_s:g} s", now_ns)
        return None

    def silent_s(self, now_ns: int) -> float:
        """Seconds since the other side last sent something; infinite where it never did."""
        return (now_ns - self._last_ns) / 1e9 if self._last_ns >= 0 else float("inf")

    def _settle(self, now_ns: int) -> LinkChange | None:
        if self._troubles:
            return self._become(LinkState.DEGRADED, "; ".join(self._troubles.values()), now_ns)
        return self._become(LinkState.LIVE, "heard", now_ns)

    def _become(self, state: LinkState, reason: str, now_ns: int) -> LinkChange | None:
        before, self.reason = self.state, reason
        if state is before:
            return None
        better = (LinkState.CONNECTING, LinkState.LIVE, LinkState.DEGRADED)
        self.outages += before in better and state not in better
        self.state = state
        self.changes += 1
        return LinkChange(self.name, before, state, reason, now_ns)
