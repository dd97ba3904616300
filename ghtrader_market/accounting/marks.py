"""Decides which price marks a position: the one rule for paper, replay, benchmark, loss limits and reports. Pure.

A price that is missing or nonsense never values anything: absent (NaN), zero or negative, DBL_MAX, off the price grid,
beyond the day's limits, or nowhere near the last mark. What is left decides:

1. both sides of the book: the mid;
2. one side: half a price tick inside of it, the mid of the narrowest book that side allows, and never beyond the day's
   limits. A market that falls with nobody bidding is marked down with it;
3. no side: the last price;
4. nothing: the mark before, and NaN where there never was one.

The first mark of a contract has none before it to be near to: bid and ask are to be near each other, or the last price
says which of them counts; a row that contradicts itself marks nothing.

What a position is worth at its mark is `pnl.py`.
"""

from __future__ import annotations

import math

import numpy as np

GRID = 1e-6
"""How far from a multiple of half the price tick a price may lie, in half ticks, however high it is: what floats need.
Halves pass: sources quote averages; orders are held to whole ticks by `risk_rules.PriceCollar`."""
NEAR = 0.5
"""Largest distance from the last mark, as a part of it: wider than any exchange's limits of a day."""


# compiled elsewhere: `evaluation/order_simulation.py` compiles this very function
def is_price(
    price: float,
    price_tick: float = math.nan,
    lower: float = math.nan,
    upper: float = math.nan,
    mark: float = math.nan,
) -> bool:
    """Whether a number can be a price: what cannot values nothing, and nothing is filled at it.

    Parameters
    ----------
    price : float
        CNY, as a source told it.
    price_tick, lower, upper : float
        Price grid and the day's limits, CNY; NaN where unknown, and then nothing is judged by them.
    mark : float
        What the contract was valued at last, CNY; NaN where it was not. A price nowhere near it is none.
    """
    if not 0.0 < price < 1e300:  # NaN is neither
        return False
    if price < lower or price > upper or abs(price - mark) > NEAR * mark:
        return False
    steps = 2.0 * price / price_tick
    beyond = steps % 1.0
    return steps != steps or min(beyond, 1.0 - beyond) <= GRID


def mark_price(
    bid: float,
    ask: float,
    last: float,
    previous: float,
    price_tick: float = math.nan,
    lower: float = math.nan,
    upper: float = math.nan,
    inside: float = math.nan,
) -> float:
    """The price that marks a position now, CNY.

    Parameters
    ----------
    bid, ask, last : float
        Best quotes and last price as they came.
    previous : float
        The mark before; NaN where there is none.
    price_tick, lower, upper : float
        See `is_price`.
    inside : float
        How far inside of a book's only side its mid lies, CNY; half a price tick where it is not given.
    """
    if previous != previous:
        near, doubtful = _first_mark(bid, ask, last, price_tick, lower, upper)
        if doubtful:
            return math.nan
    else:
        near = previous
    has_bid = is_price(bid, price_tick, lower, upper, near)
    has_ask = is_price(ask, price_tick, lower, upper, near)
    if has_bid and has_ask and bid <= ask:
        return (bid + ask) / 2
    if has_bid != has_ask:
        if inside != inside:
            inside = price_tick / 2 if price_tick > 0 else 0.0
        alone = bid + inside if has_bid else ask - inside
        if alone > upper:  # locked at its limit: nothing trades beyond
            return upper
        return lower if alone < lower else alone
    if is_price(last, price_tick, lower, upper, previous):
        return last
    return previous


def _first_mark(
    bid: float, ask: float, last: float, price_tick: float, lower: float, upper: float
) -> tuple[float, bool]:
    """What prices are to be near to while a contract has no mark, NaN for nothing; and whether the row contradicts
    itself, and so marks nothing: all later prices would be judged by a mark that is nonsense."""
    sides = [side for side in (bid, ask) if is_price(side, price_tick, lower, upper)]
    if len(sides) == 2 and is_price(max(sides), mark=min(sides)):
        return math.nan, False
    if is_price(last, price_tick, lower, upper):
        return last, bool(sides) and not any(is_price(side, mark=last) for side in sides)
    return math.nan, len(sides) == 2


def mark_path(
    bid: np.ndarray,
    ask: np.ndarray,
    last: np.ndarray | None = None,
    price_tick: float = math.nan,
    previous: float = math.nan,
) -> np.ndarray:
    """`mark_price` row by row over a recorded day, whose limits nobody kept.

    Parameters
    ----------
    bid, ask, last : float64[n]
        As they came; without `last` a row without a book keeps the mark before.
    price_tick : float
        CNY; where it is not known, the narrowest spread of the path stands for it on a one-sided book.
    previous : float
        The mark before the first row; NaN where there is none.

    Returns
    -------
    float64[n]
        CNY; NaN before the first price.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        spread = ask - bid
        mids: np.ndarray = (bid + ask) / 2
        steps = 2.0 * np.stack([bid, ask]) / price_tick
        before = np.concatenate([[previous], mids[:-1]])
        usual = (bid > 0) & (ask < 1e300) & (spread >= 0)
        usual &= ~(np.abs(steps - np.rint(steps)) > GRID).any(axis=0)
        usual &= ~((np.abs(bid - before) > NEAR * before) | (np.abs(ask - before) > NEAR * before))
        if bid.size and math.isnan(previous):
            first = float(last[0]) if last is not None else math.nan
            usual[0] &= mark_price(float(bid[0]), float(ask[0]), first, previous, price_tick) == mids[0]
        narrowest = spread[(spread > 0) & usual]
    if usual.all():  # nearly every day: no row wants to be judged by itself
        return mids
    inside = price_tick / 2 if price_tick > 0 else float(narrowest.min()) / 2 if narrowest.size else 0.0
    lasts = last.tolist() if last is not None else [math.nan] * bid.size
    marks = np.empty(bid.size)
    for row, quotes in enumerate(zip(bid.tolist(), ask.tolist(), lasts, strict=True)):
        previous = mark_price(*quotes, previous, price_tick, inside=inside)
        marks[row] = previous
    return marks
