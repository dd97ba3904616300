"""Computes labels, compiled: one pass a horizon over one stretch of ticks that belong together.

What belongs here: arithmetic on arrays of one contract and day. Which stretches there are, what the numbers of a spec
mean and which costs apply is decided in `labels`. Prices arrive as whole numbers in float64 (half-ticks for the mid,
ticks for quotes), so every comparison of a price with a price is exact.
"""

from __future__ import annotations

import numpy as np

from ghtrader_base.numba_cache import njit

_NONE = np.int8(-1)


@njit(cache=True, error_model="numpy", nogil=True)
def mid_move(half: np.ndarray, horizon: int, threshold: float, out: np.ndarray) -> None:
    """``half[t + horizon] - half[t]`` against +-`threshold`, all in half-ticks.

    Parameters
    ----------
    half : float64[n]
        Mid in half-ticks, whole numbers; NaN where unknown.
    horizon : int
        Rows ahead.
    threshold : float
        Half-ticks.
    out : int8[n]
        Filled.
    """
    n = half.size
    for t in range(max(0, n - horizon)):
        move = half[t + horizon] - half[t]
        # without branches it becomes vector instructions; an unknown move is neither up nor down, and 1 - 2 = -1
        side = np.int8(1) + np.int8(move >= threshold) - np.int8(move <= -threshold)
        out[t] = side - np.int8(2) * np.int8(move != move)
    for t in range(max(0, n - horizon), n):
        out[t] = _NONE


@njit(cache=True, error_model="numpy", nogil=True)
def running_sums(half: np.ndarray, total: np.ndarray, unknown: np.ndarray) -> None:
    """Sums and numbers of unknown values of the rows before each place: int64[n + 1] both, filled.

    `half` is float64[n], whole numbers or NaN: sums of whole numbers, so no running mean drifts.
    """
    total[0] = unknown[0] = 0
    for t in range(half.size):
        known = half[t] == half[t]
        total[t + 1] = total[t] + (np.int64(half[t]) if known else 0)
        unknown[t + 1] = unknown[t] + (0 if known else 1)


@njit(cache=True, error_model="numpy", nogil=True)
def smoothed(
    total: np.ndarray, unknown: np.ndarray, horizon: int, threshold: float, past: int, out: np.ndarray
) -> None:
    """Mean of the next `horizon` mids less the mean of the last `past` (the present one among them).

    No label where a mid of either window is unknown.

    Parameters
    ----------
    total, unknown : int64[n + 1]
        Of `running_sums`.
    horizon, past : int
        Rows of the two windows; `past` is 1 or `horizon`.
    threshold : float
        Half-ticks.
    out : int8[n]
        Filled.
    """
    n = out.size
    out[:] = _NONE
    scale = horizon // past  # the past sum counts so often that both sums are over `horizon` rows
    limit = threshold * horizon
    for t in range(past - 1, n - horizon):
        first, now, last = t + 1 - past, t + 1, t + 1 + horizon
        move = (total[last] - total[now]) - scale * (total[now] - total[first])
        gap = unknown[last] != unknown[first]
        out[t] = _NONE if gap else np.int8(1) + np.int8(move >= limit) - np.int8(move <= -limit)


@njit(cache=True, error_model="numpy", nogil=True)
def cost_aware(
    bid: np.ndarray,
    ask: np.ndarray,
    horizon: int,
    threshold: float,
    open_ratio: float,
    close_ratio: float,
    fixed: float,
    out: np.ndarray,
) -> None:
    """What a round trip at the touch would leave after fees: UP bought now, DOWN sold now, FLAT neither.

    Parameters
    ----------
    bid, ask : float64[n]
        Best quotes in ticks, whole numbers; NaN where a side is empty.
    horizon : int
        Rows until the position is closed.
    threshold : float
        Ticks that must be left, and strictly exceeded.
    open_ratio, close_ratio : float
        Fees by notional.
    fixed : float
        Fees by lot of opening and closing together, in ticks a lot.
    out : int8[n]
        Filled.
    """
    n = bid.size
    least = threshold + fixed + 1e-9  # a trip that ends exactly even earns nothing, whatever the last bit says
    for t in range(max(0, n - horizon)):
        b, a, later_bid, later_ask = bid[t], ask[t], bid[t + horizon], ask[t + horizon]
        bought = (later_bid - a) - (open_ratio * a + close_ratio * later_bid)
        sold = (b - later_ask) - (open_ratio * b + close_ratio * later_ask)
        gap = (bought != bought) | (sold != sold)
        side = np.int8(1) + np.int8(bought > least) - np.int8(sold > least)  # both in a crossed book: neither
        out[t] = _NONE if gap else side
    for t in range(max(0, n - horizon), n):
        out[t] = _NONE
