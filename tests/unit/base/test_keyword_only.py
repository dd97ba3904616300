"""Structs of more than five fields are built by keyword: two floats exchanged would pass every other check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ghtrader_base

ROOT = Path(ghtrader_base.__file__).parents[1]
MOST = 5
EXEMPT = {"CoreState"}
"""Built in one place, without arguments."""


def positional(source: str) -> list[str]:
    """Names of structs with more than `MOST` fields that can be built by position."""
    found: list[str] = []
    if not any(word in source for word in ("dataclass", "Struct", "_Event")):
        return found  # parsing takes longer than looking
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        made_by = [ast.unparse(item) for item in node.decorator_list] + [ast.unparse(base) for base in node.bases]
        if not any("dataclass" in text or "Struct" in text or text == "_Event" for text in made_by):
            continue
        fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item)]
        words = " ".join([*made_by, *(f"{item.arg}={ast.unparse(item.value)}" for item in node.keywords)])
        if len(fields) > MOST and "kw_only=True" not in words:
            found.append(node.name)
    return found


def test_large_structs_are_keyword_only() -> None:
    modules = [path for room in ROOT.glob("ghtrader*") if room.is_dir() for path in room.rglob("*.py")]
    found = {name for path in modules for name in positional(path.read_text("utf-8"))}
    assert len(modules) > 300 and found <= EXEMPT, found - EXEMPT


@pytest.mark.parametrize("head", ["@dataclass\nclass A:", "class A(msgspec.Struct, frozen=True):", "class A(_Event):"])
def test_the_check_finds_what_it_is_for(head: str) -> None:
    body = "".join(f"\n    f{number}: float" for number in range(6))
    assert positional(head + body) == ["A"]
    assert positional(head + body.replace("\n    f5: float", "")) == []
