"""Says when a daily update tries again what a service that is away, or a lock that somebody holds, keeps from it.

A pure plan: the time is handed in, and the caller waits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPlan:
    """Pauses that grow, and an end.

    Attributes
    ----------
    for_s : float
        Seconds from the beginning after which nothing is tried again: an update that begins at 17:30 is over before
        the night session opens at 21:00.
    first_s, factor, longest_s : float
        The first pause, by how much each following one is longer, and the longest.
    """

    for_s: float
    first_s: float = 60.0
    factor: float = 2.0
    longest_s: float = 600.0

    def pause_s(self, tries: int, since_s: float) -> float | None:
        """Seconds until the next try, after `tries` (from 1) in `since_s` seconds; None where there is none."""
        pause = min(self.longest_s, self.first_s * self.factor ** min(tries - 1, 30))
        return pause if since_s + pause <= self.for_s else None
