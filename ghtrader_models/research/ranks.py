"""Ranks values with ties, and correlates what is partly unknown.

What belongs here: arithmetic on arrays. What is ranked against what, and what the numbers mean, is decided in `scores`.
"""

from __future__ import annotations

import numpy as np

from ghtrader_base.numba_cache import njit


@njit(cache=True, error_model="numpy", nogil=True)
def _average_ranks(values: np.ndarray, order: np.ndarray, known: int, out: np.ndarray, row: int) -> None:
    """Fill column `row` of `out` with average ranks of the `known` smallest places of `order`, in (-0.5, 0.5)."""
    start = 0
    while start < known:
        stop = start + 1
        while stop < known and values[order[stop]] == values[order[start]]:
            stop += 1
        rank = ((start + stop - 1) * 0.5 + 0.5) / known - 0.5
        for place in range(start, stop):
            out[order[place], row] = rank
        start = stop


def centred_ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average ranks a column, scaled to (-0.5, 0.5), and which of them are known.

    Parameters
    ----------
    values : float[n, k]
        NaN (and infinite values) are unknown.

    Returns
    -------
    float32[n, k]
        Ranks among the column's known values, ties sharing their mean rank; 0 where unknown.
    float32[n, k]
        1 where known, else 0.
    """
    matrix = np.asarray(values)
    finite = np.isfinite(matrix)
    ranks = np.zeros(matrix.shape, np.float32)
    for column in range(matrix.shape[1]):
        one = np.where(finite[:, column], matrix[:, column], np.nan)  # NaN sorts last
        _average_ranks(one, np.argsort(one), int(finite[:, column].sum()), ranks, column)
    return ranks, finite.astype(np.float32)


def masked_correlation(x: np.ndarray, known_x: np.ndarray, y: np.ndarray, known_y: np.ndarray) -> np.ndarray:
    """Pearson correlation of each column of `x` with each of `y` over the rows where both are known.

    Parameters
    ----------
    x, known_x : float32[n, k]
        Values, 0 where unknown, and which are known, as 1 and 0.
    y, known_y : float32[n, m]
        The same.

    Returns
    -------
    float64[k, m]
        NaN where fewer than 3 rows are known together, or one side does not vary on them.
    """
    rows = (known_x.T @ known_y).astype(np.float64)
    sum_x, sum_y = (x.T @ known_y).astype(np.float64), (known_x.T @ y).astype(np.float64)
    square_x, square_y = ((x * x).T @ known_y).astype(np.float64), (known_x.T @ (y * y)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = sum_x / rows, sum_y / rows
        covariance = (x.T @ y).astype(np.float64) / rows - mean_x * mean_y
        variance = (square_x / rows - mean_x**2) * (square_y / rows - mean_y**2)
        found = covariance / np.sqrt(variance)
    return np.where((rows >= 3) & (variance > 1e-14), np.clip(found, -1.0, 1.0), np.nan)
