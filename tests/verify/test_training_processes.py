"""Training through `ghtrader train`: killed and run again, and on two processes by either launcher, over loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from ghtrader_base.failpoints import KILL_ENV
from ghtrader_models.evaluation.metrics import log_loss
from ghtrader_models.families.base import get_family
from ghtrader_models.families.parallel_training import Launcher, train_on_processes
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.families.training_session import TrainingSession, training_session
from ghtrader_models.families.window_family import WindowModel
from tests.support.built import build
from tests.support.waiting import PATIENCE_S
from tests.unit.models.conftest import make_world

__all__ = ["make_world"]
CONFIG = TCNConfig(
    length=8, levels=2, kernel=2, channels=8, dropout=0.0, max_epochs=4, patience=4, batch_size=64, max_windows=1000
)
TOLERANCE = 2e-5
"""Of probabilities and of the validation log-loss, two processes beside one: float32 sums in another order."""
ASKED = [
    "train", "--model", "tcn", "--var", "cu", "--horizon", "10", "--seq-len", "8", "--epochs", "4",
    "--batch-size", "64", "--set", "levels=1", "--set", "channels=4", "--set", "kernel=2", "--set", "patience=4",
    "--set", "max_windows=1000", "--json",
]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("built") / "home"
    build(home / "data")
    return home


def start(home: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ghtrader", *ASKED, *more],
        env={**os.environ, "GHTRADER_HOME": str(home), **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def trained(home: Path, *more: str) -> tuple[str, str]:
    """What a training wrote."""
    return ended(start(home, *more))


def ended(child: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """What a command wrote."""
    try:
        out, err = child.communicate(timeout=2 * PATIENCE_S)
    finally:
        child.kill()
    assert child.returncode == code, err
    return out, err


def bundle_of(home: Path) -> Path:
    (found,) = (home / "models" / "bundles").iterdir()
    return found


def log_losses(home: Path) -> list[float]:
    run = json.loads((bundle_of(home) / "provenance.json").read_text())["run"]
    found: list[float] = run["learning_curves"]["validation_logloss"]
    return found


@pytest.mark.sample(1, of="training processes")
def test_a_killed_train_goes_on_and_ends_as_one_that_was_not(built: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for home in (whole, cut):
        shutil.copytree(built, home)
    said = trained(whole)[1]
    assert "tcn epoch 4/4" in said and "validation log-loss" in said
    ended(start(cut, **{KILL_ENV: "training.checkpoint->epoch:2"}), -signal.SIGKILL)
    assert list((cut / "cache" / "training").glob("*/*/checkpoint.safetensors"))
    assert not (cut / "models" / "bundles").exists() and not list((cut / "models").glob("candidates/*/*/*"))
    said = trained(cut)[1]
    assert "tcn goes on after epoch 2 of 4" in said and "tcn epoch 2/4" not in said
    assert bundle_of(cut).name == bundle_of(whole).name, "to the last bit"
    assert log_losses(cut) == log_losses(whole)
    assert not list((cut / "cache" / "training").glob("*/*"))


@pytest.mark.sample(1, of="training processes")
def test_a_train_that_is_killed_while_it_pretrains_goes_on_and_keeps_its_encoder(built: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for home in (whole, cut):
        shutil.copytree(built, home)
    more = ("--set", "pretrain=next_snapshot", "--set", "pretrain_epochs=3", "--set", "auxiliary_horizons=50")
    assert "tcn pretraining epoch 3/3" in trained(whole, *more)[1]
    ended(start(cut, *more, **{KILL_ENV: "training.checkpoint->epoch:2"}), -signal.SIGKILL)
    encoders = cut / "cache" / "encoders"
    assert list(encoders.glob("training-*/checkpoint.safetensors")) and not list(encoders.glob("*.safetensors"))
    said = trained(cut, *more)[1]
    assert "tcn pretraining goes on after epoch 2 of 3" in said
    assert bundle_of(cut).name == bundle_of(whole).name, "to the last bit"
    (kept,) = encoders.glob("*.safetensors")
    record = json.loads((bundle_of(cut) / "provenance.json").read_text())["content"]["pretraining"]
    assert record["encoder"] == kept.stem and record["days"]


@pytest.fixture(scope="module")
def one(samples: Any) -> WindowModel:
    return get_family("tcn").fit(samples, seed=1, config=CONFIG)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def samples(make_world: Callable[..., Any]) -> Any:
    dataset, _ = make_world(days=2, rows=900)
    X = dataset.X[:, :6].copy()
    return replace(dataset.samples(np.flatnonzero(dataset.usable)), X=X)


def listeners(parent: int) -> set[str]:
    """Addresses that descendants listen on."""
    found = set()
    for child in psutil.Process(parent).children(recursive=True):
        try:
            connections = child.net_connections("inet")
        except psutil.Error:
            continue
        found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.sample(1, of="training processes")
@pytest.mark.parametrize("launcher", list(Launcher))
def test_two_processes_equal_one_at_the_same_global_batch(launcher: Launcher, samples: Any, one: WindowModel) -> None:
    said: list[str] = []
    open_to: set[str] = set()

    def tell(line: str) -> None:
        said.append(line)
        open_to.update(listeners(os.getpid()))

    files, made = train_on_processes(
        "tcn", samples, CONFIG, seed=1, session=TrainingSession(devices=2, tell=tell), launcher=launcher
    )
    two = WindowModel("tcn", files, np.array(made.moved), np.array(made.validation_rows), tuple(made.learning_curve))
    np.testing.assert_allclose(two.predict_proba(samples), one.predict_proba(samples), atol=TOLERANCE)
    np.testing.assert_allclose(two.learning_curve, one.learning_curve, atol=TOLERANCE)
    assert log_loss(two.predict_proba(samples), samples.labels) == pytest.approx(
        log_loss(one.predict_proba(samples), samples.labels), abs=TOLERANCE
    )
    assert len([line for line in said if "validation log-loss" in line]) == 4, "the first rank alone speaks"
    assert open_to <= {"127.0.0.1", "::1"}


@pytest.mark.sample(1, of="training processes")
def test_a_train_on_two_devices_that_is_killed_leaves_no_process_and_goes_on(built: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(built, home)
    parent = start(home, "--devices", "2", GHTRADER_FAILPOINT_PAUSE_S="1")
    try:
        assert parent.stderr is not None
        for line in parent.stderr:
            if "epoch 2/4" in line:
                break
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 3, "torchrun and two ranks"
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + PATIENCE_S
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.2)
    said = trained(home, "--devices", "2")[1]
    assert "tcn goes on after epoch" in said and len(log_losses(home)) == 4
    assert json.loads((bundle_of(home) / "provenance.json").read_text())["content"]["devices"] == 2
    assert not list((home / "cache" / "training").glob("*/*"))


def test_two_processes_begin_with_one_encoder_and_share_further_horizons(samples: Any) -> None:
    config = replace(CONFIG, pretrain="next_snapshot", pretrain_epochs=2, pretrain_windows=400, auxiliary_horizons="30")
    shared = replace(samples, further_labels={30: samples.y})
    one, two = (_fit(shared, config, TrainingSession(devices=devices)) for devices in (1, 2))
    assert one.pretraining == two.pretraining and one.pretraining is not None
    np.testing.assert_allclose(two.learning_curve, one.learning_curve, atol=TOLERANCE)
    np.testing.assert_allclose(two.predict_proba(samples), one.predict_proba(samples), atol=TOLERANCE)


def _fit(samples: Any, config: TCNConfig, session: TrainingSession) -> WindowModel:
    with training_session(session):
        return get_family("tcn").fit(samples, seed=1, config=config)  # type: ignore[return-value]
