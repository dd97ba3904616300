"""Builds the features day and the labels day of one day of ticks in the lake.

What belongs here: one day, and all that its two manifests say went into it. A trading day stands alone, so days build
in any order and in parallel; which days, and what becomes of a day that fails, is `build_days`' business, where the
ticks come from `tick_input`'s. The factors are computed in `factors.engine`, the labels in `labels`.

Points where a test may kill a run: ``build.features->labels``, beside the lake's own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import GhtraderError, IntegrityError, RefusedError
from ghtrader_base.failpoints import failpoint
from ghtrader_market.reference.session_times import SESSION_RULE, factor_clock
from ghtrader_market.reference.tick_schema import (
    COLUMN_INDEX,
    PROVENANCE_COLUMNS,
    PROVENANCE_FIELDS,
    has_depth,
    unrecorded_columns,
    values_matrix,
)
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import FeeRates, variety_of
from ghtrader_market.stores.day_details import (
    BuildContext,
    BuiltDetails,
    FactorSetRecord,
    FeatureDetails,
    LabelDetails,
    LabelSpecRecord,
    QualityRecord,
)
from ghtrader_models.bundles.schema_versions import SCHEMA_VERSION, require_schema, schema_version_of
from ghtrader_models.datasets.tick_input import (
    MAIN_L5,
    SourceDay,
    read_source,
    require_source,
    source_bytes_are_whole,
    times_of,
)
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.labels.labels import LabelSpec, compute_labels, mid_prices

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import DayManifest

FEATURES, LABELS = "features", "labels"


@dataclass(frozen=True)
class QualityVerdict:
    """Whether a day's ticks may feed features.

    Attributes
    ----------
    record : QualityRecord or None
        What the manifests shall say of it.
    refusal : GhtraderError or None
        Why it may not.
    """

    record: QualityRecord | None
    refusal: GhtraderError | None = None


QualityGate = Callable[[date], QualityVerdict]


@dataclass(frozen=True)
class BuildResult:
    """What became of a day.

    Attributes
    ----------
    features, labels : DayManifest
        The stored days.
    skipped : bool
        True where both were there already, made from the same inputs.
    left_out : tuple of str
        Factors that this recording's levels, or the columns it has, cannot feed.
    """

    features: DayManifest
    labels: DayManifest
    skipped: bool
    left_out: tuple[str, ...]


def build_day(
    lake: Lake,
    symbol: str,
    day: date,
    factor_set: FactorSet,
    label_spec: LabelSpec,
    *,
    run_id: str,
    overwrite: bool = False,
    calendar: TradingCalendar | None = None,
    kind: str = MAIN_L5,
    gate: QualityGate | None = None,
    rule: int | None = SESSION_RULE,
) -> BuildResult:
    """Build features and labels of one trading day.

    Parameters
    ----------
    lake : Lake
        Holds the day's ticks; features and labels are written there.
    symbol : str
        Key of the series: ``KQ.m@SHFE.cu``, or one contract.
    day : datetime.date
        Trading day.
    factor_set : FactorSet
        What to compute; factors that need deeper levels, or columns (volume ...), than the day holds are left out, and
        the manifest says so.
    label_spec : LabelSpec
        What to label.
    run_id : str
        Kept in the manifests.
    overwrite : bool
        Build anew, also over another configuration.
    calendar : TradingCalendar, optional
        For the session bounds, where a factor uses them; the bundled one by default.
    kind : str
        The dataset the ticks are in: ``main_l5``, or ``ticks`` for one contract.
    gate : callable, optional
        Asked about the day's quality; its record is kept in both manifests, its refusal raised.
    rule : int, optional
        As in `read_source`.

    Returns
    -------
    BuildResult
        A day whose inputs are all as they were is not touched.

    Raises
    ------
    FailedError
        The day's ticks are not there, or `gate` says they are not ready.
    IntegrityError
        They have no rows, a provenance column is missing or not filled, they mix contracts or segments, their prices
        are not on the contract's grid, or their bytes are not what their manifest says. Nothing is written.
    RefusedError
        The stored day, or its nearest neighbour, was built with another configuration.
    """
    origin = require_source(lake, kind, symbol, day)
    calendar = calendar or bundled_calendar()
    verdict = gate(day) if gate is not None else QualityVerdict(None)
    if not overwrite:
        stored = {dataset: lake.manifest(dataset, symbol, day) for dataset in (FEATURES, LABELS)}
        others = (other for other in lake.days(FEATURES, symbol) if other != day)
        nearest = min(others, key=lambda other: abs((other - day).days), default=day)
        refuse_other_configuration(lake, symbol, day, factor_set, label_spec)
        with contextlib.suppress(IntegrityError):  # a garbled manifest is that other day's fault
            refuse_other_configuration(lake, symbol, nearest, factor_set, label_spec)
        sound = verdict.refusal is None and source_bytes_are_whole(lake, kind, symbol, day)
        if sound and all(
            _is_current(manifest, kind, origin, day, factor_set, label_spec, verdict.record, calendar)
            for manifest in stored.values()
        ):
            features, labels = stored[FEATURES], stored[LABELS]
            if features is not None and labels is not None:  # nothing that is not there is current
                return BuildResult(features, labels, True, features.features.left_out or ())

    source = read_source(lake, kind, symbol, day, calendar, rule)
    if verdict.refusal is not None:
        raise verdict.refusal
    context = build_context(source.contract, day, factor_set, calendar)
    values = values_matrix(source.table)
    _check_grid(values, context.price_tick, source.contract, day)
    provenance = [source.table.column(name).combine_chunks() for name in PROVENANCE_COLUMNS]
    levels = 5 if has_depth(source.table) else 1
    used, left_out = factor_set.restrict_levels(levels)
    used, without = used.restrict_columns(unrecorded_columns(source.table))
    left_out += without
    times = times_of(source.table)
    clock = factor_clock(times, calendar.sessions(variety_of(source.contract), day))

    inputs = _inputs(kind, origin, source, context, verdict.record, rule)
    features = lake.write_day(
        FEATURES,
        symbol,
        day,
        _feature_table(times, clock, values, used, context, provenance),
        source=kind,
        run_id=run_id,
        details=FeatureDetails(
            spec_hash=factor_set.spec_hash,
            factor_set=FactorSetRecord.from_json(used.spec().to_dict()),
            factor_set_hash=used.spec_hash,
            levels=levels,
            left_out=left_out,
            warm_up_ticks=used.warm_up_ticks,
            **vars(inputs),
        ),
    )
    failpoint("build.features->labels")
    fees = fees_of_labels(source.contract, day, label_spec)
    label_table = _label_table(times, values, label_spec, context, fees, provenance)
    labels = lake.write_day(
        LABELS,
        symbol,
        day,
        label_table,
        source=kind,
        run_id=run_id,
        details=LabelDetails(
            spec_hash=label_spec.spec_hash,
            label_spec=LabelSpecRecord.from_json(label_spec.to_dict()),
            counts=_counts(label_table, label_spec),
            fees=fees,
            **vars(inputs),
        ),
    )
    return BuildResult(features, labels, False, left_out)


def refuse_other_configuration(
    lake: Lake, symbol: str, day: date, factor_set: FactorSet, label_spec: LabelSpec
) -> None:
    """Refuse to build beside a stored day that was made with other factors, labels or schema.

    Raises
    ------
    RefusedError
        Naming the day and what differs.
    """
    for dataset, spec_hash in ((FEATURES, factor_set.spec_hash), (LABELS, label_spec.spec_hash)):
        found = lake.manifest(dataset, symbol, day)
        if found is None:
            continue
        known: FeatureDetails | LabelDetails = found.features if dataset == FEATURES else found.labels
        if known.spec_hash != spec_hash:
            raise RefusedError(
                f"{dataset} of {symbol} on {day} were built with another configuration",
                "pass --overwrite to replace them, and rebuild the other days too",
            )
        try:
            require_schema("build", known, f"{dataset} of {symbol} on {day}")
        except IntegrityError as exc:
            raise RefusedError(exc.message, exc.hint) from exc


def _is_current(
    manifest: DayManifest | None,
    kind: str,
    ticks: DayManifest,
    day: date,
    factor_set: FactorSet,
    label_spec: LabelSpec,
    quality: QualityRecord | None,
    calendar: TradingCalendar,
) -> bool:
    """Whether a stored day was made from what there is now (its configuration is known to be the same)."""
    if manifest is None or manifest.built.source_hash(kind) != ticks.content_hash:
        return False
    if kind != MAIN_L5 and manifest.built.session_rule != SESSION_RULE:
        return False
    known = manifest.built
    if known.origin != ticks.details.origin:
        return False
    if schema_version_of(known) != SCHEMA_VERSION or known.quality != quality or known.context is None:
        return False
    contract = known.context.contract
    if isinstance(known, LabelDetails) and known.fees != fees_of_labels(contract, day, label_spec):
        return False
    return known.context == build_context(contract, day, factor_set, calendar)


def _inputs(
    kind: str,
    origin: DayManifest,
    source: SourceDay,
    context: BuildContext,
    quality: QualityRecord | None,
    rule: int | None,
) -> BuiltDetails:
    """What both manifests say of where the day comes from."""
    return BuiltDetails(
        schema_version=SCHEMA_VERSION,
        main_l5_content_hash=origin.content_hash if kind == MAIN_L5 else None,
        ticks_content_hash=origin.content_hash if kind != MAIN_L5 else None,
        segment_id=source.segment_id,
        schedule_hash=source.schedule_hash,
        context=context,
        quality=quality,
        session_rule=rule if kind != MAIN_L5 else None,
        origin=origin.details.origin,
    )


def build_context(contract: str, day: date, factor_set: FactorSet, calendar: TradingCalendar) -> BuildContext:
    """What is computed with, the ticks apart."""
    variety = variety_of(contract)
    sessions: tuple[tuple[int, int], ...] = ()
    if factor_set.needs_session:
        sessions = tuple((start, end) for start, end in calendar.sessions(variety, day))
    return BuildContext(
        contract=contract,
        price_tick=variety.price_tick(contract, day),
        multiplier=variety.multiplier,
        sessions=sessions,
    )


def fees_of_labels(contract: str, day: date, spec: LabelSpec) -> FeeRates | None:
    """The fees that the labels depend on; None where they depend on none."""
    return variety_of(contract).fees(contract, day) if spec.needs_fees else None


def _check_grid(values: np.ndarray, price_tick: float, contract: str, day: date) -> None:
    """A wrong price tick would bend every factor and label quietly."""
    for name in ("bid_price1", "ask_price1"):
        steps = values[COLUMN_INDEX[name]] / price_tick
        off = np.flatnonzero(np.abs(steps - np.rint(steps)) > 1e-3)
        if off.size:
            price = values[COLUMN_INDEX[name], off[0]]
            raise IntegrityError(
                f"{contract} on {day}: {name} {price:g} at row {off[0]} is off the grid of {price_tick:g}",
                "correct the price tick in varieties.toml, or the recording",
            )


def _rows(count: int, width: int) -> np.ndarray:
    """float32[count, width] of this thread, used again for its next day: fresh memory takes the system its time."""
    held = getattr(_memory, "rows", None)
    if held is None or held.size < count * width:
        held = _memory.rows = np.empty(count * width, np.float32)
    return held[: count * width].reshape(count, width)


_memory = threading.local()


def _feature_table(
    times: np.ndarray,
    clock: np.ndarray,
    values: np.ndarray,
    used: FactorSet,
    context: BuildContext,
    provenance: list[pa.Array],
) -> pa.Table:
    """`clock`, int64[n], is what the factors take for the times."""
    from ghtrader_models.factors.engine import FactorEngine

    engine = FactorEngine(used, context.price_tick, context.multiplier, context.sessions or None)
    rows = engine.batch(clock, values, out=_rows(len(times), len(used)))
    columns = rows.T.copy()  # always: the rows are the next day's, too
    fields = [("datetime_ns", pa.int64()), *((name, pa.float32()) for name in used.names), *PROVENANCE_FIELDS]
    return pa.table([times, *columns, *provenance], schema=pa.schema(fields))


def _label_table(
    times: np.ndarray,
    values: np.ndarray,
    spec: LabelSpec,
    context: BuildContext,
    fees: FeeRates | None,
    provenance: list[pa.Array],
) -> pa.Table:
    columns = compute_labels(
        spec,
        values[COLUMN_INDEX["bid_price1"]],
        values[COLUMN_INDEX["ask_price1"]],
        price_tick=context.price_tick,
        fees=fees,
        multiplier=context.multiplier,
    )
    fields = [
        ("datetime_ns", pa.int64()),
        ("mid", pa.float64()),
        *((name, pa.int8()) for name in spec.columns),
        *PROVENANCE_FIELDS,
    ]
    return pa.table([times, mid_prices(values), *columns, *provenance], schema=pa.schema(fields))


def _counts(table: pa.Table, spec: LabelSpec) -> dict[str, tuple[int, ...]]:
    """Per label column: rows without a label, DOWN, FLAT, UP."""
    counted = {name: np.bincount(table.column(name).to_numpy() + 1, minlength=4) for name in spec.columns}
    return {name: tuple(counts.tolist()) for name, counts in counted.items()}
