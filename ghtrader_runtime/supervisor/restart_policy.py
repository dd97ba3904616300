"""Decides whether a process that died is started again, when, and when to give up. Pure: times come in (s, monotonic).

A process that refuses to start (wrong settings, a closed gate, a held lock, damaged data) is not started again: it
would refuse again. One that crashed or was killed is, after a delay that doubles; one that keeps crashing is not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ghtrader_base.errors import GhtraderError
from ghtrader_runtime.bus.backoff import Backoff

NEVER_AGAIN = ("UsageError", "ConfigError", "RefusedError", "LockHeldError", "KillSwitchError", "IntegrityError")


@dataclass(frozen=True)
class RestartPolicy:
    """How often a process that crashed is started again.

    Attributes
    ----------
    first_s, longest_s : float
        Seconds before the first restart, and at most before any. 0.5, 30.
    most, within_s : int, float
        More than `most` restarts within so many seconds is a crash loop: everything stops. 5, 300.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    most: int = 5
    within_s: float = 300.0


@dataclass
class Silence:
    """How long somebody has told nothing new, by when we saw a stamp change: the wall clock it carries may jump."""

    stamp: object = None
    since_s: float = 0.0

    def seconds(self, stamp: object, now_s: float) -> float:
        """Seconds (monotonic) since `stamp` last changed."""
        if stamp != self.stamp:
            self.stamp, self.since_s = stamp, now_s
        return now_s - self.since_s


@dataclass(frozen=True)
class Restart:
    """One restart: which process, why, and after how long."""

    kind: str
    reason: str
    at_s: float
    delay_s: float


@dataclass
class RestartLog:
    """The restarts of one process."""

    kind: str
    policy: RestartPolicy = RestartPolicy()
    rng: random.Random = field(default_factory=random.Random)
    done: list[Restart] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.policy.first_s, self.policy.longest_s, self.rng)

    def next(self, error: GhtraderError, now_s: float) -> Restart | None:
        """The restart that follows a death, or None where there shall be none (`why_not` says why)."""
        if self.why_not(error, now_s):
            return None
        if self.done and now_s - self.done[-1].at_s > self.policy.within_s:
            self._backoff.reset()
        restart = Restart(self.kind, error.message, now_s, self._backoff.next_s())
        self.done.append(restart)
        return restart

    def why_not(self, error: GhtraderError, now_s: float) -> str:
        """Why a process that died of `error` is not started again; empty where it is."""
        if type(error).__name__ in NEVER_AGAIN:
            return "it would refuse again"
        recent = [one for one in self.done if now_s - one.at_s <= self.policy.within_s]
        if len(recent) >= self.policy.most:
            return f"it was started again {len(recent)} times within {self.policy.within_s:g} s"
        return ""
