"""Explains a factor, a set or the library to a person."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, fields
from typing import Any

from ghtrader_base.errors import UsageError
from ghtrader_models.factors.language import expressions as ex
from ghtrader_models.factors.language import stateful as mem
from ghtrader_models.factors.language.expressions import Expression
from ghtrader_models.factors.library.sets import (
    GROUPS,
    TITLES,
    Factor,
    factors_of,
    find_factor,
    get_factor_set,
    set_names,
)
from ghtrader_models.factors.library.units import unit_of

_SOURCE = "NaN where a level it reads is absent"
_ELEMENT = "NaN where an operand is"
_WINDOW = "NaN until its window is full, and while a value in it is not finite"
_MEMORY = "NaN at a value that is not finite, which leaves its memory as it was"
_OWN_RULES = {
    ex.Const: "never NaN",
    ex.Fill: "never NaN but where its value is",
    ex.Where: "NaN where the condition or the branch taken is",
}


@dataclass(frozen=True, kw_only=True)
class SetRow:
    """One factor set in a list.

    Attributes
    ----------
    name : str
        Of the set.
    factors, need_depth : int
        How many it holds, and how many of them need more than the best level.
    warm : int
        Ticks until all have a value.
    purpose : str
        What it is for.
    """

    name: str
    factors: int
    need_depth: int
    warm: int
    purpose: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, under the headings of the table."""
        return {
            "set": self.name,
            "factors": self.factors,
            "need depth": self.need_depth,
            "warm": self.warm,
            "for": self.purpose,
        }


@dataclass(frozen=True, kw_only=True)
class SetDescription(SetRow):
    """One factor set: also its hash and the names of its factors, in column order."""

    spec_hash: str
    names: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**super().to_dict(), "spec_hash": self.spec_hash, "names": list(self.names)}


@dataclass(frozen=True)
class FactorRow:
    """One factor in a list."""

    definition: Factor

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, under the headings of the table."""
        factor = self.definition
        return {
            "factor": factor.name,
            "group": factor.group,
            "unit": factor.unit,
            "levels": factor.levels,
            "depth": "yes" if factor.levels > 1 else "",
            "warm": factor.warm_up,
            "meaning": factor.doc,
            "formula": str(factor.expression),
        }


@dataclass(frozen=True)
class FactorDescription(FactorRow):
    """One factor, and the names of the sets that hold it."""

    sets: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        factor = self.definition
        return {
            **super().to_dict(),
            "needs_depth": factor.levels > 1,
            "needs_session": factor.expression.needs_session(),
            "sets": list(self.sets),
            "paper": factor.reference,
        }


@dataclass(frozen=True, kw_only=True)
class Step:
    """One node of what a factor is computed from.

    Attributes
    ----------
    step : str
        Operator and its own arguments.
    formula : str
        The whole expression of the node.
    nesting : int
        How deep it lies below the factor.
    unit : str
        Of its values.
    warm : int
        Ticks until it has a value.
    levels : int
        Book levels it needs.
    rule : str
        When it is NaN.
    meaning : str
        What the operator does.
    again : bool
        Computed once, by the step above with the same formula.
    """

    step: str
    formula: str
    nesting: int
    unit: str
    warm: int
    levels: int
    rule: str
    meaning: str
    again: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True)
class FactorExplanation(FactorDescription):
    """One factor, when it is NaN, and the tree of what it is computed from, the factor first."""

    nan_rule: str
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**super().to_dict(), "nan_rule": self.nan_rule, "steps": [step.to_dict() for step in self.steps]}


def set_rows() -> list[SetRow]:
    """One row a set."""
    return [_set_row(name) for name in set_names()]


def _set_row(name: str) -> SetRow:
    return SetRow(
        name=name,
        factors=len(factors_of(name)),
        need_depth=sum(factor.levels > 1 for factor in factors_of(name)),
        warm=get_factor_set(name).warm_up_ticks,
        purpose=TITLES.get(name, "yours, from GHTRADER_FACTORS"),
    )


def list_factors(set_name: str, group: str = "") -> list[FactorRow]:
    """One row a factor of a set, only those of `group` where one is named.

    Raises
    ------
    UsageError
        No such set or group.
    """
    if group and group not in GROUPS:
        raise UsageError(f"no group of factors is called {group!r}", f"there are: {', '.join(GROUPS)}")
    return [FactorRow(factor) for factor in factors_of(set_name) if group in ("", factor.group)]


def describe(name: str) -> SetDescription | FactorDescription:
    """A set by its name, else a factor.

    Raises
    ------
    UsageError
        Neither a set nor a factor is called so; the hint names near ones.
    """
    if name in set_names():
        chosen = get_factor_set(name)
        return SetDescription(**asdict(_set_row(name)), spec_hash=chosen.spec_hash, names=chosen.names)
    factor = find_factor(name)
    return FactorDescription(factor, _sets_of(factor))


def _sets_of(factor: Factor) -> tuple[str, ...]:
    return tuple(name for name in set_names() if factor in factors_of(name))


def explain_factor(name: str) -> FactorExplanation:
    """A factor and the tree of what it is computed from, the factor first: one step a node, equal parts once.

    Raises
    ------
    UsageError
        No factor is called so.
    """
    factor = find_factor(name)
    steps = tuple(_steps(factor.expression, 0, set()))
    return FactorExplanation(factor, _sets_of(factor), _nan_rule(factor.expression), steps)


def _steps(expression: Expression, nesting: int, seen: set[Expression]) -> list[Step]:
    again = expression in seen
    seen.add(expression)
    own = Step(
        step=_label(expression),
        formula=str(expression),
        nesting=nesting,
        unit=unit_of(expression),
        warm=expression.warm_up(),
        levels=expression.levels_needed(),
        rule="computed once, see above" if again else _nan_rule(expression),
        meaning=(inspect.getdoc(type(expression)) or "").split("\n\n")[0].replace("\n", " "),
        again=again,
    )
    below = () if again else _below(expression)
    return [own, *(step for part in below for step in _steps(part, nesting + 1, seen))]


def _label(expression: Expression) -> str:
    """The operator with its own arguments; an operand, which has steps of its own, is a dot."""
    values = (getattr(expression, field.name) for field in fields(expression))
    parts = ["." if isinstance(value, Expression) else repr(value) for value in values]
    return str(expression) if isinstance(expression, ex.Const) else f"{type(expression).__name__}({', '.join(parts)})"


def _below(expression: Expression) -> tuple[Expression, ...]:
    simpler = expression.lower()
    return (simpler,) if simpler is not expression else expression.operands()


def _nan_rule(expression: Expression) -> str:
    kind = type(expression)
    if kind in _OWN_RULES:
        return _OWN_RULES[kind]
    if (simpler := expression.lower()) is not expression:
        return _nan_rule(simpler)
    if not expression.operands():
        return _SOURCE
    if kind.__module__ == mem.__name__:
        return _MEMORY
    return _WINDOW if any(hasattr(expression, name) for name in ("window", "lag")) else _ELEMENT
