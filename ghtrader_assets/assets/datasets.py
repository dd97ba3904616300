"""Defines the datasets asset: features and labels of main_l5 days.

One pass over the ticks makes both, so one op does; days stand alone.

`build_series` builds days of any series; the job `build_contract` uses it for single contracts.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from ghtrader_assets.label_horizons import horizons_of_settings
from ghtrader_assets.partitions import PARTITIONS, day_key, days_by_variety
from ghtrader_assets.resources.progress import of_manifest, plot_bars, say
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.build_options import BuildOptions
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.outcomes import Outcomes, together
from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.lock_keys import build_key
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.manifests import DayManifest

if TYPE_CHECKING:
    from ghtrader_models.datasets.build_day import BuildResult, QualityGate
    from ghtrader_models.datasets.build_days import BuildReport

GROUP = "datasets"
CODE_VERSION = "2"


_DEFAULTS = BuildOptions()


class BuildConfig(RunConfig):
    """What is built.

    `factor_set`: a set of the library, or a file of one. `labels`, `threshold`, `horizons`: the label definition by
    name, its price ticks (None: the definition's own), the ticks ahead (empty: GHTRADER_HORIZONS). With `overwrite`
    days built with another configuration are replaced; without it they are refused. `workers`: days at once, 0 for one
    a core. `accept_quality`: also days whose ticks are not ready; `allow_unfinished`: also those that were not recorded
    to their end. `strict`: a day without provenance fails; where off,
    it is left out. `no_odd_days`: days that do not go with the others fail the run once all are built.
    `mix`: days of different markets may stand in one series.
    """

    factor_set: str = _DEFAULTS.factor_set
    labels: str = _DEFAULTS.labels
    threshold: float | None = _DEFAULTS.threshold
    horizons: list[int] = list(_DEFAULTS.horizons)
    overwrite: bool = _DEFAULTS.overwrite
    workers: int = _DEFAULTS.workers
    accept_quality: bool = _DEFAULTS.accept_quality
    allow_unfinished: bool = _DEFAULTS.allow_unfinished
    strict: bool = _DEFAULTS.strict
    mix: bool = _DEFAULTS.mix
    no_odd_days: bool = _DEFAULTS.no_odd_days


def _spec(name: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        group_name=GROUP,
        code_version=CODE_VERSION,
        kinds={"parquet"},
        deps=["main_l5"],
        skippable=True,  # where days are left out, each of the others is reported for itself
        description={
            "features": "One row of factors a tick of main_l5, NaN until each factor is warm.",
            "labels": "Where the mid went after each horizon's number of ticks: down, flat, up, or none.",
        }[name],
    )


@dg.multi_asset(
    specs=[_spec("features"), _spec("labels")],
    partitions_def=PARTITIONS.day_variety,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
)
@guarded
def datasets(
    context: dg.AssetExecutionContext, config: BuildConfig, home: HomeResource
) -> Iterator[dg.MaterializeResult]:
    """Build the days of the run that are not there yet with this configuration; one that fails is named at the end."""
    outcomes = Outcomes(context)
    reports: dict[str, BuildReport] = {}
    for variety, days in days_by_variety(context.partition_keys).items():
        with outcomes.item(variety):
            symbol = get_variety(variety).continuous_symbol
            reports[variety] = build_series(home, symbol, "main_l5", days, config, context.run_id)
            reports[variety].raise_if_failed()
    whole = not outcomes.failed and not any(report.left_out for report in reports.values())
    for variety, report in reports.items():
        for day, built in sorted(report.built.items()):
            made = metadata_of(config.factor_set, report.symbol, day, built)
            for key in context.selected_asset_keys:
                found, partition = made[key.to_user_string()], day_key(day, variety)
                if whole:
                    context.add_asset_metadata(found, asset_key=key, partition_key=partition)
                else:  # the result of the op would speak for every day of the run
                    context.log_event(dg.AssetMaterialization(key, partition=partition, metadata=found))
    if outcomes.failed:
        raise together(outcomes.failed, sum(len(report.built) for report in reports.values()))
    if whole:
        for key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)


def build_series(
    home: HomeResource, symbol: str, kind: str, days: Sequence[date], config: BuildConfig, run_id: str
) -> "BuildReport":
    """Features and labels of some days of one series, under its lock, with a line of progress a day."""
    from ghtrader_models.datasets.build_day import BuildResult
    from ghtrader_models.datasets.build_days import build_days, refuse_odd_days
    from ghtrader_models.factors.library.sets import get_factor_set
    from ghtrader_models.labels.labels import LabelSpec

    factors = get_factor_set(config.factor_set)
    horizons = tuple(sorted(set(config.horizons))) or horizons_of_settings(home.settings)
    labels = LabelSpec.named(config.labels, horizons, config.threshold)
    started = time.monotonic()

    def told(day: date, outcome: BuildResult | GhtraderError, done: int, of: int) -> None:
        if isinstance(outcome, BuildResult):
            text = "was there" if outcome.skipped else f"{outcome.features.rows} rows"
        else:
            text = f"{'failed' if config.strict else 'left out or failed'}: {outcome.message}"
        left = (time.monotonic() - started) / done * (of - done)
        say(f"features and labels {symbol} {day}: {text} ({done}/{of}, {left:.0f} s left)")

    with home.lock(build_key(symbol), "build features and labels", run_id):
        report = build_days(
            home.lake,
            symbol,
            days,
            factors,
            labels,
            run_id=run_id,
            overwrite=config.overwrite,
            calendar=home.calendar,
            kind=kind,
            gate=quality_gate(home, kind, symbol, config.accept_quality, config.allow_unfinished),
            strict=config.strict,
            mix=config.mix or home.settings.mix_origins,
            workers=config.workers,
            on_day=told,
        )
        if config.no_odd_days and not report.failed:
            refuse_odd_days(home.lake, symbol, report.built, home.calendar)
        return report


def quality_gate(
    home: HomeResource, kind: str, symbol: str, accept_quality: bool, allow_unfinished: bool = False
) -> "QualityGate":
    """The gate of `build_day`: a day that is not ready is refused, unless accepted; either way the manifest tells."""
    from ghtrader_market.quality.readiness import UNFINISHED, readiness
    from ghtrader_market.stores.day_details import QualityRecord
    from ghtrader_models.datasets.build_day import QualityVerdict

    def verdict(day: date) -> QualityVerdict:
        found = readiness(home.settings, kind, symbol, day, calendar=home.calendar)
        unfinished = found.reason_code == UNFINISHED
        accept = accept_quality or (allow_unfinished and unfinished)
        record = QualityRecord(
            overall_state=found.overall_state, reason_code=found.reason_code,
            accepted=True if accept and not found.ready else None,
        )  # fmt: skip
        if found.ready or accept:
            return QualityVerdict(record)
        message = f"{kind} of {symbol} on {day} is not ready: {found.reason_code}"
        hint = found.action_hint or "look at it, or pass --accept-quality"
        if unfinished:
            hint += "; to use it as it is: --allow-unfinished"
        return QualityVerdict(record, FailedError(message, hint))

    return verdict


def metadata_of(factor_set: str, symbol: str, day: date, built: "BuildResult") -> dict[str, dict[str, Any]]:
    """What "features" and "labels" say of one day in Dagster."""
    return {
        "features": _features_metadata(factor_set, built.features),
        "labels": _labels_metadata(f"{symbol} {day}", built.labels),
    }


def _features_metadata(name: str, manifest: DayManifest) -> dict[str, Any]:
    known = manifest.features
    quality = known.quality.to_json() if known.quality is not None else {}
    return of_manifest(
        manifest,
        factor_set=name,
        factors=len(manifest.factor_names),
        levels=known.levels,
        left_out=list(known.left_out or ()),
        warm_up_ticks=known.warm_up_ticks,
        spec_hash=known.spec_hash,
        ticks_hash=known.source_hash(manifest.source),
        schedule_hash=known.schedule_hash,
        schema_version=known.schema_version,
        **{f"quality_{name}": value for name, value in quality.items()},
    )


def _labels_metadata(title: str, manifest: DayManifest) -> dict[str, Any]:
    # label column -> rows without a label, DOWN, FLAT, UP; nearest horizon first
    known = manifest.labels
    counts = dict(sorted((known.counts or {}).items(), key=lambda item: int(item[0].rpartition("_")[2])))
    shares = {
        name: [column[code] / max(1, sum(column[1:])) for column in counts.values()]
        for code, name in ((1, "down"), (2, "flat"), (3, "up"))
    }
    return of_manifest(
        manifest,
        counts=_counts_table(counts),
        spec_hash=known.spec_hash,
        definition=manifest.label_spec.definition,
        threshold_ticks=manifest.label_spec.threshold_ticks,
        plot=plot_bars(list(counts), shares, title, "share of labelled ticks"),
    )


def _counts_table(counts: dict[str, tuple[int, ...]]) -> dg.TableMetadataValue:
    """One row a label column: rows of each class, and rows whose horizon ends after the day."""
    columns = ("none", "down", "flat", "up")
    return dg.TableMetadataValue(
        records=[
            dg.TableRecord({"label": name, **dict(zip(columns, found, strict=True))}) for name, found in counts.items()
        ],
        schema=dg.TableSchema([dg.TableColumn("label"), *(dg.TableColumn(name, "int") for name in columns)]),
    )
