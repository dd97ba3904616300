"""Breaks the circuit to a failing service: after some failures it is left alone for a while, asked once, then trusted.

A pure state machine first (`State`, `failed`, `succeeded`, `admits`; no clock, no chance: both are passed in), and a
small class around it for several threads of one process.

Closed: every request goes out. Open: none does until a time that grows with each failure, with jitter, so that many
processes do not come back at once. Half-open: one request goes out; its answer closes or opens the circuit.

Notes
-----
M. Nygard, Release It! (2007), the circuit breaker; full jitter after M. Brooker, Exponential Backoff And Jitter
(AWS Architecture Blog, 2015), here over the upper half of the pause so that a pause is never nothing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


@dataclass(frozen=True)
class Policy:
    """When a circuit opens and for how long.

    Attributes
    ----------
    failures : int
        In a row, after which it opens.
    pause_s, factor, longest_s : float
        The first pause, by how much each following one is longer, and the longest.
    """

    failures: int = 3
    pause_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 30.0

    def pause(self, opened: int, chance: float) -> float:
        """Seconds to leave the service alone, the `opened`-th time in a row (from 0); `chance` in [0, 1)."""
        whole = min(self.longest_s, self.pause_s * self.factor ** min(opened, 60))
        return whole * (0.5 + 0.5 * chance)


@dataclass(frozen=True)
class State:
    """Where a circuit stands.

    Attributes
    ----------
    name : str
        `CLOSED`, `OPEN` or `HALF_OPEN`.
    failures : int
        In a row, since the last success.
    opened : int
        How often in a row it has opened.
    until : float
        When an open circuit may be tried again, seconds of the clock passed in.
    since : float
        When the first of the failures in a row was; meaningless without one.
    """

    name: str = CLOSED
    failures: int = 0
    opened: int = 0
    until: float = 0.0
    since: float = 0.0


def admits(state: State, now: float) -> tuple[bool, State]:
    """Whether a request may go out now, and the state if it does: an open circuit whose time has come lets one out."""
    if state.name == CLOSED:
        return True, state
    if state.name == OPEN and now >= state.until:
        return True, replace(state, name=HALF_OPEN)
    return False, state


def succeeded(state: State) -> State:
    """After an answer, whoever asked."""
    return State()


def failed(state: State, policy: Policy, now: float, chance: float) -> State:
    """After a request without an answer.

    While the circuit is open a failure is that of a request sent before it opened, and changes nothing.
    """
    if state.name == OPEN:
        return state
    since = state.since if state.failures else now
    counted = replace(state, failures=state.failures + 1, since=since)
    if state.name == CLOSED and counted.failures < policy.failures:
        return counted
    return replace(
        counted, name=OPEN, opened=state.opened + 1, until=now + policy.pause(state.opened, chance)
    )


class CircuitBreaker:
    """One circuit for the threads of this process that ask the same service.

    Parameters
    ----------
    policy : Policy
    clock, chance : callable, optional
        Seconds of a monotonic clock; a number in [0, 1).
    """

    def __init__(
        self,
        policy: Policy | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy or Policy()
        self._clock, self._chance = clock, chance
        self._lock = threading.Lock()
        self._state = State()

    @property
    def state(self) -> State:
        """Where it stands now."""
        with self._lock:
            return self._state

    def away_s(self) -> float:
        """Seconds since the first failure of those in a row; 0 after a success."""
        with self._lock:
            return self._clock() - self._state.since if self._state.failures else 0.0

    def admits(self) -> bool:
        """Whether the caller may send one request now; if so it must say how it ended."""
        with self._lock:
            good, self._state = admits(self._state, self._clock())
            return good

    def wait_s(self) -> float:
        """Seconds until it is worth asking again; 0 now, a little where another caller tries it out."""
        with self._lock:
            if self._state.name == OPEN:
                return max(0.0, self._state.until - self._clock())
            return 0.0 if self._state.name == CLOSED else 0.1

    def succeeded(self) -> None:
        """A request was answered."""
        with self._lock:
            self._state = succeeded(self._state)

    def failed(self) -> None:
        """A request was not answered."""
        with self._lock:
            self._state = failed(self._state, self._policy, self._clock(), self._chance())
