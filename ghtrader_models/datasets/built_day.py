"""Reads what the manifests of one built day say, and refuses features and labels that do not belong together.

What belongs here: one day's two manifests and its provenance columns. Which days go together is `day_selection`'s
question, whether a file was changed since it was built is `day_integrity`'s.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_market.reference.tick_schema import PROVENANCE_COLUMNS
from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.bundles.schema_versions import require_schema
from ghtrader_models.datasets.tick_input import read_provenance

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import DayManifest

FEATURES, LABELS = "features", "labels"
BUILD_AGAIN = "build the day again: ghtrader build with --overwrite"


def day_manifests(lake: Lake, symbol: str, day: date, entry: str) -> tuple[DayManifest, DayManifest]:
    """Manifests of a day's features and labels, known to be made from the ticks there are now.

    Raises
    ------
    FailedError
        The day, or its ticks, are not in the lake.
    IntegrityError
        The two were not made from the same ticks, or not from those that are here; or a schema version does not fit.
    """
    stored = [lake.manifest(name, symbol, day) for name in (FEATURES, LABELS)]
    found: list[DayManifest] = []
    for name, manifest in zip((FEATURES, LABELS), stored, strict=True):
        if manifest is None:
            raise FailedError(
                f"the lake has no {name} of {symbol} on {day}", f"first: ghtrader build --symbol {symbol}"
            )
        require_schema(entry, manifest.built, f"{name} of {symbol} on {day}")
        found.append(manifest)
    features, labels = found
    ticks = lake.manifest(features.source, symbol, day)
    if ticks is None:
        raise FailedError(f"the lake has no {features.source} of {symbol} on {day}", "download or build that day first")
    made_from = {manifest.built.source_hash(features.source) for manifest in (features, labels)}
    if made_from != {ticks.content_hash}:
        raise IntegrityError(
            f"{symbol} on {day}: {features.source} has changed since features and labels were built", BUILD_AGAIN
        )
    return features, labels


def require_provenance(features: pa.Table, made: DayManifest, labels: pa.Table, labelled: DayManifest) -> int:
    """The segment of a day whose rows all name their contract, segment and schedule, as the manifests do.

    Raises
    ------
    IntegrityError
        A day without rows; a provenance column missing, not filled, or other than the manifest's: names day and column.
    """
    for table, manifest in ((features, made), (labels, labelled)):
        where = f"{manifest.dataset} of {manifest.key} on {manifest.day}"
        if table.num_rows == 0:
            raise IntegrityError(f"{where} has no rows", BUILD_AGAIN)
        said = (manifest.context.contract, manifest.segment_id, manifest.built.schedule_hash)
        found = read_provenance(table, where, BUILD_AGAIN)
        for name, one, other in zip(PROVENANCE_COLUMNS, found, said, strict=True):
            if one != other:
                raise IntegrityError(f"{where}: {name} is {one}, its manifest says {other}", BUILD_AGAIN)
    return made.segment_id


def day_facts(day: date, features: DayManifest, labels: DayManifest) -> DayFacts:
    """What the manifests say a day is."""
    context = features.context
    return DayFacts(
        day=day,
        contract=context.contract,
        segment_id=features.segment_id,
        price_tick=float(context.price_tick),
        multiplier=context.multiplier,
        rows=features.rows,
        features_hash=features.content_hash,
        labels_hash=labels.content_hash,
        origin=features.details.origin,
        ticks_hash=features.built.source_hash(features.source),
        schedule_hash=features.built.schedule_hash,
    )
