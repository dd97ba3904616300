"""The deep families at length: every network exported, kill -9 in mid-training, the same bytes from the same seed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch

from ghtrader_models.bundles.feature_scaler import FeatureScaler
from ghtrader_models.evaluation.benchmark import run_benchmark, shuffled_labels
from ghtrader_models.families.base import get_family
from ghtrader_models.families.onnx_export import TOLERANCE, Normalised, export
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.inference.onnx_windows import WindowNetwork, softmax
from tests.support.networks import SMALL, F, T
from tests.support.waiting import PATIENCE_S, until
from tests.unit.models.conftest import make_world

__all__ = ["make_world"]
pytestmark = pytest.mark.timeout(900)
CHILD = Path(__file__).parents[1] / "support" / "children" / "training_child.py"
WINDOWS = 10_000


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", SMALL)
def test_an_exported_network_says_what_the_network_says(name: str) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    network = SMALL[name]().eval()
    scaler = FeatureScaler(tuple(str(i) for i in range(F)), rng.normal(size=F), rng.uniform(0.5, 2, F), 1)
    windows = rng.normal(size=(WINDOWS, T, F)).astype(np.float32)
    windows[rng.random(windows.shape) < 0.02] = np.nan
    windows[0, 0, 0], windows[1, :, 1] = np.inf, np.nan
    exported = WindowNetwork(export(network, scaler, T, windows[:64]))
    with torch.no_grad():
        expected = softmax(Normalised(network, scaler).eval()(torch.from_numpy(windows)).numpy())
    assert np.abs(exported.probabilities(windows) - expected).max() <= TOLERANCE
    alone = np.concatenate([exported.probabilities(windows[i : i + 1]) for i in range(200)])
    assert np.abs(alone - expected[:200]).max() <= TOLERANCE


def scores(folder: Path) -> list[float]:
    command = [sys.executable, str(CHILD), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.mark.sample(1)
@pytest.mark.parametrize("steps", [15, 37, 59])
def test_killed_in_mid_training_and_run_again_it_ends_with_the_same_scores(tmp_path: Path, steps: int) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = scores(tmp_path / "whole")
    child = subprocess.Popen([sys.executable, str(CHILD), str(tmp_path / "killed"), str(steps)])
    try:
        until(lambda: (tmp_path / "killed" / "stopped").exists() or child.poll() is not None, "the training")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE_S)
    assert (tmp_path / "killed" / "stopped").exists()
    assert scores(tmp_path / "killed") == whole and len(whole) == 6


def test_the_same_seed_gives_the_same_bytes_and_the_verdict_turns_with_the_labels(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(strength=1.0, days=8, rows=900)
    config = TCNConfig(length=12, levels=2, kernel=2, channels=8, max_epochs=4, batch_size=128, learning_rate=0.01)
    saved = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = np.flatnonzero(dataset.usable & (dataset.day_index < 3))
        get_family("tcn").fit(dataset.samples(rows), seed=5, config=config).save(tmp_path / name)
        saved.append((tmp_path / name / "model.onnx").read_bytes())
    assert saved[0] == saved[1]
    found = run_benchmark(dataset, "tcn", config=replace(config, stride=1), seed=1, simulate=False).model.gain
    nothing = run_benchmark(shuffled_labels(dataset, seed=2), "tcn", config=config, seed=1, simulate=False).model.gain
    assert found.low is not None and found.low > 0 and found.n == 5
    assert nothing.low is not None and nothing.low < 0 and nothing.mean < 0.1 * found.mean
