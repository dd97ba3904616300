"""Defines the expressions of the factor language: frozen dataclasses that compose, print as written and hash.

What belongs here: the base class with its checks and printing, and the operators that look at one tick. Operators over
windows are in `rolling_windows`, those with a state of their own in `stateful`, market measures made of all of them in
`market_measures`; the sources, which read a tick, in `sources`; the way back from text in `parser`; what an expression
compiles to in `op_table`. Nothing here computes.

Every value is a float64 a tick. NaN means "not known at this tick". The rules:

- an element-wise operator is NaN where an operand is NaN, but for `Fill`, and for the branch `Where` does not take;
- a windowed operator is NaN unless every value in its window is finite: a value that is not finite is NaN to it, and
  leaves nothing behind once it is out of the window;
- a window of ticks is an int, one of wall-clock time a text: ``50``, ``'500ms'``, ``'30s'``, ``'5m'``, ``'1h'``. A
  clock window is the ticks of ``(now - length, now]``; it is NaN until a tick has left it, that is until the trading
  day is as old as the window, and counts at most `CLOCK_RATE` ticks a second (the latest ones, were there more);
- an expression sees the present and earlier ticks of its trading day only.

Examples
--------
>>> from ghtrader_models.factors.language.sources import Mid, Spread
>>> str(Ratio(Sub(Mid(), 7000), Spread()))
'Ratio(Sub(Mid(), 7000.0), Spread())'
"""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from ghtrader_base.errors import UsageError

LANGUAGE_VERSION = 2
"""Part of every spec hash: raised when an expression's meaning or arithmetic changes."""

MAX_WINDOW = 100_000
"""Ticks."""
MAX_CLOCK_S = 4 * 3600
CLOCK_RATE = 4
"""Ticks a second that a clock window has room for."""
MAX_NUMBER = 1e15
_BOUNDS = {
    "level": (1, 5),
    "levels": (1, 5),
    "lag": (1, MAX_WINDOW),
    "window": (1, MAX_WINDOW),
    "span": (1, MAX_WINDOW),
}
_CHOICES = {"side": ("bid", "ask")}
_SHARES = {"q": (0.0, 1.0)}
_CLOCK = re.compile(r"(\d{1,9})(ms|s|m|h)")
_CLOCK_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}

Window = int | str
"""Ticks, or wall-clock time written ``'30s'``."""


def clock_us(window: Window) -> int | None:
    """Length of a clock window in microseconds, None for one of ticks.

    Examples
    --------
    >>> clock_us("500ms"), clock_us(50)
    (500000, None)
    """
    if not isinstance(window, str):
        return None
    number, unit = _CLOCK.fullmatch(window).groups()  # type: ignore[union-attr]  # `Expression` has checked it
    return int(number) * _CLOCK_MS[unit] * 1000


def _ticks_of(window: Window) -> int | None:
    """Ticks, two a second, that a time takes up; None for a number of ticks."""
    return None if (us := clock_us(window)) is None else -(-us // 500_000)


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
    reads: ClassVar[frozenset[str]] = frozenset()
    """Tick columns beside the book that it reads itself."""
    least_window: ClassVar[int] = 1
    """Smallest window of ticks that has a meaning."""

    def __init_subclass__(cls) -> None:
        EXPRESSIONS[cls.__name__] = cls

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, self._checked(field.name, str(field.type), value))

    def _checked(self, name: str, kind: str, value: Any) -> object:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind == "Expression":
            if isinstance(value, Expression):
                return value
            if number:
                return Const(value)
            raise self._refused(name, f"must be an expression, not {value!r}")
        if kind == "Window" and isinstance(value, str):
            return self._checked_clock(name, value)
        if kind in ("int", "Window"):
            if not isinstance(value, int) or isinstance(value, bool):
                what = "a whole number of ticks or a time such as '30s'" if kind == "Window" else "a whole number"
                raise self._refused(name, f"must be {what}, not {value!r}")
            low, high = _BOUNDS[name]
            low = max(low, self.least_window) if name == "window" else low
            if not low <= value <= high:
                raise self._refused(name, f"must be from {low} to {high}, not {value}")
            return value
        if kind == "float":
            if not number or not -MAX_NUMBER <= value <= MAX_NUMBER:
                raise self._refused(name, f"must be a number within +-{MAX_NUMBER:g}, not {value!r}")
            low, high = _SHARES.get(name, (value, value))
            if not low <= value <= high:
                raise self._refused(name, f"must be from {low:g} to {high:g}, not {value!r}")
            return float(value)
        if value not in _CHOICES[name]:
            raise self._refused(name, f"must be one of {', '.join(_CHOICES[name])}, not {value!r}")
        return value

    def _checked_clock(self, name: str, value: str) -> str:
        if not _CLOCK.fullmatch(value):
            raise self._refused(name, f"must be ticks or a time such as '500ms', '30s', '5m', '1h', not {value!r}")
        length = clock_us(value)
        if length is None or not 0 < length <= MAX_CLOCK_S * 1_000_000:
            raise self._refused(name, f"must be from 1 ms to {MAX_CLOCK_S // 3600} hours, not {value!r}")
        for unit in ("h", "m", "s", "ms"):  # one way of writing a length, so that equal expressions are equal
            if length % (_CLOCK_MS[unit] * 1000) == 0:
                return f"{length // (_CLOCK_MS[unit] * 1000)}{unit}"
        raise AssertionError(value)

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

    def columns_needed(self) -> frozenset[str]:
        """Tick columns beside the book that this reads: ``volume``, ``amount``, ``last_price`` ..."""
        simpler = self.lower()
        parts = (simpler,) if simpler is not self else self.operands()
        return self.reads.union(*(part.columns_needed() for part in parts))

    def needs_session(self) -> bool:
        """Whether the session bounds of the day are needed."""
        return self.uses_session or any(operand.needs_session() for operand in self.operands())

    def warm_up(self) -> int:
        """Ticks, all finite, up to and including the first that has a value; clock windows at two ticks a second."""
        simpler = self.lower()
        if simpler is not self:
            return simpler.warm_up()
        below = max((operand.warm_up() for operand in self.operands()), default=self.history)
        if lag := getattr(self, "lag", 0):
            return below + (_ticks_of(lag) or lag)
        if span := getattr(self, "span", 0):  # of time: from when the day is so old
            return below + span - 1 if (ticks := _ticks_of(span)) is None else max(below, 1 + ticks)
        window = getattr(self, "window", 1)
        if (ticks := _ticks_of(window)) is None:
            return below + window - 1
        return max(below - 1, 1) + ticks  # so old is the day, and all that is in the window is known

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
    """``x / y``, and ``zero`` where ``y`` is exactly 0 and ``x`` is known: a share of nothing is what you say it is."""

    x: Expression
    y: Expression
    zero: float = 0.0


@dataclass(frozen=True)
class Fill(Expression):
    """``x``, and ``value`` where ``x`` is not finite. For what has a natural default; it hides what is unknown."""

    x: Expression
    value: float = 0.0

    def warm_up(self) -> int:
        return 1


@dataclass(frozen=True)
class Greater(Expression):
    """1 where ``x > y``, else 0."""

    x: Expression
    y: Expression


@dataclass(frozen=True)
class Equal(Expression):
    """1 where ``x == y``, else 0."""

    x: Expression
    y: Expression


@dataclass(frozen=True)
class Where(Expression):
    """``x`` where ``condition`` is not 0, else ``y``; NaN where the condition or the one chosen is."""

    condition: Expression
    x: Expression
    y: Expression


@dataclass(frozen=True)
class Larger(Expression):
    """The larger of ``x`` and ``y``."""

    x: Expression
    y: Expression


@dataclass(frozen=True)
class Smaller(Expression):
    """The smaller of ``x`` and ``y``."""

    x: Expression
    y: Expression


@dataclass(frozen=True)
class Log(Expression):
    """Natural logarithm of ``x``; NaN where ``x <= 0``."""

    x: Expression


@dataclass(frozen=True)
class Sqrt(Expression):
    """Square root of ``x``; NaN where ``x < 0``."""

    x: Expression


@dataclass(frozen=True)
class Square(Expression):
    """``x * x``."""

    x: Expression

    def lower(self) -> Expression:
        return Mul(self.x, self.x)


@dataclass(frozen=True)
class SignedLog(Expression):
    """``sign(x) log(1 + |x|)``: a heavy-tailed signed quantity, such as a flow in lots, brought to scale."""

    x: Expression

    def lower(self) -> Expression:
        return Mul(Sign(self.x), Log(Add(Abs(self.x), Const(1.0))))


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
