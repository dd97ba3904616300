"""Computes fees and PnL of fills: of a whole run, by contract, fill by fill, and along a path of mids. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.round_trips import round_trips


class RunTotals:
    """Cash and position of a run, fill by fill; what `profit` computes over all of them, at no cost for each look.

    Parameters
    ----------
    multiplier : float
        Units a lot, the same for every contract of the variety.
    """

    def __init__(self, multiplier: float) -> None:
        self._multiplier = multiplier
        self._moved: dict[str, int] = {}
        self._last: dict[str, float] = {}
        self._unvalued: dict[str, int] = {}
        self._cash = self.fees = 0.0

    def carry_in(self, symbol: str, lots: int, mark: float) -> None:
        """Count net lots that are held at the start, valued at their mark, CNY."""
        self._moved[symbol] = self._moved.get(symbol, 0) + lots
        self._last[symbol] = mark
        self._cash -= lots * mark * self._multiplier

    def hold(self, symbol: str, lots: int) -> None:
        """Note net lots that are held at the start without a mark: they count no PnL, nor does what closes them."""
        self._unvalued[symbol] = lots

    def add(self, fill: Fill) -> None:
        """Count one fill; a fee that is not known counts as none."""
        counted = _counted(fill, self._unvalued)
        self._moved[fill.symbol] = self._moved.get(fill.symbol, 0) + counted
        self._last[fill.symbol] = fill.price
        self._cash -= counted * fill.price * self._multiplier
        self.fees += fill.paid

    def net(self, marks: Mapping[str, float]) -> float:
        """CNY after fees, what was bought or sold of a contract since at its mark, or its last fill without one."""
        held = sum(lots * _value(marks, symbol, self._last[symbol]) for symbol, lots in self._moved.items() if lots)
        return self._cash + held * self._multiplier - self.fees


def _counted(fill: Fill, unvalued: dict[str, int]) -> int:
    """Lots of a fill that earn, signed: not those that close lots of which nobody knows what they were worth at the
    start. `unvalued`: net lots of these by symbol; updated."""
    before = unvalued.get(fill.symbol, 0)
    if before * fill.signed >= 0:
        return fill.signed
    closed = min(fill.volume, abs(before))
    direction = 1 if before > 0 else -1
    unvalued[fill.symbol] = before - direction * closed
    return fill.signed + direction * closed


def _value(marks: Mapping[str, float], symbol: str, otherwise: float) -> float:
    """The mark of a contract, or another price where it has none."""
    mark = marks.get(symbol, math.nan)
    return mark if math.isfinite(mark) else otherwise


_NO_MARKS: Mapping[str, float] = MappingProxyType({})


def by_contract(
    fills: Sequence[Fill],
    multipliers: Mapping[str, int],
    marks: Mapping[str, float],
    opening: Mapping[str, int],
    opening_marks: Mapping[str, float] = _NO_MARKS,
) -> dict[str, dict[str, float]]:
    """`profit` and the number of fills and round trips of each contract apart; arguments as there."""
    found: dict[str, dict[str, float]] = {}
    for symbol in sorted({fill.symbol for fill in fills} | set(opening_marks)):
        own, held = [fill for fill in fills if fill.symbol == symbol], {symbol: opening.get(symbol, 0)}
        since = {symbol: opening_marks[symbol]} if symbol in opening_marks else _NO_MARKS
        money = {name: round(value, 6) for name, value in profit(own, multipliers, marks, held, since).items()}
        found[symbol] = {"fills": len(own), "round_trips": round_trips(own, multipliers, held).count, **money}
    return found


def profit(
    fills: Sequence[Fill],
    multipliers: Mapping[str, int],
    marks: Mapping[str, float],
    opening: Mapping[str, int],
    opening_marks: Mapping[str, float] = _NO_MARKS,
) -> dict[str, float]:
    """Cash from fills plus what is held at its mark, against what was held at the start.

    Parameters
    ----------
    fills : sequence of Fill
        A fee that is not known counts as none.
    multipliers, marks : mapping
        Units a lot and mark of each symbol (`marks`); a position without a mark is valued at its last fill.
    opening : mapping
        Net lots before the first fill. Without an opening mark they count no PnL, neither while they are held nor
        once they are closed: a market that moves on earns and costs nothing on lots that are gone.
    opening_marks : mapping, optional
        What lots held at the start were valued at then, CNY: they earn from there on.

    Returns
    -------
    dict
        gross_pnl, fees, net_pnl in CNY.
    """
    cash = fees = 0.0
    moved = {symbol: opening.get(symbol, 0) for symbol in opening_marks}
    unvalued = {symbol: lots for symbol, lots in opening.items() if symbol not in opening_marks}
    last = dict(opening_marks)
    for symbol, mark in opening_marks.items():
        cash -= moved[symbol] * mark * multipliers[symbol]
    for fill in fills:
        counted = _counted(fill, unvalued)
        cash -= counted * fill.price * multipliers[fill.symbol]
        fees += fill.paid
        moved[fill.symbol] = moved.get(fill.symbol, 0) + counted
        last[fill.symbol] = fill.price
    held = sum(
        lots * multipliers[symbol] * _value(marks, symbol, last[symbol]) for symbol, lots in moved.items() if lots
    )
    return {"gross_pnl": cash + held, "fees": fees, "net_pnl": cash + held - fees}


def equity_curve(
    fills: Sequence[Fill],
    datetime_ns: np.ndarray,
    marks: np.ndarray,
    multiplier: int,
    opening: int = 0,
    opening_mark: float = math.nan,
) -> tuple[np.ndarray, float]:
    """Net PnL along a path of marks.

    Parameters
    ----------
    fills : sequence of Fill
        In time order, with their fees; all on one contract or on contracts between which no position is held.
    datetime_ns : int64[n]
        Times of the path, ascending.
    marks : float64[n]
        CNY (`marks.mark_path`); where NaN the last known one counts, and before that the last fill.
    multiplier : int
        Units of the product a lot.
    opening, opening_mark : int, float
        Net lots held before the first fill, and what they were valued at then, CNY.

    Returns
    -------
    equity : float64[n]
        Net PnL in CNY since the start at each time of the path.
    net : float
        After the last fill, an open position at the last mark; at the last fill's price where there is none.
    """
    times = np.array([fill.market_ns for fill in fills], np.int64)
    signed = np.array([fill.signed for fill in fills], np.int64)
    prices = np.array([fill.price for fill in fills], np.float64)
    fees = np.array([fill.paid for fill in fills], np.float64)
    path = forward_fill(np.concatenate([[opening_mark], marks]))
    after = np.searchsorted(times, datetime_ns, side="right")
    paid = -opening * opening_mark * multiplier if opening else 0.0
    cash = np.concatenate([[0.0], np.cumsum(-signed * prices * multiplier - fees)]) + paid
    held = np.concatenate([[opening], opening + np.cumsum(signed)])
    traded = np.concatenate([[opening_mark], prices])
    position = held[after]
    value = np.where(np.isfinite(path[1:]), path[1:], traded[after])
    equity = cash[after] + np.where(position == 0, 0.0, position * value * multiplier)
    last_mark = path[-1] if np.isfinite(path[-1]) else traded[-1]
    return equity, float(cash[-1] + (held[-1] * last_mark * multiplier if held[-1] else 0.0))


def max_drawdown(equity: np.ndarray) -> float:
    """Largest fall from an earlier high, not negative, in the unit of float64[n] `equity`; the start is a high of 0."""
    path = np.concatenate([[0.0], equity])
    return float((np.maximum.accumulate(path) - path).max())


def forward_fill(values: np.ndarray) -> np.ndarray:
    """float64[n] with each NaN replaced by the last number before it; NaN before the first."""
    if values.size == 0:
        return values.astype(np.float64)
    index = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.size), 0))
    return values[index]
