"""Splits that cannot leak, scores that agree with the textbooks, a benchmark whose verdict turns with the labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from ghtrader_base.errors import UsageError
from ghtrader_models.evaluation import benchmark, metrics, splits
from tests.support.examples import examples


def brute_force_windows_meet(train: np.ndarray, test: np.ndarray, horizon: int, day: np.ndarray) -> bool:
    """Whether a training label looks at a row that a test label looks at; windows end with the day."""
    seen = {r for t in test for r in range(t, t + horizon + 1) if r < day.size and day[r] == day[t]}
    return any(r in seen for t in train for r in range(t, t + horizon + 1) if r < day.size and day[r] == day[t])


@given(
    sizes=st.lists(st.integers(25, 60), min_size=4, max_size=7),
    horizon=st.integers(1, 12),
    expanding=st.booleans(),
    embargo=st.integers(0, 10),
)
@settings(max_examples=examples(60), deadline=None)
def test_no_training_window_meets_a_test_window_by_day(
    sizes: list[int], horizon: int, expanding: bool, embargo: int
) -> None:
    day = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    left = np.concatenate([np.arange(n)[::-1] for n in sizes])
    usable = left >= horizon
    found = splits.walk_forward_days(
        day, usable, horizon, min_train_days=2, embargo=embargo, expanding=expanding
    )
    assert [split.name for split in found] == [f"day {d}" for d in range(2, len(sizes))]
    for split in found:
        assert not brute_force_windows_meet(split.train, split.test, horizon, day)
        assert usable[split.train].all() and usable[split.test].all()
        assert set(day[split.test]) == {split.index + 2}
        if expanding:
            assert split.train.max() < split.start - horizon
    assert np.array_equal(np.concatenate([s.test for s in found]), np.flatnonzero(usable & (day >= 2)))


@given(rows=st.integers(300, 900), horizon=st.integers(1, 10), expanding=st.booleans(), embargo=st.integers(0, 15))
@settings(max_examples=examples(60), deadline=None)
def test_no_training_window_meets_a_test_window_by_block(
    rows: int, horizon: int, expanding: bool, embargo: int
) -> None:
    day = np.zeros(rows, np.int32)
    usable = np.arange(rows) < rows - horizon
    found = splits.walk_forward_blocks(usable, horizon, embargo=embargo, expanding=expanding)
    assert len(found) == 8
    for split in found:
        assert not brute_force_windows_meet(split.train, split.test, horizon, day)
        after = split.train[split.train >= split.stop]
        assert after.size == 0 or (not expanding and after.min() >= split.stop + horizon + embargo)
    assert found[-1].stop == rows


def test_too_little_data_is_refused() -> None:
    day = np.repeat(np.arange(4, dtype=np.int32), 50)
    usable = np.ones(200, bool)
    with pytest.raises(UsageError, match="too few"):
        splits.walk_forward_days(day, usable, 5, min_train_days=3)
    with pytest.raises(UsageError, match="too few"):
        splits.walk_forward_blocks(usable, 10)
    with pytest.raises(UsageError, match="fewer than 8"):
        splits.walk_forward_blocks(usable, 1, blocks=9)
    with pytest.raises(UsageError, match="below the horizon"):
        splits.training_rows(usable, 100, 150, 10, purge=9, embargo=0)
    with pytest.raises(UsageError, match="rows to train on"):
        splits.walk_forward_days(day, usable & (day != 3), 5, min_train_days=2)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 400))
@settings(max_examples=examples(60), deadline=None)
def test_scores_agree_with_scikit_learn(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    p = rng.dirichlet([1, 1, 1], n)
    named = p.argmax(axis=1)
    assert metrics.log_loss(p, y) == pytest.approx(reference.log_loss(y, p, labels=[0, 1, 2]))
    assert metrics.accuracy(named, y) == pytest.approx(reference.accuracy_score(y, named))
    macro, weighted = metrics.f1_scores(named, y)
    kw = {"labels": [0, 1, 2], "zero_division": 0}
    assert macro == pytest.approx(reference.f1_score(y, named, average="macro", **kw))
    assert weighted == pytest.approx(reference.f1_score(y, named, average="weighted", **kw))


def test_calibration_error_by_hand() -> None:
    p = np.array([[0.9, 0.05, 0.05]] * 4 + [[0.2, 0.2, 0.6]] * 4)
    y = np.array([0, 0, 0, 1, 2, 2, 0, 0])
    assert metrics.expected_calibration_error(p, y, bins=10) == pytest.approx((0.15 * 4 + 0.1 * 4) / 8)
    bins = metrics.reliability(p, y, bins=10)
    assert bins.count.tolist() == [4, 4]
    assert bins.confidence == pytest.approx([0.6, 0.9])
    assert metrics.expected_calibration_error(np.eye(3)[[0, 1]], np.array([0, 1])) == 0


def test_interval_is_students() -> None:
    values = [0.01, 0.03, 0.02, 0.05]
    found = metrics.t_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((np.mean(values), low, high, 4))
    assert np.isnan(metrics.t_interval([0.1]).low)


def test_transition_table_by_hand() -> None:
    last = np.array([0, 0, 0, 2, -1, -1])
    y = np.array([0, 0, 1, 2, 1, 1])
    table = metrics.transition_table(last, y)
    prior = metrics.class_prior(y)
    assert prior == pytest.approx(np.array([3, 4, 2]) / 9)
    assert table[0] == pytest.approx((np.array([2, 1, 0]) + 3 * prior) / 6)
    assert table[1] == pytest.approx(prior)
    assert table[3] == pytest.approx((np.array([0, 2, 0]) + 3 * prior) / 5)


def test_last_realised_label_is_known_at_the_row(make_world: Callable[..., Any]) -> None:
    dataset, _ = make_world(days=3, rows=60)
    last = dataset.last_realised()
    for row in range(len(dataset)):
        known = dataset.row_in_day[row] >= dataset.horizon
        assert last[row] == (dataset.y[row - dataset.horizon] if known else -1)


@pytest.mark.parametrize("family", ["logistic", "xgboost"])
def test_the_verdict_turns_with_the_labels(
    family: str, make_world: Callable[..., Any], small_configs: dict[str, Any]
) -> None:
    dataset, truth = make_world(strength=1.0, days=8, rows=1200)
    found = benchmark.run_benchmark(dataset, family, config=small_configs[family], seed=1)
    rows = found.predictions.column("row").to_numpy()
    oracle = benchmark.score_external(found.predictions, truth[rows]).gain
    gain = found.model.gain
    assert gain.low > 0
    assert 0.6 * oracle.mean < gain.mean < 1.05 * oracle.mean
    assert gain.n == len(found.splits) == 5

    shuffled = benchmark.run_benchmark(
        benchmark.shuffled_labels(dataset, seed=2), family, config=small_configs[family], seed=1
    )
    assert shuffled.model.gain.low < 0
    assert shuffled.model.gain.mean < 0.05 * gain.mean

    nothing, _ = make_world(strength=0.0, days=8, rows=1200)
    null = benchmark.run_benchmark(nothing, family, config=small_configs[family], seed=1)
    assert null.model.gain.low < 0


def test_shuffling_keeps_each_days_classes_and_moves_nothing_else(make_world: Callable[..., Any]) -> None:
    dataset, _ = make_world(days=3, rows=200)
    shuffled = benchmark.shuffled_labels(dataset, seed=4)
    assert np.array_equal(shuffled.y[~dataset.usable], dataset.y[~dataset.usable])
    for day in range(3):
        rows = dataset.usable & (dataset.day_index == day)
        assert np.array_equal(np.bincount(shuffled.y[rows]), np.bincount(dataset.y[rows]))
    assert (shuffled.y != dataset.y).mean() > 0.3
    assert np.array_equal(shuffled.y, benchmark.shuffled_labels(dataset, seed=4).y)


def test_report_is_json_repeatable_and_scores_its_own_predictions(
    make_world: Callable[..., Any], small_configs: dict[str, Any]
) -> None:
    dataset, _ = make_world(days=6, rows=700)
    one, two = (
        benchmark.run_benchmark(dataset, "xgboost", config=small_configs["xgboost"], seed=3) for _ in range(2)
    )
    assert one.metrics_hash == two.metrics_hash
    assert one.predictions.equals(two.predictions)
    document = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert document["metrics_hash"] == one.metrics_hash
    assert set(document) == {
        "family", "symbol", "horizon", "seed", "config", "policy", "splits", "model", "baselines", "simulation",
        "importance", "tests_hash", "seconds", "metrics_hash",
    }  # fmt: skip
    assert document["config"]["rounds"] == 40 and document["policy"] == {}
    assert set(document["splits"][0]) == {"split", "name", "train_rows", "test_rows", "prior", "fit_seconds"}
    assert set(document["model"]) == {"logloss", "macro_f1", "weighted_f1", "accuracy", "ece", "logloss_gain"}
    assert set(document["model"]["logloss"]) == {"mean", "std", "per_split"}
    assert set(document["model"]["logloss_gain"]) == {"mean", "low", "high", "n", "per_split"}
    assert set(document["simulation"]) == {
        "net_pnl", "gross_pnl", "fees", "max_drawdown", "turnover", "fills", "volume", "round_trips",
        "winning_round_trips", "final_position", "per_stretch",
    }  # fmt: skip
    assert set(document["simulation"]["per_stretch"][0]) == set(document["simulation"]) - {"per_stretch"}
    assert document["baselines"]["majority"]["logloss"] is None
    assert document["baselines"]["prior"]["logloss_gain"]["mean"] == 0
    assert document["baselines"]["persistence"]["logloss_gain"]["mean"] is not None
    own = benchmark.score_external(one.predictions, benchmark.predicted_probabilities(one.predictions))
    assert own == one.model
    assert one.predictions.num_rows == sum(split.test_rows for split in one.splits)
    assert sum(one.importance.values()) == pytest.approx(1)
    with pytest.raises(UsageError):
        benchmark.score_external(one.predictions, np.full((one.predictions.num_rows, 3), np.nan))
    with pytest.raises(UsageError):
        benchmark.run_benchmark(dataset, "xgboost", horizon=50)


def test_one_day_is_split_into_blocks(
    make_world: Callable[..., Any], small_configs: dict[str, Any]
) -> None:
    dataset, _ = make_world(days=1, rows=4000)
    found = benchmark.run_benchmark(dataset, "logistic", config=small_configs["logistic"])
    assert [split.name for split in found.splits] == [f"block {b}/12" for b in range(5, 13)]
    assert found.model.gain.low > 0
    assert found.simulation is not None and found.simulation.final_position == 0
    times, equity = found.pnl
    assert times.size == equity.size and equity[-1] == pytest.approx(found.simulation.net_pnl)


def test_features_from_the_future_would_show(
    make_world: Callable[..., Any], small_configs: dict[str, Any]
) -> None:
    """The power of the null: a leak planted into a world without a signal is found at once."""
    dataset, _ = make_world(strength=0.0, days=6, rows=800)
    leaked = dataset.X.copy()
    leaked[:, 5] = dataset.y + np.random.default_rng(0).normal(size=len(dataset))
    from dataclasses import replace

    found = benchmark.run_benchmark(replace(dataset, X=leaked), "logistic", config=small_configs["logistic"])
    assert found.model.gain.low > 0.1
