"""Calibration: fitted on rows not learned from, kept in the bundle, the same numbers offline and live."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghtrader_base.errors import IntegrityError
from ghtrader_models.bundles.bundle import load_bundle, write_bundle
from ghtrader_models.calibration import Calibration, SpanScores
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.evaluation.calibration_fit import CalibratedModel, fit_calibrated, fit_temperature, held_out
from ghtrader_models.evaluation.metrics import class_prior, log_loss
from ghtrader_models.families.base import get_family
from ghtrader_models.inference.calibrate import calibrate
from ghtrader_models.inference.predictors import CalibratedPredictor, Predictor
from ghtrader_models.registry.mlflow_tracking import _calibration_metrics, _metrics
from ghtrader_models.training import train_on

PRIOR = np.array([0.2, 0.5, 0.3])
NO_SCORES = SpanScores(1.0, 0.1)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    found: np.ndarray = e / e.sum(axis=1, keepdims=True)
    return found


def drawn(strength: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """How much speaks for each class beyond its frequency, and classes drawn accordingly."""
    rng = np.random.default_rng(0)
    evidence = strength * rng.normal(size=(n, 3))
    p = softmax(np.log(PRIOR) + evidence)
    return evidence, (rng.random(n)[:, None] > p.cumsum(axis=1)[:, :2]).sum(axis=1).astype(np.int8)


@pytest.mark.parametrize("boast", [0.5, 1.0, 3.0])
def test_a_model_that_boasts_is_toned_down_and_a_shy_one_up(boast: float) -> None:
    evidence, y = drawn(0.6)
    p = softmax(np.log(PRIOR) + boast * evidence)
    found = fit_temperature(p, y, PRIOR, PRIOR, independent=y.size)
    assert found.slope == pytest.approx(1 / boast, rel=0.05) and found.rows == y.size
    fixed = calibrate(p.copy(), found)
    assert log_loss(fixed, y) == pytest.approx(log_loss(softmax(np.log(PRIOR) + evidence), y), abs=1e-3)
    assert found.before.logloss == log_loss(p, y) and found.after.logloss == log_loss(fixed, y)
    if boast != 1.0:
        assert found.after.logloss < found.before.logloss - 0.01 and found.after.ece < found.before.ece / 2


def test_an_edge_that_is_noise_ends_at_the_class_frequencies_in_its_old_order() -> None:
    evidence, _ = drawn(0.6)
    _, y = drawn(0.0)
    p = softmax(np.log(PRIOR) + evidence)
    found = fit_temperature(p, y, PRIOR, PRIOR, independent=y.size)
    fixed = calibrate(p.copy(), found)
    assert found.slope < 0.1
    assert log_loss(fixed, y) == pytest.approx(log_loss(np.tile(PRIOR, (y.size, 1)), y), abs=2e-3)
    before, after = (np.log(q[:, 2] / q[:, 0]) for q in (p, fixed))
    np.testing.assert_array_equal(np.argsort(before), np.argsort(after))


def test_a_loss_of_equal_classes_gets_the_frequencies_back() -> None:
    evidence, y = drawn(0.6)
    found = fit_temperature(softmax(evidence), y, PRIOR, np.full(3, 1 / 3), independent=y.size)
    assert found.slope == pytest.approx(1, rel=0.05) and found.after.logloss < found.before.logloss - 0.05
    np.testing.assert_allclose(calibrate(softmax(evidence), found).mean(axis=0), np.bincount(y) / y.size, atol=0.01)


def test_a_span_that_says_little_changes_little() -> None:
    evidence, y = drawn(0.6, n=60)
    p = softmax(np.log(PRIOR) + 1.5 * evidence)
    slopes = [fit_temperature(p, y, PRIOR, PRIOR, independent=n).slope for n in (0.01, 1.0, 60.0)]
    assert slopes[0] == pytest.approx(1, abs=1e-3) and abs(slopes[1] - 1) < abs(slopes[2] - 1)


def calibration(slope: float = 0.7) -> Calibration:
    return Calibration(slope=slope, offsets=(0.1, -0.2, 0.05), rows=9, before=NO_SCORES, after=NO_SCORES)


def test_unknown_rows_stay_unknown_and_a_class_that_is_excluded_stays_so() -> None:
    p = np.array([[np.nan] * 3, [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])
    found = calibrate(p.copy(), calibration())
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], [0, 1, 0], atol=1e-200)
    np.testing.assert_allclose(found[2], softmax(0.7 * np.log(p[2:]) + np.array([0.1, -0.2, 0.05]))[0])
    for wrong in ({"slope": 0.0}, {"slope": float("nan")}, {"offsets": (0.0, 0.0)}):
        with pytest.raises(IntegrityError):
            replace(calibration(), **wrong)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(make_world: Callable[..., Any]) -> Any:
    return make_world(days=6, rows=700)[0]


@pytest.fixture(scope="module")
def fitted(world: Any, small_configs: dict[str, Any]) -> dict[str, CalibratedModel]:
    samples = world.samples(np.flatnonzero(world.usable))
    return {
        name: fit_calibrated(get_family(name), samples, seed=1, config=config) for name, config in small_configs.items()
    }


@pytest.mark.parametrize("name", ["logistic", "xgboost", "lightgbm"])
def test_a_row_alone_many_rows_and_a_whole_day_have_the_same_bits(
    name: str, world: Any, fitted: dict[str, CalibratedModel], tmp_path: Path
) -> None:
    model = fitted[name]
    assert model.calibration is not None and model.calibration.slope != 1
    model.model.save(tmp_path)
    raw = Predictor.from_files(name, {path.name: path.read_bytes() for path in tmp_path.iterdir()})
    live = CalibratedPredictor(raw, model.calibration)
    rows, X = np.arange(400), world.X[:400]
    offline = model.predict_proba(replace(world.samples(rows), rows=rows))
    np.testing.assert_array_equal(live.predict(X), offline)
    np.testing.assert_array_equal([live.predict_row(row) for row in X], offline)
    a_day = live.predict_day(X, rows >= 20)
    np.testing.assert_array_equal(a_day[20:], offline[20:])
    assert np.isnan(a_day[:20]).all() and np.abs(offline - raw.predict(X)).max() > 1e-4


def test_the_span_is_the_end_of_the_rows_and_no_label_looks_into_it(world: Any) -> None:
    samples = world.samples(np.flatnonzero(world.usable))
    earlier, span = held_out(samples, 3)
    assert earlier.rows[-1] + 2 * samples.horizon < span.rows[0] and span.rows[-1] > samples.rows[-4]
    assert len(earlier) > 0.8 * len(samples) and (np.diff(span.rows) >= 3).all()
    few = replace(samples, rows=samples.rows[:34])  # too few are left for a sibling
    config = replace(get_family("logistic").config(), stride=1)
    assert fit_calibrated(get_family("logistic"), few, seed=0, config=config).calibration is None


class _Noting:
    """A family that notes what it learned from."""

    name = "logistic"

    def __init__(self) -> None:
        self.learned: list[np.ndarray] = []

    def fit(self, samples: Samples, *, seed: int, config: Any = None) -> Any:
        self.learned.append(samples.rows)
        return get_family("logistic").fit(samples, seed=seed, config=config)

    def config(self, preset: Any = None) -> Any:
        return get_family("logistic").config()


def test_the_model_learns_from_every_row_and_its_sibling_from_none_of_the_span(
    world: Any, small_configs: dict[str, Any]
) -> None:
    family, samples = _Noting(), world.samples(np.flatnonzero(world.usable))
    found = fit_calibrated(family, samples, seed=1, config=small_configs["logistic"])
    whole, earlier = family.learned
    span = held_out(samples, 1)[1].rows
    np.testing.assert_array_equal(whole, samples.rows)
    assert earlier[-1] < span[0] and found.calibration is not None and found.calibration.rows == span.size
    assert found.calibration.offsets[0] == pytest.approx(
        (1 - found.calibration.slope) * np.log(class_prior(samples.labels)[0])
    )


def test_a_bundle_keeps_it_and_one_without_it_predicts_as_before(
    world: Any, small_configs: dict[str, Any], tmp_path: Path
) -> None:
    bundle = train_on(world, tmp_path, "logistic", config=small_configs["logistic"], seed=1)
    kept = bundle.content.calibration
    stored = json.loads((bundle.path / "provenance.json").read_text())["content"]["calibration"]
    assert kept is not None and stored["slope"] == kept.slope and stored["before"]["logloss"] == kept.before.logloss
    assert _calibration_metrics(kept)["calibration_ece_after"] == [(kept.after.ece, 0)]
    raw = Predictor.from_files(bundle.kind, bundle.model_files)
    np.testing.assert_array_equal(Predictor.from_bundle(bundle).predict(world.X), calibrate(raw.predict(world.X), kept))
    older = replace(bundle.content, calibration=None)
    model = get_family("logistic").fit(
        world.samples(np.flatnonzero(world.usable)), seed=1, config=small_configs["logistic"]
    )
    path = write_bundle(tmp_path / "older", model, bundle.factor_set_spec, bundle.label_spec, bundle.policy, older)
    without = load_bundle(path)
    assert "calibration" not in json.loads((path / "provenance.json").read_text())["content"]
    assert without.bundle_id != bundle.bundle_id and _calibration_metrics(without.content.calibration) == {}
    np.testing.assert_array_equal(Predictor.from_bundle(without).predict(world.X), raw.predict(world.X))
    edited = tmp_path / "edited"
    shutil.copytree(bundle.path, edited)
    text = (edited / "provenance.json").read_text()
    (edited / "provenance.json").write_text(text.replace(f'"slope": {kept.slope}', '"slope": 1.0'))
    with pytest.raises(IntegrityError, match="not what the manifest says"):
        load_bundle(edited)


def test_a_benchmark_scores_before_and_after_as_mlflow_has_them(world: Any) -> None:
    report = run_benchmark(world, "logistic", simulate=False)
    assert report.uncalibrated is not None and report.uncalibrated.logloss is not None and report.model.logloss
    assert report.uncalibrated.logloss.mean != report.model.logloss.mean
    assert report.to_dict()["uncalibrated"]["ece"]["mean"] == report.uncalibrated.ece.mean  # type: ignore[union-attr]
    slopes = [split.calibration.slope for split in report.splits if split.calibration is not None]
    assert len(slopes) == len(report.splits) and report.to_dict()["splits"][0]["calibration"]["slope"] == slopes[0]
    logged = _metrics(report)
    assert logged["logloss"] == [(report.model.logloss.mean, 0)]
    assert logged["uncalibrated_logloss"] == [(report.uncalibrated.logloss.mean, 0)]
    assert report.baselines["prior"].logloss is not None and "uncalibrated_prior_logloss" not in logged
