"""The compiled copy of many windows into one batch, normalised on the way.

What belongs here: one pass over memory, nothing else. Which windows a batch holds is `windows`' business.
"""

from __future__ import annotations

import numpy as np

from ghtrader_base.compiled import njit


@njit(cache=True, error_model="numpy", nogil=True)
def gather(
    rows: np.ndarray,
    first: np.ndarray,
    places: np.ndarray,
    length: int,
    mean: np.ndarray,
    scale: np.ndarray,
    clip: np.float32,
    out: np.ndarray,
) -> None:
    """Fill ``out[places[i]]`` with the normalised rows ``first[i]`` to ``first[i] + length`` of one day.

    Parameters
    ----------
    rows : float32[n, F]
        A day's factors.
    first, places : int64[k]
        First row of each window, and where in the batch it goes.
    length : int
        Rows a window.
    mean, scale : float32[F]
        A value becomes ``(x - mean) * scale``, held within +-`clip`; an unknown one 0, the mean.
    clip : float32
    out : float32[B, length, F]
        The batch.
    """
    low, zero = -clip, np.float32(0.0)
    for i in range(first.size):
        place, start = places[i], first[i]
        for t in range(length):
            for f in range(rows.shape[1]):
                z = (rows[start + t, f] - mean[f]) * scale[f]
                held = low if z < low else (clip if z > clip else z)
                out[place, t, f] = held if held == held else zero
