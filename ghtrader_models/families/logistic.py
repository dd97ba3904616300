"""Trains multinomial logistic regression on standardised factors, saved as JSON.

The strongest simple model for a signal nearly visible in one snapshot, and the check on the boosted trees: where
it finds as much as they do, there is nothing non-linear to find.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import Preset, check_training_samples, row_weight, without_infinite
from ghtrader_models.inference.forest import N_CLASSES


@dataclass(frozen=True)
class LogisticConfig:
    """How the logistic model is trained.

    Parameters
    ----------
    c : float
        Inverse strength of the L2 penalty on standardised coefficients against the loss summed over independent
        observations (see `row_weight`); smaller is stronger.
    memory : int
        Ticks over which the factors themselves say the same, for `row_weight`.
    stride : int
        Every how many-th training row is used; what is left out says nearly the same.
    clip : float
        Standardised factors are cut at plus and minus this many deviations, in training and live.
    max_iterations : int
        Of L-BFGS.
    """

    c: float = 0.0035
    memory: int = 40
    stride: int = 5
    clip: float = 8.0
    max_iterations: int = 300


class LogisticModel:
    """A trained logistic model."""

    kind = "logistic"

    def __init__(self, spec: dict[str, Any]) -> None:
        from ghtrader_models.inference.predictors import LogisticPredictor

        self._spec = spec
        self._predictor = LogisticPredictor(self._bytes())
        self.n_features = self._predictor.n_features

    def _bytes(self) -> bytes:
        return (json.dumps(self._spec, allow_nan=False) + "\n").encode()

    def predict_proba(self, samples: Samples) -> np.ndarray:
        """float64[k, 3] of the rows meant."""
        return self._predictor.predict(samples.factors)

    def save(self, directory: Path) -> None:
        """Write ``model.json``: mean, scale, clip, coef, intercept; numbers keep every bit."""
        from ghtrader_models.inference.predictors import LOGISTIC_FILE

        (directory / LOGISTIC_FILE).write_bytes(self._bytes())

    def importance(self, names: tuple[str, ...]) -> dict[str, float]:
        """Share of each factor in the summed |coefficient| on standardised factors."""
        size = np.abs(np.array(self._spec["coef"])).sum(axis=0)
        total = size.sum()
        return dict(zip(names, (size / total if total > 0 else size).tolist(), strict=True))


class LogisticFamily:
    """The family of the registry's name ``logistic``."""

    name = "logistic"

    def config(self, preset: Preset = Preset.SMALL) -> LogisticConfig:
        """Settings that were measured on the simulated world; `paper` uses every row."""
        return LogisticConfig() if preset is Preset.SMALL else LogisticConfig(stride=1)

    def fit(self, samples: Samples, *, seed: int, config: LogisticConfig | None = None) -> LogisticModel:
        """Train; see `ModelFamily.fit`. A missing factor takes the training mean; a class never seen gets no weight."""
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        check_training_samples(samples)
        config = config or self.config()
        learned = samples.every(config.stride)
        kept, labels = without_infinite(learned.factors).astype(np.float64), learned.labels
        known = np.isfinite(kept)
        counts = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, kept, 0.0).sum(axis=0) / counts
        centred = np.where(known, kept - mean, 0.0)
        scale = np.sqrt((centred**2).sum(axis=0) / counts)
        scale[~(scale > 1e-12)] = 1.0
        z = np.clip(centred / scale, -config.clip, config.clip)
        coef = np.zeros((N_CLASSES, kept.shape[1]))
        intercept = np.full(N_CLASSES, -30.0)
        seen = np.unique(labels)
        if seen.size == 1:
            intercept[seen[0]] = 0.0
        else:
            # one thread: the order of sums, hence the last bit, must not depend on the machine's load
            with threadpool_limits(limits=1):
                strength = config.c * row_weight(samples.horizon, config.memory, config.stride)
                fitted = LogisticRegression(C=strength, max_iter=config.max_iterations).fit(z, labels)
            if seen.size == 2:  # scikit-learn folds two classes into one difference
                coef[seen[1]] = fitted.coef_[0]
                intercept[seen] = (0.0, fitted.intercept_[0])
            else:
                coef[:], intercept[:] = fitted.coef_, fitted.intercept_
        spec = {
            "mean": mean.tolist(),
            "scale": scale.tolist(),
            "clip": config.clip,
            "coef": coef.tolist(),
            "intercept": intercept.tolist(),
        }
        return LogisticModel(spec)
