"""Prints the demo's progress: numbered stages with the seconds each took, on stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from ghtrader.output import note


class Stages:
    """Tells what is being done and how long it took.

    Attributes
    ----------
    seconds : dict
        Stage -> seconds, in order.
    """

    def __init__(self, verbose: bool = False) -> None:
        self.started = time.monotonic()
        self.seconds: dict[str, float] = {}
        self._verbose = verbose

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.started

    def say(self, text: str) -> None:
        """One line under the running stage."""
        note(f"          {text}")

    def detail(self, text: str) -> None:
        """One line that only `--verbose` shows: the pipeline's own progress."""
        if self._verbose:
            note(f"          . {text}")

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """A stage of the demo."""
        note(f"[{self.elapsed:5.0f} s] {title}")
        before = time.monotonic()
        yield
        self.seconds[title] = round(time.monotonic() - before, 2)
