"""MLflow for real: a sqlite home, runs, versions, aliases, two first users at once."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ghtrader_assets.results.model_audit import audit_models
from ghtrader_base.errors import UsageError
from ghtrader_base.settings import Settings
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.families.logistic import LogisticConfig
from ghtrader_models.registry.mlflow_tracking import (
    RegisteredBundle,
    Tracker,
    artifact_root,
    model_name,
    registered_bundles,
    tracking_uri,
)
from ghtrader_models.registry.promotion import GateConfig, judge, promote
from ghtrader_models.training import train_on
from tests.support.waiting import PATIENCE_S

_WORLD = Path(__file__).parents[2] / "unit" / "models" / "conftest.py"


@pytest.fixture(scope="module")
def dataset() -> Any:
    spec = importlib.util.spec_from_file_location("models_world", _WORLD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_world.__wrapped__()(days=8, rows=300)[0]


def test_runs_versions_and_aliases(settings: Settings, dataset: Any, tmp_path: Path) -> None:
    tracker = Tracker(settings)
    report = run_benchmark(dataset, "logistic", config=LogisticConfig(stride=1, memory=0, c=1.0))
    tags = {"dagster.run_id": "abc", "dagster.partition": "50|cu"}
    tracker.client.search_experiments()
    started = time.perf_counter()
    run = tracker.client.get_run(tracker.log_benchmark(report, tags=tags, artifacts={"gain.png": b"\x89PNG"}))
    first = train_on(dataset, settings.models, "logistic")
    second = train_on(dataset, settings.models, "xgboost")
    versions = [tracker.register_bundle(bundle, tags=tags) for bundle in (first, second, first)]
    assert time.perf_counter() - started < 60
    assert versions == ["1", "2", "1"]

    assert run.info.status == "FINISHED"
    assert run.data.tags["dagster.partition"] == "50|cu"
    assert run.data.metrics["logloss_gain"] == report.model.gain.mean
    assert run.data.metrics["logloss_gain_low"] == report.model.gain.low
    assert run.data.params["c"] == "1.0"
    history = tracker.client.get_metric_history(run.info.run_id, "split_logloss")
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == report.model.logloss.per_split
    assert {f.path for f in tracker.client.list_artifacts(run.info.run_id)} == {"benchmark.json", "gain.png"}

    symbol, horizon = dataset.symbol, dataset.horizon
    assert tracker.bundle_of_alias(symbol, horizon) is None
    assert tracker.bundle_of_alias(symbol, horizon, "challenger") == first.bundle_id
    promote(settings.models, first, judge(report, config=GateConfig(horizon=10)), tracker=tracker)
    assert tracker.bundle_of_alias(symbol, horizon) == first.bundle_id
    name = model_name(symbol, horizon)
    assert registered_bundles(settings) == [
        RegisteredBundle(name, "1", first.bundle_id, ("challenger", "champion")),
        RegisteredBundle(name, "2", second.bundle_id, ()),
    ]
    assert [part for part in audit_models(settings) if part.findings] == []
    shutil.rmtree(second.path)
    assert "is not here or is damaged" in audit_models(settings)[-1].notes[0], "nothing points at it: a note"
    tracker.client.set_registered_model_alias(name, "champion", "2")
    assert [finding.kind for finding in audit_models(settings)[-1].findings] == ["registry_differs"] * 2
    tracker.client.set_registered_model_alias(name, "champion", "1")
    kept = tracker.client.search_model_versions(f"name = '{name}'")
    assert {(str(each.version), each.tags["ghtrader.bundle_id"]) for each in kept} == {
        (each.version, each.bundle_id) for each in registered_bundles(settings)
    }
    version = tracker.client.get_model_version_by_alias(model_name(symbol, horizon), "champion")
    logged = Path(version.source.removeprefix("file://"))
    assert {path.name for path in logged.iterdir()} == {path.name for path in first.path.iterdir()}
    with pytest.raises(UsageError, match="alias"):
        tracker.register_bundle(first, alias="staging")

    assert tracking_uri(settings).startswith("sqlite:///") and str(settings.home) in tracking_uri(settings)
    assert logged.is_relative_to(artifact_root(settings))
    assert not (Path.cwd() / "mlruns").exists() and not (Path.cwd() / "mlflow.db").exists()


def test_two_first_users_do_not_race(settings: Settings, home: Path) -> None:
    code = (
        "from ghtrader_base.settings import load_settings;"
        "from ghtrader_models.registry.mlflow_tracking import Tracker;"
        f"t = Tracker(load_settings({str(home)!r})); print(t._experiment('KQ.m@SHFE.cu'))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=PATIENCE_S) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert len({out.strip().splitlines()[-1] for out, _ in outputs}) == 1
