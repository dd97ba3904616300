"""Measures how persistent a factor is within a day, and how far that alone biases its information coefficient.

What belongs here: arithmetic on arrays. Where a factor's own moves go with the price's, the correlation of its level
with later moves is biased in a sample as short as a day: Stambaugh (1999), "Predictive regressions", Journal of
Financial Economics 54(3). A day with a high middle has ended lower than its middle, whoever looked at it. Targets that
overlap make it worse by the root of their length. Shuffled targets do not show it, since they cut that tie too.
"""

from __future__ import annotations

import numpy as np

SLOW = 0.01
"""Bias of an IC from which a factor is called slow."""
SENTENCE = (
    "Slow: within a day, the IC of a factor that hardly forgets is biased against targets that overlap (Stambaugh "
    "1999): where the factor's own moves go with the price's, its IC is off by up to the bias shown, against the sign "
    "of that tie, and chance by shuffled targets does not show it. Judge a slow factor by what a model gains from it, "
    "or use its change."
)
_UNIT_ROOT = 2.2
_COLUMNS = 32


def lag_one(factors: np.ndarray) -> np.ndarray:
    """Correlation of each column with itself one row earlier, over the pairs of rows where it is known.

    Parameters
    ----------
    factors : float[n, F]
        NaN (and infinite values) are unknown.

    Returns
    -------
    float64[F]
        NaN where a column does not vary, or fewer than 3 pairs are known.
    """
    found = np.full(factors.shape[1], np.nan)
    for low in range(0, factors.shape[1], _COLUMNS):
        part = factors[:, low : low + _COLUMNS].astype(np.float64)
        known = np.isfinite(part)
        part[~known] = 0.0
        counts = np.maximum(known.sum(axis=0), 1)
        part = np.where(known, part - part.sum(axis=0) / counts, 0.0)  # about the mean: a level would drown the sums
        both = known[1:] & known[:-1]
        now, before = np.where(both, part[1:], 0.0), np.where(both, part[:-1], 0.0)
        pairs = both.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_now, mean_before = now.sum(axis=0) / pairs, before.sum(axis=0) / pairs
            covariance = (now * before).sum(axis=0) / pairs - mean_now * mean_before
            spread_now = (now * now).sum(axis=0) / pairs - mean_now**2
            spread_before = (before * before).sum(axis=0) / pairs - mean_before**2
            value = covariance / np.sqrt(spread_now * spread_before)
        scale = np.abs(part).max(axis=0, initial=0.0)
        varies = (pairs >= 3) & (np.minimum(spread_now, spread_before) > 1e-14 * scale**2) & (scale > 0)
        found[low : low + _COLUMNS] = np.where(varies, np.clip(value, -1.0, 1.0), np.nan)
    return found


def bias_bound(persistence: np.ndarray, rows: float, horizon: int) -> np.ndarray:
    """How far from the truth the mean IC of a day may lie because the factor is slow: a tie of 1 with the price.

    For a factor that fades by `persistence` a tick: ``(1 + 3 r) sqrt(N) / (T sqrt(1 - r^2))`` with T ticks a day and N
    ticks ahead, r made good for its own bias, ``(1 + 3 r) / T`` (Kendall 1954); at most the ``2.2 sqrt(N / T)`` of a
    random walk (the mean of Dickey and Fuller's distribution, -5.4 / T, times a walk's spread).

    Parameters
    ----------
    persistence : float64[...]
        As `lag_one`.
    rows : float
        Ticks of a day.
    horizon : int
        Ticks ahead.

    Returns
    -------
    float64[...]
        NaN where the persistence is.

    Examples
    --------
    >>> bias_bound(np.array([0.5, 0.999, 1.0]), 55_800, 50).round(4).tolist()
    [0.0004, 0.0118, 0.0659]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        fades = np.minimum(persistence + (1 + 3 * persistence) / rows, 1.0)
        found = np.abs(1 + 3 * fades) * np.sqrt(horizon) / (rows * np.sqrt(np.maximum(1 - fades**2, 0.0)))
    return np.where(np.isnan(persistence), np.nan, np.minimum(found, _UNIT_ROOT * np.sqrt(horizon / rows)))
