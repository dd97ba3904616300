"""MLflow for real: a sqlite home, runs, versions, aliases, two first users at once."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from ghtrader_assets.results.model_audit import audit_models
from ghtrader_assets.results.model_repair import repair_models
from ghtrader_base.errors import UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_base.version import git_commit
from ghtrader_models.bundles.champions import write_champion
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.families.logistic import LogisticConfig
from ghtrader_models.inference.predictors import Predictor
from ghtrader_models.registry import artifact_addresses
from ghtrader_models.registry.mlflow_tracking import (
    RegisteredBundle,
    Tracker,
    _usual_uri,
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


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's folder of a home in which nothing was logged yet, made once."""
    settings = load_settings(tmp_path_factory.mktemp("made") / "home")
    Tracker(settings).client.search_experiments()
    return settings.mlflow


@pytest.fixture
def ready(settings: Settings, database: Path) -> Settings:
    """Settings of a home that has it."""
    shutil.copytree(database, settings.mlflow, dirs_exist_ok=True)
    return settings


def test_runs_versions_and_aliases(settings: Settings, dataset: Any, tmp_path: Path) -> None:
    tracker = Tracker(settings)
    report = run_benchmark(dataset, "logistic", config=LogisticConfig(stride=1, memory=0, c=1.0))
    tags = {"dagster.run_id": "abc", "dagster.partition": "50|cu"}
    tracker.client.search_experiments()
    started = time.perf_counter()
    logged = {"tags": tags, "artifacts": {"gain.png": b"\x89PNG"}, "facts": dataset.facts}
    run = tracker.client.get_run(tracker.log_benchmark(report, **logged))
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
    files = {f.path for f in tracker.client.list_artifacts(run.info.run_id)}
    figures = {"gain_per_split.png", "reliability.png", "importance.png", "pnl.png"}
    assert files == {"benchmark.json", "gain.png", "days.json", *figures}
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.tags[0].value) == (dataset.symbol, "evaluation")
    assert json.loads(given.dataset.profile)["days"] == 8 and str(settings.home) not in given.dataset.source
    assert run.data.tags["ghtrader.data_hash"].startswith(given.dataset.digest)
    assert run.data.tags.get("mlflow.source.git.commit", "") == git_commit()
    assert run.data.metrics["system/system_memory_usage_megabytes"] > 0

    symbol, horizon = dataset.symbol, dataset.horizon
    assert tracker.bundle_of_alias(symbol, horizon) is None
    assert tracker.bundle_of_alias(symbol, horizon, "challenger") == first.bundle_id
    promote(settings.models, first, judge(report, config=GateConfig(horizon=10)), tracker=tracker)
    assert tracker.bundle_of_alias(symbol, horizon) == first.bundle_id
    name = model_name(symbol, horizon)
    assert [replace(found, copy=None) for found in registered_bundles(settings)] == [
        RegisteredBundle(name, "1", first.bundle_id, ("challenger", "champion")),
        RegisteredBundle(name, "2", second.bundle_id, ()),
    ]
    assert [part for part in audit_models(settings) if part.findings] == []
    shutil.rmtree(second.path)
    (finding,) = audit_models(settings)[-1].findings
    assert finding.kind == "registry_differs" and "is not here or is damaged" in finding.line()
    tracker.client.set_registered_model_alias(name, "champion", "2")
    assert [finding.kind for finding in audit_models(settings)[-1].findings] == ["registry_differs"] * 2
    tracker.client.set_registered_model_alias(name, "champion", "1")
    kept = tracker.client.search_model_versions(f"name = '{name}'")
    assert {(str(each.version), each.tags["ghtrader.bundle_id"]) for each in kept} == {
        (each.version, each.bundle_id) for each in registered_bundles(settings)
    }
    logged = registered_bundles(settings)[0].copy
    assert {path.name for path in logged.iterdir()} == {path.name for path in first.path.iterdir()}
    with pytest.raises(UsageError, match="alias"):
        tracker.register_bundle(first, alias="staging")

    assert tracking_uri(settings).startswith("sqlite:///") and str(settings.home) in tracking_uri(settings)
    assert logged.is_relative_to(artifact_root(settings))
    assert not (Path.cwd() / "mlruns").exists() and not (Path.cwd() / "mlflow.db").exists()


def test_a_version_carries_the_scores_of_the_report_that_speaks_of_it(ready: Settings, dataset: Any) -> None:
    settings = ready
    tracker, config = Tracker(settings), LogisticConfig(stride=1, memory=0, c=1.0)
    report = run_benchmark(dataset, "logistic", config=config, simulate=False)
    name = model_name(dataset.symbol, dataset.horizon)
    before, other = (train_on(dataset, settings.models, "logistic", config=config, seed=seed) for seed in (0, 1))
    for bundle in (before, other):
        tracker.register_bundle(bundle)
    tracker.log_benchmark(report, facts=dataset.facts)
    shutil.rmtree(settings.mlflow / "artifacts")  # no scores come from there
    carrying, none = (tracker.client.get_model_version(name, version) for version in "12")
    assert carrying.tags["ghtrader.logloss_gain"] == f"{report.model.gain.mean:.6g}"
    assert carrying.tags["ghtrader.splits_hash"] == report.splits_hash == before.provenance.run.splits_hash
    assert "ghtrader.logloss_gain" not in none.tags
    model = tracker.client.get_logged_model(carrying.source.removeprefix("models:/"))
    assert {m.key: m.value for m in model.metrics}["benchmark_logloss_gain"] == report.model.gain.mean
    tracker.client.delete_model_version(name, "1")
    again = tracker.client.get_model_version(name, tracker.register_bundle(before))
    assert (
        again.version != carrying.version
        and again.tags["ghtrader.benchmark_run"] == carrying.tags["ghtrader.benchmark_run"]
    ), "the report came first this time"


@pytest.mark.clock
def test_mlflow_opens_a_version_and_predicts_as_the_bundle_does(ready: Settings, dataset: Any) -> None:
    settings = ready
    tracker = Tracker(settings)
    bundle = train_on(dataset, settings.models, "xgboost")
    curve = {"validation_logloss": [1.0, 0.9, 0.95]}  # as a family with epochs has it
    of_epochs = replace(bundle.provenance, run=replace(bundle.provenance.run, learning_curves=curve))
    bundle = replace(bundle, provenance=of_epochs)
    rows = dataset.X[100:110].astype(np.float64)
    with tracker.run(dataset.symbol, "train") as run_id:
        tracker.register_bundle(bundle, run_id=run_id, example=rows[:2], artifacts={"importance.png": b"\x89PNG"})
    given = pd.DataFrame(rows, columns=list(bundle.factor_names), index=range(7, 17))
    expected = Predictor.from_bundle(bundle).predict(rows.astype(np.float32))
    with _usual_uri(tracking_uri(settings)):
        model = mlflow.pyfunc.load_model(f"models:/{model_name(bundle.symbol, bundle.horizon)}@challenger")
        found = model.predict(given)
        with pytest.raises(MlflowException, match="missing inputs"):
            model.predict(given.iloc[:, 1:])
    assert np.array_equal(found.to_numpy(), expected) and list(found.columns) == ["p_down", "p_flat", "p_up"]
    assert list(found.index) == list(given.index) and model.input_example.shape == (2, len(bundle.factor_names))
    assert [spec.name for spec in model.metadata.signature.inputs] == list(bundle.factor_names)

    copy = registered_bundles(settings)[0].copy
    files = [path for path in copy.parents[1].rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert not [path for path in files if path.suffix in (".pkl", ".pickle") or path.read_bytes()[:1] == b"\x80"]
    assert not [path for path in files if str(settings.home).encode() in path.read_bytes()], "it names no home"
    run = tracker.client.get_run(run_id)
    assert run.info.status == "FINISHED" and run.outputs.model_outputs[0].model_id
    steps = tracker.client.get_metric_history(run_id, "validation_logloss")
    assert sorted((m.step, m.value) for m in steps) == [(0, 1.0), (1, 0.9), (2, 0.95)]
    assert run.data.metrics["train_logloss_gain"] > 0 and run.data.tags["ghtrader.bundle_id"] == bundle.bundle_id
    names = {f.path for f in tracker.client.list_artifacts(run_id)}
    assert names == {"days.json", "importance.png", "provenance.json"}
    with pytest.raises(ZeroDivisionError), tracker.run(dataset.symbol, "fails") as failed:
        raise ZeroDivisionError
    assert tracker.client.get_run(failed).info.status == "FAILED"
    process = run.data.tags["ghtrader.process"]
    runs = [
        tracker.client.create_run("1", tags={"ghtrader.process": mark}).info.run_id for mark in (process, f"{process}0")
    ]
    with tracker.run(dataset.symbol, "next"):
        states = [tracker.client.get_run(each).info.status for each in runs]
    assert states == ["RUNNING", "KILLED"], "of a process that lives, and of one that is gone"


def test_a_copied_home_is_a_home_of_its_own(ready: Settings, dataset: Any, tmp_path: Path) -> None:
    """Training in the copy changes nothing in the original, and what the original held is read from the copy."""
    settings = ready
    first = train_on(dataset, settings.models, "logistic")
    Tracker(settings).register_bundle(first)
    copied = tmp_path / "elsewhere"
    shutil.copytree(settings.home, copied)
    before = tree(settings.home)
    original, settings = settings, load_settings(copied)
    tracker = Tracker(settings)
    assert tracker.register_bundle(train_on(dataset, settings.models, "logistic", seed=1)) == "2"
    assert [
        found.copy.is_relative_to(copied) and (found.copy / "manifest.json").is_file()
        for found in registered_bundles(settings)
    ] == [True, True]
    assert [part for part in audit_models(settings) if part.findings] == []
    for table, column in artifact_addresses._COLUMNS:
        with sqlite3.connect(settings.mlflow / "mlflow.db") as database:
            found = database.execute(f"SELECT {column} FROM {table}").fetchall()
        assert [a for (a,) in found if a and not a.startswith(("mlflow-artifacts:/", "models:/"))] == []
    assert tree(original.home) == before


def tree(home: Path) -> dict[str, bytes]:
    """Every file of a home with its content."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_bundles_and_registry_agree_again_whichever_was_lost(ready: Settings, dataset: Any) -> None:
    """A bundle, a version, a copy, an alias, and the whole of MLflow: named by the audit, mended by the repair."""
    settings = ready
    tracker = Tracker(settings)
    bundle = train_on(dataset, settings.models, "logistic", run_id="r1")
    name = model_name(bundle.symbol, bundle.horizon)

    def differs() -> list[str]:
        found = [row.found.kind.value for row in repair_models(settings, apply=False)]
        audited = [each for part in audit_models(settings) for each in part.findings if each.dataset == "registry"]
        assert len(audited) == len(found)
        return found

    def mended() -> list[str]:
        done = [row.mended for row in repair_models(settings, apply=True)]
        assert repair_models(settings, apply=False) == []
        return done

    assert differs() == ["not_registered"], "killed between the bundle and MLflow"
    assert mended() == ["yes"]
    write_champion(settings.models, bundle, reason="killed between the pointer and the alias")
    assert differs() == ["champion_differs"] and mended() == ["yes"]
    assert tracker.bundle_of_alias(bundle.symbol, bundle.horizon) == bundle.bundle_id

    before = tree(bundle.path)
    shutil.rmtree(bundle.path)
    assert differs() == ["bundle_gone"] and mended() == ["yes"]
    assert tree(bundle.path) == before
    (bundle.path / "policy.json").write_text("{}")
    assert differs() == ["bundle_gone"] and mended() == ["yes"]
    assert tree(bundle.path) == before
    assert [path.name for path in bundle.path.parent.glob(".damaged-*/*")] == [bundle.bundle_id], "nothing is lost"

    (found,) = registered_bundles(settings)
    (found.copy / "policy.json").unlink()
    assert differs() == ["copy_damaged"] and mended() == ["yes"] and tree(found.copy) == before
    tracker.client.delete_model_version(name, found.version)
    assert differs() == ["not_registered", "champion_differs"] and mended() == ["yes", "yes"]
    shutil.rmtree(found.copy)
    (now,) = registered_bundles(settings)
    shutil.rmtree(now.copy)
    shutil.rmtree(bundle.path)
    assert differs() == ["bundle_lost"] and mended() == ["yes"]
    assert registered_bundles(settings) == [] and tracker.bundle_of_alias(bundle.symbol, bundle.horizon) is None


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
