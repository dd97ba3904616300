"""Books for tests of the simulation: random ones of several kinds, and a plain way to write a few rows down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghtrader_market.reference.closing_rules import ClosingRule
from ghtrader_market.reference.varieties import FeeRates
from ghtrader_models.evaluation.order_simulation import Depth
from ghtrader_models.simulation.book_tape import BookTape, TapeTrades, pack
from ghtrader_models.simulation.simulate import ContractTerms

TICK = 10.0
RATES = FeeRates(
    open_ratio=5e-5, open_lot=1.5, close_ratio=4e-5, close_lot=0.5, close_today_ratio=1e-4, close_today_lot=2.0
)
FREE = ContractTerms(rates=FeeRates(), multiplier=5, rule=ClosingRule.BY_OFFSET)
CHARGED = ContractTerms(rates=RATES, multiplier=5, rule=ClosingRule.BY_OFFSET)
STYLES = ("tight", "wide", "gapped", "fast")


def random_depth(
    seed: int, rows: int, style: str = "tight", least: int = 1, most: int = 9, levels: int = 5
) -> tuple[np.ndarray, Depth]:
    """Times and books: a spread of one tick or several, levels that lie apart, or prices that jump with each row.

    With fewer than five `levels` there is nothing behind the last one.
    """
    rng = np.random.default_rng(seed)
    chance = 0.9 if style == "fast" else 0.25
    size = 4 if style == "fast" else 1
    mid = 7000 + np.cumsum(rng.integers(-size, size + 1, rows) * (rng.random(rows) < chance))
    spread = rng.integers(2, 8, rows) if style == "wide" else np.ones(rows, np.int64)
    apart = rng.integers(1, 4 if style == "gapped" else 2, (2, rows, 4))
    offsets = np.concatenate([np.zeros((2, rows, 1), np.int64), np.cumsum(apart, axis=2)], axis=2)
    bid, ask = (mid[:, None] - offsets[0]) * TICK, (mid[:, None] + spread[:, None] + offsets[1]) * TICK
    volumes = rng.integers(least, most + 1, (2, rows, 5))
    bid, ask = bid.astype(float), ask.astype(float)
    bid[:, levels:], ask[:, levels:] = np.nan, np.nan
    gaps = rng.integers(1, 20, rows) if style == "fast" else rng.choice([250, 500, 500, 500, 1000], rows)
    times = 1_700_000_000_000_000_000 + np.cumsum(gaps) * 1_000_000
    return times, Depth(bid, volumes[0], ask, volumes[1])


def random_trades(seed: int, depth: Depth) -> TapeTrades:
    """Up to three trades a row, at the best prices of the row before, one level deeper or one better."""
    rng = np.random.default_rng(seed)
    rows = depth.bid.shape[0]
    first, price, lots = [0, 0], [], []
    for row in range(1, rows):
        for _ in range(rng.integers(0, 4)):
            buys = rng.random() < 0.5
            best = depth.ask[row - 1, 0] if buys else depth.bid[row - 1, 0]
            price.append(best + TICK * rng.choice([0, 0, 0, 1, -1]))
            lots.append(int(rng.integers(1, 8)) * (1 if buys else -1))
        first.append(len(price))
    return TapeTrades(first=np.array(first, np.int64), price=np.array(price, float), lots=np.array(lots, np.int64))


def tape_of(times: np.ndarray, depth: Depth, trades: TapeTrades | None = None, tick: float = TICK) -> BookTape:
    """The books packed."""
    return pack(times, depth.bid, depth.bid_volume, depth.ask, depth.ask_volume, tick, trades=trades)


Level = tuple[float, int]


def written(
    books: Sequence[tuple[Sequence[Level], Sequence[Level]]],
    times: Sequence[int] | None = None,
    trades: Sequence[Sequence[Level]] | None = None,
    **more: object,
) -> BookTape:
    """A tape of books written as (bids, asks), each a list of (price, lots); trades of a row as (price, lots)."""
    rows = len(books)
    prices, lots = np.full((2, rows, 5), np.nan), np.zeros((2, rows, 5), np.int64)
    for row, book in enumerate(books):
        for side, levels in enumerate(book):
            for level, (price, volume) in enumerate(levels):
                prices[side, row, level], lots[side, row, level] = price, volume
    found = None
    if trades is not None:
        flat = [trade for of_row in trades for trade in of_row]
        first = np.cumsum([0, *(len(of_row) for of_row in trades)])
        found = TapeTrades(
            first=first.astype(np.int64), price=np.array([price for price, _ in flat], float),
            lots=np.array([volume for _, volume in flat], np.int64),
        )  # fmt: skip
    at = np.array(times if times is not None else range(1000, 1000 * (rows + 1), 1000), np.int64)
    return pack(at, prices[0], lots[0], prices[1], lots[1], TICK, trades=found, **more)  # type: ignore[arg-type]
