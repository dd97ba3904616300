"""Applies a bundle's calibration to class probabilities: one compiled loop for a row and for many.

What belongs here: the arithmetic. Where its numbers come from is `evaluation.calibration_fit`'s business.
"""

from __future__ import annotations

import math

import numpy as np

from ghtrader_base.numba_cache import njit
from ghtrader_models.calibration import Calibration

_TINY = 1e-300
"""Least probability whose logarithm is taken: a class that a model excludes stays excluded."""


@njit(cache=True, error_model="numpy")
def _calibrate(p: np.ndarray, slope: float, down: float, flat: float, up: float) -> None:
    """Softmax of slope * ln p + offset in place; p float64[n, 3], NaN stays NaN."""
    for i in range(p.shape[0]):
        z0 = slope * math.log(_TINY if p[i, 0] < _TINY else p[i, 0]) + down
        z1 = slope * math.log(_TINY if p[i, 1] < _TINY else p[i, 1]) + flat
        z2 = slope * math.log(_TINY if p[i, 2] < _TINY else p[i, 2]) + up
        top = max(z0, z1, z2)
        e0 = math.exp(z0 - top)
        e1 = math.exp(z1 - top)
        e2 = math.exp(z2 - top)
        total = e0 + e1 + e2
        p[i, 0] = e0 / total
        p[i, 1] = e1 / total
        p[i, 2] = e2 / total


def calibrate(p: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Calibrate in place: C-contiguous float64[n, 3], a row that is NaN stays so; returns `p`."""
    _calibrate(p, calibration.slope, *calibration.offsets)
    return p
