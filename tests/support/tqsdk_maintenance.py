"""Runs a process outside the half hour in which TqSdk 3.10.4 gives up on a broken line.

Between 19:00 and 19:30 in Beijing, the maintenance, it raises on the first break of a line instead of waiting for it,
whatever service it speaks to. Its clock is the machine's. Where a test is about TqSdk's own mending of a line, the
process that holds the client runs without that half hour. What our own processes do in it (they log in anew) is asked
by all other tests, under `make verify`'s shifted clocks.
"""

from __future__ import annotations

import os
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent / "outside_maintenance"


def outside_maintenance() -> dict[str, str]:
    """Environment of a child process whose TqSdk never finds itself in the maintenance half hour."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(_FOLDER), os.environ.get("PYTHONPATH"))))}
