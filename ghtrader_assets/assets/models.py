"""Defines the asset that trains one model family, by horizon and variety.

It trains on the built days, writes the bundle and registers it.

A bundle is a candidate and no more; whether it may trade is asked of `benchmark_report` by `champion`.
Failpoint: ``train.bundle->mlflow``.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ghtrader_assets.assets.family_config import TrainConfig, changes_of, train_config
from ghtrader_assets.partitions import PARTITIONS, all_days_of_variety, horizon_key, split_horizon_key
from ghtrader_assets.resources.progress import png_bytes_markdown, say
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.results.built_days import built_days
from ghtrader_assets.results.reports_store import save_candidate
from ghtrader_assets.results.sweeps_store import configurations_tried
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.outcomes import Outcomes
from ghtrader_base.failpoints import failpoint
from ghtrader_base.lock_keys import train_key
from ghtrader_market.reference.tick_origin import words_of
from ghtrader_market.reference.varieties import get_variety, variety_of
from ghtrader_models.bundles.left_out_days import LeftOutDay
from ghtrader_models.bundles.provenance import BundleContent

GROUP = "models"
CODE_VERSION = "1"
CUT_OFF = "cache/training"
"""Under the home: checkpoints of training runs that did not end, which the same run goes on from."""


def days_of_variety_deps(*names: str) -> list[dg.AssetDep]:
    """Upstream day x variety assets, all days of the same variety."""
    return [dg.AssetDep(name, partition_mapping=all_days_of_variety()) for name in names]


def model_asset(family: str) -> dg.AssetsDefinition:
    """The asset that trains one family; its config is typed by the family's own dataclass."""
    config_class = train_config(family)

    @dg.asset(
        name=f"model_{family}",
        group_name=GROUP,
        code_version=CODE_VERSION,
        kinds={family, "mlflow"},
        partitions_def=PARTITIONS.horizon_variety,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=days_of_variety_deps("features", "labels"),
        description=f"A {family} model of one horizon, as a bundle under models/bundles and a version in MLflow.",
    )
    @guarded
    def body(context: dg.AssetExecutionContext, config: config_class, home: HomeResource) -> None:  # type: ignore[valid-type]
        outcomes = Outcomes(context)
        for key in map(str, context.partition_keys):
            horizon, variety = split_horizon_key(key)
            with outcomes.item(key):
                symbol = get_variety(variety).continuous_symbol
                found = train_series(home, symbol, family, horizon, config, context.run_id)
                outcomes.made(f"model_{family}", key, found)
        outcomes.conclude()

    return body


def tell_left_out(symbol: str, left_out: Sequence[LeftOutDay]) -> None:
    """A line of progress for each day that takes no part."""
    for found in left_out:
        say(f"{symbol}: left out {found}")


def train_series(
    home: HomeResource, symbol: str, family: str, horizon: int, config: TrainConfig, run_id: str
) -> dict[str, Any]:
    """Train one family on the built days of one series, register the bundle, say what it is."""
    from ghtrader_models.evaluation.plots import factor_importance
    from ghtrader_models.evaluation.policy_fit import PolicyOptions
    from ghtrader_models.families.base import get_family, make_config
    from ghtrader_models.families.training_session import ENCODERS, TrainingSession
    from ghtrader_models.registry.logged_model import example_rows
    from ghtrader_models.registry.mlflow_tracking import Tracker, day_tags
    from ghtrader_models.training import train

    days = built_days(home.lake, symbol, config.start, config.end)
    say(f"{family} at horizon {horizon}: training on {len(days)} days of {symbol}")
    tracker = Tracker(home.settings)
    tags = {"dagster.run_id": run_id, "dagster.partition": horizon_key(horizon, variety_of(symbol).key)}
    with (
        home.lock(train_key(family, symbol, horizon), f"train {family}", run_id),
        tracker.run(symbol, f"train-{family}-h{horizon}", tags) as mlflow_run,
    ):
        bundle = train(
            home.lake,
            home.settings.models,
            symbol,
            family,
            horizon,
            days,
            until_ns=config.until_ns,
            seed=config.seed,
            config=make_config(get_family(family), changes_of(config)),
            policy=PolicyOptions.from_dict(config.policy),
            run_id=run_id,
            strict=config.strict,
            mix=config.mix or home.settings.mix_origins,
            calendar=home.calendar,
            cache=home.settings.cache,
            session=TrainingSession(
                folder=home.settings.home / CUT_OFF,
                devices=config.devices,
                tell=say,
                encoders=home.settings.cache / ENCODERS,
            ),
        )
        content = bundle.content
        left_out = content.left_out or ()
        tell_left_out(symbol, left_out)
        failpoint("train.bundle->mlflow")
        plot = factor_importance(content.importance or {})
        version = tracker.register_bundle(
            bundle,
            tags={
                **tags,
                "ghtrader.configurations_tried": str(configurations_tried(home.settings, symbol, horizon, family)),
                **day_tags(len(content.days), left_out),
            },
            alias=None,
            artifacts={"importance.png": plot},
            example=example_rows(home.lake, bundle),
            run_id=mlflow_run,
        )
        save_candidate(home.settings, bundle, run_id)
    used = [fact.day for fact in content.days]
    return {
        "bundle_id": bundle.bundle_id,
        "path": str(bundle.path.relative_to(home.settings.home)),
        "rows": content.train_rows,
        "days": len(used),
        "first": used[0].isoformat(),
        "last": used[-1].isoformat(),
        "left_out_days": [found.to_dict() for found in left_out],
        "factors": len(bundle.factor_names),
        "mlflow_version": version,
        **_calibration_of(content),
        "policy_enter": round(bundle.policy.enter, 6),
        "origin": words_of(content.origins),
        "code_version": bundle.provenance.run.code_version,
        "plot": png_bytes_markdown(plot, f"{family} {symbol} {horizon}"),
    }


def _calibration_of(content: BundleContent) -> dict[str, Any]:
    """What calibration did on the span it was fitted on; nothing where there was too little to hold out."""
    found = content.calibration
    if found is None:
        return {}
    return {
        "calibration_slope": round(found.slope, 4),
        "calibration_logloss": [round(found.before.logloss, 6), round(found.after.logloss, 6)],
        "calibration_ece": [round(found.before.ece, 5), round(found.after.ece, 5)],
    }
