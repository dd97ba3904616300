"""Logs rows of one symbol and trading day before they reach the lake: an append-only file that survives a kill.

A flush is one frame, its length and checksum before its rows, synced before it counts. A kill in the middle leaves a
torn frame at the end, which the next opening cuts off: what was flushed before stays. Where the rows come from stands
beside them, in `date=....origin.json`, before the first of them.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import IntegrityError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import append_durable, atomic_write_json, ensure_dir, fsync_dir, open_file, read_bytes
from ghtrader_base.private_files import open_plain
from ghtrader_market.reference.tick_origin import UNKNOWN, TickOrigin
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, schema_hash

_HEAD = struct.Struct("<II")
_MAGIC = b"GHTICKS1" + schema_hash(RAW_TICK_SCHEMA).encode()
_ROW_BYTES = 8 * len(RAW_TICK_SCHEMA)


def journal_path(data: Path, symbol: str, day: date) -> Path:
    """`data/recording/symbol=SHFE.cu2505/date=2025-04-09.journal`."""
    return data / "recording" / f"symbol={symbol}" / f"date={day}.journal"


def journal_days(data: Path, symbol: str) -> list[date]:
    """Days of a symbol that have a journal, ascending."""
    found = (data / "recording" / f"symbol={symbol}").glob("date=*.journal")
    return sorted(date.fromisoformat(path.stem.removeprefix("date=")) for path in found)


class RowLog:
    """One day's file, open for appending; one writer at a time (the ticks lock of the symbol).

    Parameters
    ----------
    path : Path
        See `journal_path`.
    origin : TickOrigin
        Of the rows, where the file is new; one that is there keeps what it says.

    Attributes
    ----------
    path : Path
    origin : TickOrigin
        Unknown in a file of an older version.

    Raises
    ------
    IntegrityError
        The file is there and is no journal of this schema.
    UnwritableError
        The disk refuses.
    """

    def __init__(self, path: Path, origin: TickOrigin = UNKNOWN) -> None:
        self.path = path
        self._origin_path = path.with_suffix(".origin.json")
        ensure_dir(path.parent)
        if not path.exists():
            atomic_write_json(self._origin_path, origin.to_dict())
        self.origin = self._stated_origin()
        with disk_errors(path, doing=f"cannot write {path}"):
            self._fd = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            try:
                self._mend()
            except BaseException:
                os.close(self._fd)
                raise

    def _stated_origin(self) -> TickOrigin:
        try:
            return TickOrigin.from_json(read_bytes(self._origin_path))
        except (OSError, IntegrityError, msgspec.DecodeError, RecursionError):
            return UNKNOWN

    def _mend(self) -> None:
        """Cut a torn end off, so that what is appended follows whole frames."""
        data = self._bytes()
        if len(data) < len(_MAGIC) and _MAGIC.startswith(data):
            os.ftruncate(self._fd, 0)
            append_durable(self._fd, _MAGIC)
            fsync_dir(self.path.parent)
            return
        if not data.startswith(_MAGIC):
            raise IntegrityError(f"{self.path} is no journal of ticks", "move it away; the day can be downloaded")
        whole = len(_MAGIC) + sum(_HEAD.size + len(body) for body in _bodies(data))
        if whole < len(data):
            os.ftruncate(self._fd, whole)
            os.fsync(self._fd)

    def append(self, rows: pa.Table) -> None:
        """Add rows of `RAW_TICK_SCHEMA`, durable when this returns.

        Raises
        ------
        UnwritableError
            The disk refuses; the file is as it was.
        """
        body = b"".join(_bytes(column) for column in rows.columns)
        failpoint("recorder.rows->journal")
        whole = os.fstat(self._fd).st_size
        with disk_errors(self.path, doing=f"cannot write {self.path}"):
            try:
                append_durable(self._fd, _HEAD.pack(len(body), zlib.crc32(body)) + body)
            except OSError:
                os.ftruncate(self._fd, whole)  # what is appended later must follow whole frames
                raise

    def read(self) -> pa.Table:
        """All rows, in the order they were appended."""
        parts = [_table(body) for body in _bodies(self._bytes())]
        return pa.concat_tables(parts).combine_chunks() if parts else RAW_TICK_SCHEMA.empty_table()

    def _bytes(self) -> bytes:
        with open_file(self.path) as file:
            return file.read()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def remove(self) -> None:
        """Delete it: its rows are elsewhere now."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Close it under another name, which no recording reads again; returns the path."""
        self.close()
        number = 1
        while (kept := self.path.with_suffix(f".kept{number}")).exists():
            number += 1
        with contextlib.suppress(FileNotFoundError):  # of an older version
            os.replace(self._origin_path, kept.with_suffix(f".kept{number}.origin.json"))
        os.replace(self.path, kept)
        fsync_dir(kept.parent)
        return kept


def _bytes(column: pa.ChunkedArray) -> bytes:
    return np.ascontiguousarray(column.to_numpy()).tobytes()


def _table(body: bytes) -> pa.Table:
    count = len(body) // _ROW_BYTES
    columns = []
    for number, field in enumerate(RAW_TICK_SCHEMA):
        kind = np.int64 if pa.types.is_integer(field.type) else np.float64
        columns.append(pa.array(np.frombuffer(body, kind, count, number * count * 8)))
    return pa.Table.from_arrays(columns, schema=RAW_TICK_SCHEMA)


def _bodies(data: bytes) -> Iterator[bytes]:
    """Bodies of the whole frames from the start; the first that is torn or spoilt ends it."""
    at = len(_MAGIC)
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length or length % _ROW_BYTES or zlib.crc32(body) != checksum:
            return
        yield body
        at += _HEAD.size + length
