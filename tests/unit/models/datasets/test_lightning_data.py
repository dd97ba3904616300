"""The data module: what a loader gives, and what the bundle keeps of it. Two processes: `test_windows_ranks`."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_models.bundles.bundle import load_bundle, write_bundle
from ghtrader_models.bundles.feature_scaler import fit_scaler
from ghtrader_models.bundles.provenance import BundleContent, DayFacts
from ghtrader_models.datasets.day_cache import CachedDay, map_array
from ghtrader_models.datasets.windows import WindowSpec, split_windows
from ghtrader_models.factors.factor_set import FactorSetSpec
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.policy import PolicyParams

pytest.importorskip("lightning", reason="pip install ghtrader[deep]")
SPEC = WindowSpec(length=20, horizon=10)
NAMES = ("row", "noise")


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> list[CachedDay]:
    """Days whose first factor is the number of the row over all days: every window tells where it lies."""
    folder, rng, made = tmp_path_factory.mktemp("days"), np.random.default_rng(0), []
    for number in range(3):
        rows = np.stack([number * 400 + np.arange(400.0), rng.normal(size=400)], axis=1).astype(np.float32)
        np.save(folder / f"{number}.npy", rows)
        y = rng.integers(0, 3, (1, 400)).astype(np.int8)
        y[:, -10:] = -1
        fact = DayFacts(
            day=date(2025, 4, 1) + timedelta(number),
            contract="SHFE.cu2506",
            segment_id=0,
            price_tick=10.0,
            multiplier=5,
            rows=400,
            features_hash=f"f{number}",
            labels_hash="l",
        )
        times = np.arange(400, dtype=np.int64) * 500_000_000
        mapped = map_array(folder / f"{number}.npy")
        made.append(
            CachedDay(
                facts=fact,
                names=NAMES,
                factor_set_spec=FactorSetSpec(1, "numbers", ()),
                label_spec=LabelSpec((10,)),
                X=mapped,
                labels=y,
                datetime_ns=times,
                warm=np.ones(400, bool),
                mid=times * 1.0,
            )
        )
    return made


@pytest.fixture
def module(days):
    from ghtrader_models.datasets.lightning_data import WindowDataModule

    return WindowDataModule(*split_windows(days, SPEC, 0.6), batch_size=32, seed=4)


def rows_of(module, x) -> list[int]:
    """Where each window of a batch ends."""
    scaled = x[:, -1, 0].numpy().astype(np.float64)
    return np.rint(scaled * module.normaliser.std[0] + module.normaliser.mean[0]).astype(int).tolist()


def test_an_epoch_is_every_training_window_once_and_no_other(module, days):
    import torch

    loader = module.train_dataloader()
    epochs = []
    for _ in range(2):
        ends, labels = [], []
        for x, y in loader:
            assert x.dtype == torch.float32 and y.dtype == torch.int64 and x.shape[1:] == module.shape == (20, 2)
            ends += rows_of(module, x)
            labels += y.tolist()
        epochs.append(ends)
        wanted = module.train.day_index * 400 + module.train.end
        assert sorted(ends) == wanted.tolist() and max(ends) < 720 - 10
        every = np.concatenate([day.labels[0] for day in days])
        assert labels == every[ends].tolist()
    assert epochs[0] != sorted(epochs[0]) and epochs[0] != epochs[1]
    again = [rows_of(module, x) for x, _ in module.train_dataloader()]
    assert sum(again, []) == epochs[0]


def test_validation_keeps_its_order_and_the_training_spans_scale(module):
    ends = sum((rows_of(module, x) for x, _ in module.val_dataloader()), [])
    assert ends == (module.validation.day_index * 400 + module.validation.end).tolist() and min(ends) >= 720 + 19
    assert module.normaliser.rows == 720 and module.normaliser.mean[0] == pytest.approx(359.5)
    weights = module.class_weights.numpy()
    np.testing.assert_allclose(weights * module.train.class_counts(), len(module.train) / 3, rtol=1e-6)


def test_a_split_without_training_windows_is_refused(days):
    from ghtrader_models.datasets.lightning_data import WindowDataModule

    first, second = split_windows(days, WindowSpec(300, 1, 10), 0.1)
    with pytest.raises(UsageError, match="no window to train on"):
        WindowDataModule(first, second)


class _Model:
    kind, n_features = "logistic", 43

    def save(self, directory: Path) -> None:
        (directory / "model.json").write_text("{}")


def test_the_bundle_keeps_the_normaliser_and_vouches_for_it(tmp_path):
    factors = get_factor_set("lean")
    rows = np.random.default_rng(0).normal(size=(50, len(factors)))
    fitted = fit_scaler([rows], factors.names)
    content = BundleContent(
        schema_version=2, symbol="KQ.m@SHFE.cu", horizon=50, price_tick=10.0, levels=5, days=(), seed=0, config={}
    )
    arguments = (factors.spec(), LabelSpec(), PolicyParams(enter=0.1, leave=0.01), content)
    model = _Model()
    model.n_features = len(factors)
    plain = load_bundle(write_bundle(tmp_path, model, *arguments))
    kept = load_bundle(write_bundle(tmp_path, model, *arguments, normaliser=fitted))
    assert plain.normaliser is None and plain.bundle_id != kept.bundle_id
    assert kept.normaliser.apply(rows).tolist() == fitted.apply(rows).tolist()
    assert set(kept.model_files) == {"model.json"}
    with pytest.raises(UsageError, match="other factors"):
        write_bundle(tmp_path, model, *arguments, normaliser=fit_scaler([rows[:, :1]], ("x",)))
    path = kept.path / "normaliser.json"
    path.write_text(path.read_text().replace("standard", "Standard"))
    with pytest.raises(IntegrityError, match="normaliser.json is not what the manifest says"):
        load_bundle(kept.path)


def test_a_bundle_of_another_schema_version_says_what_to_do(tmp_path):
    factors = get_factor_set("lean")
    model = _Model()
    model.n_features = len(factors)
    content = BundleContent(symbol="KQ.m@SHFE.cu", horizon=50, price_tick=10.0, levels=5, days=(), seed=0, config={})
    arguments = (factors.spec(), LabelSpec(), PolicyParams(enter=0.1, leave=0.01))
    write_bundle(tmp_path, model, *arguments, content)  # a bundle without a version is of the first, and still trades
    with pytest.raises(IntegrityError, match="schema version 99") as refusal:
        write_bundle(tmp_path, model, *arguments, replace(content, schema_version=99))
    assert "newer ghtrader" in refusal.value.hint
