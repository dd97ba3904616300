"""Writes one day's Parquet file: the settings measured best for ticks, put under its name in one step.

What a day is, and which files belong to it, is decided in `lake`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import ConfigError, IntegrityError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import require_file, verify_sidecar, write_sidecar
from ghtrader_base.private_files import private_opener
from ghtrader_market.reference.tick_schema import table_hash

_DELTA = ("id", "datetime_ns", "volume")
_SPLIT = ("amount", "average")


def whole_file(path: Path, content_hash: str) -> str | None:
    """The sha256 of a file that is here already, whole and of this content; None where it has to be written.

    Writing equal content again must not touch bytes a manifest vouches for. Its name is made from its content and says
    nothing of a file that was edited together with its sidecar, so the content is read.
    """
    if not path.exists():
        return None
    try:
        digest = verify_sidecar(path)
        with pq.ParquetFile(require_file(path)) as file:
            return digest if table_hash(file.read()) == content_hash else None
    except (IntegrityError, OSError, pa.ArrowException):
        return None


def write_file(table: pa.Table, path: Path) -> str:
    """Put a table under its final name in one step; returns the sha256 its sidecar now has.

    Raises
    ------
    UnwritableError
        The disk refuses: `path` is as it was.
    ConfigError
        One may not write there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(path, doing=f"cannot write {path}"):
            _write_parquet(table, temporary)
            if pq.ParquetFile(temporary).metadata.num_rows != table.num_rows:
                raise IntegrityError(f"{path} did not read back whole", "check the disk")
            failpoint("lake.write->rename")
            os.replace(temporary, path)
            failpoint("lake.rename->sidecar")
    except OSError as exc:
        raise ConfigError(
            f"cannot write {path}: {exc.strerror or exc}", "choose a folder you may write to with --home DIR"
        ) from exc
    finally:
        temporary.unlink(missing_ok=True)
    return write_sidecar(path)  # which also makes the rename durable: both lie in one folder


def _write_parquet(table: pa.Table, path: Path) -> None:
    """ZSTD-3, one row group a day, encodings by column as measured best for ticks (docs/concepts/lake.md)."""
    encodings = {}
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if name in _DELTA and pa.types.is_integer(kind):
            encodings[name] = "DELTA_BINARY_PACKED"
        elif name in _SPLIT or pa.types.is_float32(kind):
            encodings[name] = "BYTE_STREAM_SPLIT"
    with open(path, "wb", opener=private_opener) as file:
        pq.write_table(
            table,
            file,
            compression="zstd",
            compression_level=3,
            row_group_size=max(1, table.num_rows),
            use_dictionary=[name for name in table.schema.names if name not in encodings],
            column_encoding=encodings or None,
        )
        file.flush()
        os.fsync(file.fileno())
