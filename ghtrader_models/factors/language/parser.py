"""Parses text into an expression; knows the language's names, numbers and strings, and nothing else of Python.

What belongs here: turning text into `Expression` and refusing, with the place and the reason. Nothing is evaluated.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from dataclasses import MISSING, fields

from ghtrader_base.errors import UsageError
from ghtrader_models.factors.language import market_measures, rolling_windows, sources, stateful
from ghtrader_models.factors.language.expressions import EXPRESSIONS, Const, Expression, signature

_PARTS = (market_measures, stateful, sources, rolling_windows)  # imported for the names they define
MAX_TEXT = 10_000
MAX_NESTING = 50
NAMES: dict[str, type[Expression]] = {
    name: cls for name, cls in EXPRESSIONS.items() if cls not in (Const, sources.Source)
}
"""What may be written in an expression."""


def parse(text: str) -> Expression:
    """Read an expression as `str` prints it.

    Parameters
    ----------
    text : str
        For example ``Mean(Imbalance(1), 50)``; arguments by position or by name.

    Raises
    ------
    ExpressionError
        Anything else, with the column (from 1) and the reason.

    Examples
    --------
    >>> str(parse("Ratio( Sum(Ofi(level=1),20), Depth('bid',5) )"))
    "Ratio(Sum(Ofi(1), 20), Depth('bid', 5))"
    """
    if not isinstance(text, str) or not text.strip():
        raise UsageError("an expression must be a text such as 'Mean(Imbalance(1), 50)'")
    if len(text) > MAX_TEXT:
        raise UsageError(f"an expression of {len(text)} characters is too long", f"at most {MAX_TEXT}")
    text = "".join(" " if character.isspace() else character for character in text)  # columns stay what they are
    indent = len(text) - len(text.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SyntaxWarning)
            tree = ast.parse(text.lstrip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        column = (getattr(exc, "offset", None) or 1) + indent
        raise _refused(text, column, getattr(exc, "msg", None) or "it cannot be read") from exc
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.col_offset += indent
    found = _node(text, tree.body, 0)
    if not isinstance(found, Expression):
        raise _refused(text, 1, "a bare value is no factor")
    return found


class ExpressionError(UsageError):
    """An expression cannot be read: `column` (from 1) and `reason` say where and why."""

    def __init__(self, text: str, column: int, reason: str, hint: str = "") -> None:
        shown = " ".join(text.split())
        shown = shown if len(shown) <= 120 else f"{shown[:120]}..."
        super().__init__(f"factor expression {shown!r}, column {column}: {reason}", hint)
        self.column, self.reason = column, reason

    def __reduce__(self) -> tuple[type[UsageError], tuple[str, str]]:
        return UsageError, (self.message, self.hint)  # what another process needs to know


_refused = ExpressionError


def _node(text: str, node: ast.expr, nesting: int) -> Expression | int | float | str:
    column = node.col_offset + 1
    if nesting > MAX_NESTING:
        raise _refused(text, column, f"nested deeper than {MAX_NESTING}")
    constant = node.value if isinstance(node, ast.Constant) else None
    if isinstance(constant, (int, float, str)) and not isinstance(constant, bool):
        return constant
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _node(text, node.operand, nesting + 1)
        if isinstance(value, (int, float)):
            return -value if isinstance(node.op, ast.USub) else value
        raise _refused(text, column, "a sign belongs before a number")
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        what = f"{node.id!r} is not called" if isinstance(node, ast.Name) else f"{type(node).__name__} is not allowed"
        raise _refused(text, column, what, "write names with their arguments, numbers and strings: Mean(Mid(), 20)")
    cls = NAMES.get(node.func.id)
    if cls is None:
        near = difflib.get_close_matches(node.func.id, NAMES, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(NAMES))}"
        raise _refused(text, column, f"unknown name {node.func.id!r}", hint)
    return _call(text, node, cls, nesting)


def _call(text: str, node: ast.Call, cls: type[Expression], nesting: int) -> Expression:
    column = node.col_offset + 1
    usage = f"written as {signature(cls)}"
    slots = fields(cls)
    if len(node.args) > len(slots):
        raise _refused(text, column, f"{cls.__name__} takes {len(slots)} arguments, not {len(node.args)}", usage)
    given = {slot.name: arg for slot, arg in zip(slots, node.args, strict=False)}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg not in {slot.name for slot in slots}:
            raise _refused(text, column, f"{cls.__name__} has no argument {keyword.arg!r}", usage)
        if keyword.arg in given:
            raise _refused(text, column, f"{cls.__name__} is given {keyword.arg} twice", usage)
        given[keyword.arg] = keyword.value
    if missing := [slot.name for slot in slots if slot.default is MISSING and slot.name not in given]:
        raise _refused(text, column, f"{cls.__name__} lacks {', '.join(missing)}", usage)
    values = {name: _node(text, arg, nesting + 1) for name, arg in given.items()}
    try:
        return cls(**values)
    except UsageError as exc:
        raise _refused(text, column, exc.message, exc.hint) from exc
