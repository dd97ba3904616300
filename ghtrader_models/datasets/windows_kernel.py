"""Copies many windows into one batch, normalised on the way; compiled.

What belongs here: one pass over memory, nothing else. Which windows a batch holds is decided in `windows`.
"""

from __future__ import annotations

import numpy as np

from ghtrader_base.numba_cache import njit


@njit(cache=True, error_model="numpy", nogil=True)
def gather(
    rows: np.ndarray,
    first: np.ndarray,
    places: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    clip: np.float32,
    out: np.ndarray,
) -> None:
    """Fill ``out[places[i]]`` with the normalised window of one day that begins at row ``first[i]``.

    A window is one stretch of memory, and is taken as such: one long loop without branches, which becomes vector
    instructions whatever the number of factors.

    Parameters
    ----------
    rows : float32[n, F]
        A day's factors, C-contiguous.
    first, places : int64[k]
        First row of each window, and where in the batch it goes.
    mean, scale : float32[length * F]
        Of each value of a window: it becomes ``(x - mean) * scale``, held within +-`clip`; one that is not
        finite 0.
    clip : float32
    out : float32[B, length * F]
        The batch.
    """
    flat, width, low, zero = rows.reshape(-1), rows.shape[1], -clip, np.float32(0.0)
    for i in range(first.size):
        target = out[places[i]]
        source = flat[first[i] * width : first[i] * width + target.size]
        for k in range(target.size):
            x = source[k]
            z = (x - mean[k]) * scale[k]
            z = low if z < low else z
            z = clip if z > clip else z
            target[k] = z if x - x == zero else zero
