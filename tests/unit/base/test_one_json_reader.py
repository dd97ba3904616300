"""Every JSON text is read by `ghtrader_base.files`, which refuses what means two things or is no number.

Python's own reader takes NaN, names said twice and the largest integers, and raises RecursionError for many brackets.
msgspec, which reads straight into structs, is not looked for here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ghtrader_base

ROOT = Path(ghtrader_base.__file__).parents[1]
READERS = {"json": {"load", "loads", "JSONDecoder"}, "orjson": {"loads"}, "simplejson": {"load", "loads"}}
ALLOWED = {
    "ghtrader_base/files.py": "it is the reader",
    "ghtrader_market/sources/tqsdk/frames.py": "from our own child, whose figures may be NaN; any error is caught",
    "ghtrader_market/inventory/contract_catalog.py": "a file of the installed TqSdk, as large as all old contracts",
    "ghtrader_exchange/protocol/client_messages.py": "orjson: strict, bounded in depth; messages of a test's client",
    "ghtrader_models/families/checkpoints.py": "of our own trainer; its best loss may be infinite",
    "infra/setup.py": "runs before anything is installed, on the stamp it wrote itself",
}
"""File -> why it reads JSON by itself."""
NAMED = re.compile(r"\b(?:import|from)\b[^\n]*json")
"""Every import of a reader; a text without one needs no parsing."""


def readers(text: str) -> list[int]:
    """Lines that read JSON by another reader than ours."""
    if not NAMED.search(text):
        return []
    tree = ast.parse(text)
    names = {
        item.asname or item.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in READERS
        for item in node.names
        if item.name in READERS[node.module]
    }
    modules = {
        item.asname or item.name: item.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for item in node.names
        if item.name in READERS
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            if node.attr in READERS[modules[node.value.id]]:
                found.append(node.lineno)
        elif isinstance(node, ast.Name) and node.id in names:
            found.append(node.lineno)
    return found


def test_nothing_else_reads_json() -> None:
    files = [path for room in (*ROOT.glob("ghtrader*"), ROOT / "infra") for path in room.rglob("*.py")]
    assert len(files) > 300
    found = {str(path.relative_to(ROOT)): lines for path in files if (lines := readers(path.read_text("utf-8")))}
    others = {name: lines for name, lines in found.items() if name not in ALLOWED}
    assert not others, f"read it by ghtrader_base.files.parse_json or read_json: {others}"
    assert found.keys() == ALLOWED.keys(), "take off the table what reads no JSON any more"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import json\njson.loads(x)", [2]), ("import json as j\nj.load(x)", [2]), ("import json\njson.dumps(x)", []),
        ("from json import loads\nloads(x)", [2]), ("from json import dumps\ndumps(x)", []),
        ("import json\nread = json.loads", [2]), ("import orjson\norjson.loads(x)", [2]),
        ("def f():\n    from json import load as read\n    return read(x)", [3]),
    ],
)  # fmt: skip
def test_the_check_finds_what_it_is_for(text: str, found: list[int]) -> None:
    assert readers(text) == found
