"""Defines market measures of the factor language: volatility, impact, persistence, each made of simpler operators.

What belongs here: a measure that has a name and a paper in the literature. Everything lowers to other expressions, so
NaN rules and windows are theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ghtrader_models.factors.language.expressions import Abs, Const, Expression, Mul, Ratio, Sign, Sub, Window
from ghtrader_models.factors.language.rolling_windows import Beta, Cov, Diff, Lag, Mean, Sum


@dataclass(frozen=True)
class RealizedVar(Expression):
    """Realised variance of the path ``x``: ``Sum(Diff(x, 1)^2, window)``, in the square of x's unit.

    Andersen, Bollerslev, Diebold and Labys (2003), "Modeling and forecasting realized volatility", Econometrica 71(2).
    """

    x: Expression
    window: Window

    def lower(self) -> Expression:
        step = Diff(self.x, 1)
        return Sum(Mul(step, step), self.window)


@dataclass(frozen=True)
class BipowerVar(Expression):
    """Bipower variation of the path ``x``: ``pi/2 Sum(|r| |Lag(r, 1)|, window)``, ``r = Diff(x, 1)``; jumps drop out.

    In the square of x's unit. Barndorff-Nielsen and Shephard (2004), "Power and bipower variation with stochastic
    volatility and jumps", Journal of Financial Econometrics 2(1).
    """

    x: Expression
    window: Window

    def lower(self) -> Expression:
        step = Abs(Diff(self.x, 1))
        return Mul(Sum(Mul(step, Lag(step, 1)), self.window), Const(math.pi / 2))


@dataclass(frozen=True)
class JumpShare(Expression):
    """``1 - BipowerVar / RealizedVar``: the part of the variance that came in jumps, 0 where nothing moved. No unit.

    Barndorff-Nielsen and Shephard (2006), "Econometrics of testing for jumps in financial economics using bipower
    variation", Journal of Financial Econometrics 4(1). Below 0 where neighbouring moves cluster.
    """

    x: Expression
    window: Window

    def lower(self) -> Expression:
        realized = RealizedVar(self.x, self.window)
        return Ratio(Sub(realized, BipowerVar(self.x, self.window)), realized)


@dataclass(frozen=True)
class KyleLambda(Expression):
    """Price impact: slope of the returns ``x`` on the signed flow ``y``, ``Beta(x, y, window)``; x's unit per y's.

    ``KyleLambda(MidReturn(1), SignedVolume(), 200)``. Kyle (1985), "Continuous auctions and insider trading",
    Econometrica 53(6); by regression as in Hasbrouck (2009), Journal of Finance 64(3).
    """

    least_window: ClassVar[int] = 2
    x: Expression
    y: Expression
    window: Window

    def lower(self) -> Expression:
        return Beta(self.x, self.y, self.window)


@dataclass(frozen=True)
class Amihud(Expression):
    """Illiquidity: ``Sum(|x|, window) / Sum(y, window)`` of returns ``x`` and volume ``y``, 0 where nothing traded.

    x's unit per y's. After Amihud (2002), "Illiquidity and stock returns", Journal of Financial Markets 5(1), as a
    ratio of sums: at ticks most volumes are 0.
    """

    x: Expression
    y: Expression
    window: Window

    def lower(self) -> Expression:
        return Ratio(Sum(Abs(self.x), self.window), Sum(self.y, self.window))


@dataclass(frozen=True)
class SignPersistence(Expression):
    """``Mean(sign(x) sign(Lag(x, 1)), window)``: 1 where the sign always stays, -1 where it always turns. No unit."""

    x: Expression
    window: Window

    def lower(self) -> Expression:
        sign = Sign(self.x)
        return Mean(Mul(sign, Lag(sign, 1)), self.window)


@dataclass(frozen=True)
class SignAutocov(Expression):
    """Autocovariance of the signs of ``x``: ``Cov(sign(x), Lag(sign(x), lag), window)``. No unit.

    Order signs are long-remembered: Lillo and Farmer (2004), "The long memory of the efficient market", Studies in
    Nonlinear Dynamics & Econometrics 8(3).
    """

    x: Expression
    lag: int
    window: Window

    def lower(self) -> Expression:
        sign = Sign(self.x)
        return Cov(sign, Lag(sign, self.lag), self.window)


@dataclass(frozen=True)
class Efficiency(Expression):
    """``|Diff(x, window)| / Sum(|Diff(x, 1)|, window)``: 1 on a straight path, near 0 in noise; 0 where nothing moved.

    No unit. Kaufman (1995), "Smarter Trading", the efficiency ratio.
    """

    x: Expression
    window: int

    def lower(self) -> Expression:
        return Ratio(Abs(Diff(self.x, self.window)), Sum(Abs(Diff(self.x, 1)), self.window))
