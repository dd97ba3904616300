"""Compiles expressions to one op table: lowered to what the kernel knows, equal parts computed once.

What belongs here: the table from expression class to ops, the order of the ops, and the layout of their buffers.
Windows become chains in `window_merging`; the op codes and the arithmetic are in `kernel`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.factors.compiler import kernel as k
from ghtrader_models.factors.compiler import window_merging
from ghtrader_models.factors.compiler.buffer_layout import Layout, Ops, for_blocks
from ghtrader_models.factors.compiler.single_tick_plan import for_ticks
from ghtrader_models.factors.compiler.window_merging import Builder, finite
from ghtrader_models.factors.language import expressions as ex
from ghtrader_models.factors.language import rolling_windows as win
from ghtrader_models.factors.language import sources as src
from ghtrader_models.factors.language import stateful as mem
from ghtrader_models.factors.language.expressions import Expression, clock_us

_NAN = float("nan")
_KERNEL = Path(k.__file__)


@dataclass(frozen=True)
class Program:
    """A compiled factor set.

    Attributes
    ----------
    builder : Builder
        The ops, equal ones once.
    outputs : tuple of int
        The op whose value each factor is.
    carry : numpy.ndarray
        float64[*]: what the operators with a state of their own start a trading day from.
    """

    builder: Builder
    outputs: tuple[int, ...]
    carry: np.ndarray
    _layouts: dict[int, Layout] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.builder.rows)

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of the op table and of the kernel's source: equal digests, equal arithmetic and equal state."""
        b = self.builder
        table = (b.rows, b.params, b.history, b.tables, self.outputs, self.carry.tolist())
        return sha256(repr(table).encode() + _KERNEL.read_bytes()).hexdigest()

    def layout(self, block: int) -> Layout:
        """Orders and buffers for blocks of at most so many ticks, or with 0 for single ticks."""
        if block not in self._layouts:
            b = self.builder
            ops = Ops(b.rows, b.params, b.history, self.outputs, b.tables)
            self._layouts[block] = for_blocks(ops, block) if block else for_ticks(ops)
        return self._layouts[block]


def _row(level: int, side: str, volume: int) -> int:
    return k.ROW_BID1 + 4 * (level - 1) + (2 if side == "ask" else 0) + volume


_Rule = Callable[[Builder, Expression, list[int]], int]


def _plain(code: int) -> _Rule:
    return lambda b, e, x: b.op(code, *x)


def _remembering(code: int, state: tuple[float, ...]) -> _Rule:
    def rule(b: Builder, e: Expression, x: list[int]) -> int:
        span = getattr(e, "span", 0)
        return b.op(code, *x, p=1.0 - 2.0 / (span + 1.0) if span else 0.0, state=state)

    return rule


def _price(row: Callable[[Expression], int]) -> _Rule:
    return lambda b, e, x: b.op(k.PRICE, i=row(e))


def _lag(b: Builder, e: Expression, x: list[int]) -> int:
    length = clock_us(e.lag)
    return b.op(k.LAG, b.back(x[0], e.lag), i=e.lag) if length is None else window_merging.clock_lag(b, x[0], length)


def _flow(b: Builder, e: Expression, x: list[int]) -> int:
    price = b.back(b.op(k.PRICE, i=_row(e.level, e.side, 0)), 1)
    queue = b.back(b.op(k.QUEUE, i=_row(e.level, e.side, 1)), 1)
    return b.op(k.FLOW, price, queue, i=1, p=1.0 if e.side == "bid" else -1.0)


def _volume_delta(b: Builder, e: Expression, x: list[int]) -> int:
    return b.op(k.DELTA, b.back(b.op(k.RAW, i=k.ROW_VOLUME), 1), i=1)


class _Moments:
    """Sums of the moments of a window, of ticks or of time alike."""

    def __init__(self, b: Builder, window: int | str) -> None:
        self.b, self.window, self.length = b, window, clock_us(window)

    def total(self, x: int) -> int:
        if self.length is not None:
            return window_merging.clock_total(self.b, x, self.length)
        return window_merging.total(self.b, x, self.window)

    def centre(self, x: int) -> int:
        if self.length is not None:
            return window_merging.clock_centre(self.b, x, self.length)
        return self._or_zero(window_merging.centre(self.b, finite(self.b, x), self.window), x)

    def co(self, x: int, y: int) -> int:
        x, y = finite(self.b, x), finite(self.b, y)
        if self.length is not None:
            return window_merging.clock_co_moment(self.b, x, y, self.length)
        return self._or_zero(window_merging.co_moment(self.b, x, y, self.window), *dict.fromkeys((x, y)))

    def _or_zero(self, op: int, *feet: int) -> int:
        return op if self.window > 1 else self.b.zero_of(*feet)

    def per_tick(self, op: int) -> int:
        if self.length is None:
            return self.b.op(k.OVER, op, p=self.window) if self.window > 1 else op
        return self.b.op(k.RATIO, op, window_merging.clock_count(self.b, self.length))

    def deviation(self, x: int) -> int:
        if self.length is None:
            return self.b.op(k.DEVIATION, self.co(x, x), p=1.0 / self.window)
        return self.b.op(k.SQRT, self.per_tick(self.co(x, x)))


def _windowed(function: Callable[..., int]) -> _Rule:
    return lambda b, e, x: function(_Moments(b, e.window), *x)


def _zscore(m: _Moments, x: int) -> int:
    if m.length is None:
        return m.b.op(k.STANDARD, m.co(x, x), m.centre(x), p=1.0 / m.window)
    return m.b.op(k.RATIO, m.b.op(k.MUL, m.centre(x), m.b.const(-1.0)), m.deviation(x))


def _beta(m: _Moments, y: int, x: int) -> int:
    return m.b.op(k.RATIO, m.co(x, y), m.co(x, x))


def _residual(m: _Moments, y: int, x: int) -> int:
    return m.b.op(k.SUB, m.b.op(k.MUL, _beta(m, y, x), m.centre(x)), m.centre(y))


def _slope(m: _Moments, x: int) -> int:
    if m.length is not None:
        return _beta(m, x, m.b.op(k.SECONDS, state=(_NAN,)))
    w = m.window
    return m.b.op(k.OVER, window_merging.trend(m.b, finite(m.b, x), w), p=w * (w * w - 1) / 12)


def _trend_residual(m: _Moments, x: int) -> int:
    if m.length is not None:
        return _residual(m, x, m.b.op(k.SECONDS, state=(_NAN,)))
    line = m.b.op(k.MUL, _slope(m, x), m.b.const(-(m.window - 1) / 2))
    return m.b.op(k.SUB, line, m.centre(x))


def _skew(b: Builder, e: Expression, x: list[int]) -> int:
    foot = finite(b, x[0])
    second = window_merging.co_moment(b, foot, foot, e.window)
    return b.op(k.SKEWNESS, second, window_merging.third_moment(b, foot, e.window), p=1.0 / e.window)


def _extreme(sign: float) -> _Rule:
    chain = window_merging.largest if sign > 0 else window_merging.smallest

    def rule(b: Builder, e: Expression, x: list[int]) -> int:
        length = clock_us(e.window)
        return chain(b, x[0], e.window) if length is None else window_merging.clock_extreme(b, x[0], length, sign)

    return rule


def _rank(b: Builder, e: Expression, x: list[int]) -> int:
    foot = b.back(finite(b, x[0]), e.window)
    return b.op(k.RANK, foot, b.op(k.RUN_FINITE, foot, state=(0.0,)), i=e.window)


def _quantile(b: Builder, e: Expression, x: list[int]) -> int:
    foot = b.back(finite(b, x[0]), e.window)
    return b.op(k.QUANTILE, foot, i=e.window, p=e.q, state=(0.0, *[0.0] * e.window))


def _ema(b: Builder, e: Expression, x: list[int]) -> int:
    if clock_us(e.span) is None:
        return b.op(k.EMA, *x, i=e.span, p=2.0 / (e.span + 1.0), state=(0.0, 0.0))
    return _exponential(k.EMA_OF)(b, e, x)


def _exponential(code: int) -> _Rule:
    def rule(b: Builder, e: Expression, x: list[int]) -> int:
        state = (0.0, 0.0, 0.0)
        length = clock_us(e.span)
        if length is None:
            return b.op(code, *x, b.const(2.0 / (e.span + 1.0)), b.const(0.0), i=e.span, state=state)
        time = b.op(k.MICROSECONDS)
        alpha = b.op(k.CLOCK_ALPHA, time, p=length, state=(_NAN,))
        return b.op(code, *x, alpha, window_merging.clock_count(b, length), i=1, state=state)

    return rule


_RULES: dict[type[Expression], _Rule] = {
    ex.Const: lambda b, e, x: b.const(e.value),
    src.BidPrice: _price(lambda e: _row(e.level, "bid", 0)),
    src.AskPrice: _price(lambda e: _row(e.level, "ask", 0)),
    src.LastPrice: _price(lambda e: k.ROW_LAST),
    src.Highest: _price(lambda e: k.ROW_HIGHEST),
    src.Lowest: _price(lambda e: k.ROW_LOWEST),
    src.BidVolume: lambda b, e, x: b.op(k.QUEUE, i=_row(e.level, "bid", 1)),
    src.AskVolume: lambda b, e, x: b.op(k.QUEUE, i=_row(e.level, "ask", 1)),
    src.DayVolume: lambda b, e, x: b.op(k.RAW, i=k.ROW_VOLUME),
    src.DayTurnover: lambda b, e, x: b.op(k.TURNOVER),
    src.OpenInterest: lambda b, e, x: b.op(k.RAW, i=k.ROW_OPEN_INTEREST),
    src.SideFlow: _flow,
    src.VolumeDelta: _volume_delta,
    src.DaySeconds: lambda b, e, x: b.op(k.SECONDS, state=(_NAN,)),
    src.SessionTime: _plain(k.SESSION_TIME),
    src.SessionAge: _plain(k.SESSION_AGE),
    src.SessionLeft: _plain(k.SESSION_LEFT),
    ex.Add: _plain(k.ADD),
    ex.Sub: _plain(k.SUB),
    ex.Mul: _plain(k.MUL),
    ex.Ratio: lambda b, e, x: b.op(k.RATIO, *x, p=e.zero),
    ex.Log: _plain(k.LOG),
    ex.Sqrt: _plain(k.SQRT),
    ex.Abs: _plain(k.ABS),
    ex.Sign: _plain(k.SIGN),
    ex.Clip: lambda b, e, x: b.op(k.CLIP, *x, p=e.low, q=e.high),
    ex.Fill: lambda b, e, x: b.op(k.FILL, *x, p=e.value),
    ex.Greater: _plain(k.GREATER),
    ex.Equal: _plain(k.EQUAL),
    ex.Where: _plain(k.WHERE),
    ex.Larger: _plain(k.LARGER),
    ex.Smaller: _plain(k.SMALLER),
    win.Lag: _lag,
    win.Sum: _windowed(_Moments.total),
    win.Mean: _windowed(lambda m, x: m.per_tick(m.total(x))),
    win.Var: _windowed(lambda m, x: m.per_tick(m.co(x, x))),
    win.Std: _windowed(_Moments.deviation),
    win.ZScore: _windowed(_zscore),
    win.Skew: _skew,
    win.Min: _extreme(-1.0),
    win.Max: _extreme(1.0),
    win.ArgMinAge: lambda b, e, x: window_merging.age_of_extreme(b, x[0], e.window, -1.0),
    win.ArgMaxAge: lambda b, e, x: window_merging.age_of_extreme(b, x[0], e.window, 1.0),
    win.Quantile: _quantile,
    win.Rank: _rank,
    win.Cov: _windowed(lambda m, x, y: m.per_tick(m.co(x, y))),
    win.Corr: _windowed(lambda m, x, y: m.b.op(k.CORRELATION, m.co(x, y), m.co(x, x), m.co(y, y))),
    win.Beta: _windowed(_beta),
    win.Residual: _windowed(_residual),
    win.Slope: _windowed(_slope),
    win.TrendResidual: _windowed(_trend_residual),
    mem.Ema: _ema,
    mem.EwVar: _exponential(k.EWVAR),
    mem.AtChange: _remembering(k.AT_CHANGE, (_NAN, _NAN)),
    mem.Held: _remembering(k.HELD, (_NAN, _NAN)),
    mem.RunLength: _remembering(k.RUN_LENGTH, (0.0, _NAN)),
    mem.Since: _remembering(k.SINCE, (_NAN, 0.0)),
    mem.DecaySince: _remembering(k.DECAY_SINCE, (0.0, 0.0)),
    mem.Decay: _remembering(k.DECAY, (0.0, 0.0)),
}


def _op_of(b: Builder, expression: Expression, found: dict[Expression, int]) -> int:
    if expression not in found:
        simpler = expression.lower()
        if simpler is not expression:
            found[expression] = _op_of(b, simpler, found)
        else:
            rule = _RULES.get(type(expression))
            if rule is None:
                raise UsageError(f"{type(expression).__name__} is no expression the engine can compute")
            found[expression] = rule(b, expression, [_op_of(b, x, found) for x in expression.operands()])
    return found[expression]


def compile_program(expressions: Mapping[str, Expression]) -> Program:
    """One op table for all expressions.

    Parameters
    ----------
    expressions : Mapping[str, Expression]
        Factor name to expression.

    Raises
    ------
    UsageError
        Some expression is of a class the engine does not know.
    """
    with _compiling:  # days are built side by side: the set is compiled once, and the others wait for it
        return _compile(tuple(expressions.values()))


_compiling = threading.Lock()


@lru_cache(maxsize=16)
def _compile(expressions: tuple[Expression, ...]) -> Program:
    """A program is never changed: every engine of a process shares one."""
    b = Builder()
    found: dict[Expression, int] = {}
    outputs = [_op_of(b, expression, found) for expression in expressions]
    return Program(b, tuple(outputs), np.array([*b.carry, 0.0], np.float64))
