"""A network of windows, from rows to its file: it learns, live is offline, and a run that was cut off goes on."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch

from ghtrader_base.errors import FailedError, IntegrityError, UsageError
from ghtrader_models.datasets.lightning_data import WindowDataModule
from ghtrader_models.datasets.sample_windows import training_and_validation
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.datasets.windows import WindowSpec
from ghtrader_models.evaluation.metrics import class_prior, log_loss
from ghtrader_models.families.base import get_family, learning_curves, make_config
from ghtrader_models.families.checkpoints import CHECKPOINT, SafetensorsIO
from ghtrader_models.families.networks.tcn import TCN
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.families.training_session import fits_that_are_only_scored
from ghtrader_models.families.window_family import WindowModel
from ghtrader_models.families.window_training import TrainedNetwork, train_network
from ghtrader_models.inference.onnx_windows import ONNX_FILE, WindowNetwork, padded_windows
from ghtrader_models.inference.predictors import Predictor
from tests.support.bad_training import DAY_ROWS, refused, tiny

CONFIG = TCNConfig(length=12, levels=2, kernel=2, channels=8, max_epochs=6, batch_size=64, learning_rate=0.02)


@pytest.fixture(scope="module")
def samples(make_world: Callable[..., Any]) -> Samples:
    dataset, _ = make_world(days=2, rows=900)
    X = dataset.X[:, :4].copy()
    X[np.random.default_rng(0).random(X.shape) < 0.01] = np.nan
    X[5, 3] = np.inf
    return replace(dataset.samples(np.flatnonzero(dataset.usable)), X=X)


@pytest.fixture(scope="module")
def model(samples: Samples) -> WindowModel:
    return get_family("tcn").fit(samples, seed=1, config=CONFIG)  # type: ignore[return-value]


def test_it_learns_what_the_last_row_says(model: WindowModel, samples: Samples) -> None:
    y = samples.labels
    gain = log_loss(np.tile(class_prior(y), (y.size, 1)), y) - log_loss(model.predict_proba(samples), y)
    assert gain > 0.1
    importance = model.importance(("a", "b", "c", "d"))
    assert sum(importance.values()) == pytest.approx(1) and max(importance, key=lambda name: importance[name]) in "ab"
    (curve,) = learning_curves(model).values()
    assert len(curve) >= 2 and min(curve) < curve[0]


def test_a_model_that_is_only_scored_says_the_same_without_the_graph(model: WindowModel, samples: Samples) -> None:
    with fits_that_are_only_scored():
        scored = get_family("tcn").fit(samples, seed=1, config=CONFIG)
    assert isinstance(scored, WindowModel) and set(model.files) - set(scored.files) == {ONNX_FILE}
    assert np.array_equal(scored.predict_proba(samples), model.predict_proba(samples))
    assert np.array_equal(scored.moved, model.moved)


def test_live_row_by_row_is_offline_with_cold_rows_gaps_and_a_new_day(
    model: WindowModel, samples: Samples, tmp_path: Path
) -> None:
    model.save(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    predictor = Predictor.from_files("tcn", files)
    live = np.full((samples.y.size, 3), np.nan)
    for day in (0, 1):
        predictor.reset()
        for row in np.flatnonzero(samples.day_index == day):
            if samples.warm[row]:
                live[row] = predictor.predict_row(samples.X[row])
            else:
                predictor.observe(samples.X[row])
    warm = np.flatnonzero(samples.warm)
    offline = model.predict_proba(replace(samples, rows=warm))
    np.testing.assert_array_equal(live[warm], offline)
    some = warm[::7]
    by_window = WindowNetwork(files["model.onnx"]).at_rows(samples.X, samples.day_index, some)
    np.testing.assert_allclose(model.predict_proba(replace(samples, rows=some)), by_window, atol=1e-5, rtol=0)
    a_day = predictor.predict_day(samples.X[:900], samples.warm[:900])
    np.testing.assert_array_equal(a_day[samples.warm[:900]], offline[warm < 900])
    assert np.isnan(a_day[~samples.warm[:900]]).all()
    np.testing.assert_allclose(offline.sum(axis=1), 1.0)


def test_a_network_that_sees_further_than_its_window_is_run_on_windows(samples: Samples, tmp_path: Path) -> None:
    config = replace(CONFIG, length=6, max_windows=64, max_epochs=1)
    found = get_family("tcn").fit(samples, seed=1, config=config)
    found.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    loaded = Predictor.from_files("tcn", {"model.onnx": (tmp_path / "model.onnx").read_bytes()})
    first = samples.rows[samples.rows < 900]
    expected = found.predict_proba(replace(samples, rows=first))
    warm = np.isin(np.arange(900), first)
    np.testing.assert_array_equal(loaded.predict_day(samples.X[:900], warm)[warm], expected)


def test_a_damaged_or_foreign_graph_is_refused(model: WindowModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    data = (tmp_path / "model.onnx").read_bytes()
    for damaged in (b"", data[: len(data) // 2], pickle.dumps({}), b"{}", b"tree\n"):
        with pytest.raises(IntegrityError):
            Predictor.from_files("tcn", {"model.onnx": damaged})
    assert b"site-packages" not in data and str(Path(__file__).parents[4]).encode() not in data


def test_windows_before_the_first_row_of_a_day_are_unknown() -> None:
    X = np.arange(10, dtype=np.float32)[:, None]
    day = np.array([0] * 4 + [1] * 6, np.int32)
    found = padded_windows(X, day, np.array([1, 3, 4, 7]), 3)[:, :, 0]
    nan = math.nan
    np.testing.assert_array_equal(found, [[nan, 0, 1], [1, 2, 3], [nan, nan, 4], [5, 6, 7]])


def test_validation_is_the_end_and_shares_no_row_with_training(samples: Samples) -> None:
    spec = WindowSpec(length=12, horizon=samples.horizon)
    train, validation = training_and_validation(samples, spec, share=0.2, most=100)
    ends = [side.day_index * 900 + side.end for side in (train, validation)]
    assert len(train) <= 100 and ends[0].max() + samples.horizon < ends[1].min() - 12
    assert set(np.concatenate(ends)) <= set(samples.rows)
    for side, at in zip((train, validation), ends, strict=True):
        np.testing.assert_array_equal(side.y, samples.y[at])
    with pytest.raises(UsageError, match="windows of 900 rows"):
        training_and_validation(samples, WindowSpec(length=900, horizon=10), share=0.2, most=100)


def test_windows_that_no_day_holds_are_refused_with_the_longest_day(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(days=2, rows=DAY_ROWS)
    said = "no day is long enough: the longest has 200 rows"
    refused("tcn", dataset, tmp_path, "0 windows of 195 rows", said, tiny("tcn", length=195))


def test_a_class_that_was_never_seen_keeps_its_output(make_world: Callable[..., Any]) -> None:
    dataset, _ = make_world(days=2, rows=DAY_ROWS)
    X = dataset.X[:, :5].copy()
    X[:, 3], X[:, 4] = 7.0, np.nan
    samples = replace(dataset.samples(np.flatnonzero(dataset.usable)), X=X)
    samples = replace(samples, y=np.where(samples.y == 2, 1, samples.y))
    found = get_family("tcn").fit(samples, seed=0, config=tiny("tcn", max_epochs=1)).predict_proba(samples)
    assert found.shape == (len(samples), 3) and np.isfinite(found).all() and (found > 0).all()


class _Cut(Exception):
    pass


class _CutNetwork(TCN):
    """Ends the run in the middle of its fourth epoch."""

    left = 10**9

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.left -= 1
        if self.left < 0:
            raise _Cut
        return super().forward(x)


def trained(samples: Samples, folder: Path, *, left: int = 10**9, **changes: Any) -> TrainedNetwork:
    config = replace(CONFIG, patience=6, **changes)
    spec = WindowSpec(length=config.length, horizon=samples.horizon)
    sides = training_and_validation(samples, spec, share=0.2, most=500)
    module = WindowDataModule(*sides, batch_size=config.batch_size, seed=3)
    torch.manual_seed(3)
    network = _CutNetwork(samples.X.shape[1], channels=8, levels=2, kernel=2, dropout=0.1)
    network.left = left
    return train_network(network, module, config, seed=3, folder=folder)


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(samples: Samples, tmp_path: Path) -> None:
    samples = replace(samples, X=np.nan_to_num(samples.X, posinf=0.0))
    whole = trained(samples, tmp_path / "whole")
    spec = WindowSpec(length=12, horizon=samples.horizon)
    steps = -(-len(training_and_validation(samples, spec, share=0.2, most=500)[0]) // CONFIG.batch_size)
    with pytest.raises(_Cut):
        trained(samples, tmp_path / "cut", left=3 * steps + 2)
    resumed = trained(samples, tmp_path / "cut")
    assert resumed.validation == whole.validation and resumed.epochs == 6
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    (tmp_path / "cut" / CHECKPOINT).write_bytes(b"\x80\x04no checkpoint")
    with pytest.raises(IntegrityError, match="does not read"):
        SafetensorsIO().load_checkpoint(tmp_path / "cut" / CHECKPOINT)


@pytest.mark.parametrize("loss", ["weighted", "focal"])
def test_other_losses_train_too(samples: Samples, tmp_path: Path, loss: str) -> None:
    samples = replace(samples, X=np.nan_to_num(samples.X, posinf=0.0))
    found = trained(samples, tmp_path, loss=loss, max_epochs=2)
    assert found.epochs == 2 and all(math.isfinite(score) for score in found.validation)


def test_a_loss_that_is_no_number_ends_the_run_with_what_to_do(samples: Samples, tmp_path: Path) -> None:
    samples = replace(samples, X=np.nan_to_num(samples.X, posinf=0.0))
    with pytest.raises(FailedError, match="loss is|log-loss is") as said:
        trained(samples, tmp_path, learning_rate=1e9)
    assert "learning_rate" in said.value.hint


def test_settings_that_train_nothing_are_refused() -> None:
    family = get_family("tcn")
    for changes in ({"loss": "square"}, {"length": 0}, {"validation_share": 1.0}, {"learning_rate": 0.0}):
        with pytest.raises(UsageError):
            make_config(family, changes)
    assert make_config(family, {"preset": "paper"}).stride == 1
