"""What one package hands another is a struct: no `dict[str, Any]` in the signatures and fields that others use.

A name counts as handed over where another package imports it, reaches it through an imported module
(`flows.build_main`), or where it stands in the signature or a field of something that is handed over: what a function
returns goes with it.
`to_dict` and `to_json` make documents for people and files, `from_dict` and `from_json` read them back.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import ghtrader_base

ROOT = Path(ghtrader_base.__file__).parents[1]
PACKAGES = (
    "ghtrader", "ghtrader_assets", "ghtrader_base", "ghtrader_exchange", "ghtrader_market", "ghtrader_models",
    "ghtrader_runtime",
)  # fmt: skip
LOOSE = ("dict[str, Any]", "dict[str, object]", "Mapping[str, Any]", "Mapping[str, object]")
DOCUMENTS = ("to_dict", "to_json", "from_dict", "from_json")

ALLOWED: dict[str, str] = {
    "ghtrader_market.stores.day_details:Part.unknown": "keys of other versions: not read, only written back",
    "ghtrader_assets.runs.execute:RunResult.metadata": "Dagster's own; outside ghtrader_assets `to_dict` alone is read",
}
"""Place -> why it stays."""


@dataclass
class Definition:
    """A function or class at the top of a module: where its annotations are loose, and which names stand in them."""

    loose: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def _names(annotation: ast.expr) -> set[str]:
    """Words of an annotation, also of a quoted one."""
    found = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    quoted = [node.value for node in ast.walk(annotation) if isinstance(node, ast.Constant)]
    return found.union(*(_names(ast.parse(text, mode="eval").body) for text in quoted if isinstance(text, str)))


def _note(made: Definition, place: str, annotation: ast.expr | None) -> None:
    if annotation is None:
        return
    made.names |= _names(annotation)
    if any(text in ast.unparse(annotation) for text in LOOSE) and place not in made.loose:
        made.loose.append(place)


def _signature(made: Definition, place: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    if node.name in DOCUMENTS:
        return
    asked = node.args
    every = [*asked.posonlyargs, *asked.args, *asked.kwonlyargs, *(a for a in (asked.vararg, asked.kwarg) if a)]
    for annotation in (*(item.annotation for item in every), node.returns):
        _note(made, place, annotation)


def definitions(tree: ast.Module) -> dict[str, Definition]:
    """Public functions and classes of a module; a class with its public methods, `__init__` and public fields."""
    found: dict[str, Definition] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            _signature(found.setdefault(node.name, Definition()), node.name, node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            made = found.setdefault(node.name, Definition())
            made.names |= set().union(*map(_names, node.bases)) if node.bases else set()
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                    if not item.name.startswith("_") or item.name == "__init__":
                        _signature(made, f"{node.name}.{item.name}", item)
                elif (
                    isinstance(item, ast.AnnAssign)
                    and isinstance(item.target, ast.Name)
                    and not item.target.id.startswith("_")
                ):
                    _note(made, f"{node.name}.{item.target.id}", item.annotation)
    return found


def imported(tree: ast.Module, modules: set[str]) -> set[tuple[str, str]]:
    """(module, name) of all that a module imports from others, or reaches through a module it imports."""
    found, aliases = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for item in node.names:
                if f"{node.module}.{item.name}" in modules:
                    aliases[item.asname or item.name] = f"{node.module}.{item.name}"
                else:
                    found.add((node.module, item.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            found.add((aliases[node.value.id], node.attr))
    return found


def loose_places(sources: dict[str, str]) -> set[str]:
    """`module:name` of every place that hands a loose document over; `sources` by module name."""
    trees = {module: ast.parse(text) for module, text in sources.items()}
    defined = {module: definitions(tree) for module, tree in trees.items()}
    where = defaultdict(set)
    for module, found in defined.items():
        for name in found:
            where[name].add(module)
    used = {module: imported(tree, set(trees)) for module, tree in trees.items()}
    wanted = [
        (other, name)
        for module, names in used.items()
        for other, name in names
        if other.split(".")[0] != module.split(".")[0]
    ]
    places, seen = set(), set()
    while wanted:
        module, name = wanted.pop()
        made = defined.get(module, {}).get(name)
        if made is None or (module, name) in seen:
            continue
        seen.add((module, name))
        places |= {f"{module}:{place}" for place in made.loose}
        for other in made.names:
            wanted += [(module, other), *((at, other) for at in where[other] if (at, other) in used[module])]
    return places


def _sources() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return found


def test_no_package_hands_another_a_loose_document() -> None:
    sources = _sources()
    assert len(sources) > 300
    found = loose_places(sources)
    assert found <= ALLOWED.keys(), sorted(found - ALLOWED.keys())
    gone = sorted(ALLOWED.keys() - found)
    assert not gone, f"take these off the table, they are mended: {gone}"


USER = "from b.m import {name}\n"


@pytest.mark.parametrize(
    ("text", "name", "places"),
    [
        ("def f(x: dict[str, Any]) -> int: ...", "f", {"f"}),
        ("def f() -> list[dict[str, object]]: ...", "f", {"f"}),
        ("def f(*, x: Mapping[str, Any] | None = None) -> int: ...", "f", {"f"}),
        ("def f() -> 'dict[str, Any]': ...", "f", {"f"}),
        ("class C:\n    x: dict[str, Any]\n    _y: dict[str, Any]", "C", {"C.x"}),
        ("class C:\n    def m(self) -> dict[str, Any]: ...", "C", {"C.m"}),
        ("class C:\n    def to_dict(self) -> dict[str, Any]: ...", "C", set()),
        ("class C:\n    def __init__(self, x: dict[str, Any]) -> None: ...", "C", {"C.__init__"}),
        ("class C:\n    x: dict[str, Any]\ndef f() -> list[C]: ...", "f", {"C.x"}),
        ("class B:\n    x: dict[str, Any]\nclass C(B):\n    y: int", "C", {"B.x"}),
        ("def g() -> dict[str, Any]: ...\ndef f() -> dict[str, int]: ...", "f", set()),
    ],
)
def test_the_check_finds_what_it_is_for(text: str, name: str, places: set[str]) -> None:
    assert loose_places({"a.m": USER.format(name=name), "b.m": text}) == {f"b.m:{place}" for place in places}
    assert loose_places({"b.n": USER.format(name=name), "b.m": text}) == set(), "inside one package it may be so"


def test_the_check_follows_modules_and_other_files() -> None:
    sources = {
        "a.m": "from b import m\nm.f()\n",
        "b": "",
        "b.m": "from b.n import C\ndef f() -> C: ...\ndef g() -> dict[str, Any]: ...\n",
        "b.n": "class C:\n    x: dict[str, Any]\n",
    }
    assert loose_places(sources) == {"b.n:C.x"}
