"""Defines the assets that judge models: walk-forward reports and the promotion gate, by horizon and variety.

Each family has a benchmark of its own; `benchmark_report` joins those there are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from ghtrader_assets.assets.family_config import BenchmarkConfig, benchmark_config, changes_of
from ghtrader_assets.assets.models import GROUP as MODELS
from ghtrader_assets.assets.models import days_of_variety_deps, tell_left_out
from ghtrader_assets.partitions import PARTITIONS, horizon_key, split_horizon_key
from ghtrader_assets.resources.progress import png_bytes_markdown, say
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.results.built_days import built_days
from ghtrader_assets.results.comparable_reports import comparable_reports, no_report, why_not_of
from ghtrader_assets.results.reports_store import (
    ReportContext,
    StoredReport,
    load_candidate,
    readable_reports,
    save_decision,
    save_report,
)
from ghtrader_assets.results.sweeps_store import configurations_tried
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.outcomes import Outcomes, as_ours, of_item, together
from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.lock_keys import benchmark_key
from ghtrader_base.progress_line import CountedLine
from ghtrader_base.version import code_version
from ghtrader_market.reference.tick_origin import origins_of, words_of
from ghtrader_market.reference.varieties import get_variety, variety_of
from ghtrader_models.bundles.provenance import data_hash
from ghtrader_models.families.table import FAMILIES
from ghtrader_models.model_scores import ModelScores

GROUP = "reports"
CODE_VERSION = "1"
AS_BENCHMARKS_COME = (
    dg.AutomationCondition.any_deps_updated()
    .ignore(dg.AssetSelection.groups(MODELS))
    .since_last_handled()
    .with_label("a benchmark is new")
    & ~dg.AutomationCondition.in_progress()
)
"""Each benchmark that is done brings the joint report up to date; none waits for a slower one."""


def benchmark_asset(family: str) -> dg.AssetsDefinition:
    """The asset that scores one family walk-forward; its config is typed by the family's own dataclass."""
    config_class = benchmark_config(family)

    @dg.asset(
        name=f"benchmark_{family}",
        group_name=GROUP,
        code_version=CODE_VERSION,
        kinds={family, "json", "mlflow"},
        partitions_def=PARTITIONS.horizon_variety,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=days_of_variety_deps("features", "labels"),
        description=f"{family} fitted and scored split by split, beside prior, majority and persistence.",
    )
    @guarded
    def body(context: dg.AssetExecutionContext, config: config_class, home: HomeResource) -> None:  # type: ignore[valid-type]
        outcomes = Outcomes(context)
        for key in map(str, context.partition_keys):
            horizon, variety = split_horizon_key(key)
            with outcomes.item(key):
                symbol = get_variety(variety).continuous_symbol
                wanted = {family: changes_of(config)}
                found = benchmark_series(home, symbol, horizon, wanted, config, context.run_id)
                outcomes.made(f"benchmark_{family}", key, found)
        outcomes.conclude()

    return body


def joint_report_asset(families: Iterable[str]) -> dg.AssetsDefinition:
    """The asset that joins what the families' benchmarks left; it fits nothing and waits for none of them."""

    @dg.asset(
        name="benchmark_report",
        group_name=GROUP,
        code_version=CODE_VERSION,
        kinds={"json"},
        partitions_def=PARTITIONS.horizon_variety,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[f"{kind}_{family}" for family in families for kind in ("model", "benchmark")],
        automation_condition=AS_BENCHMARKS_COME,
        description="The families' walk-forward reports on the same tests side by side, and which families lack one.",
    )
    @guarded
    def benchmark_report(context: dg.AssetExecutionContext, home: HomeResource) -> None:
        outcomes = Outcomes(context)
        for key in map(str, context.partition_keys):
            horizon, variety = split_horizon_key(key)
            with outcomes.item(key):
                found = join_reports(home, get_variety(variety).continuous_symbol, horizon)
                outcomes.made("benchmark_report", key, found)
        outcomes.conclude()

    return benchmark_report


def join_reports(home: HomeResource, symbol: str, horizon: int) -> dict[str, Any]:
    """What the stored reports of a series say side by side; families without a comparable one are named.

    Raises
    ------
    FailedError
        No family has a report.
    """
    from ghtrader_models.evaluation.plots import gain_per_split

    stored = readable_reports(home.settings, symbol, horizon)
    joined = comparable_reports(stored)
    if not joined.taken:
        raise no_report(variety_of(symbol).key, horizon, joined.left_aside)
    first = joined.taken[0]
    missing = [name for name in FAMILIES if name not in {report.family for report in stored.reports}]
    for name, why in joined.left_aside.items():  # `missing` are families that nobody asked for: no news
        say(f"{symbol} at horizon {horizon}: {name}: {why}")
    metadata: dict[str, Any] = {
        "rows": first.context.rows,
        "days": len(first.context.days),
        "tests": len(first.splits),
        "splits": first.context.splits,
        "splits_hash": first.splits_hash,
        "origin": first.context.origin,
        "left_out_days": [found.to_dict() for found in first.context.left_out],
        "families": [_row(report) for report in joined.taken],
        "missing": missing,
        "left_aside": [f"{name}: {why}" for name, why in joined.left_aside.items()],
    }
    for report in joined.taken:
        gain = report.model.gain
        metadata |= {
            f"{report.family} log-loss gain": round(gain.mean, 6),
            f"{report.family} gain interval": f"{_signed(gain.low)} to {_signed(gain.high)}",
            f"{report.family} metrics_hash": report.metrics_hash,
        }
    gains = {report.family: report.model.gain.per_split for report in joined.taken}
    plot = gain_per_split(gains, [s.name for s in first.splits], title=f"Gain over the prior, {symbol} {horizon}")
    return {**metadata, "code_version": code_version(), "plot": png_bytes_markdown(plot, f"{symbol} {horizon}")}


def _row(report: StoredReport) -> dict[str, Any]:
    """A family's scores for the joint report."""
    gain, scores = report.model.gain, report.model
    return {
        "family": report.family,
        "logloss": scores.logloss.mean if scores.logloss is not None else None,
        "logloss_gain": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "ece": scores.ece.mean if scores.ece is not None else None,
        "accuracy": scores.accuracy.mean if scores.accuracy is not None else None,
        "net_pnl": report.simulation.net_pnl if report.simulation is not None else None,
        "fit_seconds": sum(split.fit_seconds for split in report.splits),
        "run_id": report.context.run_id,
    }


def benchmark_series(
    home: HomeResource,
    symbol: str,
    horizon: int,
    families: Mapping[str, Mapping[str, Any]],
    config: BenchmarkConfig,
    run_id: str,
) -> dict[str, Any]:
    """Reports of some families on the built days of one series, kept and logged; the scores in a few words.

    Parameters
    ----------
    families : mapping of str to mapping
        Name -> fields of its configuration that differ from its defaults.

    Raises
    ------
    GhtraderError
        Families that failed, once the reports of the others are kept.
    """
    from ghtrader_market.accounting.execution_model import ExecutionModel
    from ghtrader_models.datasets.load import load_dataset
    from ghtrader_models.datasets.other_series import with_varieties
    from ghtrader_models.evaluation.benchmark import run_benchmark
    from ghtrader_models.evaluation.plots import gain_per_split
    from ghtrader_models.evaluation.policy_fit import PolicyOptions
    from ghtrader_models.evaluation.recorded_books import RecordedBooks
    from ghtrader_models.evaluation.splits import SplitOptions, make_splits
    from ghtrader_models.families.base import get_family, make_config
    from ghtrader_models.families.training_session import ENCODERS, TrainingSession, training_session
    from ghtrader_models.families.window_config import pretraining_varieties
    from ghtrader_models.registry.mlflow_tracking import Tracker, day_tags

    policy, cut = PolicyOptions.from_dict(config.policy), SplitOptions.from_dict(config.splits)
    execution = ExecutionModel.of_settings(home.settings)
    dataset = load_dataset(
        home.lake,
        symbol,
        built_days(home.lake, symbol, config.start, config.end),
        horizon,
        entry="benchmark",
        strict=config.strict,
        mix=config.mix or home.settings.mix_origins,
        calendar=home.calendar,
        cache=home.settings.cache,
    )
    tell_left_out(symbol, dataset.left_out)
    days = list(dataset.days)
    plan = make_splits(dataset, cut)
    say(f"{symbol}: {plan.words}")
    tracker = Tracker(home.settings)
    made = ReportContext(
        days=days,
        rows=len(dataset),
        data_hash=data_hash(dataset.facts),
        run_id=run_id,
        code_version=code_version(),
        origin=words_of(origins_of(fact.origin for fact in dataset.facts)),
        left_out=list(dataset.left_out),
        splits=plan.words,
        latency_ms=execution.latency_ms,
        max_order=execution.max_order,
    )
    metadata: dict[str, Any] = {
        "rows": len(dataset),
        "days": len(days),
        "tests": len(plan.splits),
        "splits": plan.words,
        "splits_hash": plan.splits_hash,
        "origin": made.origin,
        "left_out_days": [found.to_dict() for found in dataset.left_out],
    }
    tags = {
        "dagster.run_id": run_id,
        "dagster.partition": horizon_key(horizon, variety_of(symbol).key),
        **day_tags(len(days), dataset.left_out),
    }
    gains: dict[str, list[float]] = {}
    failed: dict[str, GhtraderError] = {}
    session = TrainingSession(devices=config.devices, tell=_say_counted, encoders=home.settings.cache / ENCODERS)
    for family, changes in families.items():
        lock = home.lock(benchmark_key(family, symbol, horizon), "walk-forward report", run_id)
        with lock, training_session(session):
            say(f"{family} at horizon {horizon}: {len(plan.splits)} tests over {len(days)} days of {symbol}")
            try:
                fitted = make_config(get_family(family), changes)
                asked = with_varieties(
                    dataset, home.lake, pretraining_varieties(fitted), entry="benchmark",
                    mix=config.mix or home.settings.mix_origins, calendar=home.calendar, cache=home.settings.cache,
                )  # fmt: skip
                report = run_benchmark(
                    asked, family, plan=plan, config=fitted, seed=config.seed, policy=policy, execution=execution,
                    books=RecordedBooks(lake=home.lake, symbol=symbol), calendar=home.calendar,
                )  # fmt: skip
                for line in report.simulation.settled if report.simulation is not None else ():
                    say(f"{family}: {line}")
                now = datetime.now(UTC).isoformat(timespec="seconds")
                tried = configurations_tried(home.settings, symbol, horizon, family)
                save_report(home.settings, report, replace(made, made_at=now, configurations_tried=tried))
                tracker.log_benchmark(
                    report,
                    tags=tags,
                    facts=dataset.facts,
                )
            except Exception as exc:  # one family's fault stops no other
                failed[family] = of_item(f"{family} at horizon {horizon}", as_ours(exc))
                say(f"failed: {failed[family].message}")
                continue
            gain = report.model.gain
            gains[family] = gain.per_split
            metadata |= {
                f"{family} log-loss gain": round(gain.mean, 6),
                f"{family} gain interval": f"{_signed(gain.low)} to {_signed(gain.high)}",
                f"{family} metrics_hash": report.metrics_hash,
            }
            say(f"{family} at horizon {horizon}: gain {gain.mean:+.5f} nats, {metadata[f'{family} gain interval']}")
            if (words := calibration_words(report.uncalibrated, report.model)) is not None:
                metadata[f"{family} calibration"] = words
                say(f"{family} at horizon {horizon}: calibration took {words}")
    if failed:
        raise together(failed, len(gains))
    names = [split.name for split in plan.splits]
    plot = gain_per_split(gains, names, title=f"Gain over the prior, {symbol} {horizon}")
    return {**metadata, "code_version": made.code_version, "plot": png_bytes_markdown(plot, f"{symbol} {horizon}")}


def _say_counted(line: str) -> None:
    """How a fit goes on, of which there are a dozen a family: the lines that others replace."""
    if isinstance(line, CountedLine):
        say(line)


def calibration_words(before: ModelScores | None, after: ModelScores) -> str | None:
    """Log-loss and calibration error of the tests, without calibration and with it; None where there are none."""
    if before is None or before.logloss is None or after.logloss is None or before.ece is None or after.ece is None:
        return None
    return (
        f"the log-loss from {before.logloss.mean:.5f} to {after.logloss.mean:.5f} nats, "
        f"the calibration error from {before.ece.mean:.4f} to {after.ece.mean:.4f}"
    )


def _signed(value: float | None) -> str:
    return "none" if value is None else f"{value:+.5f}"


class GateOptions(RunConfig):
    """`accept_large_gain`: promote also a gain that is questioned for its size alone."""

    accept_large_gain: bool = False


@dg.asset(
    group_name=GROUP,
    code_version=CODE_VERSION,
    kinds={"json", "mlflow"},
    partitions_def=PARTITIONS.horizon_variety,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["benchmark_report"],
)
@guarded
def champion(context: dg.AssetExecutionContext, config: GateOptions, home: HomeResource) -> None:
    """The gate: the best candidate is promoted, or the reason why not is kept. A refusal is a result, no failure."""
    outcomes = Outcomes(context)
    for key in map(str, context.partition_keys):
        with outcomes.item(key):
            outcomes.made("champion", key, _gate(context, home, key, config.accept_large_gain))
    outcomes.conclude()


def _gate(context: dg.AssetExecutionContext, home: HomeResource, key: str, accept_large_gain: bool) -> dict[str, Any]:
    from ghtrader_models.bundles.champions import load_champion
    from ghtrader_models.datasets.leakage import check_series
    from ghtrader_models.datasets.tick_input import source_kind
    from ghtrader_models.registry.mlflow_tracking import Tracker
    from ghtrader_models.registry.promotion import GateConfig, choose, judge, promote

    settings = home.settings
    horizon, variety = split_horizon_key(key)
    symbol = get_variety(variety).continuous_symbol
    with home.lock(f"champion-{horizon}-{variety}", "promotion", context.run_id):
        joined = comparable_reports(readable_reports(settings, symbol, horizon))
        if not joined.taken:
            raise no_report(variety, horizon, joined.left_aside)
        for name, why in joined.left_aside.items():
            say(f"{name} at horizon {horizon} is no candidate: {why}")
        best = choose(joined.taken)
        bundle = load_candidate(settings, symbol, horizon, best.family)
        if why := why_not_of(best, bundle.content):
            raise FailedError(
                f"the candidate of {best.family} {why}",
                f"train and benchmark it on the same days with the same settings: ghtrader train / benchmark --model "
                f"{best.family}",
            )
        say(f"{best.family} at horizon {horizon}: looking for factors and labels that see the future")
        leakage = check_series(
            home.lake, home.calendar, source_kind(symbol), symbol, [fact.day for fact in bundle.content.days],
            seed=int(bundle.bundle_id, 16),
        )  # fmt: skip
        limits = GateConfig(max_gain_share=1.0) if accept_large_gain else GateConfig()
        looks = sum(max(1, report.context.configurations_tried) for report in joined.taken)
        decision = judge(best, load_champion(settings.models, symbol, horizon), limits, leakage, looks)
        tracker = Tracker(settings)
        if decision.promoted:
            promote(settings.models, bundle, decision, tracker=tracker, run_id=context.run_id)
        else:
            tracker.register_bundle(bundle, alias="challenger")
        save_decision(settings, bundle, decision, context.run_id)
    say(f"{best.family} {'promoted' if decision.promoted else 'refused: ' + str(decision.refused_because)}")
    return {
        "promoted": decision.promoted,
        "family": best.family,
        "bundle_id": bundle.bundle_id,
        "origin": words_of(bundle.content.origins),
        **({} if decision.promoted else {"refused_because": decision.refused_because or ""}),
        "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in decision.reasons)),
        "code_version": code_version(),
    }
