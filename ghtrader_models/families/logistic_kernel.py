"""Goes over rows of factors for the logistic model: their moments, and the loss with its gradient; compiled.

What belongs here: one pass over memory each. Rows are taken where they lie, so that a year is gone through without a
copy; sums run in the order of the rows.
"""

from __future__ import annotations

import math

import numpy as np

from ghtrader_base.numba_cache import njit

LANES = 4
"""Widths are filled up to a multiple of this with columns of zeros: a loop without a remainder."""


@njit(cache=True, error_model="numpy", nogil=True)
def add_values(rows: np.ndarray, chosen: np.ndarray, total: np.ndarray, count: np.ndarray) -> None:
    """Add the known values of some rows to `total`, and their number to `count`, float64[F] each.

    Parameters
    ----------
    rows : float32[n, F]
    chosen : int64[k]
        Which of them.
    """
    width = rows.shape[1]
    for i in range(chosen.size):
        row = rows[chosen[i]]
        for j in range(width):
            x = np.float64(row[j])
            known = x - x == 0.0
            total[j] += x if known else 0.0
            count[j] += 1.0 if known else 0.0


@njit(cache=True, error_model="numpy", nogil=True)
def add_squares(rows: np.ndarray, chosen: np.ndarray, mean: np.ndarray, total: np.ndarray) -> None:
    """Add the squared deviations of some rows from `mean` to `total`, float64[F] each; see `add_values`."""
    width = rows.shape[1]
    for i in range(chosen.size):
        row = rows[chosen[i]]
        for j in range(width):
            x = np.float64(row[j])
            d = x - mean[j] if x - x == 0.0 else 0.0
            total[j] += d * d


@njit(cache=True, error_model="numpy", nogil=True)
def add_loss(
    rows: np.ndarray,
    chosen: np.ndarray,
    y: np.ndarray,
    mean: np.ndarray,
    inverse_scale: np.ndarray,
    clip: float,
    coef: np.ndarray,
    intercept: np.ndarray,
    z: np.ndarray,
    gradient: np.ndarray,
    bias: np.ndarray,
    loss: np.ndarray,
) -> None:
    """Add the log-loss of some rows, nats, to `loss`, and its gradient to `gradient` and `bias`.

    Parameters
    ----------
    rows : float32[n, F]
    chosen : int64[k]
        Which of them.
    y : int8[k]
        Their classes.
    mean, inverse_scale : float64[F]
    clip : float
        Standardised values are held within +-`clip`; an unknown one is 0.
    coef : float64[3, W]
        W is F filled up to a multiple of `LANES`.
    intercept : float64[3]
        Minus infinity for a class that does not exist.
    z : float64[W]
        Room to work in; zeros behind F.
    gradient : float64[3, W]
    bias : float64[3]
    loss : float64[2]
        The sum, and what rounding has taken from it (Kahan): a year of rows is added up without loss.
    """
    width, filled, added, lost = rows.shape[1], z.size, loss[0], loss[1]
    c0, c1, c2 = coef[0], coef[1], coef[2]
    g0, g1, g2 = gradient[0], gradient[1], gradient[2]
    for i in range(chosen.size):
        row = rows[chosen[i]]
        for j in range(width):
            x = np.float64(row[j])
            s = (x - mean[j]) * inverse_scale[j]
            s = -clip if s < -clip else s
            s = clip if s > clip else s
            z[j] = s if x - x == 0.0 else 0.0
        p0 = p1 = p2 = p3 = 0.0
        q0 = q1 = q2 = q3 = 0.0
        r0 = r1 = r2 = r3 = 0.0
        for j in range(0, filled, 4):
            p0 += c0[j] * z[j]
            p1 += c0[j + 1] * z[j + 1]
            p2 += c0[j + 2] * z[j + 2]
            p3 += c0[j + 3] * z[j + 3]
            q0 += c1[j] * z[j]
            q1 += c1[j + 1] * z[j + 1]
            q2 += c1[j + 2] * z[j + 2]
            q3 += c1[j + 3] * z[j + 3]
            r0 += c2[j] * z[j]
            r1 += c2[j + 1] * z[j + 1]
            r2 += c2[j + 2] * z[j + 2]
            r3 += c2[j + 3] * z[j + 3]
        a = intercept[0] + ((p0 + p1) + (p2 + p3))
        b = intercept[1] + ((q0 + q1) + (q2 + q3))
        c = intercept[2] + ((r0 + r1) + (r2 + r3))
        top = max(a, b, c)
        ea, eb, ec = math.exp(a - top), math.exp(b - top), math.exp(c - top)
        total = ea + eb + ec
        true = a if y[i] == 0 else (b if y[i] == 1 else c)
        term = (math.log(total) + top - true) - lost
        grown = added + term
        lost = (grown - added) - term
        added = grown
        da = ea / total - (1.0 if y[i] == 0 else 0.0)
        db = eb / total - (1.0 if y[i] == 1 else 0.0)
        dc = ec / total - (1.0 if y[i] == 2 else 0.0)
        bias[0] += da
        bias[1] += db
        bias[2] += dc
        for j in range(filled):
            g0[j] += da * z[j]
            g1[j] += db * z[j]
            g2[j] += dc * z[j]
    loss[0], loss[1] = added, lost
