"""Computes what chance alone would show: p-values of many factors at once, from shuffled targets.

What belongs here: from correlations with the wrong targets to p-values. Which targets are wrong, and why, is said in
`scores`.
"""

from __future__ import annotations

import numpy as np


def known_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: np.ndarray = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    return mean


def chance(
    mean: np.ndarray, null: np.ndarray, shuffles: int, shuffled: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p-values of single tests and of all together, and the standard deviation under chance.

    A shuffle gives each day one partner, no partner twice where days are shuffled.

    Parameters
    ----------
    mean : float64[F, H]
        Mean IC over days.
    null : float32[D, P, F, H]
        IC of day d's factors against partner p's targets.
    shuffles : int
        Draws.
    shuffled : bool
        Partners are the days themselves; else P rotations of the day's own targets.
    rng : numpy.random.Generator

    Returns
    -------
    float64[F, H]
        Two-sided p-value of each test alone.
    float64[F, H]
        Against the largest |z| of all tests: Westfall and Young's max-statistic.
    float64[F, H]
        Standard deviation of the mean IC under chance, from wrong targets alone.
    """
    days, partners = null.shape[:2]
    if not shuffled and days == 1:
        shuffles = min(shuffles, partners)  # one day has no more orders than rotations
    draws = np.empty((shuffles, *mean.shape), np.float32)
    for row in range(shuffles):
        one_day = np.array([row])
        chosen = rng.permutation(days) if shuffled else one_day if days == 1 else rng.integers(0, partners, days)
        draws[row] = known_mean(null[np.arange(days), chosen])
    scale = np.sqrt(known_mean(draws.astype(np.float64) ** 2))  # about zero, which chance has as its mean
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(mean / scale)
        z_null = np.abs(draws / scale.astype(np.float32))
    largest = np.sort(np.nanmax(z_null.reshape(shuffles, -1), axis=1))
    single = np.empty(mean.shape)
    for place in np.ndindex(mean.shape):
        single[place] = (1 + (z_null[(slice(None), *place)] >= z[place]).sum()) / (shuffles + 1)
    adjusted = (1 + shuffles - np.searchsorted(largest, z.ravel(), side="left")).reshape(mean.shape) / (shuffles + 1)
    unknown = ~np.isfinite(z)
    single[unknown], adjusted = np.nan, np.where(unknown, np.nan, adjusted)
    return single, adjusted, _wrong_targets_std(null, shuffled)


def _wrong_targets_std(null: np.ndarray, shuffled: bool) -> np.ndarray:
    """float64[F, H]: how far chance moves the mean over days; the right targets, which are no chance, do not count."""
    days = null.shape[0]
    wrong = null.astype(np.float64)
    if shuffled:
        wrong[np.arange(days), np.arange(days)] = np.nan
    std: np.ndarray = np.sqrt(known_mean(wrong.reshape(-1, *null.shape[2:]) ** 2) / days)
    return std
