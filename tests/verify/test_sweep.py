"""A sweep as a user runs it: Dagster, MLflow, several workers, and a kill of all of them in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ghtrader_assets.results.sweeps_store import configurations_tried, load_sweeps
from ghtrader_base.settings import Settings, load_settings
from ghtrader_models.registry.mlflow_tracking import Tracker
from ghtrader_models.sweep.study import TrialStore, sqlite_url
from ghtrader_models.sweep.trials import TrialEnd
from tests.support import built
from tests.support.cli import ghtrader
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.clock
SPACE = """
[search]
rounds = { type = "int", low = 2, high = 12 }
eta = { type = "float", low = 0.01, high = 0.5, log = true }
max_depth = { type = "choice", values = [2, 3] }
[fixed]
memory = 0
stride = 1
min_child_weight = 1.0
"""
TRIALS, WORKERS = 12, 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = load_settings(tmp_path_factory.mktemp("sweep") / "home")
    built.build(settings.data)
    (settings.home / "space.toml").write_text(SPACE)
    return settings


def command(settings: Settings, trials: int = TRIALS) -> list[str]:
    return [
        "sweep", "--model", "xgboost", "--symbol", built.KEY, "--horizon", "10", "--json", "--home", str(settings.home),
        "--space", str(settings.home / "space.toml"), "--trials", str(trials), "--workers", str(WORKERS),
    ]  # fmt: skip


def store_of(settings: Settings) -> TrialStore | None:
    (found,) = list((settings.runs / "sweep").rglob("*.db")) or [None]
    return None if found is None else TrialStore(sqlite_url(found), found.stem)


def test_killed_in_the_middle_and_run_again(home: Settings) -> None:
    """No trial is counted twice, at most those that ran are lost, and MLflow has each once."""
    words = [sys.executable, "-P", "-m", "ghtrader", *command(home)]
    running = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 6 * PATIENCE_S
        while running.poll() is None and time.monotonic() < until:
            store = store_of(home)
            if store is not None and sum(row.end is TrialEnd.COMPLETE for row in store.rows()) >= 3:
                break
            time.sleep(0.2)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    before = store_of(home).rows()
    ended = [row for row in before if row.end is not TrialEnd.RUNNING]
    assert 3 <= len(ended) < TRIALS and len(before) - len(ended) <= WORKERS

    done = ghtrader(*command(home))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = store_of(home).rows()
    assert [row for row in rows if row.number in {one.number for one in ended}] == ended, "what was scored stays"
    counted = [row for row in rows if row.end is not TrialEnd.LOST]
    assert len(counted) == TRIALS == report["tried"] and len(rows) - len(counted) <= WORKERS
    assert report["best"]["objective"] == max(row.objective for row in counted if row.objective is not None)
    assert report["train_command"].startswith(
        "ghtrader train --model xgboost --symbol KQ.m@SHFE.cu --horizon 10 --preset small"
    )
    assert {"rounds", "eta", "max_depth"} == set(report["best"]["settings"]) and report["importance"]
    assert configurations_tried(home, built.KEY, 10, "xgboost") == TRIALS
    (kept,) = load_sweeps(home, built.KEY, 10, "xgboost")
    page = next((home.runs / "sweep").rglob("*.html")).read_text()
    assert kept.best.number == report["best"]["number"] and "data:image/png;base64" in page

    client = Tracker(home).client
    experiment = client.get_experiment_by_name(built.KEY).experiment_id
    (parent,) = client.search_runs([experiment], "tags.`ghtrader.kind` = 'sweep'")
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert sorted(int(run.data.tags["ghtrader.trial"]) for run in children) == [row.number for row in counted]
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert parent.data.tags["ghtrader.configurations_tried"] == str(TRIALS)
    assert parent.data.metrics["configurations_tried"] == TRIALS
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"sweep.json", "sweep.html"}


def test_a_second_call_has_nothing_to_do_and_a_larger_one_goes_on(home: Settings) -> None:
    before = store_of(home).rows()
    assert ghtrader(*command(home)).returncode == 0 and store_of(home).rows() == before
    more = json.loads(ghtrader(*command(home, TRIALS + 1)).stdout)
    assert more["tried"] == TRIALS + 1 and len(store_of(home).rows()) == len(before) + 1


def test_a_benchmark_after_it_says_how_many_were_tried(home: Settings) -> None:
    done = ghtrader(
        "benchmark", "--model", "xgboost", "--symbol", built.KEY, "--horizon", "10", "--home", str(home.home)
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((home.runs / "benchmark" / built.KEY / "h10" / "xgboost.json").read_text())
    assert report["context"]["configurations_tried"] == TRIALS + 1


def test_a_bundle_trained_after_it_says_so_in_the_registry(home: Settings) -> None:
    done = ghtrader("train", "--model", "xgboost", "--symbol", built.KEY, "--horizon", "10", "--home", str(home.home))
    assert done.returncode == 0, done.stderr
    (version,) = Tracker(home).client.search_model_versions("name = 'KQ.m-SHFE.cu-h10'")
    assert version.tags["ghtrader.configurations_tried"] == str(TRIALS + 1)


def test_the_mistakes_of_a_call(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[search]\nwonder = { type = 'int', low = 1, high = 2 }")
    call = command(home)
    call[call.index("--space") + 1] = str(bad)
    refused = ghtrader(*call)
    assert refused.returncode == 2 and "line 2: search.wonder" in refused.stderr
    monkeypatch.setenv("GHTRADER_SWEEP_DATABASE", "postgresql+psycopg://somebody:canary-7@127.0.0.1:1/sweeps")
    refused = ghtrader(*command(home))
    assert refused.returncode == 4 and "127.0.0.1:1" in refused.stderr
    assert "canary-7" not in refused.stdout + refused.stderr
    written = b"".join(path.read_bytes() for path in home.home.rglob("*") if path.is_file())
    assert b"canary-7" not in written
