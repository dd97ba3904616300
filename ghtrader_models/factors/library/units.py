"""Derives the unit of an expression from its parts.

A factor's unit is never typed in beside it.

What belongs here: the unit of what the kernel reads, and what each of its operators does to units; everything else
lowers to these. A unit is a product of powers of base units, written like ``price ticks^2 / lots``; ``1`` is a number.
"""

from __future__ import annotations

from fractions import Fraction

from ghtrader_models.factors.language import expressions as ex
from ghtrader_models.factors.language import rolling_windows as win
from ghtrader_models.factors.language import sources as src
from ghtrader_models.factors.language import stateful as mem
from ghtrader_models.factors.language.expressions import Expression, clock_us

PRICE, LOTS, SECONDS, TICKS, ONE = "price ticks", "lots", "seconds", "ticks", "1"
_Powers = dict[str, Fraction]

SOURCES: dict[type[Expression], tuple[str, ...]] = {
    **dict.fromkeys((src.BidPrice, src.AskPrice, src.LastPrice, src.Highest, src.Lowest), (PRICE,)),
    **dict.fromkeys((src.BidVolume, src.AskVolume, src.DayVolume, src.OpenInterest, src.VolumeDelta), (LOTS,)),
    **dict.fromkeys((src.Ofi, src.SideFlow), (LOTS,)),
    src.DayTurnover: (LOTS, PRICE),
    **dict.fromkeys((src.DaySeconds, src.SessionAge, src.SessionLeft), (SECONDS,)),
    **dict.fromkeys((src.SessionTime, ex.Const), ()),
}
"""What the kernel reads, with the base units it is a product of."""
NUMBERS = (ex.Sign, ex.Greater, ex.Equal, win.ZScore, win.Skew, win.Rank, win.Corr, mem.DecaySince)
COUNTS = (win.ArgMinAge, win.ArgMaxAge, mem.RunLength, mem.Since)
EITHER = (ex.Add, ex.Sub, ex.Larger, ex.Smaller)
"""Both operands have the result's unit; a bare number takes on the other's."""
KEPT = (
    *(ex.Fill, ex.Abs, ex.Clip, win.Lag, win.Sum, win.Mean, win.Std, win.Min, win.Max, win.Quantile, win.Residual),
    *(win.TrendResidual, mem.Ema, mem.AtChange, mem.Held, mem.Decay),
)
"""The result has the first operand's unit."""
SQUARED = (win.Var, mem.EwVar)
PRODUCTS = (ex.Mul, win.Cov)
QUOTIENTS = (ex.Ratio, win.Beta)


def unit_of(expression: Expression) -> str:
    """The unit of what an expression computes, for example ``lots`` or ``price ticks^2``."""
    return _written(_powers(expression))


def _powers(expression: Expression) -> _Powers:
    while (simpler := expression.lower()) is not expression:
        expression = simpler
    kind = type(expression)
    if kind in SOURCES:
        return dict.fromkeys(SOURCES[kind], Fraction(1))
    if kind in NUMBERS:
        return {}
    if kind in COUNTS:
        return {TICKS: Fraction(1)}
    below = [_powers(operand) for operand in expression.operands()]
    if kind in KEPT:
        return below[0]
    if kind in EITHER:
        return below[0] or below[1]
    if kind is ex.Where:
        return below[1] or below[2]
    if kind in SQUARED:
        return {name: 2 * power for name, power in below[0].items()}
    if kind is ex.Sqrt:
        return {name: power / 2 for name, power in below[0].items()}
    if kind is ex.Log:
        return {f"log {_written(below[0])}": Fraction(1)} if below[0] else {}
    if isinstance(expression, win.Slope):
        return _combined(below[0], {TICKS if clock_us(expression.window) is None else SECONDS: Fraction(1)}, -1)
    if kind in PRODUCTS or kind in QUOTIENTS:
        return _combined(below[0], below[1], 1 if kind in PRODUCTS else -1)
    raise AssertionError(f"no unit is known for {kind.__name__}")


def _combined(left: _Powers, right: _Powers, sign: int) -> _Powers:
    total = {name: left.get(name, Fraction(0)) + sign * right.get(name, Fraction(0)) for name in (*left, *right)}
    return {name: power for name, power in total.items() if power}


def _written(powers: _Powers) -> str:
    def product(chosen: list[tuple[str, Fraction]]) -> str:
        return " ".join(name if power == 1 else f"{name}^{power}" for name, power in chosen)

    above = product([(name, power) for name, power in powers.items() if power > 0])
    below = product([(name, -power) for name, power in powers.items() if power < 0])
    return f"{above or ONE} / {below}" if below else above or ONE
