"""Writes the lake: one Parquet file a dataset, key and trading day, under a manifest that says what the day is.

A day is written to a temporary file, validated, fsynced, renamed to a name made from its content, and then its
`_manifest.json` is replaced in one step. The manifest is the commit: a day without one does not exist, and a kill at
any moment leaves the old day or the new one. Files no manifest names are swept at the next write of that day.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ghtrader_base.errors import BadRecordingError, GhtraderError, IntegrityError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import atomic_write_json, ensure_dir, read_json, require_file, sidecar_of, with_checksum
from ghtrader_base.version import code_version
from ghtrader_market.reference.tick_schema import (
    BOOK_COLUMNS,
    RAW_TICK_SCHEMA,
    levels_of,
    schema_hash,
    table_hash,
    validate_ticks,
)
from ghtrader_market.stores.base import RECORDED, StoreHealth
from ghtrader_market.stores.day_details import DayDetails, Replaced, TickDetails, details_type
from ghtrader_market.stores.lake.day_index import CoverageIndex, DayRow, DiskDays, row_of
from ghtrader_market.stores.lake.manifests import MANIFEST, PARTITION_NAME, SCHEMAS, DayManifest, LakeDays, time_range
from ghtrader_market.stores.lake.parquet import whole_file, write_file


class Lake(LakeDays):
    """`LakeDays` to be written as well, with the index of what there is and the store contract for raw ticks.

    Parameters
    ----------
    root : Path
        `Settings.data`; made at the first write.
    """

    name = "lake"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        disk = DiskDays(self._key_folders, self._manifest_times, self._index_row, self.key_path)
        self.index = CoverageIndex(self.root, disk)
        """What the lake holds, without walking it; see `day_index`."""

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
        details: DayDetails | None = None,
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
        source, run_id
            Kept in the manifest.
        details : DayDetails, optional
            What the dataset says of its days (`day_details.details_type`); kept in the manifest.

        Returns
        -------
        DayManifest
            Of the day as it now is. Equal content keeps its file, byte for byte; only the manifest is written anew.

        Raises
        ------
        IntegrityError
            The schema is not the one promised, the details are another dataset's, or the file written does not read
            back.
        BadRecordingError
            Raw ticks that are not valid ticks.
        ConfigError
            The home cannot be written.
        """
        promised = schema or SCHEMAS.get(dataset)
        if promised is not None and not table.schema.remove_metadata().equals(promised.remove_metadata()):
            raise IntegrityError(
                f"{dataset} of {key} on {day} does not have its schema", "this is a fault in the writer"
            )
        if promised is not None and dataset in ("ticks", "ticks_l1"):
            try:
                validate_ticks(table, promised)
            except BadRecordingError as exc:
                raise BadRecordingError(f"{key} on {day}: {exc.message}", exc.hint) from exc
        about = details or details_type(dataset)()
        if not isinstance(about, details_type(dataset)):
            raise IntegrityError(
                f"{dataset} of {key} on {day} is given {type(about).__name__}", "this is a fault in the writer"
            )
        table = table.replace_schema_metadata(None)
        digest = table_hash(table)
        self.key_path(dataset, key)
        ensure_dir(self.root)
        with self.index.writing(dataset, key, day):
            if isinstance(about, TickDetails):
                about = self._replacing(dataset, key, day, source, about)
            return self._commit(dataset, key, day, table, digest, source, run_id, about)

    def _replacing(self, dataset: str, key: str, day: date, source: str, about: TickDetails) -> TickDetails:
        """The details with the note that the day was recorded before it came from elsewhere."""
        try:
            before = self.manifest(dataset, key, day)
            said = before.ticks if before is not None else TickDetails()
        except GhtraderError:  # a garbled one is replaced like any other
            return about
        if before is None or source == RECORDED:
            return about
        if before.source != RECORDED:
            if said.replaced is not None:
                return replace(about, replaced=said.replaced)
            kept = {name: value for name, value in said.unknown.items() if name == "replaced"}
            return replace(about, unknown={**about.unknown, **kept})
        recorded = Replaced(
            source=before.source, run_id=before.run_id, rows=before.rows, content_hash=before.content_hash
        )
        return replace(about, replaced=recorded)

    def _commit(
        self, dataset: str, key: str, day: date, table: pa.Table, digest: str, source: str, run_id: str,
        details: DayDetails,
    ) -> DayManifest:  # fmt: skip
        """File, then manifest, then what neither names any more is removed."""
        folder = ensure_dir(self.day_path(dataset, key, day))
        before = {each.name for each in folder.iterdir()}
        try:
            return self._written(folder, dataset, key, day, table, digest, source, run_id, details)
        except BaseException:
            _take_back(folder, before)
            raise

    def _written(
        self, folder: Path, dataset: str, key: str, day: date, table: pa.Table, digest: str, source: str, run_id: str,
        details: DayDetails,
    ) -> DayManifest:  # fmt: skip
        path = folder / f"part-{digest[:12]}.parquet"
        first_ns, last_ns = time_range(table)
        manifest = DayManifest(
            dataset=dataset,
            key=key,
            day=day.isoformat(),
            files={path.name: whole_file(path, digest) or write_file(table, path)},
            rows=table.num_rows,
            schema_hash=schema_hash(table.schema),
            content_hash=digest,
            source=source,
            code_version=code_version(),
            run_id=run_id,
            levels=levels_of(table),
            first_ns=first_ns,
            last_ns=last_ns,
            details=details,
        )
        failpoint("lake.sidecar->manifest")
        atomic_write_json(folder / MANIFEST, with_checksum(manifest.to_json()))
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
                    if entry.name.startswith(prefix) and _is_text(entry.name):
                        yield dataset, entry.name.removeprefix(prefix), folder / entry.name

    def _manifest_times(self, dataset: str, key: str) -> dict[str, int]:
        found: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.key_path(dataset, key)) as entries:
            for entry in entries:
                if entry.name.startswith("date=") and _is_text(entry.name):
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
            if manifest.levels is None and dataset in SCHEMAS and size:  # written before manifests said so
                columns = [name for name in BOOK_COLUMNS if name in pq.read_schema(require_file(path)).names]
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
        detail = str(self.root) if ok else f"{here} cannot be written"
        return StoreHealth(name=self.name, ok=ok, detail=detail)


def _take_back(folder: Path, before: set[str]) -> None:
    """Remove what a write that failed has left, and no manifest names."""
    with contextlib.suppress(OSError, GhtraderError, KeyError, TypeError):  # a garbled manifest: the audit's to tell
        there = folder / MANIFEST
        files = [folder / name for name in read_json(there)["files"]] if there.exists() else []
        kept = {MANIFEST, *before, *(path.name for path in files), *(sidecar_of(path).name for path in files)}
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)
        folder.rmdir()  # where it holds nothing


def _sweep(folder: Path, keep: set[str]) -> None:
    """Remove what an earlier content or a killed writer left behind."""
    for path in folder.iterdir():
        if path.name not in keep and (path.name.startswith("part-") or path.name.endswith(".tmp")):
            path.unlink(missing_ok=True)


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8, as every key and day is; SQLite takes no other."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
