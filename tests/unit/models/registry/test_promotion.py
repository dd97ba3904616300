"""The gate: promotes a real edge, refuses chance with a reason, compares with the champion on equal ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from ghtrader_base.errors import RefusedError, UsageError
from ghtrader_models.bundles.champions import load_champion
from ghtrader_models.evaluation.benchmark import BenchmarkReport, run_benchmark, shuffled_labels
from ghtrader_models.registry.promotion import GateConfig, choose, judge, promote
from ghtrader_models.training import train_on

GATE = GateConfig(horizon=10)


@pytest.fixture(scope="module")
def report(make_world: Callable[..., Any], small_configs: dict[str, Any]) -> BenchmarkReport:
    dataset, _ = make_world(days=8, rows=500)
    return run_benchmark(dataset, "logistic", config=small_configs["logistic"])


def test_a_real_edge_is_promoted_and_written_down(
    report: BenchmarkReport, make_world: Callable[..., Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(days=8, rows=500)
    bundle = train_on(dataset, tmp_path, "logistic")
    decision = judge(report, config=GATE)
    assert decision.promoted and decision.refused_because is None
    assert any("95 % interval" in reason for reason in decision.reasons)
    champion = promote(tmp_path, bundle, decision, run_id="r7")
    assert load_champion(tmp_path, dataset.symbol, 10) == champion
    assert champion.bundle_id == bundle.bundle_id
    assert champion.evidence.logloss_gain.low == report.model.gain.low
    assert champion.run_id == "r7"
    assert judge(report, champion, GATE).promoted, "the same model again is not worse than itself"


def test_chance_is_refused_with_its_numbers(
    make_world: Callable[..., Any], small_configs: dict[str, Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(days=8, rows=500)
    found = run_benchmark(shuffled_labels(dataset, 1), "logistic", config=small_configs["logistic"])
    decision = judge(found, config=GATE)
    assert not decision.promoted
    assert "not above 0" in decision.refused_because
    with pytest.raises(RefusedError, match="not promoted"):
        promote(tmp_path, train_on(dataset, tmp_path, "logistic"), decision)
    assert load_champion(tmp_path, dataset.symbol, 10) is None


def altered(report: BenchmarkReport, **gain: Any) -> BenchmarkReport:
    return replace(report, model=replace(report.model, logloss_gain=replace(report.model.gain, **gain)))


def test_each_rule_can_refuse(report: BenchmarkReport) -> None:
    assert "reported only" in judge(report, config=GateConfig(horizon=50)).refused_because
    assert "3 tests" in judge(altered(report, n=3), config=GATE).refused_because
    assert "no interval" in judge(altered(report, low=None, high=None), config=GATE).refused_because
    assert "not above 0" in judge(altered(report, low=0.0), config=GATE).refused_because
    assert judge(altered(report, low=1e-9), config=GATE).promoted


def test_a_gain_no_honest_model_has_is_questioned(report: BenchmarkReport) -> None:
    entropy = report.baselines["prior"].logloss.mean

    def with_gain(share: float) -> BenchmarkReport:
        return altered(report, mean=share * entropy, low=share * entropy * 0.9, high=share * entropy * 1.1)

    assert judge(with_gain(0.3), config=GATE).promoted and judge(with_gain(0.49), config=GATE).promoted
    refused = judge(with_gain(0.51), config=GATE)
    assert not refused.promoted and "accept_large_gain: true" in refused.refused_because
    assert "51% of the prior's log-loss" in refused.refused_because
    assert judge(with_gain(0.51), config=replace(GATE, max_gain_share=1.0)).promoted


def test_the_champion_is_beaten_only_on_equal_ground(
    report: BenchmarkReport, make_world: Callable[..., Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(days=8, rows=500)
    champion = promote(tmp_path, train_on(dataset, tmp_path, "logistic"), judge(report, config=GATE))
    worse = altered(report, mean=report.model.gain.mean - 1e-4)
    assert "more than" in judge(worse, champion, GATE).refused_because
    elsewhere = replace(worse, predictions=report.predictions.slice(1))
    decision = judge(elsewhere, champion, GATE)
    assert decision.promoted and any("gives way" in reason for reason in decision.reasons)


def test_choosing_and_promoting_what_does_not_fit(
    report: BenchmarkReport, make_world: Callable[..., Any], small_configs: dict[str, Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(days=8, rows=500)
    other = run_benchmark(dataset, "xgboost", config=small_configs["xgboost"])
    best = choose([report, other])
    assert best.model.gain.mean == max(r.model.gain.mean for r in (report, other))
    different, _ = make_world(days=8, rows=400)
    with pytest.raises(UsageError, match="different test rows"):
        choose([report, run_benchmark(different, "logistic", config=small_configs["logistic"])])
    with pytest.raises(UsageError, match="no report"):
        choose([])
    with pytest.raises(UsageError, match="is about"):
        promote(tmp_path, train_on(dataset, tmp_path, "xgboost"), judge(report, config=GATE))


def test_the_best_of_many_is_told_with_the_interval_that_allows_for_them(report: BenchmarkReport) -> None:
    alone, chosen = judge(report), judge(report, looks=200)
    assert chosen.promoted == alone.promoted and not any("best of" in sentence for sentence in alone.reasons)
    (told,) = [sentence for sentence in chosen.reasons if "best of 200" in sentence]
    gains = np.array(report.model.gain.per_split)
    half = t.ppf(1 - 0.05 / 200 / 2, gains.size - 1) * gains.std(ddof=1) / np.sqrt(gains.size)
    assert f"{gains.mean() - half:+.5f} to {gains.mean() + half:+.5f}" in told and "decides nothing" in told
    gain = replace(report.model.gain, per_split=[0.01, 0.02, 0.03, 0.04])
    few = judge(replace(report, model=replace(report.model, logloss_gain=gain)), looks=200)
    assert any("best of 200" in sentence and "not above 0" in sentence for sentence in few.reasons)
