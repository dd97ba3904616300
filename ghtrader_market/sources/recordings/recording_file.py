"""Opens a recording: unpacks gzip, tells its container by the first bytes, and cuts tables into columns once.

What the columns or blocks mean is decided in `layouts`.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from ghtrader_base.errors import BadRecordingError, EmptyRecordingError
from ghtrader_market.sources.recordings.columns import Columns, read_csv, read_parquet
from ghtrader_market.sources.recordings.size_limit import most_bytes, too_large

_GZIP_MAGIC = b"\x1f\x8b"
_HEAD = 16


class Container(StrEnum):
    """What a file is, whatever its name."""

    CSV = "CSV"
    PARQUET = "Parquet"
    SQLITE = "SQLite database"
    NUMPY = "NumPy archive"
    WONDERTRADER = "WonderTrader block"


_MAGIC = {
    b"PAR1": Container.PARQUET,
    b"SQLite format 3\0": Container.SQLITE,
    b"PK\x03\x04": Container.NUMPY,
    b"\x93NUMPY": Container.NUMPY,
    b"&^%$#@!\0": Container.WONDERTRADER,
}


class RecordingFile:
    """One file, read as far as it is asked for.

    Parameters
    ----------
    name : str
        What errors call it; its ending does not decide what it is.
    data : bytes, optional
        Its content; read from `path` where it is not given.
    path : Path, optional
        Where it lies; a database is opened there instead of being read whole.
    """

    def __init__(self, name: str, data: bytes | None = None, path: Path | None = None) -> None:
        self.path = path
        self._name, self._data = name, data

    @property
    def name(self) -> str:
        """What errors call it."""
        return self._name

    @cached_property
    def container(self) -> Container:
        """What the file is, by its first bytes; CSV where they say nothing else.

        Raises
        ------
        BadRecordingError
            It cannot be read, is empty, or half a gzip.
        """
        head = self._head()
        found = next((container for magic, container in _MAGIC.items() if head.startswith(magic)), None)
        if found is Container.SQLITE:
            return found
        if found is None and head.startswith(_GZIP_MAGIC):
            found = next((container for magic, container in _MAGIC.items() if self.data.startswith(magic)), None)
        if found is None and not self.data.strip():
            raise EmptyRecordingError(f"{self.name} is empty", "give a file with a header and at least one tick")
        return found or Container.CSV

    @cached_property
    def data(self) -> bytes:
        """The content, unpacked where it is gzip.

        Raises
        ------
        BadRecordingError
            As `container`.
        """
        data = self._data if self._data is not None else self._read()
        if data.startswith(_GZIP_MAGIC):
            most = most_bytes()
            try:
                unpacked = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most + 1)
            except (OSError, EOFError, zlib.error) as exc:
                raise BadRecordingError(
                    f"{self.name} is a broken or cut-off gzip: {exc}", "fetch the file again, whole"
                ) from exc
            if len(unpacked) > most:
                raise too_large(self.name)
            return unpacked
        if self.name.endswith(".gz") and data.strip():
            raise BadRecordingError(f"{self.name} is called .gz but is no gzip file", "fetch or pack it again")
        return data

    @property
    def in_place(self) -> Path | None:
        """Where the file can be opened as it is; None where it is packed or came as bytes."""
        return None if self._data is not None or self._head().startswith(_GZIP_MAGIC) else self.path

    @property
    def is_table(self) -> bool:
        """Whether it has named columns."""
        return self.container in (Container.CSV, Container.PARQUET)

    @cached_property
    def columns(self) -> Columns:
        """Its columns, of a CSV or Parquet file.

        Raises
        ------
        BadRecordingError
            It is no table, or a damaged one.
        """
        if self.container is Container.PARQUET:
            return read_parquet(self.data, self.name)
        if self.container is Container.CSV:
            return read_csv(self.data, self.name)
        raise BadRecordingError(f"{self.name} is a {self.container}, no table", "leave out --format and --columns")

    def with_columns(self, columns: Columns) -> RecordingFile:
        """The same file with its columns under other names."""
        other = RecordingFile(self.name, self._data, self.path)
        other.__dict__.update(container=self.container, columns=columns)
        return other

    def unread(self) -> RecordingFile:
        """The same file without what was read of it, to say where rows stand and no more."""
        other = RecordingFile(self.name, path=self.path)
        other.__dict__.update(container=self.container)
        return other

    def place_word(self, row: int) -> str:
        """Where row `row` (from 0) stands: ``line 7`` of a CSV, ``row 6`` of anything else."""
        return f"line {row + 2}" if self.container is Container.CSV else f"row {row + 1}"

    def place(self, row: int) -> str:
        """The same with the file's name."""
        return f"{self.name}: {self.place_word(row)}"

    def _head(self) -> bytes:
        if self._data is not None:
            return self._data[:_HEAD]
        return self._read(_HEAD)

    def _read(self, length: int = -1) -> bytes:
        assert self.path is not None, "a recording has content or a path"
        try:
            if not (self.path.is_file() or self.path.is_dir()) and self.path.exists():
                # It could be read once at most, and a pipe that nobody writes to never ends.
                raise BadRecordingError(
                    f"{self.name} is a pipe or a device, no file", "save what it gives as a file and import that"
                )
            with self.path.open("rb") as stream:
                if length < 0 and os.fstat(stream.fileno()).st_size > most_bytes():
                    raise too_large(self.name)
                return stream.read(length)
        except OSError as exc:
            raise self._unreadable(exc) from exc

    def _unreadable(self, exc: OSError) -> BadRecordingError:
        if isinstance(exc, FileNotFoundError):
            return BadRecordingError(f"{self.name}: no such file", "check the path")
        return BadRecordingError(f"{self.name} cannot be read: {exc.strerror}", "give a readable file")
