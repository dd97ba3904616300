"""Each family: learns what is there, the same way every time, and takes missing values and missing classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.evaluation.calibration_fit import fit_calibrated
from ghtrader_models.evaluation.metrics import class_prior, log_loss
from ghtrader_models.families.base import Preset, get_family, make_config, row_weight
from ghtrader_models.families.logistic import LogisticConfig
from ghtrader_models.families.table import FAMILIES as ENTRIES
from ghtrader_models.families.table import family_names, window_family_names
from ghtrader_models.inference.predictors import DECODERS, Predictor
from tests.support.bad_training import BAD, DAY_ROWS, refused, tiny

FAMILIES = [name for name in family_names() if name not in window_family_names()]
"""Those that read single rows; what a network has to keep is in `test_tcn`, and in tests/verify/test_families."""


@pytest.mark.parametrize("name", FAMILIES)
def test_recovers_most_of_what_can_be_known(
    name: str, make_world: Callable[..., Any], small_configs: dict[str, Any]
) -> None:
    dataset, truth = make_world(days=4, rows=2500)
    rows = np.flatnonzero(dataset.usable)
    train, test = rows[: rows.size // 2], rows[rows.size // 2 :]
    family = get_family(name)
    config = small_configs[name]
    model = family.fit(dataset.samples(train), seed=1, config=config)
    y = dataset.y[test]
    prior = log_loss(np.tile(class_prior(dataset.y[train]), (test.size, 1)), y)
    gain = prior - log_loss(model.predict_proba(dataset.samples(test)), y)
    best = prior - log_loss(truth[test], y)
    assert 0.7 * best < gain < 1.1 * best
    importance = model.importance(dataset.names)
    assert tuple(importance) == dataset.names
    assert sum(importance.values()) == pytest.approx(1.0)
    assert max(importance, key=importance.get) == dataset.names[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_same_seed_same_bytes_and_the_saved_model_is_the_model(
    name: str, make_world: Callable[..., Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(days=2, rows=800)
    rows = np.flatnonzero(dataset.usable)
    saved = []
    for attempt in ("a", "b"):
        model = get_family(name).fit(dataset.samples(rows), seed=5)
        folder = tmp_path / attempt
        folder.mkdir()
        model.save(folder)
        saved.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert saved[0] == saved[1]
    loaded = Predictor.from_files(name, saved[0])
    assert np.array_equal(loaded.predict(dataset.X[rows]), model.predict_proba(dataset.samples(rows)))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("classes", [(0, 2), (0, 1)])
def test_missing_values_and_missing_classes(name: str, classes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 5)).astype(np.float32)
    x[:, 4] = np.nan
    x[rng.random(x.shape) < 0.1] = np.nan
    x[3, 0] = np.inf
    x[:, 2] = 7.0
    y = rng.choice(classes, 600).astype(np.int8)
    samples = Samples.of_rows(x, y, horizon=10)
    p = get_family(name).fit(samples, seed=0).predict_proba(samples)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    if name == "logistic":
        absent = [c for c in range(3) if c not in classes]
        assert p[:, absent].max(initial=0) < 1e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_to_learn_from_is_refused(name: str) -> None:
    family = get_family(name)
    some = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    for x, y in (
        (np.empty((0, 3), np.float32), np.empty(0, np.int8)),
        (np.empty((40, 0), np.float32), np.tile(np.arange(2, dtype=np.int8), 20)),
        (some, np.tile(np.array([0, 1, 2, -1], np.int8), 10)),
        (some, np.zeros(39, np.int8)),
    ):
        with pytest.raises(UsageError):
            family.fit(Samples.of_rows(x, y, horizon=10), seed=0)


@pytest.mark.parametrize("name", ["logistic", "lightgbm", "tcn"])
@pytest.mark.parametrize("what", BAD)
def test_what_teaches_nothing_is_refused_and_nothing_is_kept(
    name: str, what: str, make_world: Callable[..., Any], tmp_path: Path
) -> None:
    spoil, message, hint = BAD[what]
    refused(name, spoil(make_world(days=2, rows=DAY_ROWS)[0]), tmp_path, message, hint, tiny(name))


def test_every_family_has_a_reader_and_both_presets() -> None:
    assert set(DECODERS) == set(ENTRIES)
    for name in family_names():
        family = get_family(name)
        assert family.name == name and family.config(Preset.SMALL) == make_config(family, {})
        assert family.config(Preset.PAPER) != family.config(Preset.SMALL)
        if name in window_family_names():
            assert family.config().max_windows == 20_000 and not ENTRIES[name].usual


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("deeplob", {"length": 18}), ("transformer", {"width": 30}), ("tlob", {"hidden": 5}), ("mlplob", {"length": 3}),
        ("binctabl", {"first": 0}), ("tcn", {"levels": 0}), ("ssm", {"states": 7}), ("ssm", {"kind": "other"}),
        ("hybrid", {"body": "lstm"}), ("hybrid", {"heads": 3}), ("tcn", {"inputs": "ticks"}),
    ],
)  # fmt: skip
def test_a_network_of_no_possible_size_is_refused(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        make_config(get_family(name), changes)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["logistic", "xgboost", "lightgbm"])
@settings(max_examples=12)
@given(data=st.data())
def test_numbers_of_any_size_train_or_are_refused_by_name(name: str, data: st.DataObject) -> None:
    family = get_family(name)
    usual = family.config()
    small = {"rounds": 2} if name != "logistic" else {"max_iterations": 2}
    names = [each.name for each in fields(usual) if each.name not in {*small, "nthread", "max_bin", "num_leaves"}]
    chosen = data.draw(st.sampled_from(names))
    whole = isinstance(getattr(usual, chosen), int)
    sizes = st.integers(-3, 2**40) if whole else st.floats(allow_nan=True) | st.floats(1e-12, 1e12)
    rng = np.random.default_rng(1)
    samples = Samples.of_rows(rng.normal(size=(200, 2)).astype(np.float32), np.resize(np.arange(3, dtype=np.int8), 200))
    try:
        config = replace(usual, **{**small, chosen: data.draw(sizes)})
        model = family.fit(samples, seed=1, config=config)
    except UsageError as error:
        assert chosen in error.message + error.hint or name in error.message
    else:
        np.testing.assert_allclose(model.predict_proba(samples).sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_no_memory_is_no_wrong_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calibration takes a usage error for a span too small to learn from, and would leave it out."""
    library = pytest.importorskip(name)
    error = library.core.XGBoostError if name == "xgboost" else library.basic.LightGBMError

    def train(*_: Any, **__: Any) -> None:
        raise error("std::bad_alloc")

    monkeypatch.setattr(library, "train", train)
    rng = np.random.default_rng(1)
    samples = Samples.of_rows(rng.normal(size=(300, 2)).astype(np.float32), np.resize(np.arange(3, dtype=np.int8), 300))
    family = get_family(name)
    with pytest.raises(FailedError, match="not enough memory"):
        fit_calibrated(family, samples, seed=1, config=family.config())


def test_a_stride_that_leaves_nothing_to_learn_is_named() -> None:
    rng = np.random.default_rng(1)
    samples = Samples.of_rows(rng.normal(size=(200, 2)).astype(np.float32), np.resize(np.arange(3, dtype=np.int8), 200))
    for stride in (10, 3):  # too few rows, and every one of them of the same class
        with pytest.raises(UsageError, match=f"stride of {stride}") as caught:
            get_family("logistic").fit(samples, seed=1, config=LogisticConfig(stride=stride))
        assert "smaller stride" in caught.value.hint


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no model family") as caught:
        get_family("prophet")
    assert "logistic" in caught.value.hint
    family = get_family("xgboost")
    for changes, said in (
        ({"depth": 3}, "depth"), ({"max_depth": "3"}, "max_depth is '3'"), ({"eta": True}, "eta is True"),
        ({"preset": "huge"}, "small, paper"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            make_config(family, changes)
        assert said in f"{caught.value.message} {caught.value.hint}"
    assert make_config(family, {"max_depth": 2}).max_depth == 2 and make_config(family, {"eta": 1}).eta == 1
    assert make_config(family, {"preset": "paper", "rounds": 7}) == replace(family.config(Preset.PAPER), rounds=7)
    assert make_config(family, {}) == family.config(Preset.SMALL)


def test_stride_changes_little_and_weights_stay_in_independent_observations() -> None:
    assert row_weight(horizon=50, memory=40, stride=9) == pytest.approx(0.1)
    rng = np.random.default_rng(3)
    x = np.repeat(rng.normal(size=(3000, 4)), 10, axis=0).astype(np.float32)
    y = np.repeat(np.clip(np.round(1 + rng.normal(size=3000) + x[::10, 0]), 0, 2), 10).astype(np.int8)
    probes = rng.normal(size=(200, 4)).astype(np.float32)
    family = get_family("logistic")
    answers = []
    for stride in (1, 10):
        config = make_config(family, {"stride": stride, "c": 0.1, "memory": 0})
        answers.append(
            family.fit(Samples.of_rows(x, y, horizon=10), seed=0, config=config).predict_proba(Samples.of_rows(probes))
        )
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-3)
