"""Compiles the parts that stepped networks share: normalisation, a matrix product, softmax.

What belongs here: loops over flat float32 arrays, addressed by where a part begins. Sums run in one order, over outputs
side by side, so that they become vector instructions without changing a bit.
"""

from __future__ import annotations

import math

import numpy as np

from ghtrader_base.numba_cache import njit


@njit(cache=True, error_model="numpy")
def normalise(rows: np.ndarray, row: int, weights: np.ndarray, out: np.ndarray, at: int) -> None:
    """Write a row, standardised and clipped; what is no number becomes 0. `weights` begins with mean, scale, clip."""
    width = rows.shape[1]
    clip = weights[2 * width]
    for j in range(width):
        x = rows[row, j]
        z = (x - weights[j]) * weights[width + j]
        z = min(max(z, -clip), clip)
        out[at + j] = z if math.isfinite(x) else np.float32(0.0)


@njit(cache=True, error_model="numpy")
def add_product(
    x: np.ndarray, x_at: int, inputs: int, weights: np.ndarray, at: int, outputs: int, y: np.ndarray, y_at: int
) -> None:
    """``y += x @ W``, W float32[inputs, outputs]; four inputs a pass, so that y is read and written less often.

    Places are unsigned: a signed one may count from an array's end, and a loop that has to ask becomes no vector
    instructions (five times as slow).
    """
    wide, four = np.uint64(outputs), np.uint64(4)
    whole = np.uint64(inputs) - np.uint64(inputs) % four
    first, given, filled = np.uint64(at), np.uint64(x_at), np.uint64(y_at)
    for i in range(np.uint64(0), whole, four):
        a, b = x[given + i], x[given + i + np.uint64(1)]
        c, d = x[given + i + np.uint64(2)], x[given + i + np.uint64(3)]
        w0 = first + i * wide
        w1, w2, w3 = w0 + wide, w0 + wide + wide, w0 + wide + wide + wide
        for o in range(wide):
            y[filled + o] += (weights[w0 + o] * a + weights[w1 + o] * b) + (weights[w2 + o] * c + weights[w3 + o] * d)
    for i in range(whole, np.uint64(inputs)):
        a = x[given + i]
        w0 = first + i * wide
        for o in range(wide):
            y[filled + o] += weights[w0 + o] * a


@njit(cache=True, error_model="numpy")
def copy_to(weights: np.ndarray, at: int, size: int, y: np.ndarray, y_at: int) -> None:
    """``y = weights``: a bias, before products are added."""
    for o in range(size):
        y[y_at + o] = weights[at + o]


@njit(cache=True, error_model="numpy")
def rectify(y: np.ndarray, at: int, size: int) -> None:
    """ReLU in place."""
    for o in range(size):
        y[at + o] = max(y[at + o], np.float32(0.0))


@njit(cache=True, error_model="numpy")
def probabilities(
    x: np.ndarray, x_at: int, inputs: int, weights: np.ndarray, at: int, out: np.ndarray, row: int
) -> None:
    """Fill ``out[row]`` with the softmax of a linear layer, W float32[inputs, 3] and then its bias; in float64."""
    bias = at + 3 * inputs
    z0, z1, z2 = np.float64(weights[bias]), np.float64(weights[bias + 1]), np.float64(weights[bias + 2])
    for i in range(inputs):
        a = np.float64(x[x_at + i])
        z0 += weights[at + 3 * i] * a
        z1 += weights[at + 3 * i + 1] * a
        z2 += weights[at + 3 * i + 2] * a
    top = max(z0, z1, z2)
    e0, e1, e2 = math.exp(z0 - top), math.exp(z1 - top), math.exp(z2 - top)
    total = e0 + e1 + e2
    out[row, 0], out[row, 1], out[row, 2] = e0 / total, e1 / total, e2 / total
