"""From a main_l5 day of the lake to its features day and its labels day.

What belongs here: reading one day, refusing what is not whole, and writing both results with all that went into them.
A trading day stands alone, so days build in any order and in parallel. The factors are computed in `factors.engine`,
the labels in `labels`; which days are built, and when, is the caller's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import FailedError, IntegrityError, RefusedError
from ghtrader_market.calendar import TradingCalendar, bundled_calendar
from ghtrader_market.ticks import COLUMN_INDEX, PROVENANCE_COLUMNS, PROVENANCE_FIELDS, has_depth, values_matrix
from ghtrader_market.varieties import variety_of
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.labels import LabelSpec, event_labels, label_column, mid_prices

if TYPE_CHECKING:
    from ghtrader_market.stores.lake import DayManifest, Lake

SOURCE, FEATURES, LABELS = "main_l5", "features", "labels"


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
        Factors that this recording's levels cannot feed.
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
) -> BuildResult:
    """Build features and labels of one trading day.

    Parameters
    ----------
    lake : Lake
        Holds the main_l5 day; features and labels are written there.
    symbol : str
        Key of the series: ``KQ.m@SHFE.cu``.
    day : datetime.date
        Trading day.
    factor_set : FactorSet
        What to compute; factors that need deeper levels than the day holds are left out, and the manifest says so.
    label_spec : LabelSpec
        What to label.
    run_id : str
        Kept in the manifests.
    overwrite : bool
        Build anew, also over another configuration.
    calendar : TradingCalendar, optional
        For the session bounds, where a factor uses them; the bundled one by default.

    Returns
    -------
    BuildResult
        A day whose inputs are all as they were is not touched.

    Raises
    ------
    FailedError
        The main_l5 day is not there.
    IntegrityError
        It has no rows, a provenance column is missing or not filled, it mixes contracts or segments, or its prices are
        not on the contract's grid. Nothing is written.
    RefusedError
        The stored day, or its nearest neighbour, was built with another configuration.
    """
    source = lake.manifest(SOURCE, symbol, day)
    if source is None:
        raise FailedError(f"no {SOURCE} of {symbol} on {day} in the lake", "build it first: ghtrader main-l5")
    configuration = {FEATURES: factor_set.spec_hash, LABELS: label_spec.spec_hash}
    stored = {dataset: lake.manifest(dataset, symbol, day) for dataset in configuration}
    if not overwrite:
        for dataset, spec_hash in configuration.items():
            _refuse_other_configuration(lake, dataset, symbol, day, spec_hash)
        if all(
            _is_current(manifest, source.content_hash, symbol, day, factor_set, calendar)
            for manifest in stored.values()
        ):
            left_out = tuple(stored[FEATURES].extra["left_out"])
            return BuildResult(stored[FEATURES], stored[LABELS], True, left_out)

    table = lake.read_day(SOURCE, symbol, day)
    contract = _contract_of(table, symbol, day)
    context = _context(contract, day, factor_set, calendar)
    values = values_matrix(table)
    _check_grid(values, context["price_tick"], contract, day)
    times = table.column("datetime_ns").combine_chunks().to_numpy(zero_copy_only=False)
    levels = 5 if has_depth(table) else 1
    used, left_out = factor_set.restrict_levels(levels)
    provenance = [table.column(name).combine_chunks() for name in PROVENANCE_COLUMNS]
    inputs = {"main_l5_content_hash": source.content_hash, "context": context}

    features = lake.write_day(
        FEATURES,
        symbol,
        day,
        _feature_table(times, values, used, context, provenance),
        source=SOURCE,
        run_id=run_id,
        extra={
            "spec_hash": configuration[FEATURES],
            "factor_set": used.spec(),
            "factor_set_hash": used.spec_hash,
            "levels": levels,
            "left_out": list(left_out),
            "warm_up_ticks": used.warm_up_ticks,
            **inputs,
        },
    )
    label_table = _label_table(times, values, label_spec, context, provenance)
    labels = lake.write_day(
        LABELS,
        symbol,
        day,
        label_table,
        source=SOURCE,
        run_id=run_id,
        extra={
            "spec_hash": configuration[LABELS],
            "label_spec": label_spec.spec(),
            "counts": _counts(label_table, label_spec),
            **inputs,
        },
    )
    return BuildResult(features, labels, False, left_out)


def _refuse_other_configuration(lake: Lake, dataset: str, symbol: str, day: date, spec_hash: str) -> None:
    """The day itself and the stored day nearest to it must have been built with the same spec."""
    days = sorted(lake.days(dataset, symbol), key=lambda other: abs((other - day).days))
    for other in days[:2] if day in days else days[:1]:
        found = lake.manifest(dataset, symbol, other)
        if found is not None and found.extra.get("spec_hash") != spec_hash:
            raise RefusedError(
                f"{dataset} of {symbol} on {other} were built with another configuration",
                "pass --overwrite to replace them, and rebuild the other days too",
            )


def _is_current(
    manifest: DayManifest | None,
    content_hash: str,
    symbol: str,
    day: date,
    factor_set: FactorSet,
    calendar: TradingCalendar | None,
) -> bool:
    """Whether a stored day was made from what there is now (its configuration is known to be the same)."""
    if manifest is None or manifest.extra.get("main_l5_content_hash") != content_hash:
        return False
    context = manifest.extra["context"]
    return context == _context(context["contract"], day, factor_set, calendar)


def _context(contract: str, day: date, factor_set: FactorSet, calendar: TradingCalendar | None) -> dict[str, Any]:
    """What is computed with, the ticks apart."""
    variety = variety_of(contract)
    sessions: list[list[int]] = []
    if factor_set.needs_session:
        sessions = [list(bounds) for bounds in (calendar or bundled_calendar()).sessions(variety, day)]
    return {
        "contract": contract,
        "price_tick": variety.price_tick(contract, day),
        "multiplier": variety.multiplier,
        "sessions": sessions,
    }


def _contract_of(table: pa.Table, symbol: str, day: date) -> str:
    """The one contract a day belongs to, its provenance being whole."""
    where = f"{SOURCE} of {symbol} on {day}"
    hint = "rebuild the day: ghtrader main-l5 with --overwrite"
    if table.num_rows == 0:
        raise IntegrityError(f"{where} has no rows", hint)
    for name in PROVENANCE_COLUMNS:
        if name not in table.column_names:
            raise IntegrityError(f"{where} has no column {name}", hint)
        column = table.column(name)
        if column.null_count or "" in (found := column.unique().to_pylist()):
            raise IntegrityError(f"{where} has rows without {name}", hint)
        if len(found) != 1:
            raise IntegrityError(f"{where} mixes {len(found)} values of {name}", hint)
    return table.column("underlying_contract")[0].as_py()


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


def _feature_table(
    times: np.ndarray, values: np.ndarray, used: FactorSet, context: dict[str, Any], provenance: list[pa.Array]
) -> pa.Table:
    from ghtrader_models.factors.engine import FactorEngine

    engine = FactorEngine(used, context["price_tick"], context["multiplier"], context["sessions"] or None)
    columns = np.ascontiguousarray(engine.batch(times, values).T)
    fields = [("datetime_ns", pa.int64()), *((name, pa.float32()) for name in used.names), *PROVENANCE_FIELDS]
    return pa.table([times, *columns, *provenance], schema=pa.schema(fields))


def _label_table(
    times: np.ndarray, values: np.ndarray, spec: LabelSpec, context: dict[str, Any], provenance: list[pa.Array]
) -> pa.Table:
    mid = mid_prices(values)
    columns = [event_labels(mid, n, spec.threshold_ticks, price_tick=context["price_tick"]) for n in spec.horizons]
    fields = [
        ("datetime_ns", pa.int64()),
        ("mid", pa.float64()),
        *((name, pa.int8()) for name in spec.columns),
        *PROVENANCE_FIELDS,
    ]
    return pa.table([times, mid, *columns, *provenance], schema=pa.schema(fields))


def _counts(table: pa.Table, spec: LabelSpec) -> dict[str, list[int]]:
    """Per label column: rows without a label, DOWN, FLAT, UP."""
    columns = {label_column(n): table.column(label_column(n)).to_numpy() for n in spec.horizons}
    return {name: np.bincount(column + 1, minlength=4).tolist() for name, column in columns.items()}
