"""Scores class probabilities: arrays in, numbers out.

What decides is the log-loss against the training prior, with an interval over test days or blocks. F1 and accuracy are
reported beside it and decide nothing: a predictor that knows nothing can have either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_CLASSES = 3
_TINY = 1e-12


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Mean of -ln p(true class), nats; p float64[n, 3], y int[n]."""
    return float(-np.log(np.maximum(p[np.arange(y.size), y], _TINY)).mean())


def accuracy(predicted: np.ndarray, y: np.ndarray) -> float:
    """Share of rows whose class was named."""
    return float((predicted == y).mean())


def f1_scores(predicted: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Macro F1 (mean over the three classes) and weighted F1 (by how often each occurs); a class never met scores 0."""
    table = np.bincount(3 * y.astype(np.int64) + predicted, minlength=9).reshape(N_CLASSES, N_CLASSES)
    hits, true, named = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    f1 = 2 * hits / np.maximum(true + named, 1)
    return float(f1.mean()), float((f1 * true).sum() / max(true.sum(), 1))


@dataclass(frozen=True)
class Reliability:
    """Bins of a reliability diagram.

    Attributes
    ----------
    confidence : float64[k]
        Mean probability of the named class in each bin that has rows.
    accuracy : float64[k]
        How often it came true.
    count : int64[k]
        Rows.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def reliability(p: np.ndarray, y: np.ndarray, bins: int = 15) -> Reliability:
    """Bin the probability of the most likely class, `bins` equal widths over 0..1; p float64[n, 3], y int[n]."""
    named = p.argmax(axis=1)
    top = p[np.arange(y.size), named]
    index = np.minimum((top * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    met = count > 0
    confidence = np.bincount(index, top, minlength=bins)[met] / count[met]
    hit = np.bincount(index, (named == y).astype(float), minlength=bins)[met] / count[met]
    return Reliability(confidence, hit, count[met])


def expected_calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 15) -> float:
    """Mean distance of confidence from accuracy over the bins, weighted by rows."""
    found = reliability(p, y, bins)
    return float((np.abs(found.confidence - found.accuracy) * found.count).sum() / max(found.count.sum(), 1))


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; `low` and `high` are NaN for fewer than two values."""

    mean: float
    low: float
    high: float
    n: int


def t_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """Student's t interval of the mean over independent values (one a test day or block).

    Neighbouring blocks of one day are not quite independent: their interval is somewhat too narrow, days' is honest.
    """
    from scipy.stats import t

    found = np.asarray(values, np.float64)
    mean = float(found.mean()) if found.size else math.nan
    if found.size < 2:
        return Interval(mean, math.nan, math.nan, found.size)
    half = float(t.ppf(0.5 + level / 2, found.size - 1) * found.std(ddof=1) / math.sqrt(found.size))
    return Interval(mean, mean - half, mean + half, found.size)


def class_prior(y: np.ndarray) -> np.ndarray:
    """Class frequencies, one added to each count so that none is zero; float64[3]."""
    counts = np.bincount(y, minlength=N_CLASSES) + 1.0
    shares: np.ndarray = counts / counts.sum()
    return shares


def transition_table(last: np.ndarray, y: np.ndarray) -> np.ndarray:
    """P(class | last realised class): float64[4, 3]; row 3 is for rows without a last one.

    Each row is smoothed towards the class prior with the weight of three rows.
    """
    states = np.where(last < 0, N_CLASSES, last).astype(np.int64)
    counts = np.bincount(states * N_CLASSES + y, minlength=4 * N_CLASSES).reshape(4, N_CLASSES)
    smoothed: np.ndarray = counts + N_CLASSES * class_prior(y)
    smoothed /= smoothed.sum(axis=1, keepdims=True)
    return smoothed
