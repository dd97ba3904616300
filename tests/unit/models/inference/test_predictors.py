"""The compiled routes against the libraries that trained the models, and damaged model files."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.inference.forest import Forest
from ghtrader_models.inference.lightgbm_text import decode_lightgbm
from ghtrader_models.inference.predictors import LogisticPredictor, Predictor, TreePredictor, WarmTracker
from ghtrader_models.inference.xgboost_trees import decode_xgboost
from ghtrader_models.inference.xgboost_ubj import read_ubj
from tests.support.examples import examples
from tests.support.waiting import PATIENCE_S


def data(n: int = 4000, width: int = 12, missing: float = 0.05, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)).astype(np.float32)
    y = np.clip(np.round(1 + 0.6 * x[:, 0] + 0.5 * (x[:, 1] > 0.7) + rng.normal(0, 0.7, n)), 0, 2).astype(np.int8)
    x[rng.random(x.shape) < missing] = np.nan
    x[:, 3] = np.round(x[:, 3])  # ties with thresholds
    return x, y


@functools.cache
def trained() -> tuple[bytes, np.ndarray]:
    x, y = data()
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 6, "tree_method": "hist", "nthread": 1}
    params |= {"gamma": 1.0, "subsample": 0.5, "seed": 3}
    booster = xgboost.train(params, xgboost.DMatrix(x, y, nthread=1), 60)
    return bytes(booster.save_raw("ubj")), x


@functools.cache
def trained_by_lightgbm() -> tuple[bytes, np.ndarray]:
    import lightgbm

    x, y = data()
    x[:, 5:8] = np.nan_to_num(x[:, 5:8])  # no value of these is missing in training
    params = {
        "objective": "multiclass", "num_class": 3, "num_leaves": 15, "min_gain_to_split": 0.5, "num_threads": 1,
        "bagging_fraction": 0.5, "bagging_freq": 1, "seed": 3, "deterministic": True, "verbosity": -1,
    }  # fmt: skip
    booster = lightgbm.train(params, lightgbm.Dataset(x, y), 60)
    return booster.model_to_string().encode(), x


def logistic() -> LogisticPredictor:
    return get_family("logistic").fit(Samples.of_rows(*data(), horizon=10), seed=0)._predictor


def predictors() -> list[Predictor]:
    """One of each route."""
    return [
        TreePredictor.of_xgboost(trained()[0]), TreePredictor.of_lightgbm(trained_by_lightgbm()[0]), logistic(),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def boosted() -> tuple[bytes, np.ndarray]:
    return trained()


def test_tree_walker_equals_xgboost(boosted: tuple[bytes, np.ndarray]) -> None:
    raw, x = boosted
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(raw))
    walker = TreePredictor.of_xgboost(raw)
    rows = np.vstack([x, np.full((1, x.shape[1]), np.nan, np.float32)])
    thresholds = decode_xgboost(raw).threshold[:500]
    on_edges = np.tile(thresholds[:, None], (1, x.shape[1])).astype(np.float32)  # exactly at a split: goes right
    rows = np.vstack([rows, on_edges])
    expected = booster.predict(xgboost.DMatrix(rows, nthread=1))
    np.testing.assert_allclose(walker.predict(rows), expected, atol=1e-6, rtol=0)


def test_tree_walker_equals_lightgbm() -> None:
    import lightgbm

    raw, x = trained_by_lightgbm()
    forest = decode_lightgbm(raw)
    splits = forest.threshold[forest.left >= 0][:500]
    below = np.nextafter(splits, np.float32(-np.inf))  # the last value that goes left, and the first that goes right
    edges = np.tile(np.r_[splits, below][:, None], (1, x.shape[1])).astype(np.float32)
    gaps = np.where(np.random.default_rng(1).random(x.shape) < 0.3, np.nan, x).astype(np.float32)  # also where none was
    rows = np.vstack([x, edges, gaps, np.full((1, x.shape[1]), np.nan, np.float32)])
    expected = lightgbm.Booster(model_str=raw.decode()).predict(rows, num_threads=1)
    np.testing.assert_allclose(TreePredictor.of_lightgbm(raw).predict(rows), expected, atol=2e-6, rtol=0)


def test_one_row_is_the_batch_to_the_last_bit(boosted: tuple[bytes, np.ndarray]) -> None:
    raw, x = boosted
    for predictor in predictors():
        whole = predictor.predict(x[:200])
        assert all(np.array_equal(predictor.predict_row(row), whole[i]) for i, row in enumerate(x[:200]))
        np.testing.assert_allclose(whole.sum(axis=1), 1.0)
        kept = predictor.predict_row(x[0])
        predictor.predict_row(x[1])
        assert np.array_equal(kept, whole[0]), "a returned row must not be overwritten by the next call"


def test_infinite_counts_as_missing(boosted: tuple[bytes, np.ndarray]) -> None:
    raw, x = boosted
    for predictor in predictors():
        row, gap = x[0].copy(), x[0].copy()
        row[2], gap[2] = np.inf, np.nan
        assert np.array_equal(predictor.predict_row(row), predictor.predict_row(gap))


def test_logistic_equals_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = data(missing=0.0)
    config = make_config(get_family("logistic"), {"stride": 1, "memory": 0, "c": 10.0, "clip": 1e6})
    samples = Samples.of_rows(x, y, horizon=10)
    ours = get_family("logistic").fit(samples, seed=0, config=config)
    z = (x.astype(float) - x.astype(float).mean(0)) / x.astype(float).std(0)
    theirs = LogisticRegression(C=1.0, max_iter=300).fit(z, y)
    np.testing.assert_allclose(ours.predict_proba(samples), theirs.predict_proba(z), atol=1e-6)


def test_a_row_is_fast() -> None:
    x, y = data(2000, 43)
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 4, "max_bin": 32, "nthread": 1}
    raw = bytes(xgboost.train(params, xgboost.QuantileDMatrix(x, y, max_bin=32, nthread=1), 100).save_raw("ubj"))
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(raw))
    walker = TreePredictor.of_xgboost(raw)

    def per_row(ask: object, count: int) -> float:
        spent = []
        for row in x[:count]:
            started = time.perf_counter()
            ask(row)
            spent.append(time.perf_counter() - started)
        return float(np.median(spent))

    ours = per_row(walker.predict_row, 300)
    theirs = per_row(lambda row: booster.inplace_predict(row.reshape(1, -1)), 30)
    assert ours < theirs, f"walker {ours * 1e6:.0f} us, xgboost {theirs * 1e6:.0f} us"


def test_warm_tracker_row_by_row_equals_batch() -> None:
    rng = np.random.default_rng(1)
    rows = np.where(rng.random((40, 4)) < 0.7, np.nan, 1.0).astype(np.float32)
    whole = WarmTracker(4).batch(rows)
    tracker = WarmTracker(4)
    assert [tracker.update(row) for row in rows] == whole.tolist()
    assert not whole[0] and whole[-1]
    expected = np.isfinite(rows).cumsum(axis=0).min(axis=1) > 0
    assert np.array_equal(whole, expected)
    tracker.reset()
    assert not tracker.update(np.full(4, np.nan, np.float32))


def test_nothing_that_trains_is_imported() -> None:
    code = (
        "import sys, ghtrader_models.inference.predictors, ghtrader_models.bundles.bundle, ghtrader_models.policy, "
        "ghtrader_models.bundles.champions;"
        "bad = {'sklearn', 'xgboost', 'lightgbm', 'torch', 'lightning', 'mlflow', 'dagster', 'matplotlib', 'pandas', "
        "'scipy.stats'} & set(sys.modules);"
        "sys.exit(','.join(sorted(bad)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


def test_damaged_forests_are_refused_not_walked(boosted: tuple[bytes, np.ndarray]) -> None:
    raw, x = boosted
    for damaged in (b"", raw[:-1], raw[: len(raw) // 2], raw + b"{", b"{}", b"not ubj at all"):
        with pytest.raises(IntegrityError):
            TreePredictor.of_xgboost(damaged)
    with pytest.raises(UsageError):
        TreePredictor.of_xgboost(raw).predict(x[:, :-1])
    with pytest.raises(IntegrityError):
        Predictor.from_files("forest", {"model.ubj": raw})
    with pytest.raises(IntegrityError):
        Predictor.from_files("xgboost", {"model.json": raw})
    text, _ = trained_by_lightgbm()
    cut = text[: text.index(b"\nTree=100")]
    four = text.replace(b"num_class=3", b"num_class=4")
    for damaged in (b"", text[: len(text) // 2], cut, four, raw, b"tree\n"):
        with pytest.raises(IntegrityError):
            TreePredictor.of_lightgbm(damaged)
    for swapped in (("lightgbm", {"model.txt": raw}), ("xgboost", {"model.ubj": text})):
        with pytest.raises(IntegrityError):
            Predictor.from_files(*swapped)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=examples(60), deadline=None)
def test_any_flipped_bytes_either_decode_safely_or_are_refused(seed: int) -> None:
    raw, _ = trained()
    rng = np.random.default_rng(seed)
    damaged = bytearray(raw)
    for at in rng.integers(0, len(raw), 4):
        damaged[at] = int(rng.integers(0, 256))
    try:
        forest = decode_xgboost(bytes(damaged))
    except IntegrityError:
        return
    must_be_safe(forest)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=examples(60), deadline=None)
def test_any_changed_text_either_decodes_safely_or_is_refused(seed: int) -> None:
    raw, _ = trained_by_lightgbm()
    rng = np.random.default_rng(seed)
    damaged = bytearray(raw[: int(rng.integers(1, len(raw)))] if seed % 4 == 0 else raw)
    for at in rng.integers(0, len(damaged), 6):
        damaged[at] = int(rng.choice(list(b"0123456789-. =\n") + [255]))
    try:
        forest = decode_lightgbm(bytes(damaged))
    except IntegrityError:
        return
    must_be_safe(forest)


def must_be_safe(forest: Forest) -> None:
    """Nothing that the walker follows points outside."""
    nodes, inner = forest.left.size, forest.left >= 0
    assert (forest.left[inner] + 1 < nodes).all() and (forest.left[inner] > np.flatnonzero(inner)).all()
    assert (forest.depths < nodes).all() and np.isin(forest.classes, (0, 1, 2)).all()
    assert (forest.feature >= 0).all() and (forest.feature < forest.n_features).all()


def _encode(value: object) -> bytes:
    if value is None:
        return b"Z"
    if isinstance(value, bool):
        return b"T" if value else b"F"
    if isinstance(value, int):
        return b"L" + value.to_bytes(8, "big", signed=True)
    if isinstance(value, float):
        return b"D" + np.array(value, ">f8").tobytes()
    if isinstance(value, str):
        return b"S" + _encode(len(value.encode())) + value.encode()
    if isinstance(value, list):
        return b"[" + b"".join(_encode(item) for item in value) + b"]"
    return b"{" + b"".join(_encode(key)[1:] + _encode(item) for key, item in value.items()) + b"}"


TREES_OF_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)


@given(value=TREES_OF_JSON)
@settings(max_examples=examples(200), deadline=None)
def test_ubj_round_trip(value: object) -> None:
    assert read_ubj(_encode(value)) == value


def test_ubj_optimised_containers() -> None:
    assert read_ubj(b"[$i#i\x03\x01\xff\x02").tolist() == [1, -1, 2]
    assert read_ubj(b"[$d#U\x01" + np.array(1.5, ">f4").tobytes()).tolist() == [1.5]
    assert read_ubj(b"[#i\x02TZ") == [True, None]
    assert read_ubj(b"{#i\x01i\x01ai\x05") == {"a": 5}
    assert read_ubj(b"{$i#i\x01i\x01a\x05") == {"a": 5}
    for bad in (b"[$i#i\x7f\x01", b"[#l\x7f\xff\xff\xff", b"[$i\x01]", b"Si\xff", b"[" * 100, b"Si\x02\xff\xfe"):
        with pytest.raises(IntegrityError):
            read_ubj(bad)


def test_logistic_json_with_wrong_shapes_is_refused() -> None:
    good = {"mean": [0, 0], "scale": [1, 1], "clip": 8, "coef": [[0, 0]] * 3, "intercept": [0, 0, 0]}
    assert LogisticPredictor(json.dumps(good).encode()).predict_row(np.zeros(2, np.float32)).tolist() == [1 / 3] * 3
    for change in ({"coef": [[0, 0]] * 2}, {"mean": [0]}, {"scale": [0, 1]}, {"clip": -1}, {"intercept": "x"}):
        with pytest.raises(IntegrityError):
            LogisticPredictor(json.dumps({**good, **change}).encode())
