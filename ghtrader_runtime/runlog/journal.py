"""Writes a run's audit trail: JSONL lines and chunks of factor rows, by a thread off the hot path.

The hot path only puts onto a queue. What a kill -9 loses is at most `FLUSH_S` of it: the journal tells what happened,
the ledger decides what is true.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ghtrader_base.errors import ConfigError, IntegrityError, UnwritableError
from ghtrader_base.files import ensure_dir, parse_json, read_bytes
from ghtrader_base.private_files import private_opener

FLUSH_S = 0.2
ROTATE_BYTES = 64 << 20
MOST_WAITING = 200_000
_LOOK_BACK = 1 << 16
CHUNK = 512
"""Rows of a chunk of factors: writing it holds the interpreter for a fraction of a millisecond."""
_STOP = object()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value


class Journal:
    """Writes `<folder>/<name>.jsonl` (one file a stream; a full one becomes `<name>-00000.jsonl` and so on), numpy
    chunks, and small JSON files that replace each other.

    Parameters
    ----------
    folder : Path
        The run's folder.
    rotate_bytes : int
        A file that reached this is rotated.
    most_waiting : int
        Lines that may wait for the disk; more are dropped and counted.

    Attributes
    ----------
    dropped : int
        What could not be written: the disk was too slow, or refused.
    failure : str
        What the disk said last; empty where it never did.
    """

    def __init__(self, folder: Path, rotate_bytes: int = ROTATE_BYTES, most_waiting: int = MOST_WAITING) -> None:
        self.folder = ensure_dir(folder)
        self.dropped = 0
        self.failure = ""
        self._rotate_bytes, self._most_waiting = rotate_bytes, most_waiting
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._files: dict[str, TextIO] = {}
        self._torn: set[Path] = set()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def write(self, stream: str, kind: str, fields: dict[str, Any]) -> None:
        """Queue one line; `at` is the wall clock of now in ns."""
        self._put((stream, kind, time.time_ns(), fields))

    def save(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        """Queue a set of arrays for an .npz file; they must not change afterwards."""
        self._put((path, arrays))

    def append(self, path: Path, data: bytes) -> None:
        """Queue bytes for the end of a file.

        Where some could not be written, all later ones are left out too: what is in the file has no gap.
        """
        self._put((path, data))

    def replace(self, path: Path, document: dict[str, Any]) -> None:
        """Queue a small JSON file to be put in the place of an earlier one, in one step."""
        self._put((path, document))

    def close(self) -> None:
        """Write what is queued and stop the thread."""
        self._queue.put(_STOP)
        self._thread.join(timeout=30)

    def _put(self, item: Any) -> None:
        if self._queue.qsize() >= self._most_waiting:
            self.dropped += 1
        else:
            self._queue.put(item)

    def _work(self) -> None:
        running = True
        while running:
            try:
                running = self._step()
            except (OSError, ConfigError, UnwritableError) as exc:  # it is told; trading does not stop
                self.dropped += 1
                self.failure = f"journal: {exc}"
                self._close_files()
        self._close_files()

    def _close_files(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
        self._files.clear()

    def _step(self) -> bool:
        try:
            item = self._queue.get(timeout=FLUSH_S)
        except queue.Empty:
            for file in self._files.values():
                file.flush()
            return True
        if item is _STOP:
            return False
        if len(item) == 2:
            self._write_file(*item)
        else:
            self._write_line(*item)
        return True

    def _write_file(self, path: Path, content: Any) -> None:
        if isinstance(content, bytes):
            self._append_whole(path, content)
            return
        ensure_dir(path.parent)
        part = path.with_name(f".{path.stem}.part{path.suffix}")
        try:
            if path.suffix == ".json":  # for observers: whole at any moment, but not worth a sync of the disk
                with open(part, "w", encoding="utf-8", opener=private_opener) as text:
                    text.write(json.dumps(_plain(content), ensure_ascii=False))
            else:
                with open(part, "wb", opener=private_opener) as file:
                    np.savez(file, **content)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _append_whole(self, path: Path, data: bytes) -> None:
        if path in self._torn:
            self.dropped += 1
            return
        try:
            ensure_dir(path.parent)
            with open(path, "ab", buffering=0, opener=private_opener) as file:
                whole = file.tell()
                try:
                    if file.write(data) != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                except OSError:
                    file.truncate(whole)
                    raise
        except (OSError, ConfigError, UnwritableError):
            self._torn.add(path)
            raise

    def _write_line(self, stream: str, kind: str, at: int, fields: dict[str, Any]) -> None:
        path = self.folder / f"{stream}.jsonl"
        if stream not in self._files:
            _cut_torn_line(path)
            self._files[stream] = open(path, "a", encoding="utf-8", opener=private_opener)  # noqa: SIM115 (kept)
        file = self._files[stream]
        line = json.dumps({"at": at, "kind": kind, **_plain(fields)}, ensure_ascii=False, allow_nan=False)
        file.write(line + "\n")
        if file.tell() >= self._rotate_bytes:
            del self._files[stream]
            file.close()
            path.rename(_first_free(path))


def _cut_torn_line(path: Path) -> None:
    """Take away what a full disk, or a kill, left of a last line: the next one would become part of it."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb+", opener=private_opener) as file:
        end = file.seek(0, os.SEEK_END)
        at = end
        while at:
            at = max(0, at - _LOOK_BACK)
            file.seek(at)
            found = file.read(min(_LOOK_BACK, end - at)).rfind(b"\n")
            if found >= 0 or at == 0:
                file.truncate(at + found + 1)
                return


def _rotated(path: Path) -> list[Path]:
    """Rotated files of a stream, oldest first."""
    return sorted(path.parent.glob(f"{path.stem}-[0-9][0-9][0-9][0-9][0-9]{path.suffix}"))


def _first_free(path: Path) -> Path:
    return path.with_name(f"{path.stem}-{len(_rotated(path)):05d}{path.suffix}")


class FactorJournal:
    """The factors of each tick exactly as computed, flushed in chunks of `CHUNK` rows.

    Files `<folder>/factors/part-00000.npz` hold id int64[n], datetime_ns int64[n], trading_day S10[n], factors
    float32[n, F], probabilities float64[n, 3] (NaN while cold), target int32[n], live bool[n] (False: from the
    history a strategy joined with).
    """

    def __init__(self, journal: Journal, n_factors: int, name: str = "factors") -> None:
        self._journal = journal
        self._folder = journal.folder / name
        self._width = n_factors
        self._part = len(list(self._folder.glob("part-*.npz")))  # a restarted strategy goes on
        self._new()

    def _new(self) -> None:
        self._n = 0
        self._columns = {
            "id": np.empty(CHUNK, np.int64),
            "datetime_ns": np.empty(CHUNK, np.int64),
            "trading_day": np.empty(CHUNK, "S10"),
            "factors": np.empty((CHUNK, self._width), np.float32),
            "probabilities": np.empty((CHUNK, 3)),
            "target": np.empty(CHUNK, np.int32),
            "live": np.empty(CHUNK, bool),
        }

    def add(
        self, tick_id: int, datetime_ns: int, day: str, factors: np.ndarray, probabilities: Any, target: int, live: bool
    ) -> None:
        """Copy one row in."""
        columns, n = self._columns, self._n
        columns["id"][n], columns["datetime_ns"][n], columns["trading_day"][n] = tick_id, datetime_ns, day
        columns["factors"][n] = factors
        columns["probabilities"][n] = probabilities
        columns["target"][n], columns["live"][n] = target, live
        self._n += 1
        if self._n == CHUNK:
            self.flush()

    def flush(self) -> None:
        """Queue the rows so far for writing."""
        if self._n:
            path = self._folder / f"part-{self._part:05d}.npz"
            self._journal.save(path, {name: column[: self._n] for name, column in self._columns.items()})
            self._part += 1
            self._new()


def read_factors(folder: Path, name: str = "factors") -> dict[str, np.ndarray]:
    """All rows that `FactorJournal` left in a run's folder, in order; empty dict where there are none.

    `factors-2` and so on are those of the champions that took over.
    """
    parts = [dict(np.load(path)) for path in sorted((folder / name).glob("part-*.npz"))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of one stream, rotated files first; a torn line at a file's end is left out.

    Raises
    ------
    IntegrityError
        A whole line is no JSON, or the file is none.
    """
    found: list[dict[str, Any]] = []
    for one in [*_rotated(path), path]:
        lines = read_bytes(one).split(b"\n") if one.exists() else []
        try:
            found += [parse_json(line) for line in lines[:-1] if line]
        except ValueError as exc:
            raise IntegrityError(f"{one} has a line that does not read: {exc}", "mend or remove that line") from exc
    return found
