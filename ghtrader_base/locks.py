"""Resource locks: flock files, one registry a process, taken in sorted order, holder's name inside.

The kernel frees a flock when its holder dies, kill -9 included. Lock files are never deleted (a deleted file
that someone still holds open would let two holders in). Descriptors are close-on-exec, so that a child
started with exec does not keep its parent's lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ghtrader_base.errors import ConfigError, LockHeldError
from ghtrader_base.files import ensure_dir

_POLL_S = 0.05


@dataclass
class _Held:
    fd: int
    count: int


_registry: dict[Path, _Held] = {}
_guard = threading.RLock()


def lock_path(directory: Path, name: str) -> Path:
    """File that stands for the resource `name` (characters a file name cannot hold become `_`)."""
    return directory / (re.sub(r"[^A-Za-z0-9._@|=-]", "_", name) + ".lock")


def _describe(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"pid {holder['pid']} ({holder['purpose']}) since {holder['since']}"
    except (OSError, ValueError, KeyError):
        return "an unknown process"


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigError(f"cannot open the lock file {path}: {exc.strerror or exc}", "check --home") from exc


def _acquire(path: Path, purpose: str, deadline: float) -> None:
    with _guard:
        if path in _registry:
            _registry[path].count += 1
            return
    fd = _open(path)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    name = path.stem
                    raise LockHeldError(
                        f"{name} is held by {_describe(path)}", "wait for it to end, or stop that process"
                    ) from None
                time.sleep(_POLL_S)
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "purpose": purpose, "since": since}).encode(), 0)
    except BaseException:
        os.close(fd)
        raise
    with _guard:
        _registry[path] = _Held(fd, 1)


def _release(path: Path) -> None:
    with _guard:
        held = _registry[path]
        held.count -= 1
        if held.count == 0:
            del _registry[path]
            os.close(held.fd)


@contextlib.contextmanager
def resource_lock(directory: Path, names: str | Iterable[str], purpose: str, wait_s: float = 0.0) -> Iterator[None]:
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

    Raises
    ------
    LockHeldError
        Naming the holder, its purpose and since when.
    """
    wanted = sorted({names} if isinstance(names, str) else set(names))
    paths = [lock_path(ensure_dir(directory), name) for name in wanted]
    deadline = time.monotonic() + wait_s
    taken: list[Path] = []
    try:
        for path in paths:
            _acquire(path, purpose, deadline)
            taken.append(path)
        yield
    finally:
        for path in reversed(taken):
            _release(path)


def is_held(path: Path) -> bool:
    """Whether any process (this one too) holds the lock file `path`."""
    if path in _registry:
        return True
    if not path.exists():
        return False
    fd = _open(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def read_holders(directory: Path) -> list[dict[str, Any]]:
    """Every lock in `directory` that is held now: `{name, pid, purpose, since}`."""
    found = []
    for path in sorted(directory.glob("*.lock")) if directory.exists() else []:
        if is_held(path):
            try:
                found.append({"name": path.stem, **json.loads(path.read_text())})
            except ValueError:
                found.append({"name": path.stem, "pid": None, "purpose": "unknown", "since": None})
    return found
