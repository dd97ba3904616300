"""Refuses a built day that is no longer what its manifests say, or whose ticks or roll schedule have changed since.

What belongs here: the checks made before a model learns from a day or is judged on it, at the cost of hashing files
that are read anyway. They are those of `ghtrader audit` that ask whether something was changed; it looks further, at
every day and row, and names all it finds.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import verify_sidecar
from ghtrader_market.reference.roll_schedule import RollSchedule, load_schedule, schedule_path
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_schema import table_hash
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.datasets.tick_input import MAIN_L5, TICKS

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import DayManifest


def schedule_of(lake: Lake, symbol: str) -> RollSchedule | None:
    """The roll schedule of a main series; None of one contract, or where the home keeps none.

    Raises
    ------
    IntegrityError
        Its file is garbled, or its hashes are not those of its days.
    """
    if not parse_symbol(symbol).continuous:
        return None
    variety = variety_of(symbol).key
    return load_schedule(lake.root, variety) if schedule_path(lake.root, variety).exists() else None


def require_unchanged(lake: Lake, built: tuple[DayManifest, DayManifest], schedule: RollSchedule | None) -> None:
    """Features, labels and the ticks under them are the files their manifests name, and nothing below has changed.

    Parameters
    ----------
    lake : Lake
        Holds them.
    built : (DayManifest, DayManifest)
        Of the day's features and labels, known to be made from the same ticks (`load.day_manifests`).
    schedule : RollSchedule or None
        See `schedule_of`.

    Raises
    ------
    IntegrityError
        Naming the day, the dataset and what was changed.
    """
    features, _ = built
    symbol, day = features.key, date.fromisoformat(features.day)
    for manifest in built:
        _require_files(lake, manifest)
    ticks = lake.manifest(features.source, symbol, day)
    if ticks is None:
        return  # `load.day_manifests` has refused that
    _require_files(lake, ticks)
    if ticks.dataset == MAIN_L5:
        _require_raw_ticks(lake, ticks)
        if schedule is not None:
            _require_schedule(features, schedule, day)


def require_content(table: pa.Table, manifest: DayManifest) -> None:
    """The rows read are those the manifest was written for.

    Raises
    ------
    IntegrityError
        They are not: file, sidecar and manifest were changed alike.
    """
    if table_hash(table) != manifest.content_hash:
        raise IntegrityError(f"{manifest}: its rows are not those its manifest was written for", _hint(manifest))


def require_labels(table: pa.Table, manifest: DayManifest, mid: np.ndarray) -> None:
    """Labels are as many of each class as the manifest counted, and lie beside the mid of their ticks.

    Parameters
    ----------
    table : pa.Table
        A day of labels.
    manifest : DayManifest
        Its own.
    mid : float64[n]
        Of the ticks, NaN where a side of the book is empty.

    Raises
    ------
    IntegrityError
        They are not.
    """
    for name, counted in (manifest.labels.counts or {}).items():
        labels = table.column(name).to_numpy()
        found = np.bincount(np.clip(labels, -1, len(counted) - 2) + 1, minlength=len(counted)).tolist()
        if found != list(counted):
            raise IntegrityError(
                f"{manifest}: {name} has {found} rows of each class, not {[*counted]}", _hint(manifest)
            )
    if not np.array_equal(table.column("mid").to_numpy(), mid, equal_nan=True):
        raise IntegrityError(f"{manifest}: its mid is not that of its ticks", _hint(manifest))


def _require_files(lake: Lake, manifest: DayManifest) -> None:
    folder = lake.day_path(manifest.dataset, manifest.key, date.fromisoformat(manifest.day))
    for name, digest in manifest.files.items():
        try:
            changed = verify_sidecar(folder / name) != digest
        except (IntegrityError, OSError):
            changed = True
        if changed:
            raise IntegrityError(f"{manifest}: the file is not the one its manifest names", _hint(manifest))


def _require_raw_ticks(lake: Lake, main: DayManifest) -> None:
    """Raw ticks that are still here are those main_l5 was made from; they may have been moved elsewhere."""
    known = main.main_l5
    if known.contract is None or known.raw_content_hash is None:
        return
    raw = lake.manifest(TICKS, known.contract, date.fromisoformat(main.day))
    if raw is None:
        return
    if raw.content_hash != known.raw_content_hash:
        raise IntegrityError(f"{main}: {raw} have changed since it was built", _hint(main))
    _require_files(lake, raw)


def _require_schedule(features: DayManifest, schedule: RollSchedule, day: date) -> None:
    scheduled = schedule.get(day)
    if scheduled is None:
        raise IntegrityError(f"{features}: the roll schedule does not have this day", _hint(features))
    ours = (features.context.contract, features.segment_id, features.built.schedule_hash)
    theirs = (scheduled.contract, scheduled.segment_id, scheduled.schedule_hash)
    for name, one, other in zip(("contract", "segment", "schedule hash"), ours, theirs, strict=True):
        if one != other:
            raise IntegrityError(f"{features}: its {name} is {one}, the roll schedule says {other}", _hint(features))


def _hint(manifest: DayManifest) -> str:
    """What makes the day whole again."""
    day = f"--start {manifest.day} --end {manifest.day}"
    if manifest.dataset == TICKS:
        return "`ghtrader audit` tells more; put its folder back from a backup, or move it away and bring the day again"
    if not parse_symbol(manifest.key).continuous:
        return f"`ghtrader audit` tells more; ghtrader build --symbol {manifest.key} {day} --overwrite"
    variety = variety_of(manifest.key).key
    if manifest.dataset == MAIN_L5:
        again = f"ghtrader main-l5 --var {variety} {day} --overwrite, then ghtrader build --var {variety} {day}"
    else:
        again = f"ghtrader build --var {variety} {day} --overwrite"
    return f"`ghtrader audit` tells more; make it again: {again}"
