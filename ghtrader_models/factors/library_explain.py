"""What is said about a factor, a set or the library, as plain documents for the command line and the console."""

from __future__ import annotations

import inspect
from typing import Any

from ghtrader_base.errors import UsageError
from ghtrader_models.factors.expressions import Expression
from ghtrader_models.factors.library import GROUPS, TITLES, Factor, factors_of, find_factor, get_factor_set
from ghtrader_models.factors.library_units import unit_of

_NAN = "NaN where an operand is NaN"
_NAN_WINDOW = "NaN until its window holds finite values, and for a whole window after a value that is not"
_NAN_SOURCE = "NaN where a level it reads is absent"


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
        for name, title in TITLES.items()
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
    if name in TITLES:
        chosen = get_factor_set(name)
        (row,) = (row for row in set_rows() if row["set"] == name)
        return {**row, "spec_hash": chosen.spec_hash, "names": list(chosen.names)}
    return _described(find_factor(name))


def _described(factor: Factor) -> dict[str, Any]:
    return {
        **_row(factor),
        "needs_depth": factor.levels > 1,
        "needs_session": factor.expression.needs_session(),
        "sets": [name for name in TITLES if factor in factors_of(name)],
        "paper": factor.reference,
    }


def explain_factor(name: str) -> dict[str, Any]:
    """A factor and the tree of what it is computed from, operators first: one step a node.

    Returns
    -------
    dict
        What `describe` says, and ``steps``: step (text), nesting, unit, warm (ticks), levels, meaning, rule (for NaN).

    Raises
    ------
    UsageError
        No factor is called so.
    """
    factor = find_factor(name)
    return {**_described(factor), "steps": _steps(factor.expression, 0)}


def _steps(expression: Expression, nesting: int) -> list[dict[str, Any]]:
    own = {
        "step": str(expression),
        "nesting": nesting,
        "unit": unit_of(expression),
        "warm": expression.warm_up(),
        "levels": expression.levels_needed(),
        "rule": _nan_rule(expression),
        "meaning": (inspect.getdoc(type(expression)) or "").split("\n\n")[0].replace("\n", " "),
    }
    simpler = expression.lower()
    below = (simpler,) if simpler is not expression else expression.operands()
    return [own, *(step for operand in below for step in _steps(operand, nesting + 1))]


def _nan_rule(expression: Expression) -> str:
    if not expression.operands():
        return _NAN_SOURCE if expression.lower() is expression else _NAN
    windowed = any(hasattr(expression, name) for name in ("window", "span", "lag"))
    return _NAN_WINDOW if windowed else _NAN
