"""Infers what traded between two snapshots: price, lots and side, from volume and turnover.

A snapshot tells how many lots were traded since the one before, and for how much, not at which prices or who took. What
is assumed, in this order:

1. The mean price is turnover by volume and multiplier. Where turnover is missing or impossible it is the last price.
2. Where the mean lies between the bid and the ask of the book before (the usual case: what trades takes the best
   price), the lots are split between these two, so that volume and turnover come out: ``buys = lots x (mean - bid) /
   (ask - bid)``, rounded to lots. Lots at the ask were bought, at the bid sold.
3. Where it lies beyond them, they traded at the two prices of the grid around the mean, split in the same way; all of
   them were bought where the mean is above the ask, and sold where it is below the bid.
4. Where the book before has one side or none, the two prices around the mean stand for it, and the side is that of the
   mean against the book after it: at or above its ask bought, else sold.

What this cannot know: trades inside a wide spread, several levels swept in both directions, and which of the lots came
first; sales are put before purchases. Against the simulated exchange, which knows, 97.5 % of the lots have the right
side and 95 % the right side and price (half-second snapshots of `driver` and `none`); the real market's spread is wider
at times, so expect less there.
"""

from __future__ import annotations

import numpy as np

from ghtrader_base.numba_cache import njit
from ghtrader_models.simulation.book_tape import TapeTrades


@njit(cache=True, error_model="numpy")
def _infer(
    bid: np.ndarray,
    ask: np.ndarray,
    last: np.ndarray,
    volume: np.ndarray,
    turnover: np.ndarray,
    multiplier: float,
    price_tick: float,
    first: np.ndarray,
    price: np.ndarray,
    lots: np.ndarray,
) -> int:
    """Write the trades of all rows; how many there are. `price` and `lots` have room for two a row."""
    count = 0
    first[0] = first[1] = 0
    for t in range(1, bid.size):
        traded = volume[t] - volume[t - 1]
        if traded > 0:
            mean = (turnover[t] - turnover[t - 1]) / (traded * multiplier)
            if not (mean > 0.5 * last[t] and mean < 2.0 * last[t]):
                mean = last[t]
            low, high = bid[t - 1], ask[t - 1]
            near = 1e-6 * mean
            sides = 0  # low sold, high bought
            if not (low > 0.0 and high > 0.0 and high < 1e300 and high > low):
                sides = 1 if mean >= ask[t] - near else -1
            elif mean > high + near:
                sides = 1
            elif mean < low - near:
                sides = -1
            if sides != 0:
                low = np.floor(mean / price_tick + 1e-6) * price_tick
                high = low + price_tick
            upper = int(np.floor(traded * (mean - low) / (high - low) + 0.5)) if mean == mean else 0
            upper = min(max(upper, 0), traded)
            if mean == mean:
                if traded - upper > 0:
                    price[count], lots[count] = low, (traded - upper) * (1 if sides > 0 else -1)
                    count += 1
                if upper > 0:
                    price[count], lots[count] = high, upper * (-1 if sides < 0 else 1)
                    count += 1
        first[t + 1] = count
    return count


def infer_trades(
    bid: np.ndarray,
    ask: np.ndarray,
    last: np.ndarray,
    volume: np.ndarray,
    turnover: np.ndarray,
    multiplier: int,
    price_tick: float,
) -> TapeTrades:
    """Trades between the rows of a day, by the assumptions above; before the first row nothing is known.

    Parameters
    ----------
    bid, ask, last : float64[n]
        Best quotes and last price of the rows, CNY; NaN where absent.
    volume : int64[n]
        Lots traded since the day began; a row that has fewer than the one before counts as none.
    turnover : float64[n]
        CNY since the day began.
    multiplier : int
        Units a lot.
    price_tick : float
        CNY.
    """
    rows = bid.size
    first, price, lots = np.zeros(rows + 1, np.int64), np.empty(2 * rows), np.empty(2 * rows, np.int64)
    bid, ask, last = (np.ascontiguousarray(column, np.float64) for column in (bid, ask, last))
    volume, turnover = np.ascontiguousarray(volume, np.int64), np.ascontiguousarray(turnover, np.float64)
    count = 0
    if rows:
        count = _infer(bid, ask, last, volume, turnover, float(multiplier), float(price_tick), first, price, lots)
    return TapeTrades(first=first, price=price[:count].copy(), lots=lots[:count].copy())
