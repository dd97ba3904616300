"""Every family at length: the bundle says what the network says, damaged parts and hopeless data are refused.

`make test` has logistic, LightGBM and TCN of this, a sample three families more, by its seed.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch
from torch import nn

from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_models.bundles.bundle import Bundle, bundles_dir, load_bundle
from ghtrader_models.bundles.feature_scaler import FeatureScaler
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.families import onnx_export
from ghtrader_models.families.base import Preset, get_family
from ghtrader_models.families.onnx_export import TOLERANCE, Normalised
from ghtrader_models.families.stepped_export import what_torch_says
from ghtrader_models.families.table import family_names, window_family_names
from ghtrader_models.inference.onnx_windows import ONNX_FILE, padded_windows, softmax
from ghtrader_models.inference.predictors import STEPPED, Predictor, WindowPredictor, stepped_network
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE
from ghtrader_models.training import train_on
from tests.support.bad_training import BAD, DAY_ROWS, refused, tiny
from tests.unit.models.conftest import make_world
from tests.verify.test_known_worlds import Played

__all__ = ["make_world"]
pytestmark = pytest.mark.timeout(1800)
WINDOWS, ALONE = 10_000, 200


@dataclass
class Exported:
    """What an export was asked to write."""

    network: nn.Module
    scaler: FeatureScaler
    length: int


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Exported]:
    """Networks as they were when their graph was written, one an export."""
    found: list[Exported] = []
    original = onnx_export.export

    def export(network: nn.Module, scaler: FeatureScaler, length: int, windows: np.ndarray) -> bytes:
        found.append(Exported(network, scaler, length))
        return original(network, scaler, length, windows)

    monkeypatch.setattr(onnx_export, "export", export)
    return found


@pytest.fixture(scope="module")
def played() -> Dataset:
    """Days of a simulated market as rows of the book and of factors."""
    return Played(Scenario(world="driver", strength=2.0, snapshot_seconds=10.0), "lean+book").dataset


def windows_of(dataset: Dataset, length: int) -> np.ndarray:
    """float32[10,000, length, F]: half of the market, the rest random with unknown and infinite values."""
    rng = np.random.default_rng(1)
    warm = np.flatnonzero(dataset.warm)
    rows = np.sort(rng.choice(warm, min(warm.size, WINDOWS // 2), replace=False))
    real = padded_windows(dataset.X, dataset.day_index, rows, length)
    scale = np.nanstd(dataset.X[warm], axis=0)
    made = (rng.normal(size=(WINDOWS - rows.size, length, dataset.X.shape[1])) * scale).astype(np.float32)
    made[rng.random(made.shape) < 0.02] = np.nan
    made[0, 0, 0], made[1, :, 1] = np.inf, np.nan
    return np.concatenate([real, made])


def steps(bundle: Bundle) -> bool:
    """Whether the bundle is asked row by row; a network that chooses among its columns is not."""
    return WEIGHTS_FILE in bundle.model_files


def says_the_same(bundle: Bundle, network: Exported, windows: np.ndarray) -> None:
    """That the bundle's graph and network agree at batch N and 1; some windows in the stepped form, if it has one."""
    graph = WindowPredictor(bundle.model_files[ONNX_FILE]).network
    assert graph.length == network.length and Predictor.from_bundle(bundle).n_features == graph.n_features
    stepped = stepped_network(bundle.kind, bundle.model_files[WEIGHTS_FILE]) if steps(bundle) else None
    whole = Normalised(network.network, network.scaler).eval()
    for low in range(0, len(windows), 500):
        part = windows[low : low + 500]
        with torch.no_grad():
            expected = softmax(whole(torch.from_numpy(part)).numpy())
        assert np.abs(graph.probabilities(part) - expected).max() <= TOLERANCE
        if stepped is not None:
            said = what_torch_says(network.network, network.scaler, network.length, part[::25])
            assert np.abs(stepped.of_windows(part[::25]) - said).max() <= TOLERANCE
        for place in range(0, len(part), max(1, len(windows) // ALONE)):
            alone = graph.probabilities(part[place : place + 1])
            assert np.abs(alone - expected[place]).max() <= TOLERANCE


@pytest.mark.sample(3, of="families")
@pytest.mark.parametrize("inputs", ["both", "book"])
@pytest.mark.parametrize("name", window_family_names())
def test_a_bundle_says_what_its_network_says_and_damage_is_refused(
    name: str, inputs: str, played: Dataset, exported: list[Exported], tmp_path: Path
) -> None:
    bundle = train_on(played, tmp_path, name, config=tiny(name, inputs=inputs))
    says_the_same(bundle, exported[0], windows_of(played, exported[0].length))
    assert steps(bundle) == (name in STEPPED and inputs == "both")
    refuses_damage(bundle)


@pytest.mark.parametrize("changes", [{"kind": "selective"}, {"body": "ssm"}, {"body": "transformer"}])
def test_other_kinds_of_a_family_are_exported_alike(
    changes: dict[str, str], played: Dataset, exported: list[Exported], tmp_path: Path
) -> None:
    name = "ssm" if "kind" in changes else "hybrid"
    bundle = train_on(played, tmp_path, name, config=tiny(name, **changes))
    says_the_same(bundle, exported[0], windows_of(played, exported[0].length)[::10])


def refuses_damage(bundle: Bundle) -> None:
    """That every part is refused where a byte changed, it was cut, exchanged for another part, or is a pickle."""
    parts = sorted(path for path in bundle.path.iterdir())
    whole = {path: path.read_bytes() for path in parts}
    for path, data in whole.items():
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        other = next(found for found in whole.values() if found != data)
        for damaged in (bytes(changed), data[: len(data) // 2], other, pickle.dumps({"a": 1}), b""):
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError):
                load_bundle(bundle.path)
        path.write_bytes(data)
    assert load_bundle(bundle.path).bundle_id == bundle.bundle_id
    for file, data in bundle.model_files.items():
        for damaged in (data[: len(data) // 2], pickle.dumps({}), b"", whole[bundle.path / "factors.json"]):
            with pytest.raises(IntegrityError):
                Predictor.from_files(bundle.kind, {file: damaged})


@pytest.mark.sample(3, of="families")
@pytest.mark.parametrize("name", [name for name in family_names() if name not in window_family_names()])
def test_damage_to_a_family_of_single_rows_is_refused(
    name: str, make_world: Callable[..., Any], tmp_path: Path
) -> None:
    refuses_damage(train_on(make_world(days=2, rows=DAY_ROWS)[0], tmp_path, name, config=tiny(name)))


@pytest.mark.sample(1, of="families with bad input")
@pytest.mark.parametrize("name", family_names())
def test_what_teaches_nothing_is_refused_and_nothing_is_kept(
    name: str, make_world: Callable[..., Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(days=2, rows=DAY_ROWS)
    for spoil, message, hint in BAD.values():
        refused(name, spoil(dataset), tmp_path, message, hint, tiny(name))
    if name not in window_family_names():
        return
    long = tiny(name, length=195)
    refused(name, dataset, tmp_path, "0 windows of 195 rows", "no day is long enough: the longest has 200 rows", long)
    if name == "binctabl":
        return  # its weights are held at a norm, and its loss stays a number at any rate
    with pytest.raises(FailedError, match="loss is|log-loss is") as caught:
        train_on(dataset, tmp_path, name, config=tiny(name, learning_rate=1e30))
    assert "learning_rate" in caught.value.hint
    assert not bundles_dir(tmp_path).exists() or not list(bundles_dir(tmp_path).iterdir())


@pytest.mark.sample(1, of="families with bad input")
@pytest.mark.parametrize("name", family_names())
def test_a_class_that_was_never_seen_keeps_its_output(name: str, make_world: Callable[..., Any]) -> None:
    dataset, _ = make_world(days=2, rows=DAY_ROWS)
    X = dataset.X[:, :5].copy()
    X[:, 3], X[:, 4] = 7.0, np.nan
    samples = replace(dataset.samples(np.flatnonzero(dataset.usable)), X=X, names=dataset.names[:5])
    samples = replace(samples, y=np.where(samples.y == 2, 1, samples.y))
    found = get_family(name).fit(samples, seed=0, config=tiny(name)).predict_proba(samples)
    assert found.shape == (len(samples), 3) and np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert found[:, 2].mean() < found[:, :2].mean()


@pytest.mark.parametrize("name", window_family_names())
def test_the_paper_preset_takes_a_step_and_is_exported(
    name: str, played: Dataset, exported: list[Exported], tmp_path: Path
) -> None:
    """The book alone, in the order of the papers; parameters at the papers' sizes are counted in `test_networks`."""
    paper = get_family(name).config(Preset.PAPER)
    few = replace(paper, max_windows=8, max_epochs=1, batch_size=8, stride=500, inputs="book")  # type: ignore[type-var]
    days = replace(played, warm=played.warm & (played.day_index < 3))
    bundle = train_on(days, tmp_path, name, config=few)
    parameters = sum(found.numel() for found in exported[0].network.parameters())
    size = sum(len(data) for data in bundle.model_files.values())
    print(f"\n{name}, paper: {parameters:,} parameters, {exported[0].length} rows, {size / 1e6:.1f} MB")
    says_the_same(bundle, exported[0], windows_of(days, exported[0].length)[:: WINDOWS // 100])
