"""Defines operators of the factor language over the latest ticks: moments, extremes, orders, relations.

What belongs here: names, formulas, units and NaN rules. Windows are ticks or wall-clock time, and a window with a value
that is not finite gives NaN, as `expressions` says. How they are computed without drift is in `window_merging`.

In the formulas ``x[j]`` is the value ``j`` ticks ago, ``w`` the number of ticks in the window, sums run over ``j`` from
0 to ``w - 1``. Moments divide by ``w``. The unit is that of ``x`` unless it is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ghtrader_models.factors.language.expressions import Clip, Expression, Mul, Ratio, Sqrt, Sub, Window


@dataclass(frozen=True)
class Lag(Expression):
    """``x`` as it was ``lag`` ticks ago, or at the latest tick that is ``lag`` old or older (a text, ``'30s'``).

    NaN before there was such a tick.
    """

    x: Expression
    lag: Window


@dataclass(frozen=True)
class Diff(Expression):
    """``x - Lag(x, lag)``."""

    x: Expression
    lag: Window

    def lower(self) -> Expression:
        return Sub(self.x, Lag(self.x, self.lag))


@dataclass(frozen=True)
class Sum(Expression):
    """``sum x[j]``; added in pairs, nothing is ever subtracted. Whole numbers stay exact."""

    x: Expression
    window: Window


@dataclass(frozen=True)
class Mean(Expression):
    """``Sum(x, window) / w``."""

    x: Expression
    window: Window


@dataclass(frozen=True)
class Var(Expression):
    """Population variance ``sum (x[j] - mean)^2 / w``, in the square of x's unit. Exactly 0 where all are equal.

    Merged in pairs: Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", The American
    Statistician 37(3); means are kept as distances from the present value, so that a level costs no digits.
    """

    x: Expression
    window: Window


@dataclass(frozen=True)
class Std(Expression):
    """Population standard deviation: ``Sqrt(Var(x, window))``."""

    x: Expression
    window: Window


@dataclass(frozen=True)
class ZScore(Expression):
    """``(x - Mean(x, window)) / Std(x, window)``, and 0 where the standard deviation is 0. No unit."""

    x: Expression
    window: Window


@dataclass(frozen=True)
class Skew(Expression):
    """Population skewness ``(sum d^3 / w) / (sum d^2 / w)^1.5``, ``d = x[j] - mean``; 0 where all are equal. No unit.

    Third moments merged in pairs as in Pebay (2008), Sandia report SAND2008-6212.
    """

    least_window: ClassVar[int] = 3
    x: Expression
    window: int


@dataclass(frozen=True)
class Min(Expression):
    """Smallest value in the window."""

    x: Expression
    window: Window


@dataclass(frozen=True)
class Max(Expression):
    """Largest value in the window."""

    x: Expression
    window: Window


@dataclass(frozen=True)
class Range(Expression):
    """``Max(x, window) - Min(x, window)``."""

    x: Expression
    window: Window

    def lower(self) -> Expression:
        return Sub(Max(self.x, self.window), Min(self.x, self.window))


@dataclass(frozen=True)
class PlaceInRange(Expression):
    """``(x - Min) / (Max - Min)`` over the window, from 0 to 1; 0.5 where they are equal. No unit."""

    x: Expression
    window: Window

    def lower(self) -> Expression:
        low, high = Min(self.x, self.window), Max(self.x, self.window)
        return Ratio(Sub(self.x, low), Sub(high, low), 0.5)


@dataclass(frozen=True)
class ArgMinAge(Expression):
    """Ticks since the smallest value of the window; of equals the latest. In ticks, from 0 to ``w - 1``."""

    x: Expression
    window: int


@dataclass(frozen=True)
class ArgMaxAge(Expression):
    """Ticks since the largest value of the window; of equals the latest. In ticks, from 0 to ``w - 1``."""

    x: Expression
    window: int


@dataclass(frozen=True)
class Quantile(Expression):
    """The ``q`` quantile (0 to 1) of the window, between order statistics by a straight line (NumPy's default)."""

    x: Expression
    q: float
    window: int


@dataclass(frozen=True)
class Median(Expression):
    """``Quantile(x, 0.5, window)``."""

    x: Expression
    window: int

    def lower(self) -> Expression:
        return Quantile(self.x, 0.5, self.window)


@dataclass(frozen=True)
class Rank(Expression):
    """Where ``x`` stands among its window, from 0 (smallest) to 1: ``(less + (equal - 1) / 2) / (w - 1)``. No unit.

    ``less`` and ``equal`` count the window's values, ``equal`` with the present one. Costs ``w`` steps a tick.
    """

    least_window: ClassVar[int] = 2
    x: Expression
    window: int


@dataclass(frozen=True)
class Cov(Expression):
    """Population covariance ``sum (x[j] - mean_x)(y[j] - mean_y) / w``, in x's unit times y's."""

    x: Expression
    y: Expression
    window: Window


@dataclass(frozen=True)
class Corr(Expression):
    """Pearson's correlation, -1 to 1; 0 where either is constant. No unit."""

    least_window: ClassVar[int] = 2
    x: Expression
    y: Expression
    window: Window


@dataclass(frozen=True)
class Beta(Expression):
    """Slope of the least-squares line of ``y`` on ``x``: ``Cov(x, y) / Var(x)``, 0 where ``x`` is constant.

    In y's unit per unit of x.
    """

    least_window: ClassVar[int] = 2
    y: Expression
    x: Expression
    window: Window


@dataclass(frozen=True)
class Residual(Expression):
    """What the least-squares line of ``y`` on ``x`` leaves of the present ``y``, in y's unit.

    ``(y - mean_y) - Beta(y, x, window) (x - mean_x)``.
    """

    least_window: ClassVar[int] = 2
    y: Expression
    x: Expression
    window: Window


@dataclass(frozen=True)
class Slope(Expression):
    """Slope of the least-squares line of ``x`` on time: per tick for a window of ticks, per second for one of time.

    0 where the window holds one instant.
    """

    least_window: ClassVar[int] = 2
    x: Expression
    window: Window


@dataclass(frozen=True)
class TrendResidual(Expression):
    """``x`` less its least-squares line on time over the window, at the present tick."""

    least_window: ClassVar[int] = 2
    x: Expression
    window: Window


@dataclass(frozen=True)
class AutoCorr(Expression):
    """``Corr(x, Lag(x, lag), window)``. No unit."""

    least_window: ClassVar[int] = 2
    x: Expression
    lag: int
    window: Window

    def lower(self) -> Expression:
        return Corr(self.x, Lag(self.x, self.lag), self.window)


@dataclass(frozen=True)
class Sharpe(Expression):
    """``Mean(x, window) / Std(x, window)``, held within +-10; 0 where all are equal. No unit."""

    least_window: ClassVar[int] = 2
    x: Expression
    window: Window

    def lower(self) -> Expression:
        return Clip(Ratio(Mean(self.x, self.window), Std(self.x, self.window)), -10.0, 10.0)


@dataclass(frozen=True)
class RootMeanSquare(Expression):
    """``Sqrt(Mean(x * x, window))``."""

    x: Expression
    window: Window

    def lower(self) -> Expression:
        return Sqrt(Mean(Mul(self.x, self.x), self.window))
