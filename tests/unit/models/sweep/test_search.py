"""Trials are scored on the benchmark's splits, counted once, ended early where they are bad, resumed after a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ghtrader_base.errors import ConfigError, UnreachableError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.evaluation.model_cost import RowLatency, row_latency
from ghtrader_models.evaluation.splits import make_splits
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.sweep.score import predictor_of, score_configuration
from ghtrader_models.sweep.search import SweepTask, open_store, search, study_path
from ghtrader_models.sweep.space import FloatRange, IntRange, Space
from ghtrader_models.sweep.study import TrialStore, study_name, without_password
from ghtrader_models.sweep.trials import TrialEnd, TrialRow, best_first, tried

SPACE = Space(
    search={"c": FloatRange(low=1e-6, high=1.0, log=True), "stride": IntRange(low=1, high=3)}, fixed={"memory": 0}
)
FAST = RowLatency(p50_us=5.0, p99_us=9.0, calls=100)


@pytest.fixture(scope="module")
def data(make_world: Callable[..., Any]) -> Any:
    dataset, _ = make_world(days=5, rows=200)
    return dataset, make_splits(dataset)


def task_of(settings: Settings, **changes: Any) -> SweepTask:
    task = SweepTask(
        home=str(settings.home), symbol="KQ.m@SHFE.cu", family="logistic", horizon=10, days=(), space=SPACE,
        study="study", trials=4,
    )  # fmt: skip
    return replace(task, **changes)


def fast(*_: Any) -> RowLatency:
    return FAST


def test_a_configuration_is_scored_as_the_benchmark_scores_it(data: Any) -> None:
    config = make_config(get_family("logistic"), SPACE.settings({"c": 0.5, "stride": 1}))
    found = score_configuration(*data, "logistic", config, seed=3, measure=None)
    report = run_benchmark(data[0], "logistic", plan=data[1], config=config, seed=3, simulate=False)
    assert list(found.gains) == report.model.gain.per_split and found.whole and found.row_time is None
    assert found.mean == pytest.approx(report.model.gain.mean)
    assert found.objective(0.0) == found.mean > found.objective(1.0)
    half = score_configuration(*data, "logistic", config, seed=3, measure=None, go_on=lambda *_: False)
    assert half.gains == found.gains[:1] and not half.whole


def test_a_rows_time_is_that_of_the_route_that_trades(data: Any) -> None:
    dataset, plan = data
    model = get_family("logistic").fit(dataset.samples(plan.splits[0].train), seed=0)
    found = row_latency(predictor_of(model), dataset.X[plan.splits[0].test])
    assert 0 < found.p50_us <= found.p99_us


def test_as_many_as_are_wanted_and_the_same_again(data: Any, settings: Settings, tmp_path: Any) -> None:
    seen: list[int] = []
    rows = search(settings, task_of(settings), data, measure=fast, each=lambda rows: seen.append(len(rows)))
    assert [row.number for row in rows] == [0, 1, 2, 3] and seen == [1, 2, 3, 4]
    assert tried(rows) == 4 and all(row.row_time == FAST for row in rows)
    whole = [row for row in rows if row.end is TrialEnd.COMPLETE]
    assert best_first(rows)[0].objective == max(row.objective for row in whole)
    assert best_first(rows)[0].mean > 0.1, "there is something to learn"
    assert study_path(settings, "KQ.m@SHFE.cu", 10, "study").exists()
    # the same seed repeats it in another home, whatever the clock says
    other = load_settings(tmp_path / "other")
    again = search(other, task_of(other), data, measure=fast)
    assert [replace(row, seconds=None) for row in again] == [replace(row, seconds=None) for row in rows]
    # a second call adds what is wanted beyond, with values of its own; a third has nothing to do
    more = search(settings, task_of(settings, trials=6), data, measure=fast)
    assert more[:4] == rows and len(more) == 6
    assert len({tuple(row.settings.items()) for row in more}) == 6
    assert search(settings, task_of(settings, trials=6), data, measure=fast) == more


def test_a_bad_trial_is_ended_early(data: Any, settings: Settings) -> None:
    """Five whole ones first; then one that is worse than their median on the first two splits."""
    store = TrialStore(f"sqlite:///{settings.home}.db", "early")
    for gain in (0.3, 0.31, 0.32, 0.33, 0.34):
        trial = store.claim(SPACE, 6, 0)
        assert all(store.take_gain(trial, [gain] * split) for split in (1, 2, 3))
        store.finish(trial, gain)
    trial = store.claim(SPACE, 6, 0)
    assert store.take_gain(trial, [0.1]) and not store.take_gain(trial, [0.1, 0.1])
    store.finish(trial, None)
    assert store.claim(SPACE, 6, 0) is None
    assert store.rows()[5].end is TrialEnd.PRUNED and store.rows()[5].gains == (0.1, 0.1)
    assert tried(store.rows()) == 6 and len(best_first(store.rows())) == 5
    assert set(store.importance()) == {"c", "stride"}


def test_what_is_too_slow_is_never_the_best(data: Any, settings: Settings) -> None:
    """Every second one takes longer than the limit; it is scored on one split, and then no more."""
    times = iter([4.0, 40.0] * 2)
    rows = search(
        settings, task_of(settings, row_limit_us=10.0), data,
        measure=lambda *_: RowLatency(p50_us=next(times), p99_us=50.0, calls=100),
    )  # fmt: skip
    assert [row.feasible for row in rows] == [True, False] * 2
    assert all(len(row.gains) == 1 and row.end is TrialEnd.PRUNED for row in rows[1::2])
    assert all(row.feasible for row in best_first(rows)) and best_first(rows)


def test_a_configuration_that_cannot_be_trained_is_one_trial_and_stops_no_other(data: Any, settings: Settings) -> None:
    space = Space(search={"c": FloatRange(low=0.1, high=1.0)}, fixed={"stride": 10**6})
    rows = search(settings, task_of(settings, space=space, trials=3), data)
    assert [row.end for row in rows] == [TrialEnd.FAILED] * 3
    assert all(row.error.startswith("with a stride of 1000000, 1 training rows") for row in rows)
    assert tried(rows) == 0 and best_first(rows) == []


def test_a_kill_loses_the_trial_that_ran_and_no_other(data: Any, settings: Settings) -> None:
    calls: list[int] = []

    def killed(*_: Any) -> RowLatency:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return FAST

    child = os.fork()
    if child == 0:
        try:
            search(settings, task_of(settings), data, measure=killed)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    before = open_store(settings, task_of(settings)).rows()
    assert [row.end for row in before] == [before[0].end, before[1].end, TrialEnd.RUNNING]
    rows = search(settings, task_of(settings), data, measure=fast)
    assert rows[:2] == before[:2] and rows[2].end is TrialEnd.LOST
    assert len(rows) == 5 and tried(rows) == 4, "four count, the lost one does not"
    assert rows[2] not in best_first(rows)


def test_a_stopped_search_gives_its_trial_back(data: Any, settings: Settings) -> None:
    def stopped(*_: Any) -> RowLatency:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(settings, task_of(settings), data, measure=stopped)
    (row,) = open_store(settings, task_of(settings)).rows()
    assert row.end is TrialEnd.LOST


def test_two_homes_share_one_database_and_count_together(
    data: Any, settings: Settings, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two machines do; a trial that a process of another host runs is left alone."""
    monkeypatch.setenv("GHTRADER_SWEEP_DATABASE", f"sqlite:///{tmp_path}/shared.db")
    here, there = load_settings(settings.home), load_settings(tmp_path / "other")
    search(here, task_of(here, trials=1), data, measure=fast)
    rows = search(there, task_of(there, trials=3), data, measure=fast)
    assert len(rows) == 3 and not study_path(here, "KQ.m@SHFE.cu", 10, "study").exists()
    store = open_store(here, task_of(here))
    trial = store.claim(SPACE, 4, 0)
    trial.set_user_attr("process", ["another-host", 1, 1])
    assert store.close_lost() == 0 and store.rows()[3].end is TrialEnd.RUNNING
    assert store.claim(SPACE, 4, 0) is None, "it counts while it runs"


def test_a_password_is_never_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql+psycopg://somebody:canary-7@127.0.0.1:1/sweeps"
    monkeypatch.setenv("GHTRADER_SWEEP_DATABASE", url)
    with pytest.raises(UnreachableError) as refused:
        open_store(load_settings(settings.home), task_of(settings))
    assert "canary-7" not in f"{refused.value.message} {refused.value.hint}" and "127.0.0.1:1" in refused.value.message
    assert refused.value.__cause__ is None and refused.value.__suppress_context__
    monkeypatch.setenv("GHTRADER_SWEEP_DATABASE", "nonsense canary-7")
    with pytest.raises(ConfigError, match="no address of a database") as refused:
        open_store(load_settings(settings.home), task_of(settings))
    assert "canary-7" not in str(refused.value)
    assert without_password(url) == "postgresql+psycopg://somebody:********@127.0.0.1:1/sweeps"


def test_another_space_or_other_days_are_another_study() -> None:
    names = {study_name("KQ.m@SHFE.cu", 10, "logistic", space, days) for space in ("a", "b") for days in ("x", "y")}
    assert len(names) == 4
    assert all(name.startswith("KQ.m@SHFE.cu-h10-logistic-") for name in names)


def test_of_equals_the_earlier_trial_is_the_best() -> None:
    rows = [TrialRow(number=n, end=TrialEnd.COMPLETE, settings={}, objective=0.5, gains=(0.5,)) for n in (0, 1)]
    assert [row.number for row in best_first(rows)] == [0, 1]
