"""Finds which days a query can touch, from its syntax tree, so that a lake of many days is not listed for one of them.

Pure: in goes the tree DuckDB's parser makes (`json_serialize_sql`), out come bounds on a view's partition columns.
They only ever leave out days the query's own conditions leave out; where a condition is not understood, nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

Tree = dict[str, Any]
_FLIPPED = {
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_EQUAL": "COMPARE_EQUAL",
}


@dataclass(frozen=True)
class Bounds:
    """Keys and days (ISO text) that one use of a view can touch; None: any."""

    keys: frozenset[str] | None = None
    first: str | None = None
    last: str | None = None

    def holds(self, key: str, day: str) -> bool:
        """Whether a day can be touched."""
        return (
            (self.keys is None or key in self.keys)
            and (self.first is None or day >= self.first)
            and (self.last is None or day <= self.last)
        )

    def narrowed(self, column: str, operator: str, values: list[str], key_column: str) -> Bounds:
        """With one more condition in force."""
        if column == key_column and operator == "COMPARE_EQUAL":
            keys = frozenset(values)
            return Bounds(keys if self.keys is None else self.keys & keys, self.first, self.last)
        if column != "date" or not all(_is_day(value) for value in values):
            return self
        first = max(values) if "GREATER" in operator else min(values) if operator == "COMPARE_EQUAL" else ""
        last = min(values) if "LESS" in operator else max(values) if operator == "COMPARE_EQUAL" else ""
        return Bounds(
            self.keys,
            max(filter(None, (self.first, first)), default=None),
            min(filter(None, (self.last, last)), default=None),
        )


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def tables_of(tree: Any) -> set[str]:
    """Every table name a tree mentions, in lower case."""
    return {str(node["table_name"]).lower() for node in _walk(tree) if node.get("type") == "BASE_TABLE"}


def lists_tables(tree: Any) -> bool:
    """Whether the query asks which tables there are (SHOW, DESCRIBE without a table, information_schema)."""
    schemas = {str(node.get("schema_name", "")).lower() for node in _walk(tree) if node.get("type") == "BASE_TABLE"}
    return "information_schema" in schemas or any(
        node.get("type") == "SHOW_REF" and node.get("query") is None for node in _walk(tree)
    )


def node_kinds(tree: Any) -> set[str]:
    """Kinds of the query nodes of a tree, those inside a WITH and of sub-queries among them."""
    kinds = (str(node.get("type", "")) for node in _walk(tree))
    return {kind for kind in kinds if kind.endswith("_NODE")}


def bounds_of(tree: Any, view: str, key_column: str) -> list[Bounds]:
    """What each use of a view can touch; a day is needed where any of them holds it."""
    ctes = {str(entry.get("key", "")).lower() for node in _walk(tree) for entry in _ctes(node)}
    if view in ctes:
        return [Bounds()]
    found: list[Bounds] = []
    seen = 0
    for node in _walk(tree):
        if node.get("type") != "SELECT_NODE":
            continue
        uses = [(t, plain) for t, plain in _from_tables(node.get("from_table")) if _names(t, view)]
        seen += len(uses)
        conditions = list(_conjuncts(node.get("where_clause")))
        for table, plain in uses:
            usable = plain and not node.get("sample") and not table.get("sample")
            found.append(_bounds(table, conditions if usable else [], key_column, view))
    every = sum(_names(node, view) for node in _walk(tree) if node.get("type") == "BASE_TABLE")
    return found if seen == every else [Bounds()]


def _names(table: Tree, view: str) -> bool:
    return str(table.get("table_name", "")).lower() == view


def _bounds(table: Tree, conditions: Iterable[Tree], key_column: str, view: str) -> Bounds:
    bounds = Bounds()
    if table.get("column_name_alias"):
        return bounds
    own = (str(table.get("alias") or view)).lower()
    for condition in conditions:
        for column, operator, values in _compared(condition):
            *qualifiers, name = (part.lower() for part in column)
            if not qualifiers or qualifiers == [own]:
                bounds = bounds.narrowed(name, operator, values, key_column)
    return bounds


def _compared(node: Tree) -> Iterator[tuple[list[str], str, list[str]]]:
    """A condition as (column, operator, constants), where it is one of a column with constants."""
    kind = node.get("type")
    if kind in _FLIPPED and node.get("class") == "COMPARISON":
        for column, value, operator in (
            (node["left"], node["right"], kind),
            (node["right"], node["left"], _FLIPPED[kind]),
        ):
            if (name := _column(column)) and (text := _constant(value)) is not None:
                yield name, operator, [text]
    elif kind == "COMPARE_BETWEEN" and (name := _column(node.get("input", {}))):
        if (text := _constant(node.get("lower", {}))) is not None:
            yield name, "COMPARE_GREATERTHANOREQUALTO", [text]
        if (text := _constant(node.get("upper", {}))) is not None:
            yield name, "COMPARE_LESSTHANOREQUALTO", [text]
    elif kind == "COMPARE_IN" and (name := _column(node["children"][0])):
        values = [_constant(child) for child in node["children"][1:]]
        if values and all(value is not None for value in values):
            yield name, "COMPARE_EQUAL", [str(value) for value in values]


def _column(node: Tree) -> list[str] | None:
    return node.get("column_names") if node.get("type") == "COLUMN_REF" else None


def _constant(node: Tree) -> str | None:
    """Text of a constant, also of one cast to DATE or VARCHAR."""
    if node.get("type") == "OPERATOR_CAST":
        wanted = str((node.get("type_expr") or {}).get("type_name", "")).upper()
        return _constant(node.get("child", {})) if wanted in ("DATE", "VARCHAR") else None
    literal = node.get("literal") or {}
    return str(literal["text"]) if node.get("type") == "VALUE_CONSTANT" and literal.get("kind") == "STRING" else None


def _conjuncts(node: Tree | None) -> Iterator[Tree]:
    if not node:
        return
    if node.get("type") == "CONJUNCTION_AND":
        for child in node.get("children", []):
            yield from _conjuncts(child)
    else:
        yield node


def _from_tables(node: Tree | None, plain: bool = True) -> Iterator[tuple[Tree, bool]]:
    """Tables that stand in a FROM itself, joined or alone, and whether WHERE speaks of each of their rows.

    It does not of the right side of SEMI, ANTI and ASOF joins (which row is the nearest depends on all of them), nor
    where rows are matched by their position.
    """
    if not node:
        return
    if node.get("type") == "BASE_TABLE":
        yield node, plain
    elif node.get("type") == "JOIN":
        kind = node.get("ref_type")
        plain = plain and kind != "POSITIONAL"
        yield from _from_tables(node.get("left"), plain)
        matched = kind != "ASOF" and node.get("join_type") not in ("SEMI", "ANTI")
        yield from _from_tables(node.get("right"), plain and matched)


def _ctes(node: Tree) -> list[Tree]:
    found = node.get("cte_map")
    return found.get("map", []) if isinstance(found, dict) else []


def _walk(tree: Any) -> Iterator[Tree]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _walk(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _walk(value)
