"""Waits for something to happen, as long as a slow and busy machine may need.

No promise in seconds is tested with it: those are held against what the machine gave, see `machine_stalls`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 300.0
"""What no test expects to take so long has failed."""
_T = TypeVar("_T")


def until(there: Callable[[], _T], what: str | Callable[[], str] = "it") -> _T:
    """The first true value of `there`; AssertionError that names what did not happen within `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := there()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what() if callable(what) else what}: not within {PATIENCE_S:g} s")
        time.sleep(0.05)
    return found
