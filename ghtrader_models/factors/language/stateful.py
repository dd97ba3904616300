"""Defines operators that carry a state from tick to tick: exponential means, events, runs.

What belongs here: names, formulas, units and NaN rules. None has a window to leave: what they hold is the trading day
so far. A value that is not finite gives NaN at its tick and leaves the state as it was, unless it is said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghtrader_models.factors.language.expressions import Expression, Ratio, Sqrt, Sub, Window


@dataclass(frozen=True)
class Ema(Expression):
    """Exponential mean ``e += a (x - e)``, begun at the first finite value of the day. In x's unit.

    ``a = 2 / (span + 1)`` for a span of ticks; ``a = 1 - exp(-dt / span)`` for one of time, ``dt`` since the tick
    before. NaN until ``span`` finite values were seen, or until the day is as old as a span of time.
    """

    x: Expression
    span: Window


@dataclass(frozen=True)
class EwVar(Expression):
    """Exponential variance ``v = (1 - a)(v + a (x - e)^2)`` about the `Ema` ``e`` of the tick before, from 0.

    ``a`` and warm-up as in `Ema`; in the square of x's unit. Finch (2009), "Incremental calculation of weighted mean
    and variance"; pandas' ``ewm(span, adjust=False).var(bias=True)``.
    """

    x: Expression
    span: Window


@dataclass(frozen=True)
class EwStd(Expression):
    """``Sqrt(EwVar(x, span))``."""

    x: Expression
    span: Window

    def lower(self) -> Expression:
        return Sqrt(EwVar(self.x, self.span))


@dataclass(frozen=True)
class EwZScore(Expression):
    """``(x - Ema(x, span)) / EwStd(x, span)``, 0 where the deviation is 0. No unit."""

    x: Expression
    span: Window

    def lower(self) -> Expression:
        return Ratio(Sub(self.x, Ema(self.x, self.span)), EwStd(self.x, self.span))


@dataclass(frozen=True)
class AtChange(Expression):
    """``x`` as it was at the latest tick at which ``y`` took a new value (the first known ``y`` counts as new).

    NaN where ``y`` is NaN. With ``y = Mid()``: the book as it was right after the last move of the mid.
    """

    x: Expression
    y: Expression


@dataclass(frozen=True)
class Held(Expression):
    """The latest value of ``x`` that was known and not 0; NaN before there was one. In x's unit.

    ``Held(TradeSign())`` is the side of the latest trade, through ticks in which nothing traded.
    """

    x: Expression


@dataclass(frozen=True)
class RunLength(Expression):
    """Ticks in a row, with the present one, at which ``x`` had its present value. In ticks, from 1.

    NaN where ``x`` is; the run begins anew after that.
    """

    x: Expression


@dataclass(frozen=True)
class Since(Expression):
    """Ticks since ``x`` was last known and not 0: 0 at such a tick. In ticks; NaN before the first."""

    x: Expression


@dataclass(frozen=True)
class DecaySince(Expression):
    """``(1 - 2 / (span + 1)) ^ Since(x)``: 1 at an event (``x`` known and not 0), fading after; 0 before the first.

    No unit. It has a value, 0, also while ``x`` is not known yet.
    """

    x: Expression
    span: int

    def warm_up(self) -> int:
        return 1


@dataclass(frozen=True)
class Decay(Expression):
    """Fading sum ``d = (1 - 2 / (span + 1)) d + x``, from 0: the intensity of a Hawkes process that ``x`` excites.

    Hawkes (1971), "Spectra of some self-exciting and mutually exciting point processes", Biometrika 58(1). In x's unit;
    a value that is not finite adds nothing and gives NaN at its tick.
    """

    x: Expression
    span: int

    def warm_up(self) -> int:
        return self.x.warm_up()
