"""Runs what may wait for a disk in a thread of its own, and waits for it only so long.

A disk that does not come back from a flush holds up that thread, and nobody else: what is asked of it meanwhile is
refused at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

ANSWERS_WITHIN_S = 0.5
"""What a disk may take; a flush of one that works takes milliseconds."""


class DiskThread:
    """One piece of work at a time.

    Parameters
    ----------
    name : str
        Of the thread, which is made with the first work.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._due, self._done = threading.Event(), threading.Event()
        self._done.set()
        self._work: Callable[[], object] | None = None
        self._failure: BaseException | None = None
        self._late = False

    @property
    def busy(self) -> bool:
        """Whether the last work is still being done."""
        return not self._done.is_set()

    def do(self, work: Callable[[], object], wait_s: float = ANSWERS_WITHIN_S) -> bool:
        """Have work done; whether it was within `wait_s`. What it raised is raised here.

        False also where an earlier one is still being done: then this one is not begun.
        """
        if self.busy:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._work, self._failure, self._late = work, None, False
        self._done.clear()
        self._due.set()
        if not self._done.wait(wait_s):
            self._late = True
            return False
        if self._failure is not None:
            raise self._failure
        return True

    def late_result(self) -> bool:
        """Whether work that was not done in time is done by now, told once; what it raised is raised here."""
        if self.busy or not self._late:
            return False
        self._late = False
        if self._failure is not None:
            raise self._failure
        return True

    def stop(self) -> None:
        """No more work follows; a thread that a disk holds up is left to itself."""
        if self._thread is not None and not self.busy:
            self._work = None
            self._done.clear()
            self._due.set()
            self._thread.join()
            self._thread = None
            self._done.set()

    def _run(self) -> None:
        while self._due.wait():
            self._due.clear()
            work, self._work = self._work, None
            if work is None:
                return
            try:
                work()
            except BaseException as exc:  # whoever waits for it gets it
                self._failure = exc
            self._done.set()
