"""Runs the exchange's clock: virtual market time, its speed, and what it does while the market is closed.

Only time lives here. Which hours are open comes in as bounds; what happens at those hours is decided in `venue`.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def advance(at_ns: int, elapsed_ns: int, open_hours: Sequence[tuple[int, int]]) -> int:
    """Market time after `elapsed_ns` of running time, closed hours taking no time at all.

    Parameters
    ----------
    at_ns : int
        Where the clock stood, UTC epoch ns.
    elapsed_ns : int
        How much it ran since, already multiplied by the speed; 0 or more.
    open_hours : sequence of (start_ns, end_ns)
        Half-open, ascending, not overlapping. Behind the last one time passes as usual.

    Returns
    -------
    int
        Never before `at_ns`. A clock that stands still stays where it is, in closed hours too.
    """
    if elapsed_ns <= 0:
        return at_ns
    index = bisect_right(open_hours, at_ns, key=lambda bounds: bounds[0]) - 1
    if index < 0 or at_ns >= open_hours[index][1]:
        index += 1
        if index >= len(open_hours):
            return at_ns + elapsed_ns
        at_ns = open_hours[index][0]
    for start, end in open_hours[index:]:
        at_ns = max(at_ns, start)
        if at_ns + elapsed_ns < end:
            return at_ns + elapsed_ns
        elapsed_ns -= end - at_ns
        at_ns = end
    return at_ns + elapsed_ns


@dataclass(frozen=True)
class ClockState:
    """What the clock does now: `now_ns` in UTC epoch ns, `speed` in market seconds a second."""

    now_ns: int
    speed: float
    frozen: bool
    skip_closed: bool


class VirtualClock:
    """Market time that runs at a speed, or stands.

    Parameters
    ----------
    start_ns : int
        Where it begins, UTC epoch ns.
    speed : float
        Market seconds for each second of the machine; above 0.
    frozen : bool
        Stand until told to run.
    open_hours : sequence of (start_ns, end_ns)
        Trading hours; used when `skip_closed`.
    skip_closed : bool
        Jump over closed hours (lunch, the night to the morning, week-ends) instead of living through them.
    machine_ns : callable
        The machine's monotonic clock; tests pass their own.
    """

    def __init__(
        self,
        start_ns: int,
        speed: float = 1.0,
        frozen: bool = False,
        open_hours: Sequence[tuple[int, int]] = (),
        skip_closed: bool = True,
        machine_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._open_hours = tuple(open_hours)
        self._machine_ns = machine_ns
        self._at_ns, self._since = int(start_ns), machine_ns()
        self._speed, self._frozen, self._skip_closed = _checked_speed(speed), frozen, skip_closed

    def now(self) -> int:
        """Market time, UTC epoch ns; never runs backwards by itself."""
        if self._frozen:
            return self._at_ns
        elapsed = int((self._machine_ns() - self._since) * self._speed)
        return advance(self._at_ns, elapsed, self._open_hours if self._skip_closed else ())

    def state(self) -> ClockState:
        """All of it at one moment."""
        return ClockState(self.now(), self._speed, self._frozen, self._skip_closed)

    def set(
        self,
        speed: float | None = None,
        frozen: bool | None = None,
        at_ns: int | None = None,
        skip_closed: bool | None = None,
    ) -> ClockState:
        """Change what is given, leave the rest; ValueError for a speed that is not above 0."""
        speed = self._speed if speed is None else _checked_speed(speed)
        now = self.now()
        self._at_ns, self._since = now if at_ns is None else int(at_ns), self._machine_ns()
        self._speed = speed
        self._frozen = self._frozen if frozen is None else bool(frozen)
        self._skip_closed = self._skip_closed if skip_closed is None else bool(skip_closed)
        return self.state()


def _checked_speed(speed: float) -> float:
    speed = float(speed)
    if not 0 < speed <= 1e6:
        raise ValueError(f"speed must be above 0 and at most 1,000,000, not {speed}")
    return speed
