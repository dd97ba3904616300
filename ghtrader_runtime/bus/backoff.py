"""Spaces retries of a connection: exponential back-off with jitter."""

from __future__ import annotations

import random

_SHARED = random.Random()


class Backoff:
    """Delays that double from `first_s` to `longest_s`, each made shorter by up to a half at random (full jitter would
    sometimes not wait at all).

    Parameters
    ----------
    first_s, longest_s : float
        Seconds.
    rng : random.Random, optional
        Seeded in tests.
    """

    def __init__(self, first_s: float, longest_s: float, rng: random.Random | None = None) -> None:
        self.first_s, self.longest_s = first_s, longest_s
        self.attempts = 0
        self._rng = rng or _SHARED

    def next_s(self) -> float:
        """How long to wait before the next attempt, seconds."""
        base = min(self.longest_s, self.first_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return base * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: the next failure starts small again."""
        self.attempts = 0
