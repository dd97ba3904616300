"""Defines failpoints: named points between two durable steps where a test may kill this process; off unless armed.

Only the mechanism belongs here; a point stands in the code it names, as one call between two steps::

    write(temporary)
    failpoint("lake.write->rename")
    os.replace(temporary, path)

Armed by environment variables, read once when this module is imported, so that a test arms the child it starts and
nothing else:

`GHTRADER_FAILPOINT_TRACE=FILE`
    Each passing appends one line, ``<pid> <point>``, to FILE in one O_APPEND write: the last line of a killed run names
    the phase the kill hit, whoever sent it.
`GHTRADER_FAILPOINT_KILL=POINT:N`
    The N-th passing of POINT in this process sends SIGKILL to this process (nothing is flushed, no handler runs).
    POINT ``*`` counts the passings of every point.
`GHTRADER_FAILPOINT_PAUSE_S=SECONDS`
    Each passing waits that long, so that a kill from outside meets short phases too.

Points in use: ``ingest.fetch->write``, ``lake.write->rename``, ``lake.rename->sidecar``, ``lake.sidecar->manifest``,
``ingest.manifest->ledger``; each module that has more names them in its own docstring.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping

TRACE_ENV = "GHTRADER_FAILPOINT_TRACE"
KILL_ENV = "GHTRADER_FAILPOINT_KILL"
PAUSE_ENV = "GHTRADER_FAILPOINT_PAUSE_S"


class _Armed:
    """What this process does at its points."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._trace = environment.get(TRACE_ENV, "")
        self._point, _, count = environment.get(KILL_ENV, "").rpartition(":")
        self._count = int(count) if self._point else 0
        self._pause_s = float(environment.get(PAUSE_ENV) or 0.0)
        self._passed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def passing(self, name: str) -> None:
        with self._lock:
            self._passed.update((name, "*"))
            if self._trace:
                fd = os.open(self._trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                try:
                    os.write(fd, f"{os.getpid()} {name}\n".encode())
                finally:
                    os.close(fd)
            if self._point in (name, "*") and self._passed[self._point] == self._count:
                os.kill(os.getpid(), signal.SIGKILL)
        if self._pause_s:
            time.sleep(self._pause_s)


_armed = _Armed(os.environ) if any(os.environ.get(name) for name in (TRACE_ENV, KILL_ENV, PAUSE_ENV)) else None


def failpoint(name: str) -> None:
    """Pass the point `name`; nothing happens unless the environment armed this process.

    Parameters
    ----------
    name : str
        ``<module>.<step done>-><step to come>``.
    """
    if _armed is not None:
        _armed.passing(name)
