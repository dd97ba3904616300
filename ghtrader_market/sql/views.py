"""Makes a view's data: an Arrow data set over the days that a query can touch, of the files the lake's index names.

Which days those are is worked out by `day_pruning`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_base.errors import GhtraderError
from ghtrader_base.files import require_file
from ghtrader_market.stores.lake.manifests import MANIFEST, PARTITION_NAME

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pds

    from ghtrader_market.sql.day_pruning import Bounds
    from ghtrader_market.stores.lake.day_index import DayFile
    from ghtrader_market.stores.lake.lake import Lake

VIEWS = {
    "ticks_raw_v2": "ticks",
    "ticks_l1_v2": "ticks_l1",
    "ticks_main_l5_v2": "main_l5",
    "features_all": "features",
    "labels_all": "labels",
    "daily_bars_all": "daily_bars",
}
METRICS = "run_metrics"


def view_data(
    lake: Lake, dataset: str, bounds: list[Bounds], tell: Callable[[str], object] = lambda text: None
) -> pds.Dataset | None:
    """The days of a data set within `bounds`, with key and `date` as columns; None where it has no day at all.

    Columns are those of the days in question, matched by name: where a day lacks one, it is null. Days that are here
    and cannot be read are told of by `tell`.
    """
    import pyarrow as pa

    from ghtrader_market.sql.day_files import DayFiles

    # Only files that a manifest names: one that lies beside is not part of the lake.
    found = lake.index.files(dataset)
    left_out = _left_out(lake, dataset, found, bounds)
    if lost := [(key, day) for key, day in left_out if _reads(lake, dataset, key, day)]:
        lake.index.read_again(dataset, {key for key, _ in lost})
        found = lake.index.files(dataset)
        left_out = _left_out(lake, dataset, found, bounds)
    if left_out:
        first = " ".join(left_out[0]).encode(errors="backslashreplace").decode()  # a folder's name may be any bytes
        tell(
            f"{len(left_out)} days of {dataset} cannot be read and are left out, the first {first}: "
            "`ghtrader audit` says what is wrong with them"
        )
    if not found:
        return None
    days = [day for day in found if any(each.holds(day.key, day.day) for each in bounds)] or found[:1]
    partition = PARTITION_NAME[dataset]
    prefix = f"{lake.root.absolute()}/{dataset}/{partition}="
    paths = [f"{prefix}{day.key}/date={day.day}/{day.file}" for day in days]
    schema = _schema(days, paths)
    for name, kind in (("date", pa.date32()), (partition, pa.string())):
        if name in schema.names:  # the folder's word stands before the file's
            schema = schema.remove(schema.get_field_index(name))
        schema = schema.append(pa.field(name, kind))
    values = [{"date": date.fromisoformat(day.day), partition: day.key} for day in days]
    return DayFiles(paths, values, schema)


def _left_out(lake: Lake, dataset: str, found: list[DayFile], bounds: list[Bounds]) -> list[tuple[str, str]]:
    """Key and day of those within `bounds` that have a manifest and are not in the index."""
    prefix, known = f"{PARTITION_NAME[dataset]}=", {(day.key, day.day) for day in found}
    missing = []
    for folder in _names(lake.root / dataset, prefix):
        key = folder.removeprefix(prefix)
        for name in _names(lake.root / dataset / folder, "date="):
            day = name.removeprefix("date=")
            wanted = (key, day) not in known and any(each.holds(key, day) for each in bounds)
            if wanted and (lake.root / dataset / folder / name / MANIFEST).exists():
                missing.append((key, day))
    return sorted(missing)


def _reads(lake: Lake, dataset: str, key: str, day: str) -> bool:
    """Whether a day's manifest can be read, so that the index should have it."""
    try:
        return lake.manifest(dataset, key, date.fromisoformat(day)) is not None
    except (GhtraderError, OSError, ValueError):
        return False


def _names(folder: Path, prefix: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.startswith(prefix)]
    except OSError:
        return []


def _schema(days: list[DayFile], paths: list[str]) -> pa.Schema:
    """Columns of all days: one file is opened for each schema that the index knows of."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    examples = {day.schema_hash: Path(path) for day, path in zip(reversed(days), reversed(paths), strict=True)}
    schemas = [pq.read_schema(require_file(path)).remove_metadata() for path in reversed(examples.values())]
    return schemas[0] if len(schemas) == 1 else pa.unify_schemas(schemas, promote_options="permissive")
