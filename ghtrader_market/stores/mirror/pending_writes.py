"""Keeps the pending writes to QuestDB: one small file a day, there before the lake is written.

A pending write is recorded before the first of two writes and cleared after the second, so that a kill between them, or
a server that is down, leaves a note of what is missing. The writer holds a flock on its note while it works: a note
that can be locked belongs to nobody any more. The writes are made up for in `mirrored_lake`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import msgspec

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import ConfigError, GhtraderError
from ghtrader_base.files import append_durable, ensure_dir, fsync_dir, read_json
from ghtrader_base.flock_files import create_locked, is_at
from ghtrader_base.private_files import open_plain

WHOLE = "all"
"""Stands for the day where a dataset is not kept by day (the roll schedule)."""
OWED, DIFFERS, REFILL = "owed", "differs", "refill"


@dataclass(frozen=True, kw_only=True)
class PendingWrite:
    """One day of one dataset on which the stores may differ.

    Attributes
    ----------
    dataset, key : str
        As the lake names them: ticks, SHFE.cu2502.
    day : date or None
        None for a dataset that is kept whole.
    state : str
        `owed`: QuestDB has yet to be written. `refill`: its rows lost values and are to be written again. `differs`:
        it holds other rows, and a person must choose.
    reason, since : str
        Why, in words, and when it was noted (ISO 8601).
    """

    dataset: str
    key: str
    day: date | None
    state: str = OWED
    reason: str = ""
    since: str = ""


class PendingWrites:
    """The notes under one folder.

    Parameters
    ----------
    folder : Path
        Made at the first pending write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, dataset: str, key: str, day: date | None) -> Path:
        """Where the note of a day lies."""
        return self.folder / dataset / key / f"{day.isoformat() if day else WHOLE}.json"

    @contextlib.contextmanager
    def owing(
        self, dataset: str, key: str, day: date | None, reason: str, state: str = OWED
    ) -> Iterator[PendingWriteFile]:
        """Note a pending write durably, hold it while the block runs; it stays unless the block calls `paid`."""
        path = self.path(dataset, key, day)
        new = not path.parent.exists()
        ensure_dir(path.parent)
        if new:
            fsync_dir(path.parent.parent)
        note = PendingWriteFile(path, _create_locked(path))
        try:
            note.write(state, reason)
            fsync_dir(path.parent)
            yield note
        finally:
            note.close()

    def debts(self, dataset: str | None = None) -> list[PendingWrite]:
        """Everything noted, by dataset, key and day; also what a process works on at this moment."""
        pattern = f"{dataset or '*'}/*/*.json"
        found = [_read(path) for path in self.folder.glob(pattern)] if self.folder.exists() else []
        return sorted(found, key=lambda debt: (debt.dataset, debt.key, debt.day or date.min))

    @contextlib.contextmanager
    def taken(self, debt: PendingWrite) -> Iterator[PendingWriteFile | None]:
        """Hold a pending write in order to do it; None where it is gone, or its writer is still at work."""
        path = self.path(debt.dataset, debt.key, debt.day)
        fd = _open_locked(path) if path.exists() else None
        if fd is None:
            yield None
            return
        note = PendingWriteFile(path, fd)
        try:
            yield note
        finally:
            note.close()


class PendingWriteFile:
    """A pending write that this process holds."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd = path, fd

    def write(self, state: str, reason: str) -> None:
        """Say how it stands; durable when this returns."""
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        with disk_errors(self._path):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            append_durable(self._fd, json.dumps({"state": state, "reason": reason, "since": since}).encode())

    def paid(self) -> None:
        """Clear it."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def _create_locked(path: Path) -> int:
    try:
        with disk_errors(path):
            return create_locked(path)
    except OSError as exc:
        raise _no_access(path, exc) from exc


def _open_locked(path: Path) -> int | None:
    try:
        fd = open_plain(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _no_access(path, exc) from exc
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(fd, path):  # its last holder may have cleared it between the two calls above
            return fd
    os.close(fd)
    return None


def _no_access(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write {path}: {error.strerror or error}", "check the folder's permissions")


def _read(path: Path) -> PendingWrite:
    day = None if path.stem == WHOLE else date.fromisoformat(path.stem)
    try:
        said = msgspec.convert(read_json(path), dict[str, str])
    except (OSError, GhtraderError, msgspec.ValidationError):
        # Cut off by a kill, or cleared meanwhile: pending is the safe reading.
        said = {}
    told = {name: said[name] for name in ("state", "reason", "since") if name in said}
    return PendingWrite(dataset=path.parent.parent.name, key=path.parent.name, day=day, **told)
