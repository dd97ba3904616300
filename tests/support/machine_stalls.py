"""Measures how long the machine kept a test waiting.

A promise in seconds is held against it where neighbours are busy.
"""

from __future__ import annotations

import threading
import time

_NAP_S = 0.02


class Stalls:
    """While the block runs, `seconds` sums up how much later than asked a sleeper woke.

    A process that has the machine to itself sees next to nothing here; whoever shares it is held to what they promise
    plus what they were not given.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._done = threading.Event()
        self._sleeper = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Stalls:
        self._sleeper.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._sleeper.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._done.wait(_NAP_S):
            now = time.monotonic()
            self.seconds += max(0.0, now - before - 1.5 * _NAP_S)
            before = now
