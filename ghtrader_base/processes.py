"""Registers every long-lived command with pid, start time, source and purpose, under a flock.

An entry whose flock is free belongs to a process that is gone; it is dropped at the next look.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.files import ensure_dir
from ghtrader_base.flock_files import create_locked, holders
from ghtrader_base.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ProcessInfo:
    """One running process of this home.

    `source` is who started it (cli, dagster, trade, demo); `detail` is what a reader needs to find it (a URL); `start`
    is `start_ticks` of the pid.
    """

    pid: int
    kind: str
    purpose: str
    source: str
    since: str
    detail: str = ""
    start: int = 0


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where it is gone (or where there is no /proc).

    Pids are used again; a pid together with this number is one process only.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _directory(settings: Settings) -> Path:
    return settings.home / "processes"


@contextlib.contextmanager
def register(
    settings: Settings, kind: str, purpose: str, source: str = "cli", detail: str = ""
) -> Iterator[ProcessInfo]:
    """Announce this process while the block runs.

    Parameters
    ----------
    settings : Settings
        Whose home keeps the register.
    kind : str
        exchange, gateway, strategy, trade, dagster, mlflow ...
    purpose, source, detail : str
        See `ProcessInfo`.
    """
    directory = ensure_dir(_directory(settings))
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    info = ProcessInfo(
        pid=os.getpid(),
        kind=kind,
        purpose=purpose,
        source=source,
        since=since,
        detail=detail,
        start=start_ticks(os.getpid()) or 0,
    )
    path = directory / f"{kind}-{info.pid}.json"
    with disk_errors(path):
        fd = create_locked(path)
    try:
        with disk_errors(path):
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps(asdict(info)).encode(), 0)
        yield info
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def list_processes(settings: Settings) -> list[ProcessInfo]:
    """Processes of this home that are alive now, oldest first."""
    found = holders(_directory(settings).glob("*.json"), ProcessInfo, lambda _: None)
    return sorted(found, key=lambda info: info.since)
