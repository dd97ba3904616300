"""Packs the books of a day for the simulation: one row after the other, what cannot be a price left out.

Pack once and keep the tape: any number of runs read it. How trades are inferred is `trade_inference`'s, where the
columns come from the caller's (`evaluation/recorded_books.py` for the lake).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.numba_cache import njit
from ghtrader_market.accounting.marks import is_price
from ghtrader_models.simulation.kernel import LEVELS, NEVER

_is_price = njit(cache=True, error_model="numpy")(is_price)


@njit(cache=True, error_model="numpy")
def _pack(
    prices: np.ndarray, lots: np.ndarray, column: int, price_tick: float, to_prices: np.ndarray, to_lots: np.ndarray
) -> None:
    """Write a side into columns from `column` on; nothing counts behind the first price that is none."""
    for row in range(prices.shape[0]):
        for level in range(prices.shape[1]):
            if not _is_price(prices[row, level], price_tick):
                break
            to_prices[row, column + level] = prices[row, level]
            to_lots[row, column + level] = min(max(lots[row, level], 0), 2_000_000_000)


@dataclass(frozen=True, kw_only=True)
class TapeTrades:
    """Trades between the rows of a tape, in order.

    Attributes
    ----------
    first : int64[n + 1]
        The trades after the row before and up to row t are those from first[t] to first[t + 1].
    price : float64[m]
        CNY.
    lots : int64[m]
        Negative where the seller took.
    """

    first: np.ndarray
    price: np.ndarray
    lots: np.ndarray

    @classmethod
    def none(cls, rows: int) -> TapeTrades:
        """Of a tape whose trades nobody knows: resting orders then fill only where the other side reaches them."""
        return cls(first=np.zeros(rows + 1, np.int64), price=np.empty(0), lots=np.empty(0, np.int64))


@dataclass(frozen=True, kw_only=True)
class TapeSessions:
    """Which session each row is of.

    Attributes
    ----------
    row : int32[n]
        Place of its session in `ends_ns`.
    ends_ns : int64[k]
        Ends of the sessions, UTC epoch ns: an order that arrives then or later is refused.
    """

    row: np.ndarray
    ends_ns: np.ndarray

    @classmethod
    def one(cls, rows: int) -> TapeSessions:
        """All rows are of one session that does not end."""
        return cls(row=np.zeros(rows, np.int32), ends_ns=np.array([NEVER], np.int64))

    @classmethod
    def between(cls, datetime_ns: np.ndarray, intervals: list[tuple[int, int]]) -> TapeSessions:
        """Of sessions [start, end) in UTC epoch ns, ascending; a row before the first one counts to it.

        Raises
        ------
        UsageError
            There is none.
        """
        if not intervals:
            raise UsageError("a day without sessions has nothing to simulate", "ask for a trading day")
        starts = np.array([start for start, _ in intervals], np.int64)
        row = np.maximum(np.searchsorted(starts, datetime_ns, side="right") - 1, 0)
        return cls(row=row.astype(np.int32), ends_ns=np.array([end for _, end in intervals], np.int64))


@dataclass(frozen=True, kw_only=True)
class BookTape:
    """The books of one contract and day, packed. Make it with `pack`.

    Attributes
    ----------
    times : int64[n]
        When each book stood at the exchange, UTC epoch ns, not descending.
    prices : float64[n, 10]
        Bid 1 to 5, ask 1 to 5, CNY; NaN where nothing is shown.
    lots : int32[n, 10]
    levels : int
        How many levels a side the source can show.
    price_tick : float
        CNY; NaN where it is not known.
    trades : TapeTrades
    sessions : TapeSessions
    marks : float64[n]
        What the contract is worth after each row, CNY (`marks.mark_path`): a price nowhere near it fills nothing.
    lower, upper : float
        The day's price limits, CNY; NaN where they are not known.
    """

    times: np.ndarray
    prices: np.ndarray
    lots: np.ndarray
    levels: int
    price_tick: float
    trades: TapeTrades
    sessions: TapeSessions
    marks: np.ndarray
    lower: float = field(default=math.nan)
    upper: float = field(default=math.nan)

    @property
    def rows(self) -> int:
        """Number of books."""
        return int(self.times.size)


def pack(
    datetime_ns: np.ndarray,
    bid: np.ndarray,
    bid_volume: np.ndarray,
    ask: np.ndarray,
    ask_volume: np.ndarray,
    price_tick: float,
    *,
    trades: TapeTrades | None = None,
    sessions: TapeSessions | None = None,
    marks: np.ndarray | None = None,
    lower: float = math.nan,
    upper: float = math.nan,
) -> BookTape:
    """Pack books of n rows and up to five levels.

    Parameters
    ----------
    datetime_ns : int64[n]
        UTC epoch ns, not descending; rows of one time are seen together, and the last of them is the book.
    bid, ask : float64[n, L]
        CNY, best first.
    bid_volume, ask_volume : int[n, L]
        Lots.
    price_tick : float
        CNY; NaN where it is not known, and then no price is judged by it.
    trades, sessions : optional
        None are known; one session.
    marks : float64[n], optional
        Not known: every price that can be one counts.
    lower, upper : float
        The day's price limits, CNY.

    Raises
    ------
    UsageError
        Times that descend, shapes that do not agree, more than five levels.
    """
    times = np.ascontiguousarray(datetime_ns, np.int64)
    rows, levels = bid.shape
    if not 1 <= levels <= LEVELS or any(side.shape != bid.shape for side in (bid_volume, ask, ask_volume)):
        shapes = ", ".join(str(side.shape) for side in (bid, bid_volume, ask, ask_volume))
        raise UsageError(f"books of shapes {shapes} do not pack", f"one to {LEVELS} levels, alike on both sides")
    if times.shape != (rows,) or (np.diff(times) < 0).any():
        raise UsageError("the times of the books are not one a row and ascending", "sort the rows by their time")
    trades, sessions = trades or TapeTrades.none(rows), sessions or TapeSessions.one(rows)
    if trades.first.shape != (rows + 1,) or sessions.row.shape != (rows,):
        raise UsageError("trades and sessions are not of the tape's rows", "infer them from the same rows")
    marks = np.full(rows, np.nan) if marks is None else np.ascontiguousarray(marks, np.float64)
    if marks.shape != (rows,):
        raise UsageError(f"{marks.size} marks for {rows} rows", "one a row")
    prices, lots = np.full((rows, 2 * LEVELS), np.nan), np.zeros((rows, 2 * LEVELS), np.int32)
    for column, side, volume in ((0, bid, bid_volume), (LEVELS, ask, ask_volume)):
        side, volume = np.ascontiguousarray(side, np.float64), np.ascontiguousarray(volume, np.int64)
        _pack(side, volume, column, float(price_tick), prices, lots)
    return BookTape(
        times=times, prices=prices, lots=lots, levels=levels, price_tick=float(price_tick), trades=trades,
        sessions=sessions, marks=marks, lower=lower, upper=upper,
    )  # fmt: skip
