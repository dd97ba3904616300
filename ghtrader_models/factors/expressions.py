"""The factor language: frozen dataclasses that compose, print as they are written, hash, and know their depth.

What belongs here: the base class with its checks and printing, and the operators. The sources, which read a tick, are
in `sources`; the way back from text in `parser`; what an expression compiles to in `program`. Nothing here computes.

Every value is a float64 a tick. NaN means "not known at this tick". The rules:

- an element-wise operator is NaN where an operand is NaN;
- a windowed operator is NaN until its whole window holds finite values, and again for a whole window after each value
  that is not finite: such a value never enters a running sum;
- an expression sees the present and earlier ticks of its trading day only.

Examples
--------
>>> from ghtrader_models.factors.sources import Imbalance
>>> str(Mean(Imbalance(1), 50))
'Mean(Imbalance(1), 50)'
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import ClassVar

from ghtrader_base.errors import UsageError

LANGUAGE_VERSION = 1
"""Part of every spec hash: raised when an expression's meaning or arithmetic changes."""

MAX_WINDOW = 100_000
MAX_NUMBER = 1e15
_BOUNDS = {
    "level": (1, 5),
    "levels": (1, 5),
    "lag": (1, MAX_WINDOW),
    "window": (1, MAX_WINDOW),
    "span": (1, MAX_WINDOW),
}
_CHOICES = {"side": ("bid", "ask")}

EXPRESSIONS: dict[str, type[Expression]] = {}
"""Every name of the language."""


@dataclass(frozen=True)
class Expression:
    """One value a tick, made of sources and operators.

    Raises
    ------
    UsageError
        An argument has the wrong type or lies outside its bounds.
    """

    history: ClassVar[int] = 1
    """Ticks a source needs before its first value."""
    uses_session: ClassVar[bool] = False
    """Whether it reads the session bounds of the day."""

    def __init_subclass__(cls) -> None:
        EXPRESSIONS[cls.__name__] = cls

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, self._checked(field.name, str(field.type), value))

    def _checked(self, name: str, kind: str, value: object) -> object:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind == "Expression":
            if isinstance(value, Expression):
                return value
            if number:
                return Const(value)
            raise self._refused(name, f"must be an expression, not {value!r}")
        if kind == "int":
            if not isinstance(value, int) or isinstance(value, bool):
                raise self._refused(name, f"must be a whole number, not {value!r}")
            low, high = _BOUNDS[name]
            if not low <= value <= high:
                raise self._refused(name, f"must be from {low} to {high}, not {value}")
            return value
        if kind == "float":
            if not number or not -MAX_NUMBER <= value <= MAX_NUMBER:
                raise self._refused(name, f"must be a number within +-{MAX_NUMBER:g}, not {value!r}")
            return float(value)
        if value not in _CHOICES[name]:
            raise self._refused(name, f"must be one of {', '.join(_CHOICES[name])}, not {value!r}")
        return value

    def _refused(self, name: str, reason: str) -> UsageError:
        return UsageError(f"{type(self).__name__}: {name} {reason}", f"written as {signature(type(self))}")

    def operands(self) -> tuple[Expression, ...]:
        """The expressions this one is made of, in order."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if isinstance(value, Expression))

    def lower(self) -> Expression:
        """The same thing in simpler expressions; itself where it is simple already."""
        return self

    def levels_needed(self) -> int:
        """Book levels a recording must hold for this to be known: 1 to 5."""
        own = max(getattr(self, "level", 1), getattr(self, "levels", 1))
        return max([own, *(operand.levels_needed() for operand in self.operands())])

    def needs_session(self) -> bool:
        """Whether the session bounds of the day are needed."""
        return self.uses_session or any(operand.needs_session() for operand in self.operands())

    def warm_up(self) -> int:
        """Ticks, all finite, up to and including the first that has a value."""
        below = [operand.warm_up() for operand in self.operands()]
        return (max(below) if below else self.history) + self._adds()

    def _adds(self) -> int:
        """Ticks that the operator itself adds to its operands' warm-up."""
        return getattr(self, "lag", 0) or max(getattr(self, "window", 0), getattr(self, "span", 0), 1) - 1

    def __str__(self) -> str:
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            text = repr(value) if isinstance(value, (int, float, str)) else str(value)
            if field.default is MISSING:
                parts.append(text)
            elif value != field.default:
                parts.append(f"{field.name}={text}")
        return f"{type(self).__name__}({', '.join(parts)})"


def signature(cls: type[Expression]) -> str:
    """How an expression is written: ``Mean(x, window)``, ``Ratio(x, y, zero=0.0)``."""
    parts = [f.name if f.default is MISSING else f"{f.name}={f.default!r}" for f in fields(cls)]
    return f"{cls.__name__}({', '.join(parts)})"


@dataclass(frozen=True)
class Const(Expression):
    """The number ``value``, written as the bare number wherever an expression is expected."""

    value: float

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class Add(Expression):
    """``x + y``."""

    x: Expression
    y: Expression


@dataclass(frozen=True)
class Sub(Expression):
    """``x - y``."""

    x: Expression
    y: Expression


@dataclass(frozen=True)
class Mul(Expression):
    """``x * y``."""

    x: Expression
    y: Expression


@dataclass(frozen=True)
class Ratio(Expression):
    """``x / y``, and ``zero`` where ``y`` is exactly 0 (and ``x`` is known)."""

    x: Expression
    y: Expression
    zero: float = 0.0


@dataclass(frozen=True)
class Log(Expression):
    """Natural logarithm of ``x``; NaN where ``x <= 0``."""

    x: Expression


@dataclass(frozen=True)
class Abs(Expression):
    """``|x|``."""

    x: Expression


@dataclass(frozen=True)
class Sign(Expression):
    """-1, 0 or 1 as ``x`` is negative, zero or positive."""

    x: Expression


@dataclass(frozen=True)
class Clip(Expression):
    """``x`` held between ``low`` and ``high``."""

    x: Expression
    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise self._refused("low", f"must not exceed high: {self.low} > {self.high}")


@dataclass(frozen=True)
class Lag(Expression):
    """``x`` as it was ``lag`` ticks ago; NaN before there was such a tick."""

    x: Expression
    lag: int


@dataclass(frozen=True)
class Diff(Expression):
    """``x[t] - x[t - lag]``."""

    x: Expression
    lag: int

    def lower(self) -> Expression:
        return Sub(self.x, Lag(self.x, self.lag))


@dataclass(frozen=True)
class Sum(Expression):
    """Sum of the last ``window`` values."""

    x: Expression
    window: int


@dataclass(frozen=True)
class Mean(Expression):
    """Arithmetic mean of the last ``window`` values."""

    x: Expression
    window: int


@dataclass(frozen=True)
class Std(Expression):
    """Population standard deviation of the last ``window`` values."""

    x: Expression
    window: int


@dataclass(frozen=True)
class ZScore(Expression):
    """``(x - Mean(x, window)) / Std(x, window)``, and 0 where the standard deviation is 0."""

    x: Expression
    window: int


@dataclass(frozen=True)
class Min(Expression):
    """Smallest of the last ``window`` values."""

    x: Expression
    window: int


@dataclass(frozen=True)
class Max(Expression):
    """Largest of the last ``window`` values."""

    x: Expression
    window: int


@dataclass(frozen=True)
class Range(Expression):
    """``Max(x, window) - Min(x, window)``."""

    x: Expression
    window: int

    def lower(self) -> Expression:
        return Sub(Max(self.x, self.window), Min(self.x, self.window))


@dataclass(frozen=True)
class Ema(Expression):
    """Exponential mean ``e += 2 / (span + 1) * (x - e)``, begun at the first finite value of the day.

    NaN until ``span`` finite values were seen, and at a tick whose ``x`` is not finite, which leaves ``e`` as it was.
    """

    x: Expression
    span: int


@dataclass(frozen=True)
class AtChange(Expression):
    """``x`` as it was at the latest tick at which ``y`` took a new value (the first known ``y`` counts as new).

    NaN where ``y`` is NaN. With ``y = Mid()``: the book as it was right after the last move of the mid.
    """

    x: Expression
    y: Expression
