"""The audit trail of a run: JSONL lines and chunks of factor rows, written by a thread off the hot path.

The hot path only puts onto a queue. What a kill -9 loses is at most `FLUSH_S` of it: the journal tells what happened,
the ledger decides what is true.
"""

from __future__ import annotations

import json
import math
import queue
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.files import ensure_dir

FLUSH_S = 0.2
CHUNK = 4096
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
    """Writes `<folder>/<name>.jsonl` (one file a stream) and numpy chunks.

    Parameters
    ----------
    folder : Path
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = ensure_dir(folder)
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.failure = ""
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def write(self, stream: str, kind: str, fields: dict[str, Any]) -> None:
        """Queue one line; `at` is the wall clock of now in ns."""
        self._queue.put((stream, kind, time.time_ns(), fields))

    def save(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        """Queue a set of arrays for an .npz file; they must not change afterwards."""
        self._queue.put((path, arrays))

    def close(self) -> None:
        """Write what is queued and stop the thread."""
        self._queue.put(_STOP)
        self._thread.join(timeout=30)

    def _work(self) -> None:
        files: dict[str, Any] = {}
        try:
            while self._step(files):
                pass
        except OSError as exc:  # a journal that cannot be written is told, trading does not stop for it
            self.failure = f"journal: {exc}"
        finally:
            for file in files.values():
                file.close()

    def _step(self, files: dict[str, Any]) -> bool:
        try:
            item = self._queue.get(timeout=FLUSH_S)
        except queue.Empty:
            for file in files.values():
                file.flush()
            return True
        if item is _STOP:
            return False
        if len(item) == 2:
            path, arrays = item
            ensure_dir(path.parent)
            np.savez(path, **arrays)
            return True
        stream, kind, at, fields = item
        if stream not in files:
            files[stream] = (self.folder / f"{stream}.jsonl").open("a", encoding="utf-8")
        line = json.dumps({"at": at, "kind": kind, **_plain(fields)}, ensure_ascii=False, allow_nan=False)
        files[stream].write(line + "\n")
        return True


class FactorJournal:
    """The factors of each tick exactly as computed, flushed in chunks of `CHUNK` rows.

    Files `<folder>/factors/part-00000.npz` hold id int64[n], datetime_ns int64[n], trading_day S10[n], factors
    float32[n, F], probabilities float64[n, 3] (NaN while cold), target int32[n], live bool[n] (False: from the
    history a strategy joined with).
    """

    def __init__(self, journal: Journal, n_factors: int) -> None:
        self._journal = journal
        self._width = n_factors
        self._part = 0
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
        """Hand over the rows so far."""
        if self._n:
            path = self._journal.folder / "factors" / f"part-{self._part:05d}.npz"
            self._journal.save(path, {name: column[: self._n] for name, column in self._columns.items()})
            self._part += 1
            self._new()


def read_factors(folder: Path) -> dict[str, np.ndarray]:
    """All rows that `FactorJournal` left in a run's folder, in order; empty dict where there are none."""
    parts = [dict(np.load(path)) for path in sorted((folder / "factors").glob("part-*.npz"))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of one stream; a torn last line is left out."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines[:-1] if line]
