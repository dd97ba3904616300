"""Audits one day's folder against itself: manifest, file, sidecar, bytes, schema, rows, content.

What the rows mean is checked in `ticks` and `datasets`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import open_file, sidecar_digest, sidecar_of
from ghtrader_market.audit.report import Finding
from ghtrader_market.reference.tick_schema import (
    L1_TICK_SCHEMA,
    MAIN_L5_SCHEMA,
    RAW_TICK_SCHEMA,
    levels_of,
    schema_hash,
    table_hash,
)
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA
from ghtrader_market.stores.lake.manifests import MANIFEST, PARTITION_NAME, DayManifest, read_manifest, time_range
from ghtrader_market.stores.lake.manifests import SCHEMAS as LAKE_SCHEMAS

SCHEMAS = {
    "ticks": RAW_TICK_SCHEMA,
    "ticks_l1": L1_TICK_SCHEMA,
    "main_l5": MAIN_L5_SCHEMA,
    "daily_bars": DAILY_BAR_SCHEMA,
}
"""Datasets whose schema is fixed; those of features and labels follow from their specs."""


@dataclass(kw_only=True)
class AuditedDay:
    """A day's folder as it was found; `table` is None where there are no rows to trust.

    `table` may be there although something is wrong with the file: what the rows say is worth knowing too.
    `has_checksum` says whether the manifest has one: those of older versions do not.
    """

    dataset: str
    key: str
    day: date
    root: Path
    path: Path
    manifest: DayManifest | None = None
    table: pa.Table | None = None
    bytes: int = 0
    has_checksum: bool = False
    findings: list[Finding] = field(default_factory=list)

    def found(self, kind: str, detail: str, row: int | None = None, file: Path | None = None) -> None:
        """Note a finding of this day."""
        name = str((file or self.path).relative_to(self.root))
        self.findings.append(
            Finding(
                kind=kind,
                dataset=self.dataset,
                key=self.key,
                day=self.day.isoformat(),
                file=name,
                detail=detail,
                row=row,
            )
        )


def audit_folder(root: Path, dataset: str, key: str, day: date) -> AuditedDay:
    """Check one day's folder.

    A folder that holds nothing but what a killed writer left (names that start with a dot) is a day that does not
    exist, and no finding.
    """
    folder = root / dataset / f"{PARTITION_NAME[dataset]}={key}" / f"date={day.isoformat()}"
    audited = AuditedDay(dataset=dataset, key=key, day=day, root=root, path=folder)
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not entry.name.startswith("."):
                    names.add(entry.name)
                    if entry.is_symlink():
                        audited.found("symlink", f"it leads to {os.readlink(entry)}", file=folder / entry.name)
    except OSError as error:
        audited.found("unreadable_folder", error.strerror or str(error))
        return audited
    manifest = _manifest(audited, folder, names)
    named = set(manifest.files) if manifest is not None else set()
    if manifest is not None:
        for name in sorted(names - {MANIFEST} - named - {sidecar_of(Path(name)).name for name in named}):
            audited.found("extra_file", "the manifest does not name it", file=folder / name)
        _file(audited, manifest, folder / next(iter(named)))
    return audited


def _manifest(audited: AuditedDay, folder: Path, names: set[str]) -> DayManifest | None:
    path = folder / MANIFEST
    if MANIFEST not in names:
        for name in sorted(names):
            if name.endswith(".parquet"):
                audited.found("manifest_missing", f"{MANIFEST} is not here", file=folder / name)
            elif f"{name.removesuffix('.sha256')}" not in names:
                audited.found("extra_file", "there is no manifest", file=folder / name)
        return None
    try:
        manifest, audited.has_checksum = read_manifest(path, audited.dataset, audited.key, audited.day)
    except (IntegrityError, OSError) as error:
        audited.found("manifest_broken", str(error).replace(f"{audited.root}/", ""), file=path)
        return None
    audited.manifest = manifest
    return manifest


def _file(audited: AuditedDay, manifest: DayManifest, path: Path) -> None:
    audited.path = path
    try:
        with open_file(path) as opened:
            data = opened.read()
    except OSError as error:
        audited.found("file_missing", error.strerror or str(error))
        return
    audited.bytes = len(data)
    digest = hashlib.sha256(data).hexdigest()
    _checksums(audited, path, digest, manifest.files[path.name])
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            table = file.read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        audited.found("unreadable_file", str(error).splitlines()[0])
        return
    audited.table = table
    if table.num_rows != manifest.rows:
        audited.found("row_count", f"{table.num_rows} rows, the manifest says {manifest.rows}")
    _schema(audited, table, manifest)
    # A dictionary-encoded column reads back as what was stored, so equal content has the hash it was written with.
    if table_hash(table) != manifest.content_hash:
        audited.found("content_hash", f"not the content {manifest.content_hash[:12]} of the manifest")
    elif path.name != f"part-{manifest.content_hash[:12]}.parquet":
        audited.found("content_hash", "the file's name is not made from its content")
    else:
        _described(audited, table, manifest)


def _described(audited: AuditedDay, table: pa.Table, manifest: DayManifest) -> None:
    """What a manifest says beside the hash of the rows; those of older versions say neither."""
    told, there = (manifest.first_ns, manifest.last_ns), time_range(table)
    if told not in (there, (None, None)):
        audited.found("time_range", f"the rows reach from {there[0]} to {there[1]}, the manifest says {told}")
    if manifest.levels is not None and audited.dataset in LAKE_SCHEMAS and manifest.levels != (has := levels_of(table)):
        audited.found("levels", f"the book has {has} levels, the manifest says {manifest.levels}")


def _checksums(audited: AuditedDay, path: Path, digest: str, promised: str) -> None:
    sidecar, beside = sidecar_of(path), None
    try:
        beside = sidecar_digest(sidecar)
    except (OSError, IntegrityError):
        audited.found("sidecar_missing", f"{sidecar.name} is not here")
    except ValueError as error:
        audited.found("sidecar_wrong", str(error), file=sidecar)
    if digest != promised:
        audited.found("checksum", f"sha256 is {digest[:12]}, the manifest says {str(promised)[:12]}")
    if beside is not None and beside != digest and digest == promised:
        audited.found("sidecar_wrong", f"it says {beside[:12]}, the file is {digest[:12]}", file=sidecar)


def _schema(audited: AuditedDay, table: pa.Table, manifest: DayManifest) -> None:
    fixed = SCHEMAS.get(audited.dataset)
    schema = table.schema.remove_metadata()
    if fixed is not None and not schema.equals(fixed):
        wrong = [field.name for field in fixed if field not in list(schema)]
        wrong += [name for name in schema.names if name not in fixed.names]
        audited.found("schema", f"columns missing, further or mistyped: {', '.join(wrong) or 'their order'}")
    elif schema_hash(schema) != manifest.schema_hash:
        audited.found("schema", f"its hash is {schema_hash(schema)}, the manifest says {manifest.schema_hash}")
