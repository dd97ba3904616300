"""Fits a family together with its calibration: a temperature, found on rows that the model did not learn from.

What belongs here: which rows those are, and the fit. What is fitted is `calibration.Calibration`; `inference` applies
it.

The rows are the last `SHARE` of the training span, with a purge and an embargo before them. A network has held them
out already, to stop early. A family that learns from every row is fitted twice: once on the rows before the span, for
the temperature, and once on all of them, for the model. That costs a second fit (0.85 of the first) instead of the
newest rows, which are the ones most like those to come.

A temperature and not an isotonic curve: one number rather than some dozens for the few hundred independent observations
such a span has (labels overlap); it keeps the order of the rows, where a curve makes many of them equal and a policy's
thresholds coarse; and what a network or a regularised tree gets wrong is mostly how far it goes from the class
frequencies. From there it is counted: a slope of 0 is the class frequencies, not a third each, which is where an edge
that is noise should end. A model that was trained with classes of equal weight starts from a third each, and gets the
frequencies back.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.calibration import Calibration, SpanScores
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.evaluation.metrics import N_CLASSES, class_prior, expected_calibration_error, log_loss
from ghtrader_models.evaluation.splits import SplitOptions
from ghtrader_models.families.base import FamilyConfig, Model, ModelFamily, ValidatedModel
from ghtrader_models.families.training_session import memory_exhausted
from ghtrader_models.families.window_config import Loss
from ghtrader_models.inference.calibrate import calibrate

SHARE = 0.15
"""Part of the training rows, the last by time, that a temperature is fitted on."""
_LEAST, _MOST = 0.05, 5.0
"""Slopes: the least keeps the order of the rows."""
_SPREAD = 0.5
"""How far from 1 a slope is expected: a span that says little leaves a model as it is."""


@dataclass(frozen=True, kw_only=True)
class CalibratedModel:
    """A trained model and its calibration.

    Attributes
    ----------
    model : Model
    calibration : Calibration or None
        None where there are too few rows to hold some out.
    """

    model: Model
    calibration: Calibration | None

    def calibrated(self, p: np.ndarray) -> np.ndarray:
        """What `model` said, float64[n, 3], as the bundle says it; a new array."""
        return p if self.calibration is None else calibrate(p.copy(order="C"), self.calibration)

    def predict_proba(self, samples: Samples) -> np.ndarray:
        """float64[k, 3] of the rows meant, as the bundle says them."""
        return self.calibrated(self.model.predict_proba(samples))


def fit_calibrated(family: ModelFamily, samples: Samples, *, seed: int, config: FamilyConfig) -> CalibratedModel:
    """Train a family on samples and fit its temperature.

    Raises
    ------
    UsageError
        As `ModelFamily.fit`.
    FailedError
        Also where memory runs out.
    """
    fields = {field.name for field in dataclasses.fields(config)}
    smaller = "a smaller batch_size or length" if "batch_size" in fields else "a larger stride"
    with memory_exhausted(f"{family.name} on {len(samples):,} rows", f"train on fewer days, or with {smaller} (--set)"):
        return _fit(family, samples, seed, config)


def _fit(family: ModelFamily, samples: Samples, seed: int, config: FamilyConfig) -> CalibratedModel:
    model = family.fit(samples, seed=seed, config=config)
    if isinstance(model, ValidatedModel):
        span = replace(samples, rows=model.validation_rows)
        return CalibratedModel(model=model, calibration=_of_span(model, span, samples, config))
    earlier, span = held_out(samples, config.stride)
    if not len(earlier) or not len(span):
        return CalibratedModel(model=model, calibration=None)
    try:
        sibling = family.fit(earlier, seed=seed, config=config)
    except UsageError:  # a class, or every factor's second value, came with the newest rows alone
        return CalibratedModel(model=model, calibration=None)
    return CalibratedModel(model=model, calibration=_of_span(sibling, span, samples, config))


def held_out(samples: Samples, stride: int) -> tuple[Samples, Samples]:
    """Rows before the calibration span, and every `stride`-th of the span's; no label of the first looks into it."""
    cut = int(len(samples) * (1 - SHARE))
    span = samples.rows[cut:]
    stop = int(span[0]) - SplitOptions().gap(samples.horizon) if span.size else 0
    return replace(samples, rows=samples.rows[samples.rows < stop]), replace(samples, rows=span[::stride])


def _of_span(model: Model, span: Samples, samples: Samples, config: Any) -> Calibration:
    prior = class_prior(samples.labels)
    equal = getattr(config, "loss", "") == Loss.WEIGHTED
    learned = np.full(N_CLASSES, 1 / N_CLASSES) if equal else prior
    independent = min(len(span), (int(span.rows[-1]) - int(span.rows[0])) / span.horizon + 1)
    return fit_temperature(model.predict_proba(span), span.labels, prior, learned, independent=independent)


def fit_temperature(
    p: np.ndarray, y: np.ndarray, prior: np.ndarray, learned_prior: np.ndarray, *, independent: float
) -> Calibration:
    """The slope under which the span's labels are likeliest, drawn to 1 where they are few.

    Parameters
    ----------
    p : float64[n, 3]
        Probabilities of rows that the model did not learn from.
    y : int8[n]
        Their classes.
    prior : float64[3]
        Class frequencies of the training rows.
    learned_prior : float64[3]
        Those that the loss made of them.
    independent : float
        How many independent observations the rows are.

    Returns
    -------
    Calibration
        p is counted from `learned_prior`, the result from `prior`.
    """
    from scipy.optimize import minimize_scalar

    def at(slope: float) -> Calibration:
        offsets = np.log(prior) - slope * np.log(learned_prior)
        unknown = SpanScores(np.nan, np.nan)
        return Calibration(
            slope=slope, offsets=tuple(offsets.tolist()), rows=int(y.size), before=unknown, after=unknown
        )

    def loss(slope: float) -> float:
        surprise = log_loss(calibrate(p.copy(order="C"), at(slope)), y)
        return independent * surprise + (slope - 1) ** 2 / (2 * _SPREAD**2)

    found = at(float(minimize_scalar(loss, bounds=(_LEAST, _MOST), method="bounded", options={"xatol": 1e-6}).x))
    after = calibrate(p.copy(order="C"), found)
    return replace(found, before=_scores(p, y), after=_scores(after, y))


def _scores(p: np.ndarray, y: np.ndarray) -> SpanScores:
    return SpanScores(log_loss(p, y), expected_calibration_error(p, y))
