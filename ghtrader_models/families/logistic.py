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
from ghtrader_models.families.base import MOST_MEMORY, Preset, require_numbers, row_weight, rows_to_learn
from ghtrader_models.inference.forest import N_CLASSES

_START_ROWS = 262_144


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

    def __post_init__(self) -> None:
        least = {"memory": 0, "stride": 1, "max_iterations": 1}
        require_numbers(self, least=least, most={"memory": MOST_MEMORY}, above={"c": 0, "clip": 0})


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
        return samples.ask(self._predictor.predict)

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
        """Train; see `ModelFamily.fit`. A missing factor takes the training mean; a class never seen gets no weight.

        Rows are gone through where they lie, pass by pass: memory does not grow with them. The objective and the
        solver are those of scikit-learn's `LogisticRegression`, the moments the same to the last bit; sums in another
        order make its coefficients another in the last digits: probabilities agree to 1e-6. From `_START_ROWS` rows
        on a fit of a few of them is where the solver starts, and it ends at the same optimum within its tolerance.
        """
        config = config or self.config()
        learned = rows_to_learn(samples, config.stride)
        mean, scale = _moments(learned)
        coef = np.zeros((N_CLASSES, mean.size))
        intercept = np.full(N_CLASSES, -30.0)
        seen = np.unique(learned.labels)
        strength = config.c * row_weight(samples.horizon, config.memory, config.stride)
        coef[:], found = _minimise(learned, mean, scale, seen, strength, config)
        intercept[seen] = found[seen]
        spec = {
            "mean": mean.tolist(),
            "scale": scale.tolist(),
            "clip": config.clip,
            "coef": coef.tolist(),
            "intercept": intercept.tolist(),
        }
        return LogisticModel(spec)


def _moments(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the known values of each factor, float64[F]; a deviation of 1 where one does not vary."""
    from ghtrader_models.families.logistic_kernel import add_squares, add_values

    total, count = np.zeros(samples.X.shape[1]), np.zeros(samples.X.shape[1])
    for rows, chosen, _ in samples.parts():
        add_values(rows, chosen, total, count)
    count = np.maximum(count, 1)
    mean, squares = total / count, np.zeros_like(total)
    for rows, chosen, _ in samples.parts():
        add_squares(rows, chosen, mean, squares)
    scale = np.sqrt(squares / count)
    scale[~(scale > 1e-12)] = 1.0
    return mean, scale


def _minimise(
    samples: Samples, mean: np.ndarray, scale: np.ndarray, seen: np.ndarray, strength: float, config: LogisticConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients float64[3, F] and intercepts float64[3] with the least penalised log-loss.

    Parameters
    ----------
    samples : Samples
        Rows to learn from.
    mean, scale : float64[F]
    seen : int64[2 or 3]
        Classes among the labels. Of two, the first has no coefficients: their difference is what counts.
    strength : float
        Inverse strength of the penalty against the summed loss.
    config : LogisticConfig
    """
    from scipy.optimize import minimize

    loss = _Loss(samples, mean, scale, seen, strength, config.clip)
    start = np.zeros(loss.size)
    few = samples.every(len(samples) // _START_ROWS) if len(samples) >= 2 * _START_ROWS else samples
    if few is not samples and np.array_equal(np.unique(few.labels), seen):
        share = len(samples) / len(few)
        near = _Loss(few, mean, scale, seen, strength * share, config.clip)
        start = minimize(near, start, method="L-BFGS-B", jac=True, options=_solver(config)).x
    return loss.whole(minimize(loss, start, method="L-BFGS-B", jac=True, options=_solver(config)).x)


def _solver(config: LogisticConfig) -> dict[str, float]:
    """As scikit-learn sets it."""
    return {"maxiter": config.max_iterations, "maxls": 50, "gtol": 1e-4, "ftol": 64 * float(np.finfo(float).eps)}


class _Loss:
    """The mean penalised log-loss and its gradient, by one pass over the rows a call."""

    def __init__(
        self, samples: Samples, mean: np.ndarray, scale: np.ndarray, seen: np.ndarray, strength: float, clip: float
    ) -> None:
        from ghtrader_models.families.logistic_kernel import LANES

        self._samples, self._mean, self._inverse_scale, self._clip = samples, mean, 1.0 / scale, clip
        self._penalty = 1.0 / (strength * len(samples))
        self._free = seen if seen.size == N_CLASSES else seen[1:]
        self._absent = np.setdiff1d(np.arange(N_CLASSES), seen)
        self._width = mean.size
        self._filled = -(-mean.size // LANES) * LANES
        self.size = self._free.size * (mean.size + 1)

    def whole(self, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients float64[3, F] and intercepts float64[3] from what the solver moves; 0 of other classes."""
        table = free.reshape(self._free.size, self._width + 1)
        coef, intercept = np.zeros((N_CLASSES, self._width)), np.zeros(N_CLASSES)
        coef[self._free], intercept[self._free] = table[:, :-1], table[:, -1]
        return coef, intercept

    def __call__(self, free: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss in nats, and its gradient."""
        from ghtrader_models.families.logistic_kernel import add_loss

        coef, intercept = self.whole(free)
        filled = np.zeros((N_CLASSES, self._filled))
        filled[:, : self._width] = coef
        given = intercept.copy()
        given[self._absent] = -np.inf
        gradient, bias, z = np.zeros_like(filled), np.zeros(N_CLASSES), np.zeros(self._filled)
        loss, rows = np.zeros(2), len(self._samples)
        standard = (self._mean, self._inverse_scale, self._clip)
        for array, chosen, y in self._samples.parts():
            add_loss(array, chosen, y, *standard, filled, given, z, gradient, bias, loss)
        slope = np.column_stack([gradient[:, : self._width] / rows + self._penalty * coef, bias / rows])
        return float(loss[0]) / rows + 0.5 * self._penalty * float((coef**2).sum()), slope[self._free].ravel()
