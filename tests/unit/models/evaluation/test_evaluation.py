"""Splits that cannot leak, scores that agree with the textbooks, a benchmark whose verdict turns with the labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


GAPS = st.one_of(st.none(), st.integers(12, 20))


def day_rows(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)


@given(
    sizes=st.lists(st.integers(45, 70), min_size=4, max_size=30),
    horizon=st.integers(1, 12),
    window=st.sampled_from(splits.TrainingWindow),
    rolling_days=st.integers(0, 4),
    blocks=st.integers(5, 14),
    purge=GAPS,
    embargo=st.one_of(st.none(), st.integers(0, 10)),
)
@settings(max_examples=examples(80), deadline=None)
def test_no_training_row_lies_within_purge_and_embargo_of_a_test_and_blocks_cover_the_days_after_the_first(
    sizes: list[int],
    horizon: int,
    window: splits.TrainingWindow,
    rolling_days: int,
    blocks: int,
    purge: int | None,
    embargo: int | None,
) -> None:
    day = day_rows(sizes)
    usable = np.concatenate([np.arange(n)[::-1] for n in sizes]) >= horizon
    rolling = window is splits.TrainingWindow.ROLLING
    options = splits.SplitOptions(
        blocks=blocks, min_train_days=2, window=window, rolling_days=rolling_days if rolling else 0,
        purge=purge, embargo=embargo,
    )  # fmt: skip
    plan = splits.walk_forward_days(day, usable, horizon, options)
    found, days = plan.splits, len(sizes)
    first = int(day[found[0].start])
    assert len(found) == min(blocks, days - first)
    assert len(found) >= min(5, days - 2) and ("fewer than 5" in plan.words) == (len(found) < 5)
    assert first == 2 if days <= 2 + blocks else 2 <= first <= max(2, days // 4)
    gap = (purge if purge is not None else horizon) + (embargo if embargo is not None else horizon)
    for split in found:
        assert not brute_force_windows_meet(split.train, split.test, horizon, day)
        assert usable[split.train].all() and usable[split.test].all()
        assert split.train.max() < split.start - gap
        assert split.start == 0 or day[split.start - 1] < day[split.start]  # whole days
        assert np.array_equal(split.test, np.flatnonzero(usable & (np.arange(day.size) >= split.start) & (
            np.arange(day.size) < split.stop)))
        learned = day[split.start] - day[split.train].min()
        assert learned == min(rolling_days or first, day[split.start]) if rolling else day[split.train].min() == 0
    tested = [int(day[split.stop - 1] - day[split.start]) + 1 for split in found]
    assert max(tested) - min(tested) <= 1
    assert np.array_equal(np.concatenate([s.test for s in found]), np.flatnonzero(usable & (day >= first)))


@given(rows=st.integers(400, 900), horizon=st.integers(1, 10), embargo=st.integers(0, 15))
@settings(max_examples=examples(60), deadline=None)
def test_no_training_window_meets_a_test_window_by_block(rows: int, horizon: int, embargo: int) -> None:
    day = np.zeros(rows, np.int32)
    usable = np.arange(rows) < rows - horizon
    found = splits.walk_forward_blocks(usable, horizon, splits.SplitOptions(embargo=embargo)).splits
    assert len(found) == 8
    for split in found:
        assert not brute_force_windows_meet(split.train, split.test, horizon, day)
        assert split.train.max() < split.start - horizon - embargo and split.train.min() == 0
    assert found[-1].stop == rows


def test_a_year_has_twelve_fits_and_ten_days_have_seven() -> None:
    for days, tests, first in ((5, 2, 3), (8, 5, 3), (10, 7, 3), (15, 12, 3), (16, 12, 4), (40, 12, 10), (250, 12, 62)):
        plan = splits.walk_forward_days(day_rows([20] * days), np.ones(20 * days, bool), 5)
        assert (len(plan.splits), plan.splits[0].start) == (tests, 20 * first), days
        assert plan.splits[-1].stop == 20 * days
    assert plan.splits[0].name == "day 62 to day 76" and "12 tests, 188 of 250 days" in plan.words


HASHED = """
import numpy as np
from ghtrader_models.evaluation import splits
day = np.repeat(np.arange(20, dtype=np.int32), 30)
print(splits.walk_forward_days(day, np.arange(600) % 30 < 25, 5).splits_hash)
"""


def test_the_hash_of_the_splits_is_the_same_in_every_process_and_another_with_any_change() -> None:
    day, usable = day_rows([30] * 20), np.arange(600) % 30 < 25

    def hash_of(usable: np.ndarray = usable, horizon: int = 5, **changes: Any) -> str:
        return splits.walk_forward_days(day, usable, horizon, splits.SplitOptions(**changes)).splits_hash

    for seed in ("1", "2"):
        command = [sys.executable, "-c", HASHED]
        done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True)
        assert done.stdout.strip() == hash_of(), done.stderr
    other = usable.copy()
    other[300] = not other[300]
    rolling = splits.TrainingWindow.ROLLING
    seen = {
        hash_of(), hash_of(usable=other), hash_of(horizon=6), hash_of(blocks=11), hash_of(min_train_days=7),
        hash_of(window=rolling), hash_of(window=rolling, rolling_days=2), hash_of(purge=6), hash_of(embargo=1),
    }  # fmt: skip
    assert len(seen) == 9


def test_options_of_splits_travel_as_what_differs_and_wrong_ones_are_refused() -> None:
    options = splits.SplitOptions(window=splits.TrainingWindow.ROLLING, rolling_days=20, embargo=0)
    assert options.to_dict() == {"window": "rolling", "rolling_days": 20, "embargo": 0}
    assert splits.SplitOptions.from_dict(options.to_dict()) == options
    assert splits.SplitOptions.from_dict({}).to_dict() == {}
    wrong = (
        {"blocks": 4}, {"min_train_days": 0}, {"rolling_days": 5}, {"purge": -1}, {"days": 3}, {"window": "sliding"},
        {"blocks": "many"},
    )  # fmt: skip
    for changes in wrong:
        with pytest.raises(UsageError):
            splits.SplitOptions.from_dict(changes)


def test_too_little_data_is_refused() -> None:
    day = day_rows([50] * 4)
    usable = np.ones(200, bool)
    with pytest.raises(UsageError, match="too few"):
        splits.walk_forward_days(day, usable, 5)
    with pytest.raises(UsageError, match="too few"):
        splits.walk_forward_blocks(usable, 10)
    with pytest.raises(UsageError, match="fewer than 8"):
        splits.walk_forward_blocks(usable, 1, splits.SplitOptions(blocks=9))
    with pytest.raises(UsageError, match="counts days"):
        splits.walk_forward_blocks(usable, 1, splits.SplitOptions(window=splits.TrainingWindow.ROLLING))
    with pytest.raises(UsageError, match="below the horizon"):
        splits.training_stop(100, 10, splits.SplitOptions(purge=9))
    with pytest.raises(UsageError, match="rows to train on"):
        splits.walk_forward_days(day, usable & (day != 3), 5, splits.SplitOptions(min_train_days=2))


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
        "family", "symbol", "horizon", "seed", "config", "policy", "splits", "splits_hash", "split_options", "model",
        "baselines", "simulation", "importance", "tests_hash", "seconds", "metrics_hash", "uncalibrated",
    }  # fmt: skip
    assert document["config"]["rounds"] == 40 and document["policy"] == {}
    assert set(document["splits"][0]) == {
        "split", "name", "train_rows", "test_rows", "prior", "fit_seconds", "calibration",
    }  # fmt: skip
    assert set(document["uncalibrated"]) == set(document["model"])
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
