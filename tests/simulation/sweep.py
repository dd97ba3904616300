"""Every small change of the core's source, one at a time: which does the simulation find, which survive?

Operators: comparisons turned, `and` for `or`, conditions negated or dropped, + for -, numbers off by one, True for
False, strings of status changed, statements left out. What the simulation does not find within its seeds is given to
the room's unit tests, as far as they concern the core; what they pass too has survived.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.simulation.faulty import MIND, ROOM, find, source

TESTS = ("test_core.py", "test_execution.py", "test_rules.py", "test_dedupe.py")
_COMPARE = {
    ast.Lt: (ast.LtE,), ast.LtE: (ast.Lt,), ast.Gt: (ast.GtE,), ast.GtE: (ast.Gt,), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
_ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult}


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            for other in _COMPARE[type(op)]:
                new = copy.deepcopy(node)
                new.ops = [other()]
                yield f"{type(op).__name__} -> {other.__name__}", new
        case ast.BoolOp():
            new = copy.deepcopy(node)
            new.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "and <-> or", new
            for i in range(len(node.values)):
                rest = [value for k, value in enumerate(node.values) if k != i]
                yield f"operand {i} left out", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        case ast.UnaryOp(op=ast.Not()):
            yield "not left out", node.operand
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            new = copy.deepcopy(node)
            new.op = _ARITHMETIC[type(node.op)]()
            yield f"{type(node.op).__name__} -> {type(new.op).__name__}", new
        case ast.Constant(value=bool()):
            yield f"{node.value} -> {not node.value}", ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield f"{node.value} -> {node.value + 1}", ast.Constant(node.value + 1)
        case ast.If():
            new = copy.deepcopy(node)
            new.test = ast.UnaryOp(ast.Not(), node.test)
            yield "condition negated", new
        case ast.Assign() | ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.Delete():
            yield "statement left out", ast.Pass()
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield "returns nothing", ast.Return(ast.List([], ast.Load()))
        case ast.Attribute(value=ast.Name(id="OrderStatus" | "TradingState"), attr=attr):
            other = {"HALTED": "REDUCING", "REDUCING": "ACTIVE", "WORKING": "SENT", "SENT": "WORKING"}.get(
                attr, "UNKNOWN"
            )
            if attr != other and (node.value.id == "OrderStatus" or other != "UNKNOWN"):  # type: ignore[attr-defined]
                new = copy.deepcopy(node)
                new.attr = other
                yield f"{attr} -> {other}", new


def _slots(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every place of a tree: parent, field, index in the field where it is a list, and what is there now."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                yield parent, name, None, value
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        yield parent, name, i, item


def mutants(module: str) -> Iterator[tuple[str, str]]:
    """(what and where, text) of every small change of a module; journal lines and their texts are left alone."""
    text = source(module)
    lines, tree = text.splitlines(), ast.parse(text)
    skipped = {id(child) for node in ast.walk(tree) if _uninteresting(node) for child in ast.walk(node)}
    for parent, name, i, node in list(_slots(tree)):
        if id(node) in skipped or not hasattr(node, "lineno"):
            continue
        for what, new in list(_changes(node)):
            _put(parent, name, i, ast.fix_missing_locations(ast.copy_location(new, node)))
            yield f"{module}.py:{node.lineno} {what}: {lines[node.lineno - 1].strip()}", ast.unparse(tree)
            _put(parent, name, i, node)


def _put(parent: ast.AST, name: str, i: int | None, node: ast.AST) -> None:
    if i is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[i] = node


def _uninteresting(node: ast.AST) -> bool:
    """A journal record, the words of a message, a field's type, a stub."""
    return (
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Record")
        or (isinstance(node, ast.FunctionDef) and node.name in ("_fill_fields", "order_id"))
        or (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or isinstance(node, ast.Raise)
    )


def unit_tests_find(module: str, text: str) -> bool:
    """Whether the room's unit tests of the core fail with a module of this text; run on a copy, not on the tree."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        site = Path(folder) / "sitecustomize.py"
        site.write_text(
            f"import sys\nsys.path.insert(0, {str(ROOM.parent)!r})\n"
            "from tests.simulation.faulty import _Finder\n"
            "for name in [n for n in sys.modules if n.startswith(('tests.simulation', 'ghtrader_runtime'))]:\n"
            "    if name != 'ghtrader_runtime': del sys.modules[name]\n"
            f"text = open({str(Path(folder) / 'text.py')!r}).read()\n"
            f"sys.meta_path.insert(0, _Finder('ghtrader_runtime.{module}', text))\n"
        )
        (Path(folder) / "text.py").write_text(text)
        here = ROOM.parent / "tests" / "unit" / "runtime"
        names = [str(here / name) for name in TESTS if (here / name).exists()]
        environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOM.parent}"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *names], env=environment,
            cwd=ROOM.parent, capture_output=True, timeout=300, check=False,
        )  # fmt: skip
        return done.returncode != 0


def sweep(
    modules: tuple[str, ...] = MIND, seeds: int = 300, part: tuple[int, int] = (0, 1), tests: bool = True
) -> dict[str, object]:
    """Try all; returns counts and survivors. `part` (i, n): only every n-th from the i-th."""
    found = by_tests = 0
    survivors: list[str] = []
    started = time.monotonic()
    for module in modules:
        for number, (what, text) in enumerate(mutants(module)):
            if number % part[1] != part[0]:
                continue
            if find(module, text, range(seeds), 60.0)[0] >= 0:
                found += 1
            elif tests and unit_tests_find(module, text):
                by_tests += 1
            else:
                survivors.append(what)
                print("survived", what, file=sys.stderr, flush=True)
    return {
        "seeds": seeds, "simulation": found, "unit_tests": by_tests, "survivors": survivors,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip


if __name__ == "__main__":
    import ghtrader_market.positions  # noqa: F401  loaded once, before the children

    parser = argparse.ArgumentParser(prog="python -m tests.simulation.sweep")
    parser.add_argument("--modules", default=",".join(MIND))
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="only every N-th change from the I-th: I N")
    parser.add_argument("--no-tests", action="store_true", help="leave the unit tests out")
    given = parser.parse_args()
    answer = sweep(tuple(given.modules.split(",")), given.seeds, tuple(given.part), not given.no_tests)
    print(json.dumps(answer, indent=1))
