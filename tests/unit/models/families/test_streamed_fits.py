"""Fits over mapped days: the models of one array, and never more rows in memory than a block."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghtrader_models.datasets.mapped_rows import BLOCK_ROWS, HeldRows, MappedRows
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.evaluation.metrics import log_loss
from ghtrader_models.families import lightgbm, logistic, xgboost
from ghtrader_models.families.base import get_family, row_weight
from ghtrader_models.families.lightgbm import LightGBMConfig
from ghtrader_models.families.logistic import LogisticConfig
from ghtrader_models.families.xgboost import XGBoostConfig

CONFIGS = {
    "logistic": LogisticConfig(stride=1, memory=0, c=1.0),
    "xgboost": XGBoostConfig(stride=1, memory=0, rounds=6),
    "lightgbm": LightGBMConfig(stride=1, memory=0, rounds=6, colsample_bytree=1.0),
}


class WatchedRows(MappedRows):
    """Notes the most rows that were ever taken at once."""

    most = 0

    def __getitem__(self, rows: Any) -> np.ndarray:
        taken = super().__getitem__(rows)
        self.most = max(self.most, taken.size // self.shape[1])
        return taken


@pytest.fixture(scope="module")
def held(make_world: Callable[..., Any]) -> Samples:
    """30,000 rows of 12 factors on three days, with single NaN and infinite values."""
    dataset, _ = make_world(days=3, rows=10_000)
    x = np.ascontiguousarray(dataset.X[:, :12])
    x[50::97, 4], x[51::501, 5], x[:, 7] = np.nan, np.inf, 3.0
    rows = np.flatnonzero(dataset.usable)
    return replace(dataset.samples(rows), X=x)


def watched(held: Samples) -> Samples:
    edges = np.searchsorted(held.day_index, np.arange(4))
    return replace(held, X=WatchedRows([HeldRows(held.X[a:b]) for a, b in zip(edges[:-1], edges[1:], strict=True)]))


def saved(model: Any, folder: Path) -> bytes:
    folder.mkdir()
    model.save(folder)
    (path,) = folder.iterdir()
    return path.read_bytes()


@pytest.mark.parametrize("family", CONFIGS)
def test_a_fit_over_days_is_the_fit_of_one_array_and_holds_a_block(family: str, held: Samples, tmp_path: Path) -> None:
    days, learner = watched(held), get_family(family)
    models = [learner.fit(samples, seed=1, config=CONFIGS[family]) for samples in (held, days)]
    assert saved(models[0], tmp_path / "array") == saved(models[1], tmp_path / "days")
    limit = xgboost.BATCH_ROWS if family == "xgboost" else BLOCK_ROWS
    assert 0 <= days.X.most <= limit
    days.X.most = 0
    np.testing.assert_array_equal(models[1].predict_proba(days), models[0].predict_proba(held))
    assert 0 < days.X.most <= BLOCK_ROWS < len(held)


@pytest.mark.parametrize("classes", [3, 2])
def test_the_logistic_fit_is_scikit_learns(held: Samples, classes: int) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = held.rows[held.y[held.rows] != 1] if classes == 2 else held.rows
    samples = replace(held, rows=rows)
    model = logistic.LogisticFamily().fit(samples, seed=0, config=CONFIGS["logistic"])
    kept = np.where(np.isfinite(samples.factors), samples.factors, np.nan).astype(np.float64)
    known = np.isfinite(kept)
    mean = np.where(known, kept, 0.0).sum(axis=0) / known.sum(axis=0)
    centred = np.where(known, kept - mean, 0.0)
    scale = np.sqrt((centred**2).sum(axis=0) / known.sum(axis=0))
    scale[scale < 1e-12] = 1.0
    assert model._spec["mean"] == mean.tolist() and model._spec["scale"] == scale.tolist()
    z = np.clip(centred / scale, -8, 8)
    strength = row_weight(samples.horizon, 0, 1)
    fitted = LogisticRegression(C=strength, max_iter=300).fit(z, samples.labels)
    expected = fitted.predict_proba(z)
    found = model.predict_proba(samples)[:, fitted.classes_]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_long_logistic_fit_starts_from_a_few_rows_and_ends_the_same(
    held: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    real = logistic._Loss.__call__
    monkeypatch.setattr(logistic._Loss, "__call__", lambda self, x: passes.append(len(self._samples)) or real(self, x))
    plain = logistic.LogisticFamily().fit(held, seed=0, config=CONFIGS["logistic"])
    before = len(passes)
    monkeypatch.setattr(logistic, "_START_ROWS", 3_000)
    found = logistic.LogisticFamily().fit(held, seed=0, config=CONFIGS["logistic"])
    whole = passes[before:].count(len(held))
    assert 0 < whole <= before and min(passes[before:]) < len(held) / 8
    one, other = (model.predict_proba(held) for model in (plain, found))
    np.testing.assert_allclose(one, other, atol=2e-3)
    assert abs(log_loss(one, held.labels) - log_loss(other, held.labels)) < 1e-5


def test_boosted_trees_are_those_of_one_matrix(held: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries' own in-memory matrices, put in the place of our iterators."""
    import lightgbm as lightgbm_library
    import xgboost as xgboost_library

    x = np.where(np.isinf(held.factors), np.nan, held.factors)
    ours = {name: get_family(name).fit(held, seed=1, config=CONFIGS[name]) for name in ("xgboost", "lightgbm")}
    monkeypatch.setattr(xgboost, "BATCH_ROWS", 7_000)
    many = get_family("xgboost").fit(held, seed=1, config=CONFIGS["xgboost"])
    with monkeypatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weight = np.full(len(held), row_weight(held.horizon, 0, 1), np.float32)
        matrix = xgboost_library.QuantileDMatrix(x, label=held.labels, weight=weight, max_bin=64, nthread=1)
        patched.setattr(xgboost_library, "QuantileDMatrix", lambda *_, **__: matrix)
        dataset = lightgbm_library.Dataset
        patched.setattr(lightgbm_library, "Dataset", lambda _, **given: dataset(x, **given))
        theirs = {name: get_family(name).fit(held, seed=1, config=CONFIGS[name]) for name in ours}
    for name, model in ours.items():
        assert model._data == theirs[name]._data
    # bin edges of several batches are merged
    losses = [log_loss(model.predict_proba(held), held.labels) for model in (many, ours["xgboost"])]
    assert abs(losses[0] - losses[1]) < 1e-3
    monkeypatch.setattr(lightgbm, "BLOCK_ROWS", 7_000)
    blocks = get_family("lightgbm").fit(held, seed=1, config=CONFIGS["lightgbm"])
    assert blocks._data == ours["lightgbm"]._data
