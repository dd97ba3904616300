"""Explains a factor, a set or the library as plain documents for the command line."""

from __future__ import annotations

import inspect
from dataclasses import fields
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


def set_rows() -> list[dict[str, Any]]:
    """One row a set: name, factors, how many need depth, warm-up in ticks, what it is for."""
    return [
        {
            "set": name,
            "factors": len(factors_of(name)),
            "need depth": sum(factor.levels > 1 for factor in factors_of(name)),
            "warm": get_factor_set(name).warm_up_ticks,
            "for": title,
        }
        for name, title in ((name, TITLES.get(name, "yours, from GHTRADER_FACTORS")) for name in set_names())
    ]


def list_factors(set_name: str, group: str = "") -> list[dict[str, Any]]:
    """One row a factor of a set, only those of `group` where one is named.

    Raises
    ------
    UsageError
        No such set or group.
    """
    if group and group not in GROUPS:
        raise UsageError(f"no group of factors is called {group!r}", f"there are: {', '.join(GROUPS)}")
    return [_row(factor) for factor in factors_of(set_name) if group in ("", factor.group)]


def _row(factor: Factor) -> dict[str, Any]:
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


def describe(name: str) -> dict[str, Any]:
    """A set by its name, else a factor.

    Raises
    ------
    UsageError
        Neither a set nor a factor is called so; the hint names near ones.
    """
    if name in set_names():
        chosen = get_factor_set(name)
        (row,) = (row for row in set_rows() if row["set"] == name)
        return {**row, "spec_hash": chosen.spec_hash, "names": list(chosen.names)}
    return _described(find_factor(name))


def _described(factor: Factor) -> dict[str, Any]:
    return {
        **_row(factor),
        "needs_depth": factor.levels > 1,
        "needs_session": factor.expression.needs_session(),
        "sets": [name for name in set_names() if factor in factors_of(name)],
        "paper": factor.reference,
    }


def explain_factor(name: str) -> dict[str, Any]:
    """A factor and the tree of what it is computed from, the factor first: one step a node, equal parts once.

    Returns
    -------
    dict
        What `describe` says, and ``steps``: step (operator and own arguments), formula, nesting, unit, warm (ticks),
        levels, rule (for NaN), meaning, again (computed once, by the step above with the same formula).

    Raises
    ------
    UsageError
        No factor is called so.
    """
    factor = find_factor(name)
    return {
        **_described(factor),
        "nan_rule": _nan_rule(factor.expression),
        "steps": _steps(factor.expression, 0, set()),
    }


def _steps(expression: Expression, nesting: int, seen: set[Expression]) -> list[dict[str, Any]]:
    again = expression in seen
    seen.add(expression)
    own = {
        "step": _label(expression),
        "formula": str(expression),
        "nesting": nesting,
        "unit": unit_of(expression),
        "warm": expression.warm_up(),
        "levels": expression.levels_needed(),
        "rule": "computed once, see above" if again else _nan_rule(expression),
        "meaning": (inspect.getdoc(type(expression)) or "").split("\n\n")[0].replace("\n", " "),
        "again": again,
    }
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
