"""Locks resources with flock files: one registry a process, taken in sorted order, holder's name inside.

The kernel frees a flock when its holder dies, kill -9 included. Lock files are never deleted (a deleted file
that someone still holds open would let two holders in). Descriptors are close-on-exec and closed in a forked child,
so that no child keeps its parent's lock. What the keys of this repository are called stands in `lock_keys`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import ConfigError, GhtraderError, LockHeldError
from ghtrader_base.files import ensure_dir, read_json
from ghtrader_base.private_files import open_plain
from ghtrader_base.processes import start_ticks

_log = logging.getLogger(__name__)
_POLL_S = 0.05
_TELL_EVERY_S = 5.0
_SHORT_HOLDERS = 4
"""Tries, `_SHORT_S` apart, before a lock counts as held: somebody who only looks holds it for microseconds."""
_SHORT_S = 0.005
_GRACE_S = 5.0
"""How long a holder that is ended has for its own clean-up."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock, as its file says.

    Attributes
    ----------
    name : str
        The key.
    pid : int
    start : int
        When the process started, in clock ticks since boot (`processes.start_ticks`); pids come again, this pair
        does not.
    purpose, since : str
        What for, and since when (ISO 8601 with zone).
    run_id : str
        The pipeline run that holds it, where it is one.
    """

    name: str
    pid: int
    start: int
    purpose: str
    since: str
    run_id: str = ""

    @property
    def alive(self) -> bool:
        """Whether that very process is there now."""
        return self.start > 0 and start_ticks(self.pid) == self.start

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.purpose}) since {self.since}"


@dataclass
class _Held:
    fd: int
    count: int


Tell = Callable[[str], object]
Ours = Callable[[Holder], bool]
_registry: dict[Path, _Held] = {}
_guard = threading.RLock()


def _forget_in_child() -> None:
    # The parent's lock stays: a flock is freed when the last descriptor of its description is closed.
    global _guard
    _guard = threading.RLock()
    for held in _registry.values():
        with contextlib.suppress(OSError):
            os.close(held.fd)
    _registry.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def lock_path(directory: Path, name: str) -> Path:
    """File that stands for the resource `name` (characters a file name cannot hold become `_`)."""
    return directory / (re.sub(r"[^A-Za-z0-9._@|=:,-]", "_", name) + ".lock")


def holder_of(path: Path) -> Holder | None:
    """What a lock file says of its holder; None where it says nothing. Says nothing about whether it is held."""
    with contextlib.suppress(OSError, GhtraderError, TypeError):
        return Holder(**read_json(path))
    return None


def open_lock_file(path: Path) -> int:
    """A close-on-exec descriptor of a lock file; `ConfigError`, or `UnwritableError`, where it cannot be."""
    try:
        with disk_errors(path):
            return open_plain(path, os.O_RDWR | os.O_CREAT)
    except OSError as exc:
        raise ConfigError(f"cannot open the lock file {path}: {exc.strerror or exc}", "check --home") from exc


def try_flock(fd: int) -> bool:
    """Take the lock of an open file, or not, at once."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def write_holder(fd: int, name: str, purpose: str, pid: int | None = None, run_id: str = "") -> None:
    """Say in a lock file that this process, or `pid`, holds it; on a full disk the lock holds without the words."""
    pid = pid or os.getpid()
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    data = json.dumps(
        asdict(Holder(name=name, pid=pid, start=start_ticks(pid) or 0, purpose=purpose, since=since, run_id=run_id))
    ).encode()
    with contextlib.suppress(OSError):
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))


def _stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _wait(fd: int, path: Path, name: str, deadline: float, tell: Tell) -> bool:
    """Try until the deadline, saying who holds it; whether it was taken."""
    for _ in range(_SHORT_HOLDERS):
        if try_flock(fd):
            return True
        time.sleep(_SHORT_S)
    told = 0.0
    while time.monotonic() < deadline:
        if time.monotonic() - told >= _TELL_EVERY_S:
            told = time.monotonic()
            left = deadline - told
            tell(f"waiting for {name}, held by {holder_of(path) or 'an unknown process'}, at most {left:.0f} s more")
        if try_flock(fd):
            return True
        time.sleep(_POLL_S)
    return False


def _end(holder: Holder, fd: int) -> bool:
    """End a holder by its pid, checked by its start time before each signal; whether the lock is ours then."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not holder.alive:
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(holder.pid, number)
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            if try_flock(fd):
                return True
            time.sleep(_POLL_S)
    return try_flock(fd)


def _acquire(path: Path, name: str, purpose: str, run_id: str, deadline: float, tell: Tell, ours: Ours | None) -> None:
    with _guard:
        if path in _registry:
            _registry[path].count += 1
            return
    fd = open_lock_file(path)
    try:
        if not _wait(fd, path, name, deadline, tell):
            holder = holder_of(path)
            ended = False
            if ours is not None and holder is not None and holder.pid != os.getpid() and holder.alive and ours(holder):
                tell(f"ending {holder}, which has held {name} for too long")
                ended = _end(holder, fd)
            if not ended:
                raise LockHeldError(
                    f"{name} is held by {holder or 'an unknown process'}",
                    "wait for it to end, or stop that process; GHTRADER_LOCK_WAIT_TIMEOUT_S says how long to wait",
                )
        write_holder(fd, name, purpose, run_id=run_id)
    except BaseException:
        os.close(fd)
        raise
    with _guard:
        _registry[path] = _Held(fd, 1)


def _release(path: Path) -> None:
    with _guard:
        held = _registry.get(path)
        if held is None:
            return  # a forked child leaves its parent's block: the lock was never the child's
        held.count -= 1
        if held.count == 0:
            del _registry[path]
            with contextlib.suppress(OSError):
                os.ftruncate(held.fd, 0)
            os.close(held.fd)


@contextlib.contextmanager
def resource_lock(
    directory: Path,
    names: str | Iterable[str],
    purpose: str,
    wait_s: float = 0.0,
    *,
    run_id: str = "",
    tell: Tell = _stderr,
    ours: Ours | None = None,
) -> Iterator[None]:
    """Hold one or several resources while the block runs.

    Parameters
    ----------
    directory : Path
        Where the lock files live (`Settings.locks`, or an account's state folder).
    names : str or iterable of str
        Resources; taken in sorted order, so that two processes that want the same ones cannot deadlock.
    purpose : str
        Written into the file, shown to whoever has to wait.
    wait_s : float
        Seconds to wait before giving up; 0 tries once.
    run_id : str
        The pipeline run on whose behalf, written into the file.
    tell : callable
        Takes a line about who is waited for, at once and every five seconds; default: stderr.
    ours : callable, optional
        Asked when a wait is over: whether the holder may be ended (SIGTERM, then SIGKILL). None: never, and never
        where there was no wait, since nobody is stuck who was not given time.

    Raises
    ------
    LockHeldError
        Naming the holder, its purpose and since when.
    """
    wanted = sorted({names} if isinstance(names, str) else set(names))
    folder = ensure_dir(directory)
    deadline = time.monotonic() + wait_s
    taken: list[Path] = []
    try:
        for name in wanted:
            path = lock_path(folder, name)
            _acquire(path, name, purpose, run_id, deadline, tell, ours if wait_s > 0 else None)
            taken.append(path)
        yield
    finally:
        for path in reversed(taken):
            _release(path)


def is_held(path: Path) -> bool:
    """Whether any process (this one too) holds the lock file `path`."""
    if path in _registry:
        return True
    try:
        fd = open_plain(path, os.O_RDONLY)  # who only asks needs no disk that takes writes
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise ConfigError(f"cannot open the lock file {path}: {exc.strerror or exc}", "check --home") from exc
    try:
        return not try_flock(fd)
    finally:
        os.close(fd)


@dataclass(frozen=True, kw_only=True)
class HeldLock:
    """A lock that is held now: its name, and who its file says holds it (None where it says nothing)."""

    name: str
    holder: Holder | None

    def to_json(self) -> dict[str, Any]:
        """`{name, pid, start, purpose, since, run_id}`."""
        if self.holder is not None:
            return asdict(self.holder)
        return {"name": self.name, "pid": None, "start": 0, "purpose": "unknown", "since": None, "run_id": ""}


def read_holders(directory: Path) -> list[HeldLock]:
    """Every lock in `directory` that is held now; what cannot be opened is left out, and said in the log."""
    found = []
    for path in sorted(directory.glob("*.lock")) if directory.exists() else []:
        try:
            held = is_held(path)
        except ConfigError as exc:  # the others are told all the same
            _log.warning("left out: %s; %s", exc.message, exc.hint)
            continue
        if held:
            holder = holder_of(path)
            found.append(HeldLock(name=path.stem if holder is None else holder.name, holder=holder))
    return found
