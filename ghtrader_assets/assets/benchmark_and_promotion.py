"""Defines the assets that judge models: walk-forward reports and the promotion gate, by horizon and variety."""

import dataclasses
from collections.abc import Callable
from typing import Any

import dagster as dg

from ghtrader_assets.assets.models import built_days, days_of_variety_deps, tell_left_out
from ghtrader_assets.partitions import PARTITIONS, horizon_key, split_horizon_key
from ghtrader_assets.resources.progress import png_bytes_markdown, say
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.results.reports_store import (
    ReportContext,
    StoredReport,
    data_hash,
    load_candidate,
    load_reports,
    save_decision,
    save_report,
)
from ghtrader_assets.results.sweeps_store import configurations_tried
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.outcomes import Outcomes, as_ours, of_item, together
from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.version import code_version
from ghtrader_market.reference.tick_origin import origins_of, words_of
from ghtrader_market.reference.varieties import get_variety, variety_of
from ghtrader_models.families.table import FAMILIES, family_names, usual_families

GROUP = "reports"
CODE_VERSION = "1"


class BenchmarkConfig(RunConfig):
    """What is compared.

    `families`: empty for the usual ones of `families.table`. `start`, `end`: trading days, empty for all that are
    built. `settings`: family name -> fields of its configuration that differ from its defaults; `policy`: those of
    `PolicyOptions`; `splits`: those of `SplitOptions`. `strict`: refuse where a day does not go with the others,
    instead of leaving it out. `mix`: take days of different markets together.
    """

    families: list[str] = []
    start: str = ""
    end: str = ""
    seed: int = 0
    settings: dict[str, dict[str, Any]] = {}
    policy: dict[str, Any] = {}
    splits: dict[str, Any] = {}
    strict: bool = False
    mix: bool = False


@dg.asset(
    group_name=GROUP,
    code_version=CODE_VERSION,
    kinds={"json", "mlflow"},
    partitions_def=PARTITIONS.horizon_variety,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[*(f"model_{family}" for family in FAMILIES), *days_of_variety_deps("features", "labels")],
)
@guarded
def benchmark_report(context: dg.AssetExecutionContext, config: BenchmarkConfig, home: HomeResource) -> None:
    """Each family fitted and scored split by split, beside prior, majority and persistence, on the same test rows."""
    outcomes = Outcomes(context)
    for key in map(str, context.partition_keys):
        horizon, variety = split_horizon_key(key)
        with outcomes.item(key):
            found = benchmark_series(home, get_variety(variety).continuous_symbol, horizon, config, context.run_id)
            outcomes.made("benchmark_report", key, found)
    outcomes.conclude()


def benchmark_series(
    home: HomeResource, symbol: str, horizon: int, config: BenchmarkConfig, run_id: str
) -> dict[str, Any]:
    """Reports of the families on the built days of one series, kept and logged; the scores in a few words.

    Raises
    ------
    GhtraderError
        Families that failed, once the reports of the others are kept.
    """
    from ghtrader_market.accounting.execution_model import ExecutionModel
    from ghtrader_models.datasets.load import load_dataset
    from ghtrader_models.evaluation.benchmark import run_benchmark
    from ghtrader_models.evaluation.plots import factor_importance, gain_per_split
    from ghtrader_models.evaluation.policy_fit import PolicyOptions
    from ghtrader_models.evaluation.recorded_books import RecordedBooks
    from ghtrader_models.evaluation.splits import SplitOptions, make_splits
    from ghtrader_models.families.base import get_family, make_config
    from ghtrader_models.registry.mlflow_tracking import Tracker, day_tags

    policy, cut = PolicyOptions.from_dict(config.policy), SplitOptions.from_dict(config.splits)
    execution = ExecutionModel(latency_ms=home.settings.risk_latency_ms)
    dataset = load_dataset(
        home.lake,
        symbol,
        built_days(home, symbol, config.start, config.end),
        horizon,
        entry="benchmark",
        strict=config.strict,
        mix=config.mix or home.settings.mix_origins,
        calendar=home.calendar,
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
    with home.lock(f"benchmark:symbol={symbol},h={horizon}", "walk-forward report", run_id):
        for family in config.families or usual_families():
            say(f"{family} at horizon {horizon}: {len(plan.splits)} tests over {len(days)} days of {symbol}")
            try:
                fitted = make_config(get_family(family), config.settings.get(family, {}))
                report = run_benchmark(
                    dataset, family, plan=plan, config=fitted, seed=config.seed, policy=policy, execution=execution,
                    books=RecordedBooks(lake=home.lake, symbol=symbol),
                )  # fmt: skip
                for line in report.simulation.settled if report.simulation is not None else ():
                    say(f"{family}: {line}")
                tried = configurations_tried(home.settings, symbol, horizon, family)
                save_report(home.settings, report, dataclasses.replace(made, configurations_tried=tried))
                tracker.log_benchmark(
                    report,
                    tags=tags,
                    artifacts={"importance.png": factor_importance(report.importance)},
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
    if failed:
        raise together(failed, len(gains))
    names = [split.name for split in plan.splits]
    plot = gain_per_split(gains, names, title=f"Gain over the prior, {symbol} {horizon}")
    return {**metadata, "code_version": made.code_version, "plot": png_bytes_markdown(plot, f"{symbol} {horizon}")}


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
    deps=[benchmark_report],
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
        best = _comparable(choose, load_reports(settings, symbol, horizon), variety, horizon)
        bundle = load_candidate(settings, symbol, horizon, best.family)
        if data_hash(bundle.content.days) != best.context.data_hash:
            raise FailedError(
                f"the candidate of {best.family} learned from other days than its report speaks of",
                f"train and benchmark it on the same days: ghtrader train / benchmark --model {best.family}",
            )
        say(f"{best.family} at horizon {horizon}: looking for factors and labels that see the future")
        leakage = check_series(
            home.lake, home.calendar, source_kind(symbol), symbol, [fact.day for fact in bundle.content.days],
            seed=int(bundle.bundle_id, 16),
        )  # fmt: skip
        limits = GateConfig(max_gain_share=1.0) if accept_large_gain else GateConfig()
        decision = judge(best, load_champion(settings.models, symbol, horizon), limits, leakage)
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


def _comparable(
    choose: Callable[[list[StoredReport]], StoredReport], reports: list[StoredReport], variety: str, horizon: int
) -> StoredReport:
    """The best of the reports that were made last, on the same test rows; an older one on other rows is left aside."""
    if not reports:
        raise FailedError(
            f"no walk-forward report of {variety} at horizon {horizon}",
            f"first: ghtrader benchmark --model {family_names()[0]} --var {variety} --horizon {horizon}",
        )
    newest = max(reports, key=lambda report: (len(report.context.days), report.context.days[-1]))
    return choose([report for report in reports if report.tests_hash == newest.tests_hash])
