"""A home of an older version with its registry: killed between two writes and repaired, copied, and served.

Trained in by the real commands, killed at each failpoint; MLflow's server is that of `ghtrader up`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ghtrader_assets.results.model_audit import audit_models
from ghtrader_base.failpoints import KILL_ENV
from ghtrader_base.settings import Settings, load_settings
from ghtrader_models.bundles.bundle import list_bundles, load_bundle
from ghtrader_models.inference.predictors import Predictor
from tests.support.waiting import PATIENCE_S

FIXTURE = Path(__file__).parents[1] / "fixtures" / "home_fd3b953.tar.xz"
OLDER = "836a4e53f26ab2a7"
TRAIN = ("train", "--model", "logistic", "--var", "cu", "--horizon", "50")
POINTS = ("train.bundle->mlflow", "mlflow.model->version")
PROMOTE = """
import sys
from ghtrader_base.settings import load_settings
from ghtrader_models.bundles.bundle import list_bundles, load_bundle
from ghtrader_models.bundles.champions import GateEvidence
from ghtrader_models.model_scores import GainInterval
from ghtrader_models.registry.mlflow_tracking import Tracker
from ghtrader_models.registry.promotion import Decision, promote
settings = load_settings()
bundle = load_bundle(list_bundles(settings.models)[0])
gain = GainInterval(mean=0.1, low=0.05, high=0.15, n=5, per_split=[0.1] * 5)
evidence = GateEvidence(family=bundle.kind, horizon=bundle.horizon, logloss_gain=gain, tests_hash="")
promote(settings.models, bundle, Decision(True, ("it is a test",), None, evidence), tracker=Tracker(settings))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The older home, its features and labels built by this version."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    command(folder, "build", "--var", "cu")
    return folder


@pytest.fixture
def place(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A copy of it, which may be changed, in force."""
    shutil.copytree(built, tmp_path / "copy")
    monkeypatch.setenv("GHTRADER_HOME", str(tmp_path / "copy" / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "copy" / "state"))
    yield load_settings()


def command(
    folder: Path, *arguments: str, kill: str = "", code: int | None = 0, program: tuple[str, ...] = ("-m", "ghtrader")
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "GHTRADER_HOME": str(folder / "home"), "XDG_STATE_HOME": str(folder / "state"),
        **({KILL_ENV: f"{kill}:1"} if kill else {}),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", *program, *arguments],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert code is None or done.returncode == code, done.stderr
    return done


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def found(settings: Settings) -> list[str]:
    return [each.dataset for part in audit_models(settings) for each in part.findings]


@pytest.mark.sample(1)
@pytest.mark.parametrize("point", POINTS)
def test_a_training_killed_before_it_is_registered(place: Settings, point: str) -> None:
    folder = place.home.parent
    command(folder, *TRAIN, kill=point, code=None)
    assert len(list_bundles(place.models)) == 2 and found(place) == ["registry"]
    shown = json.loads(command(folder, "models", "repair", "--json", code=1).stdout)
    assert [row["kind"] for row in shown["differences"]] == ["not_registered"]
    assert found(place) == ["registry"], "it was only shown"
    command(folder, "models", "repair", "--apply")
    assert found(place) == []
    assert command(folder, "models", "repair").stdout.strip() == "bundles and registry agree"
    assert {path.name for path in folder.iterdir()} == {"home", "state"}, "nothing is written outside of the home"


def test_a_promotion_killed_before_the_alias(place: Settings) -> None:
    folder = place.home.parent
    killed = command(folder, kill="promote.pointer->alias", code=-signal.SIGKILL, program=("-c", PROMOTE))
    assert killed.returncode == -signal.SIGKILL
    # the bundle is of a pipeline's run, so that MLflow must name it
    assert found(place) == ["registry"]
    command(folder, "models", "repair", "--apply")
    assert found(place) == []


def test_training_in_a_copy_changes_nothing_in_the_original(place: Settings, tmp_path: Path) -> None:
    command(place.home.parent, *TRAIN)
    shutil.copytree(place.home.parent, tmp_path / "second")
    before = {path: path.read_bytes() for path in place.home.rglob("*") if path.is_file() and not path.is_symlink()}
    command(tmp_path / "second", "train", "--model", "xgboost", "--var", "cu", "--horizon", "50")
    after = {path: path.read_bytes() for path in place.home.rglob("*") if path.is_file() and not path.is_symlink()}
    assert after == before
    settings = load_settings(tmp_path / "second" / "home")
    assert found(settings) == [] and len(list_bundles(settings.models)) == 3


SERVED = """
import json, os, sys, mlflow, numpy as np, pandas as pd
from mlflow import MlflowClient
model = mlflow.pyfunc.load_model("models:/KQ.m-SHFE.cu-h50/2")
client = MlflowClient()
version = client.get_model_version("KQ.m-SHFE.cu-h50", "2")
files = sorted(each.path for each in client.list_artifacts(version.run_id))
older = client.get_model_version("KQ.m-SHFE.cu-h50", "1")
kept = mlflow.artifacts.download_artifacts(run_id=older.run_id, artifact_path="bundle/manifest.json")
example = model.input_example
heavy = sorted({"torch", "sklearn", "xgboost", "dagster", "lightning"} & set(sys.modules))
print(json.dumps([np.asarray(example).tolist(), model.predict(example).to_numpy().tolist(), files,
    json.load(open(kept))["bundle_id"], heavy]))
"""


def test_mlflow_clients_open_a_model_through_the_server(place: Settings) -> None:
    folder, port = place.home.parent, free_port()
    command(folder, *TRAIN)
    (trained,) = [path for path in list_bundles(place.models) if path.name != OLDER]
    command(folder, "up", "--only", "mlflow", "--mlflow-port", str(port))
    try:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", SERVED],
            env=environment, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    finally:
        command(folder, "down")
    assert done.returncode == 0, done.stderr
    rows, probabilities, files, older, heavy = json.loads(done.stdout)
    expected = Predictor.from_bundle(load_bundle(trained)).predict(np.array(rows, np.float32))
    assert np.array_equal(probabilities, expected)
    assert files == ["days.json", "importance.png", "provenance.json"]
    assert older == OLDER and heavy == []
    assert {path.name for path in folder.iterdir()} == {"home", "state"}
