"""The lake: one Parquet file a dataset, key and trading day, under a manifest that says what the day is.

A day is written to a temporary file, validated, fsynced, renamed to a name made from its content, and then its
`_manifest.json` is replaced in one step. The manifest is the commit: a day without one does not exist, and a kill at
any moment leaves the old day or the new one. Files no manifest names are swept at the next write of that day.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ghtrader_base.errors import (
    BadRecordingError,
    FailedError,
    GhtraderError,
    IntegrityError,
    UsageError,
)
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import (
    atomic_write_json,
    content_hash,
    ensure_dir,
    read_json,
    sidecar_of,
    verify_sidecar,
)
from ghtrader_base.version import code_version
from ghtrader_market.coverage_index import CoverageIndex, DayRow, DiskDays, row_of
from ghtrader_market.stores.base import RECORDED, StoreHealth
from ghtrader_market.stores.parquet import whole_file, write_file
from ghtrader_market.ticks import (
    BOOK_COLUMNS,
    L1_TICK_SCHEMA,
    MAIN_L5_SCHEMA,
    RAW_TICK_SCHEMA,
    levels_of,
    schema_hash,
    table_hash,
    validate_ticks,
)

MANIFEST = "_manifest.json"
PARTITION_NAME = {
    "ticks": "symbol",
    "ticks_l1": "symbol",
    "main_l5": "symbol",
    "features": "symbol",
    "labels": "symbol",
    "daily_bars": "variety",
}
_SCHEMAS = {"ticks": RAW_TICK_SCHEMA, "ticks_l1": L1_TICK_SCHEMA, "main_l5": MAIN_L5_SCHEMA}


@dataclass(frozen=True)
class DayManifest:
    """What one day of one dataset is.

    Attributes
    ----------
    files : dict
        File name -> sha256.
    rows : int
    schema_hash : str
        `ghtrader_market.ticks.schema_hash` of the table.
    content_hash : str
        `ghtrader_market.ticks.table_hash` of the table: equal for equal content, whoever wrote it and when.
    source, code_version, run_id : str
        Where the rows come from, the code that wrote them, the run that did.
    levels : int, optional
        Of a data set with a book: 5 with real depth, 1 without, 0 without any quote.
    first_ns, last_ns : int, optional
        Time of the first and last row, UTC epoch ns, where rows have one.
    extra : dict
        What the writer of the dataset wants to be known of the day (JSON).
    """

    dataset: str
    key: str
    day: str
    files: dict[str, str]
    rows: int
    schema_hash: str
    content_hash: str
    source: str
    code_version: str
    run_id: str
    levels: int | None = None
    first_ns: int | None = None
    last_ns: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Lake:
    """Days of ticks, main_l5, features, labels and daily bars under one folder.

    Parameters
    ----------
    root : Path
        `Settings.data`; made at the first write.
    """

    name = "lake"

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        disk = DiskDays(self._key_folders, self._manifest_times, self._index_row, self.key_path)
        self.index = CoverageIndex(self.root, disk)
        """What the lake holds, without walking it; see `coverage_index`."""

    # ---- paths ----
    def key_path(self, dataset: str, key: str) -> Path:
        """Folder of one key: `ticks/symbol=SHFE.cu2502`."""
        if dataset not in PARTITION_NAME:
            raise UsageError(f"the lake has no dataset {dataset!r}", f"it has {', '.join(PARTITION_NAME)}")
        if not key or "/" in key or key.startswith("."):
            raise UsageError(f"{key!r} cannot be a key in the lake", "use a symbol or a variety")
        return self.root / dataset / f"{PARTITION_NAME[dataset]}={key}"

    def day_path(self, dataset: str, key: str, day: date) -> Path:
        """Folder of one day: `ticks/symbol=SHFE.cu2502/date=2025-01-02`."""
        return self.key_path(dataset, key) / f"date={day.isoformat()}"

    # ---- looking ----
    def manifest(self, dataset: str, key: str, day: date) -> DayManifest | None:
        """The day's manifest, or None where the day does not exist."""
        path = self.day_path(dataset, key, day) / MANIFEST
        if not path.exists():
            return None
        try:
            return DayManifest(**read_json(path))
        except TypeError as exc:
            raise IntegrityError(f"{path} is no manifest: {exc}", "delete the day's folder and rebuild it") from exc

    def has_day(self, dataset: str, key: str, day: date) -> bool:
        """Whether the day exists."""
        return (self.day_path(dataset, key, day) / MANIFEST).exists()

    def days(self, dataset: str, key: str) -> list[date]:
        """Days that exist, ascending."""
        found = self.key_path(dataset, key).glob(f"date=*/{MANIFEST}")
        return sorted(date.fromisoformat(path.parent.name.removeprefix("date=")) for path in found)

    def keys(self, dataset: str) -> list[str]:
        """Keys that have at least one day, sorted."""
        prefix = PARTITION_NAME[dataset] + "="
        folders = {path.parent.parent.name for path in (self.root / dataset).glob(f"{prefix}*/date=*/{MANIFEST}")}
        return sorted(name.removeprefix(prefix) for name in folders)

    def files(self, dataset: str, key: str | None = None) -> list[Path]:
        """Every Parquet file that a manifest names, sorted by key and day."""
        keys = self.keys(dataset) if key is None else [key]
        return [self._file(dataset, each, day) for each in keys for day in self.days(dataset, each)]

    def content_hash_of(self, dataset: str, key: str) -> str:
        """One hash over the content of all days of a key; equal for equal days and content."""
        manifests = (self.manifest(dataset, key, day) for day in self.days(dataset, key))
        return content_hash({m.day: m.content_hash for m in manifests if m is not None})

    # ---- reading ----
    def _require(self, dataset: str, key: str, day: date) -> DayManifest:
        manifest = self.manifest(dataset, key, day)
        if manifest is None:
            raise FailedError(f"the lake has no {dataset} of {key} on {day}", "download or build that day first")
        return manifest

    def _file(self, dataset: str, key: str, day: date, manifest: DayManifest | None = None) -> Path:
        manifest = manifest or self._require(dataset, key, day)
        return self.day_path(dataset, key, day) / next(iter(manifest.files))

    def read_day(self, dataset: str, key: str, day: date, columns: list[str] | None = None) -> pa.Table:
        """One day's rows in the order they were written.

        Raises
        ------
        FailedError
            The day does not exist.
        UsageError
            It has no such column.
        IntegrityError
            Its file is missing, cannot be read, or has not as many rows as its manifest says. Bytes are checked by
            `verify_day`.
        """
        manifest = self._require(dataset, key, day)
        path = self._file(dataset, key, day, manifest)
        try:
            with pq.ParquetFile(path, pre_buffer=True) as file:
                unknown = set(columns or ()) - set(file.schema_arrow.names)
                table = file.read(columns=columns)
        except (OSError, pa.ArrowException) as exc:
            raise IntegrityError(f"{path} cannot be read: {exc}", "rebuild the day; `_manifest.json` names it") from exc
        if unknown:
            raise UsageError(f"{dataset} of {key} on {day} has no column {', '.join(sorted(unknown))}")
        if table.num_rows != manifest.rows:
            raise IntegrityError(
                f"{path} has {table.num_rows} rows, its manifest says {manifest.rows}", "rebuild the day"
            )
        return table if columns is None else table.select(columns)

    def read_range(
        self,
        dataset: str,
        key: str,
        start: date,
        end: date,
        columns: list[str] | None = None,
        batch_rows: int = 65_536,
    ) -> pa.RecordBatchReader:
        """Rows of every day there is in [start, end], a day's file open at a time: memory does not grow with the range.

        Raises
        ------
        FailedError
            There is no such day.
        UsageError, IntegrityError
            As `read_day`; for a later day while the stream is read.
        """
        days = [day for day in self.days(dataset, key) if start <= day <= end]
        if not days:
            raise FailedError(f"the lake has no {dataset} of {key} from {start} to {end}", "download or build it first")
        schema = self._schema(dataset, key, days[0], columns)
        batches = (batch for day in days for batch in self._batches(dataset, key, day, schema, batch_rows))
        return pa.RecordBatchReader.from_batches(schema, batches)

    def _schema(self, dataset: str, key: str, day: date, columns: list[str] | None) -> pa.Schema:
        path = self._file(dataset, key, day)
        try:
            schema = pq.read_schema(path).remove_metadata()
        except (OSError, pa.ArrowException) as exc:
            raise IntegrityError(f"{path} cannot be read: {exc}", "rebuild the day; `_manifest.json` names it") from exc
        if unknown := set(columns or ()) - set(schema.names):
            raise UsageError(f"{dataset} of {key} on {day} has no column {', '.join(sorted(unknown))}")
        return schema if columns is None else pa.schema([schema.field(name) for name in columns])

    def _batches(
        self, dataset: str, key: str, day: date, schema: pa.Schema, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        manifest = self._require(dataset, key, day)
        path, rows = self._file(dataset, key, day, manifest), 0
        try:
            with pq.ParquetFile(path, pre_buffer=True) as file:
                for batch in file.iter_batches(batch_rows, columns=schema.names):
                    rows += batch.num_rows
                    yield batch.select(schema.names).cast(schema)
        except (OSError, KeyError, pa.ArrowException) as exc:
            raise IntegrityError(f"{path} cannot be read: {exc}", "rebuild the day; `_manifest.json` names it") from exc
        if rows != manifest.rows:
            raise IntegrityError(f"{path} has {rows} rows, its manifest says {manifest.rows}", "rebuild the day")

    def verify_day(self, dataset: str, key: str, day: date) -> DayManifest:
        """Check a day's file against sidecar and manifest, bytes and content.

        Raises
        ------
        FailedError
            The day does not exist.
        IntegrityError
            Naming what differs.
        """
        manifest = self._require(dataset, key, day)
        path = self._file(dataset, key, day, manifest)
        if not path.exists():
            raise IntegrityError(f"{path} is gone", "rebuild the day it belongs to")
        if verify_sidecar(path) != manifest.files[path.name]:
            raise IntegrityError(f"{path} does not match its manifest", "rebuild the day it belongs to")
        if table_hash(self.read_day(dataset, key, day)) != manifest.content_hash:
            raise IntegrityError(f"the content of {path} is not what its manifest says", "rebuild the day")
        return manifest

    # ---- writing ----
    def write_day(
        self,
        dataset: str,
        key: str,
        day: date,
        table: pa.Table,
        *,
        schema: pa.Schema | None = None,
        source: str,
        run_id: str = "",
        extra: Mapping[str, Any] | None = None,
    ) -> DayManifest:
        """Write one day, replacing what was there in one step.

        Parameters
        ----------
        dataset, key, day
            Where.
        table : pa.Table
            The rows; `ticks` and `main_l5` must have their schemas, `ticks` must be valid ticks.
        schema : pa.Schema, optional
            What `table` must have, for datasets without a schema of their own.
        source, run_id, extra
            Kept in the manifest.

        Returns
        -------
        DayManifest
            Of the day as it now is. Equal content keeps its file, byte for byte; only the manifest is written anew.

        Raises
        ------
        IntegrityError
            The schema is not the one promised, or the file written does not read back.
        BadRecordingError
            Raw ticks that are not valid ticks.
        ConfigError
            The home cannot be written.
        """
        promised = schema or _SCHEMAS.get(dataset)
        if promised is not None and not table.schema.remove_metadata().equals(promised.remove_metadata()):
            raise IntegrityError(
                f"{dataset} of {key} on {day} does not have its schema", "this is a fault in the writer"
            )
        if promised is not None and dataset in ("ticks", "ticks_l1"):
            try:
                validate_ticks(table, promised)
            except BadRecordingError as exc:
                raise BadRecordingError(f"{key} on {day}: {exc.message}", exc.hint) from exc
        table = table.replace_schema_metadata(None)
        digest = table_hash(table)
        self.key_path(dataset, key)
        ensure_dir(self.root)
        with self.index.writing(dataset, key, day):
            about = dict(extra or {}) | self._replacing(dataset, key, day, source)
            return self._commit(dataset, key, day, table, digest, source, run_id, about)

    def _replacing(self, dataset: str, key: str, day: date, source: str) -> dict[str, Any]:
        """The note that a day was recorded before it came from elsewhere, for the manifest."""
        try:
            before = self.manifest(dataset, key, day)
        except GhtraderError:  # a garbled one is replaced like any other
            return {}
        if before is None or source == RECORDED:
            return {}
        if before.source != RECORDED:
            return {name: before.extra[name] for name in ("replaced",) if name in before.extra}
        about = {"source": before.source, "run_id": before.run_id, "rows": before.rows}
        return {"replaced": {**about, "content_hash": before.content_hash}}

    def _commit(
        self, dataset: str, key: str, day: date, table: pa.Table, digest: str, source: str, run_id: str,
        extra: dict[str, Any],
    ) -> DayManifest:  # fmt: skip
        """File, then manifest, then what neither names any more is removed."""
        folder = ensure_dir(self.day_path(dataset, key, day))
        path = folder / f"part-{digest[:12]}.parquet"
        first_ns, last_ns = _time_range(table)
        manifest = DayManifest(
            dataset=dataset,
            key=key,
            day=day.isoformat(),
            files={path.name: whole_file(path) or write_file(table, path)},
            rows=table.num_rows,
            schema_hash=schema_hash(table.schema),
            content_hash=digest,
            source=source,
            code_version=code_version(),
            run_id=run_id,
            levels=levels_of(table),
            first_ns=first_ns,
            last_ns=last_ns,
            extra=extra,
        )
        failpoint("lake.sidecar->manifest")
        atomic_write_json(folder / MANIFEST, asdict(manifest))
        _sweep(folder, keep={MANIFEST, path.name, sidecar_of(path).name})
        return manifest

    def delete_day(self, dataset: str, key: str, day: date) -> None:
        """Remove a day: the manifest first, so that no reader meets half of it."""
        folder = self.day_path(dataset, key, day)
        if not folder.exists():
            return
        with self.index.writing(dataset, key, day):
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)

    # ---- what the index asks ----
    def _key_folders(self) -> Iterator[tuple[str, str, Path]]:
        for dataset, partition in PARTITION_NAME.items():
            folder, prefix = self.root / dataset, partition + "="
            with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(prefix):
                        yield dataset, entry.name.removeprefix(prefix), folder / entry.name

    def _manifest_times(self, dataset: str, key: str) -> dict[str, int]:
        found: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.key_path(dataset, key)) as entries:
            for entry in entries:
                if entry.name.startswith("date="):
                    with contextlib.suppress(OSError):
                        found[entry.name.removeprefix("date=")] = os.stat(f"{entry.path}/{MANIFEST}").st_mtime_ns
        return found

    def _index_row(self, dataset: str, key: str, text: str) -> DayRow | None:
        try:
            day = date.fromisoformat(text)
            manifest = self.manifest(dataset, key, day)
            if manifest is None:
                return None
            path = self.day_path(dataset, key, day) / next(iter(manifest.files), MANIFEST)
            size = path.stat().st_size if path.exists() else 0
            if manifest.levels is None and dataset in _SCHEMAS and size:  # written before manifests said so
                columns = [name for name in BOOK_COLUMNS if name in pq.read_schema(path).names]
                manifest = replace(manifest, levels=levels_of(pq.read_table(path, columns=columns, partitioning=None)))
            written_ns = (self.day_path(dataset, key, day) / MANIFEST).stat().st_mtime_ns
            return row_of((dataset, key, text), manifest, size, written_ns)
        except (GhtraderError, ValueError, KeyError, OSError, pa.ArrowException):
            return None  # a day that cannot be read is the audit's to name, not the index's to count

    # ---- the store contract for raw ticks ----
    def init(self) -> None:
        """Make the root folder; harmless where it exists."""
        ensure_dir(self.root)

    def write_ticks(self, symbol: str, day: date, table: pa.Table, *, source: str = "", run_id: str = "") -> int:
        """Store one contract-day of raw ticks; returns its rows."""
        return self.write_day("ticks", symbol, day, table, source=source, run_id=run_id).rows

    def read_ticks(self, symbol: str, day: date, columns: list[str] | None = None) -> pa.Table:
        """One contract-day; an empty table where it does not exist."""
        if not self.has_day("ticks", symbol, day):
            empty = RAW_TICK_SCHEMA.empty_table()
            return empty if columns is None else empty.select(columns)
        return self.read_day("ticks", symbol, day, columns)

    def tick_days(self, symbol: str) -> list[date]:
        """Trading days of raw ticks of a contract, ascending."""
        return self.days("ticks", symbol)

    def health(self) -> StoreHealth:
        """Whether the lake can be written."""
        here = self.root if self.root.exists() else self.root.parent
        ok = os.access(here, os.W_OK)
        return StoreHealth(self.name, ok, str(self.root) if ok else f"{here} cannot be written")


def _time_range(table: pa.Table) -> tuple[int | None, int | None]:
    if "datetime_ns" not in table.schema.names or table.num_rows == 0:
        return None, None
    times = table["datetime_ns"]
    return times[0].as_py(), times[-1].as_py()


def _sweep(folder: Path, keep: set[str]) -> None:
    """Remove what an earlier content or a killed writer left behind."""
    for path in folder.iterdir():
        if path.name not in keep and (path.name.startswith("part-") or path.name.endswith(".tmp")):
            path.unlink(missing_ok=True)
