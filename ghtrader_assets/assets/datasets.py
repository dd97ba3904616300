"""Features and labels of main_l5 days. One pass over the ticks makes both, so one op does; days stand alone."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from ghtrader_assets.families import HORIZONS
from ghtrader_assets.guard import guarded
from ghtrader_assets.partitions import PARTITIONS, day_key, days_by_variety
from ghtrader_assets.reporting import of_manifest, plot_bars, say
from ghtrader_assets.resources import HomeResource
from ghtrader_market.stores.lake import DayManifest
from ghtrader_market.varieties import get_variety

GROUP = "datasets"
CODE_VERSION = "1"


class BuildConfig(dg.Config):
    """What is built.

    `factor_set` names a set of the library. With `overwrite` days built with another configuration are replaced;
    without it they are refused.
    """

    factor_set: str = "lean"
    overwrite: bool = False


def _spec(name: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        group_name=GROUP,
        code_version=CODE_VERSION,
        kinds={"parquet"},
        deps=["main_l5"],
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
    """Build the days of the run that are not there yet with this configuration."""
    from ghtrader_models.build import build_day
    from ghtrader_models.factors.library import get_factor_set
    from ghtrader_models.labels import LabelSpec

    factors, label_spec = get_factor_set(config.factor_set), LabelSpec(horizons=HORIZONS)
    for variety, days in days_by_variety(context.partition_keys).items():
        symbol = get_variety(variety).continuous_symbol
        with home.lock(f"datasets-{variety}", "build features and labels"):
            for index, day in enumerate(days):
                built = build_day(
                    home.lake,
                    symbol,
                    day,
                    factors,
                    label_spec,
                    run_id=context.run_id,
                    overwrite=config.overwrite,
                    calendar=home.calendar,
                )
                done = "was there" if built.skipped else f"{built.features.rows} rows"
                say(f"features and labels {variety} {day}: {done} ({index + 1}/{len(days)})")
                made = {
                    "features": _features_metadata(config.factor_set, built.features),
                    "labels": _labels_metadata(f"{symbol} {day}", built.labels),
                }
                for key in context.selected_asset_keys:
                    found = made[key.to_user_string()]
                    context.add_asset_metadata(found, asset_key=key, partition_key=day_key(day, variety))
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)


def _features_metadata(name: str, manifest: DayManifest) -> dict[str, Any]:
    extra = manifest.extra
    return of_manifest(
        manifest,
        factor_set=name,
        factors=len(extra["factor_set"]["factors"]),
        levels=extra["levels"],
        left_out=list(extra["left_out"]),
        warm_up_ticks=extra["warm_up_ticks"],
        spec_hash=extra["spec_hash"],
        main_l5_content_hash=extra["main_l5_content_hash"],
    )


def _labels_metadata(title: str, manifest: DayManifest) -> dict[str, Any]:
    # label column -> rows without a label, DOWN, FLAT, UP; nearest horizon first
    counts = dict(sorted(manifest.extra["counts"].items(), key=lambda item: int(item[0].rpartition("_")[2])))
    shares = {
        name: [column[code] / max(1, sum(column[1:])) for column in counts.values()]
        for code, name in ((1, "down"), (2, "flat"), (3, "up"))
    }
    return of_manifest(
        manifest,
        counts=_counts_table(counts),
        spec_hash=manifest.extra["spec_hash"],
        plot=plot_bars(list(counts), shares, title, "share of labelled ticks"),
    )


def _counts_table(counts: dict[str, list[int]]) -> dg.TableMetadataValue:
    """One row a label column: rows of each class, and rows whose horizon ends after the day."""
    columns = ("none", "down", "flat", "up")
    return dg.TableMetadataValue(
        records=[
            dg.TableRecord({"label": name, **dict(zip(columns, found, strict=True))}) for name, found in counts.items()
        ],
        schema=dg.TableSchema([dg.TableColumn("label"), *(dg.TableColumn(name, "int") for name in columns)]),
    )
