"""Merges windows: a window's value is made from two shorter windows that touch, never slid.

What belongs here: which ops a windowed quantity becomes. The arithmetic of each op is in `kernel`.

The rule, which keeps running values from drifting: a window of ``w`` ticks is a newer part and an older part (`split`),
each a window of the same expression at an earlier or the present tick. Sums add, extremes compare, moments merge by
Chan, Golub and LeVeque (1983) and Pebay (2008) about means that are kept as distances from the present value. Nothing
that left the window was ever in what is computed for it, so no error outlives its window, whatever the number of ticks
and however far the level moved; rounding grows with the logarithm of the window. The parts depend on ``w`` alone and
are shared by every window of the expression, in every set, so a factor has the same bits in any set. A value that is
not finite makes NaN exactly the windows that hold it.

A window of wall-clock time counts its ticks and merges windows of 1, 2, 4, ... ticks that tile it, newest first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from ghtrader_models.factors.compiler import kernel as k
from ghtrader_models.factors.language.expressions import CLOCK_RATE

Chain = Callable[["Builder", int, int], int]
"""(builder, op, window) -> op: some quantity of an op's values over a window of ticks."""


def split(window: int) -> tuple[int, int]:
    """Lengths of the newer and the older part of a window: few parts over all usual windows, all shared.

    Examples
    --------
    >>> [split(w) for w in (2, 600, 75, 25, 7)]
    [(1, 1), (300, 300), (25, 50), (5, 20), (1, 6)]
    """
    for factor in (2, 3, 5):
        if window % factor == 0:
            return window // factor, window - window // factor
    return 1, window - 1


class Row(NamedTuple):
    """An op before its buffer is laid out."""

    code: int
    operands: tuple[int, ...]
    i: int
    j: int
    state: int
    reads: tuple[int, ...]
    """Ops that must come first: the operands and those in its table."""


class Builder:
    """Collects ops, equal ones once, and how far back each is read."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.params: list[tuple[float, float]] = []
        self.history: list[int] = []
        self.carry: list[float] = []
        self.tables: list[int] = []
        self._known: dict[tuple[object, ...], int] = {}
        self._table_at: dict[tuple[int, ...], int] = {}
        self.chains: dict[tuple[object, ...], int] = {}
        """Chains that are there, by what was asked (`_once`)."""

    def op(
        self,
        code: int,
        *operands: int,
        i: int = 0,
        j: int = 0,
        p: float = 0.0,
        q: float = 0.0,
        state: tuple[float, ...] = (),
        rungs: tuple[int, ...] = (),
    ) -> int:
        """An op's number; a new op only where no equal one is there yet."""
        key = (code, operands, i, j, repr(p), repr(q))
        if key not in self._known:
            self._known[key] = len(self.rows)
            self.rows.append(Row(code, operands, i, j, len(self.carry), (*operands, *rungs)))
            self.params.append((float(p), float(q)))
            self.history.append(0)
            self.carry.extend(state)
        return self._known[key]

    def back(self, op: int, ticks: int) -> int:
        """The same op, which is read so many ticks back."""
        self.history[op] = max(self.history[op], ticks)
        return op

    def table(self, ops: tuple[int, ...]) -> int:
        """Where a list of ops lies among the tables."""
        if ops not in self._table_at:
            self._table_at[ops] = len(self.tables)
            self.tables.extend(ops)
        return self._table_at[ops]

    def const(self, value: float) -> int:
        """The op of a number."""
        return self.op(k.CONST, p=value)

    def zero_of(self, *ops: int) -> int:
        """0, and NaN where one of some finite-or-NaN ops is."""
        zeros = [self.op(k.SUB, op, op) for op in ops]
        return zeros[0] if len(zeros) == 1 else self.op(k.ADD, *zeros)


def finite(b: Builder, x: int) -> int:
    """Values that are not finite turned to NaN: the foot of every chain."""
    return x if b.rows[x].code == k.FINITE else b.op(k.FINITE, x)


def _once(chain: Callable[..., int]) -> Callable[..., int]:
    """Go down a chain once a builder: windows share most of their parts, and walking them again and again takes
    seconds for a large set."""

    @wraps(chain)
    def found(b: Builder, *asked: Any) -> int:
        key = (chain, *asked)
        if key not in b.chains:
            b.chains[key] = chain(b, *asked)
        return b.chains[key]

    return found


def _pair(b: Builder, code: int, chain: Chain, x: int, window: int) -> int:
    newer, older = split(window)
    return b.op(code, chain(b, x, newer), b.back(chain(b, x, older), newer), i=newer)


@_once
def total(b: Builder, x: int, window: int) -> int:
    """Sum."""
    return finite(b, x) if window == 1 else _pair(b, k.PAIR_SUM, total, x, window)


@_once
def largest(b: Builder, x: int, window: int) -> int:
    """Maximum."""
    return finite(b, x) if window == 1 else _pair(b, k.PAIR_MAX, largest, x, window)


@_once
def smallest(b: Builder, x: int, window: int) -> int:
    """Minimum."""
    return finite(b, x) if window == 1 else _pair(b, k.PAIR_MIN, smallest, x, window)


@_once
def age_of_extreme(b: Builder, x: int, window: int, sign: float) -> int:
    """Ticks since the maximum (sign 1) or minimum (-1), of equals the latest."""
    if window == 1:
        return b.zero_of(finite(b, x))
    chain = largest if sign > 0 else smallest
    newer, older = split(window)
    ends = chain(b, x, newer), b.back(chain(b, x, older), newer)
    ages = age_of_extreme(b, x, newer, sign), b.back(age_of_extreme(b, x, older, sign), newer)
    return b.op(k.PAIR_AGE, *ends, *ages, i=newer, p=sign)


@_once
def gap(b: Builder, x: int, window: int) -> int:
    """Mean of the window's older part less that of the newer."""
    newer, older = split(window)
    x = b.back(finite(b, x), newer)
    return b.op(k.PAIR_GAP, centre(b, x, newer), b.back(centre(b, x, older), newer), x, i=newer)


@_once
def centre(b: Builder, x: int, window: int) -> int:
    """Mean less the present value."""
    if window == 1:
        return b.const(0.0)
    newer, older = split(window)
    mean, between = centre(b, x, newer), gap(b, x, window)
    return b.op(k.PAIR_SHIFT, mean, between, p=older / window)


@_once
def co_moment(b: Builder, x: int, y: int, window: int) -> int:
    """Sum of products of deviations; with y = x the sum of squares."""
    if window == 1:
        return b.const(0.0)
    newer, older = split(window)
    parts = co_moment(b, x, y, newer), b.back(co_moment(b, x, y, older), newer)
    return b.op(k.PAIR_CO, *parts, gap(b, x, window), gap(b, y, window), i=newer, p=newer * older / window)


@_once
def trend(b: Builder, x: int, window: int) -> int:
    """Sum of products of deviations of the values and of their tick numbers."""
    if window == 1:
        return b.const(0.0)
    newer, older = split(window)
    parts = trend(b, x, newer), b.back(trend(b, x, older), newer)
    return b.op(k.PAIR_TREND, *parts, gap(b, x, window), i=newer, p=-newer * older / 2)


@_once
def third_moment(b: Builder, x: int, window: int) -> int:
    """Sum of cubes of deviations."""
    if window == 1:
        return b.const(0.0)
    newer, older = split(window)
    parts = third_moment(b, x, newer), b.back(third_moment(b, x, older), newer)
    seconds = co_moment(b, x, x, newer), b.back(co_moment(b, x, x, older), newer)
    mix = b.op(k.PAIR_MIX, *seconds, i=newer, p=3 * newer / window, q=3 * older / window)
    p = newer * older * (newer - older) / window**2
    return b.op(k.PAIR_CUBE, *parts, gap(b, x, window), mix, i=newer, p=p, q=1.0)


# Windows of wall-clock time


def most_ticks(length_us: int) -> int:
    """Ticks that a clock window has room for."""
    return -(-length_us * CLOCK_RATE // 1_000_000) + 1


def clock_count(b: Builder, length_us: int) -> int:
    """Ticks in a window of time, NaN until one has left it."""
    most = most_ticks(length_us)
    time = b.back(b.op(k.MICROSECONDS), most)
    return b.op(k.CLOCK_COUNT, time, p=length_us, j=most, state=(0.0, 0.0))


def _rungs(b: Builder, chain: Callable[[int], int], length_us: int) -> tuple[int, ...]:
    most = most_ticks(length_us)
    return tuple(b.back(chain(1 << level), most) for level in range(most.bit_length()))


def clock_lag(b: Builder, x: int, length_us: int) -> int:
    """The value a length of time ago."""
    return b.op(k.CLOCK_LAG, b.back(x, most_ticks(length_us)), x, clock_count(b, length_us))


def clock_total(b: Builder, x: int, length_us: int) -> int:
    """Sum over a window of time."""
    rungs = _rungs(b, lambda w: total(b, x, w), length_us)
    return b.op(k.CLOCK_SUM, x, x, clock_count(b, length_us), i=b.table(rungs), rungs=rungs)


def clock_extreme(b: Builder, x: int, length_us: int, sign: float) -> int:
    """Maximum (sign 1) or minimum (-1) over a window of time."""
    chain, code = (largest, k.CLOCK_MAX) if sign > 0 else (smallest, k.CLOCK_MIN)
    rungs = _rungs(b, lambda w: chain(b, x, w), length_us)
    return b.op(code, x, x, clock_count(b, length_us), i=b.table(rungs), rungs=rungs)


def clock_centre(b: Builder, x: int, length_us: int) -> int:
    """Mean over a window of time, less the present value."""
    x = b.back(finite(b, x), most_ticks(length_us))
    rungs = _rungs(b, lambda w: centre(b, x, w), length_us)
    return b.op(k.CLOCK_MEAN, x, x, clock_count(b, length_us), i=b.table(rungs), j=len(rungs), rungs=rungs)


def clock_co_moment(b: Builder, x: int, y: int, length_us: int) -> int:
    """Sum of products of deviations over a window of time."""
    x, y = (b.back(finite(b, v), most_ticks(length_us)) for v in (x, y))
    chains = (
        lambda w: centre(b, x, w),
        lambda w: centre(b, y, w),
        lambda w: co_moment(b, x, y, w),
    )
    rungs = tuple(op for chain in chains for op in _rungs(b, chain, length_us))
    levels = len(rungs) // 3
    return b.op(k.CLOCK_CO, x, y, clock_count(b, length_us), i=b.table(rungs), j=levels, rungs=rungs)
