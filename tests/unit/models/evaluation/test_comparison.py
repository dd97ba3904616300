"""Comparison of families: the same splits or a refusal, the Pareto front, costs, page, and reading back."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_models.evaluation.benchmark import BenchmarkReport, run_benchmark
from ghtrader_models.evaluation.comparison import (
    Bounds,
    ComparedBaseline,
    ComparedModel,
    Comparison,
    Reliabilities,
    bounds_of,
    bounds_of_values,
    level_of_many,
    on_the_front,
    ranked,
    require_same_splits,
)
from ghtrader_models.evaluation.comparison_page import render
from ghtrader_models.evaluation.model_cost import ModelCost, RowLatency, learned_numbers, row_latency
from ghtrader_models.families.base import get_family
from ghtrader_models.inference.predictors import LogisticPredictor


def test_other_splits_are_refused_and_every_family_named() -> None:
    require_same_splits({"logistic": "a", "xgboost": "a"})
    with pytest.raises(UsageError, match="logistic, tcn on aaaa; xgboost on bbbb"):
        require_same_splits({"logistic": "aaaa", "xgboost": "bbbb", "tcn": "aaaa"})


def test_the_front_is_what_no_other_beats_in_both() -> None:
    losses = [1.0, 0.9, 0.95, 0.8, 0.9, math.nan]
    latencies = [1.0, 5.0, 9.0, 50.0, 5.0, 1.0]
    assert on_the_front(losses, latencies) == [True, True, False, True, True, False]
    assert on_the_front([], []) == []


def test_intervals_widen_with_the_number_of_families() -> None:
    values = [0.01, 0.02, 0.015, 0.005]
    one, many = bounds_of_values(values), bounds_of_values(values, level_of_many(11))
    assert many.low < one.low < np.mean(values) < one.high < many.high  # type: ignore[operator]
    assert level_of_many(1) == pytest.approx(0.95) and bounds_of_values([0.1]) == Bounds(low=None, high=None)
    assert bounds_of(None) == Bounds(low=None, high=None)


@pytest.fixture(scope="module")
def reports(make_world, small_configs) -> dict[str, BenchmarkReport]:
    dataset, _ = make_world(days=6, rows=400)
    return {
        name: run_benchmark(dataset, name, config=small_configs[name], simulate=False)
        for name in ("logistic", "lightgbm")
    }


def compared(report: BenchmarkReport, p99: float | None) -> ComparedModel:
    latency = None if p99 is None else RowLatency(p50_us=p99 / 2, p99_us=p99, calls=10)
    return ComparedModel(
        family=report.family,
        config=dataclasses.asdict(report.config),
        scores=report.model,
        logloss=bounds_of(report.model.logloss),
        gain_of_many=bounds_of_values(report.model.gain.per_split, level_of_many(2)),
        fits=len(report.splits),
        fit_seconds=1.0,
        train_rows=10,
        trading=report.simulation,
        cost=None if latency is None else ModelCost(latency=latency, model_bytes=100, parameters=7),
    )


def comparison(reports: dict[str, BenchmarkReport], origin: str = "imported file (csv)") -> Comparison:
    first = reports["logistic"]
    bins = Reliabilities(confidence=[0.4, 0.6], accuracy=[0.5, 0.5], count=[3, 4])
    return Comparison(
        symbol=first.symbol, horizon=first.horizon, first="2025-04-01", last="2025-04-06", days=6, rows=2400,
        tests=[split.name for split in first.splits], splits="some tests", splits_hash=first.splits_hash,
        data_hash="d", origin=origin,
        models=ranked([compared(reports["logistic"], 5.0), compared(reports["lightgbm"], None)]),
        baselines=[
            ComparedBaseline(name=name, scores=found, logloss=bounds_of(found.logloss))
            for name, found in first.baselines.items()
        ],
        failed={"tcn": "out of memory <at the third fit>"}, reliability={"logistic": bins}, made_at="2025",
        code_version="1",
    )  # fmt: skip


def test_the_page_has_every_model_baseline_and_failure(reports) -> None:
    page = render(comparison(reports, "simulated: world driver, seed 1"))
    for word in ("logistic", "lightgbm", "prior", "persistence", "majority", "out of memory &lt;at the third fit&gt;"):
        assert word in page, word
    assert page.count("data:image/png;base64,") == 3 and "Simulated: says nothing of a real market" in page
    assert "://" not in page, "nothing from outside"
    assert not comparison(reports).simulated


def test_a_comparison_is_read_back_as_it_was_written(reports) -> None:
    found = comparison(reports)
    again = msgspec.convert(msgspec.json.decode(msgspec.json.encode(found.to_dict())), Comparison)
    assert again == found


def test_the_best_loss_stands_first_and_only_measured_models_are_on_the_front(reports) -> None:
    models = ranked([compared(reports["lightgbm"], 9.0), compared(reports["logistic"], None)])
    losses = [model.scores.logloss.mean for model in models]  # type: ignore[union-attr]
    assert losses == sorted(losses)
    assert {model.family: model.on_front for model in models} == {"lightgbm": True, "logistic": False}


def test_learned_numbers_and_latency_of_a_linear_model(make_world, small_configs, tmp_path) -> None:
    dataset, _ = make_world(days=2, rows=300)
    rows = np.flatnonzero(dataset.usable)
    model = get_family("logistic").fit(dataset.samples(rows), seed=0, config=small_configs["logistic"])
    model.save(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert learned_numbers(files) == 3 * (len(dataset.names) + 1)
    found = row_latency(LogisticPredictor(files["model.json"]), dataset.X, calls=50)
    assert found.calls == 50 and 0 < found.p50_us <= found.p99_us
    with pytest.raises(UsageError, match="no rows"):
        row_latency(LogisticPredictor(files["model.json"]), dataset.X[:0])


@pytest.mark.parametrize("family", ["xgboost", "lightgbm"])
def test_learned_numbers_of_trees_are_their_nodes(family, make_world, small_configs, tmp_path) -> None:
    dataset, _ = make_world(days=6, rows=400)
    rows = np.flatnonzero(dataset.usable)
    model = get_family(family).fit(dataset.samples(rows), seed=0, config=small_configs[family])
    model.save(tmp_path)
    count = learned_numbers({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert count > 3 * 40, "one node a tree at the least, and some are split"
