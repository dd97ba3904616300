"""Features and labels of main_l5 days. One pass over the ticks makes both, so one op does; days stand alone."""

from collections.abc import Iterator

import dagster as dg
import numpy as np

from ghtrader_assets.guard import guarded
from ghtrader_assets.partitions import HORIZONS, PARTITIONS, day_key, days_by_variety
from ghtrader_assets.reporting import plot_bars, say
from ghtrader_assets.resources import HomeResource
from ghtrader_base.errors import UsageError
from ghtrader_market.symbols import continuous_symbol
from ghtrader_market.ticks import has_depth

GROUP = "datasets"
CODE_VERSION = "1"
_CLASSES = {0: "down", 1: "flat", 2: "up"}


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

    label_spec = LabelSpec(horizons=HORIZONS)
    for variety, days in days_by_variety(context.partition_keys).items():
        symbol = continuous_symbol(variety)
        with home.lock(f"datasets-{variety}", "build features and labels"):
            for index, day in enumerate(days):
                if not home.lake.has_day("main_l5", symbol, day):
                    raise UsageError(
                        f"main_l5 of {variety} on {day} is not built",
                        f"first: ghtrader main-l5 --var {variety} --start {day} --end {day}",
                    )
                levels = 5 if has_depth(home.lake.read_day("main_l5", symbol, day)) else 1
                factors = get_factor_set(config.factor_set, levels=levels)
                built = build_day(
                    home.lake, symbol, day, factors, label_spec, run_id=context.run_id, overwrite=config.overwrite
                )
                done = "was there" if built.skipped else f"{built.features.rows} rows"
                say(f"features and labels {variety} {day}: {done} ({index + 1}/{len(days)})")
                key = day_key(day, variety)
                names = {output.to_user_string() for output in context.selected_asset_keys}
                if "features" in names:
                    found = {
                        "rows": built.features.rows,
                        "content_hash": built.features.content_hash,
                        "factors": len(factors.names),
                        "factor_set": config.factor_set,
                        "levels": levels,
                        "spec_hash": factors.spec_hash,
                    }
                    context.add_asset_metadata(found, asset_key="features", partition_key=key)
                if "labels" in names:
                    context.add_asset_metadata(_labels_metadata(home, symbol, day, built), asset_key="labels", partition_key=key)
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)


def _labels_metadata(home: HomeResource, symbol: str, day: object, built: object) -> dict[str, object]:
    columns = [f"label_{horizon}" for horizon in HORIZONS]
    table = home.lake.read_day("labels", symbol, day, columns=columns)
    shares: dict[str, list[float]] = {name: [] for name in _CLASSES.values()}
    for column in columns:
        values = table[column].to_numpy()
        known = values[values >= 0]
        for code, name in _CLASSES.items():
            shares[name].append(float(np.mean(known == code)) if len(known) else 0.0)
    return {
        "rows": built.labels.rows,
        "content_hash": built.labels.content_hash,
        "shares": {f"{horizon}": {name: round(shares[name][i], 4) for name in shares} for i, horizon in enumerate(HORIZONS)},
        "plot": plot_bars([str(horizon) for horizon in HORIZONS], shares, f"{symbol} {day}", "share of ticks"),
    }
