"""Reads the lake: where a day lies, what its manifest says, its rows.

Paths, manifests, reading and checking belong here; writing is `lake`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ghtrader_base.errors import FailedError, IntegrityError, UsageError
from ghtrader_base.files import CHECKSUM, content_hash, read_checked_json, require_file, verify_sidecar
from ghtrader_market.reference.tick_schema import L1_TICK_SCHEMA, LEVELS, MAIN_L5_SCHEMA, RAW_TICK_SCHEMA, table_hash
from ghtrader_market.stores.day_details import (
    BuildContext,
    BuiltDetails,
    DayDetails,
    FactorSetRecord,
    FeatureDetails,
    LabelDetails,
    LabelSpecRecord,
    MainDayDetails,
    TickDetails,
    read_details,
    stated,
)

D = TypeVar("D", bound=DayDetails)
_AGAIN = "rebuild the day"
MANIFEST = "_manifest.json"
PARTITION_NAME = {
    "ticks": "symbol",
    "ticks_l1": "symbol",
    "main_l5": "symbol",
    "features": "symbol",
    "labels": "symbol",
    "daily_bars": "variety",
}
SCHEMAS = {"ticks": RAW_TICK_SCHEMA, "ticks_l1": L1_TICK_SCHEMA, "main_l5": MAIN_L5_SCHEMA}


@dataclass(frozen=True, kw_only=True)
class DayManifest:
    """What one day of one dataset is.

    Attributes
    ----------
    files : dict
        File name -> sha256.
    rows : int
    schema_hash : str
        `tick_schema.schema_hash` of the table.
    content_hash : str
        `tick_schema.table_hash` of the table: equal for equal content, whoever wrote it and when.
    source, code_version, run_id : str
        Where the rows come from, the code that wrote them, the run that did.
    levels : int, optional
        Of a data set with a book: 5 with real depth, 1 without, 0 without any quote.
    first_ns, last_ns : int, optional
        Time of the first and last row, UTC epoch ns, where rows have one.
    details : DayDetails
        What only this dataset says of its days; `extra` in the file. Read it by `ticks`, `main_l5`, `built`, `features`
        or `labels`.
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
    details: DayDetails = field(default_factory=DayDetails)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DayManifest:
        """Read a `_manifest.json`, whose checksum is the reader's; TypeError or ValueError where it is none."""
        values = {name: value for name, value in document.items() if name != CHECKSUM}
        extra = values.pop("extra", {})
        if not isinstance(extra, dict):
            raise TypeError("extra is no object")
        found = cls(**values, details=read_details(str(values.get("dataset")), extra))
        found._require_sound()
        return found

    def _require_sound(self) -> None:
        """TypeError or ValueError where a field is not what its name says."""
        for name in ("dataset", "key", "day", "schema_hash", "content_hash", "source", "code_version", "run_id"):
            if type(getattr(self, name)) is not str:
                raise TypeError(f"{name} is no text")
        for name in ("levels", "first_ns", "last_ns"):
            if getattr(self, name) is not None and type(getattr(self, name)) is not int:
                raise TypeError(f"{name} is no whole number")
        if type(self.rows) is not int or self.rows < 0:
            raise ValueError(f"{self.rows!r} is no number of rows")
        if self.levels not in (None, 0, 1, LEVELS):
            raise ValueError(f"no book has {self.levels} levels")
        if not isinstance(self.files, dict) or len(self.files) != 1:
            raise ValueError("it does not name one file")
        ((name, digest),) = self.files.items()
        if "/" in name or name.startswith(".") or type(digest) is not str:
            raise ValueError("it does not name a file of its folder and its sha256")

    def to_json(self) -> dict[str, Any]:
        """The document of `_manifest.json`."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "details"}
        return {**values, "extra": self.details.to_json()}

    @property
    def ticks(self) -> TickDetails:
        """What a day of raw ticks says; IntegrityError where the day is none."""
        return self._as(TickDetails)

    @property
    def main_l5(self) -> MainDayDetails:
        """What a day of main_l5 says; IntegrityError where the day is none."""
        return self._as(MainDayDetails)

    @property
    def built(self) -> BuiltDetails:
        """What features and labels both say; IntegrityError where the day is of neither."""
        return self._as(BuiltDetails)

    @property
    def features(self) -> FeatureDetails:
        """What a day of features says; IntegrityError where the day is none."""
        return self._as(FeatureDetails)

    @property
    def labels(self) -> LabelDetails:
        """What a day of labels says; IntegrityError where the day is none."""
        return self._as(LabelDetails)

    @property
    def factor_set(self) -> FactorSetRecord:
        """The factors of a day of features; IntegrityError where the manifest does not say them."""
        return stated(self.features.factor_set, f"the factors of {self}")

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of those, in column order."""
        return tuple(name for name, _ in self.factor_set.factors)

    @property
    def label_spec(self) -> LabelSpecRecord:
        """The definition of a day of labels; IntegrityError where the manifest does not say it."""
        return stated(self.labels.label_spec, f"the definition of {self}")

    @property
    def context(self) -> BuildContext:
        """What features or labels were computed with; IntegrityError where the manifest does not say it."""
        return stated(self.built.context, f"contract and price tick of {self}")

    @property
    def segment_id(self) -> int:
        """The segment of features or labels; IntegrityError where the manifest does not say it."""
        return stated(self.built.segment_id, f"the segment of {self}")

    def __str__(self) -> str:
        return f"{self.dataset} of {self.key} on {self.day}"

    def _as(self, kind: type[D]) -> D:
        if not isinstance(self.details, kind):
            raise IntegrityError(f"{self} has no {kind.__name__}", "this is a fault in the reader")
        return self.details


def time_range(table: pa.Table) -> tuple[int | None, int | None]:
    """Time of a day's first and last row, UTC epoch ns; None where it has no row or no time."""
    if "datetime_ns" not in table.schema.names or table.num_rows == 0:
        return None, None
    times = table["datetime_ns"]
    return times[0].as_py(), times[-1].as_py()


def read_manifest(path: Path, dataset: str, key: str, day: date) -> tuple[DayManifest, bool]:
    """A manifest, known to be that of the day it was asked for, and whether it had a checksum.

    Raises
    ------
    IntegrityError
        It is none, was edited, or is that of another dataset, key or day.
    OSError
        It cannot be read.
    """
    try:
        document, has_checksum = read_checked_json(path)
        manifest = DayManifest.from_json(document)
    except (TypeError, ValueError) as exc:
        raise IntegrityError(f"{path} is no manifest: {exc}", "delete the day's folder and rebuild it") from exc
    if (manifest.dataset, manifest.key, manifest.day) != (dataset, key, day.isoformat()):
        raise IntegrityError(
            f"{path} is that of {manifest}", "move the day's folder back to where it belongs, or rebuild both days"
        )
    return manifest, has_checksum


class LakeDays:
    """Days of ticks, main_l5, features, labels and daily bars under one folder, to be read.

    Parameters
    ----------
    root : Path
        `Settings.data`.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

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
        """The day's manifest, or None where the day does not exist; errors as `read_manifest`."""
        path = self.day_path(dataset, key, day) / MANIFEST
        if not path.exists():
            return None
        return read_manifest(path, dataset, key, day)[0]

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
            Its manifest is that of another day; its file is missing, cannot be read, or has other rows or times than
            its manifest says. Bytes are checked by `verify_day`.
        """
        manifest = self._require(dataset, key, day)
        path = self._file(dataset, key, day, manifest)
        try:
            with pq.ParquetFile(require_file(path), pre_buffer=True) as file:
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
        if manifest.first_ns is not None and "datetime_ns" in table.schema.names:
            told = (manifest.first_ns, manifest.last_ns)
            if (there := time_range(table)) != told:
                raise IntegrityError(f"{path} reaches from {there[0]} to {there[1]}, its manifest says {told}", _AGAIN)
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
            schema = pq.read_schema(require_file(path)).remove_metadata()
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
            with pq.ParquetFile(require_file(path), pre_buffer=True) as file:
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
