"""The ladder at length: networks exported, kill -9 in mid-training, and what each family finds in known worlds.

Worlds of strength 1, five walk-forward tests, `small` presets, which nobody chose by these figures. What a family
found is kept under ``.cache/verify/ladder`` while the code is what it was, so that a run that was stopped goes on with
the next family; the table of all is ``.cache/verify/ladder/table.md``.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch

from ghtrader_base.files import atomic_write_text
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_models.bundles.feature_scaler import FeatureScaler
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.evaluation.benchmark import run_benchmark, shuffled_labels
from ghtrader_models.evaluation.calibration_fit import fit_calibrated
from ghtrader_models.evaluation.metrics import class_prior, log_loss, t_interval
from ghtrader_models.evaluation.splits import MIN_TESTS, SplitOptions, make_splits
from ghtrader_models.factors.library.book_factors import book_column_names
from ghtrader_models.families.base import get_family
from ghtrader_models.families.onnx_export import TOLERANCE, Normalised, export
from ghtrader_models.families.table import family_names, window_family_names
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.inference.onnx_windows import WindowNetwork, softmax
from tests.support.networks import SMALL, F, T
from tests.support.waiting import PATIENCE_S, until
from tests.unit.models.conftest import make_world
from tests.verify.test_known_worlds import Played

__all__ = ["make_world"]
pytestmark = pytest.mark.timeout(1800)
ROOT = Path(__file__).parents[2]
CHILD = ROOT / "tests" / "support" / "children" / "training_child.py"
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


KEPT = ROOT / ".cache" / "verify" / "ladder"
DECIDES = (
    "ghtrader_models",
    "ghtrader_exchange/world",
    "tests/verify/test_ladder.py",
    "tests/verify/test_known_worlds.py",
)
"""Whose files make a figure what it is."""
FACTORS = "core+book"
EVERY = 5
"""Every how many-th test row is scored: neighbours share most of their labels."""
SNAPSHOT_S = 1.0
SINGLE_ROW = tuple(name for name in family_names() if name not in window_family_names())
FAMILIES = len(family_names())


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a family found in a world: gains in log-loss over the training prior, nats, means over the tests.

    Attributes
    ----------
    state : str
        Hash of the code it was found with.
    world, family, inputs : str
    gain, low : float
        Mean, and the lower end of its interval at 95 % for all families together (Bonferroni).
    oracle : float
        The best possible gain on the same rows.
    tests : tuple of float
        Gain of each test.
    seconds : float
        Processor time of training and predicting.
    """

    state: str
    world: str
    family: str
    inputs: str
    gain: float
    low: float
    oracle: float
    tests: tuple[float, ...]
    seconds: float

    @property
    def share(self) -> float:
        """Part of the oracle's gain."""
        return self.gain / self.oracle if self.oracle > 0 else float("nan")

    def __str__(self) -> str:
        of = f"{self.share:.0%} of the oracle's {self.oracle:.4f}" if self.world != "none" else "there is nothing"
        return (
            f"{self.family} on {self.inputs} in {self.world}: {self.gain:+.4f} nats (not below {self.low:+.4f}), {of}, "
            f"{self.seconds:.0f} s"
        )


@cache
def state() -> str:
    """Hash of the code that decides."""
    digest = hashlib.sha256()
    for part in DECIDES:
        path = ROOT / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def kept(world: str, family: str, inputs: str) -> Found | None:
    """What was found with this code; None where it was not."""
    try:
        told = json.loads((KEPT / f"{world}-{family}-{inputs}.json").read_text())
        found = Found(**{**told, "tests": tuple(told["tests"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if found.state == state() else None


def keep(found: Found) -> None:
    """Write it down, and the table of all there are anew."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{found.world}-{found.family}-{found.inputs}.json"
    atomic_write_text(path, json.dumps(asdict(found)) + "\n")
    rows = ["| world | family | inputs | gain | lower end | oracle | share | s |", "|---|---|---|---|---|---|---|---|"]
    for file in sorted(KEPT.glob("*.json")):
        each = kept(*file.stem.split("-"))
        if each is not None:
            rows.append(
                f"| {each.world} | {each.family} | {each.inputs} | {each.gain:.4f} | {each.low:.4f} | "
                f"{each.oracle:.4f} | {each.share:.0%} | {each.seconds:.0f} |"
            )
    atomic_write_text(KEPT / "table.md", "\n".join(rows) + "\n")


class Worlds:
    """Worlds that were played, the last one kept."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._name = folder, ""
        self._last: Played | None = None

    def __call__(self, name: str) -> Played:
        """The world of strength 1, at three times the demo's pace: 27,900 rows a day."""
        if name != self._name:
            self._last = None  # before the next one takes as much memory
            self._last = Played(Scenario(world=name, strength=1.0, snapshot_seconds=SNAPSHOT_S), FACTORS)
            self._name = name
        assert self._last is not None
        return self._last

    def truth(self, name: str) -> Path:
        """Where its truth is written."""
        return self._folder / name


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    yield Worlds(tmp_path_factory.mktemp("worlds"))


def of_the_book(dataset: Dataset) -> Dataset:
    """The columns of the book alone: what one snapshot says."""
    names = book_column_names()
    chosen = [dataset.names.index(name) for name in names]
    return replace(dataset, X=np.ascontiguousarray(dataset.X[:, chosen]), names=names)


def found(worlds: Worlds, world: str, family: str, inputs: str = "both") -> Found:
    """Train, calibrate and score a family walk-forward as a benchmark does, or take what is kept; print it."""
    told = kept(world, family, inputs)
    if told is None:
        played = worlds(world)
        whole = played.dataset
        data = of_the_book(whole) if inputs == "book" else whole
        plan = make_splits(data, SplitOptions(blocks=MIN_TESTS))
        assert len(plan.splits) == MIN_TESTS
        learner, gains, best, began = get_family(family), [], [], time.process_time()
        asked = [split.test[::EVERY] for split in plan.splits]
        chances = played.chances(worlds.truth(world), np.concatenate(asked)) if world != "none" else None
        edges = np.cumsum([0, *(rows.size for rows in asked)])
        for number, split in enumerate(plan.splits):
            rows, y = asked[number], data.y[asked[number]]
            model = fit_calibrated(learner, data.samples(split.train), seed=1, config=learner.config())
            prior = log_loss(np.tile(class_prior(data.y[split.train]), (rows.size, 1)), y)
            gains.append(prior - log_loss(model.predict_proba(data.samples(rows)), y))
            if chances is not None:
                best.append(prior - log_loss(chances[edges[number] : edges[number + 1]], y))
        interval = t_interval(gains, 1 - 0.05 / FAMILIES)
        told = Found(
            state=state(),
            world=world,
            family=family,
            inputs=inputs,
            gain=interval.mean,
            low=interval.low,
            oracle=float(np.mean(best)) if best else 0.0,
            tests=tuple(gains),
            seconds=time.process_time() - began,
        )
        keep(told)
    print(f"\n{told}")
    return told


def test_in_driver_the_best_model_of_single_rows_finds_seventy_percent(worlds: Worlds) -> None:
    all_of_them = [found(worlds, "driver", family) for family in SINGLE_ROW]
    best = max(all_of_them, key=lambda each: each.share)
    assert best.share >= 0.7, best


@pytest.mark.parametrize("family", window_family_names())
def test_in_driver_each_family_of_windows_finds_half(worlds: Worlds, family: str) -> None:
    told = found(worlds, "driver", family)
    assert told.share >= 0.5, told


@pytest.mark.parametrize("family", SINGLE_ROW)
def test_in_sequence_one_snapshot_says_next_to_nothing(worlds: Worlds, family: str) -> None:
    told = found(worlds, "sequence", family, "book")
    assert told.share <= 0.1, told


def test_in_sequence_the_best_family_of_windows_finds_eighty_five_percent(worlds: Worlds) -> None:
    best = max((found(worlds, "sequence", family) for family in window_family_names()), key=lambda each: each.share)
    assert best.share >= 0.85, best


@pytest.mark.parametrize("family", family_names())
def test_in_none_no_family_gains_beyond_its_interval(worlds: Worlds, family: str) -> None:
    told = found(worlds, "none", family)
    assert told.low <= 0, told
