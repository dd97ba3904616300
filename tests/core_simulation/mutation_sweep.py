"""Tries every small change of the core's source, one at a time: which does the simulation find, which survive?

Operators: comparisons turned, `and` for `or`, conditions negated or dropped, + for -, numbers off by one, True for
False, strings of status changed, statements left out. What the simulation does not find within its seeds is given to
the room's unit tests, as far as they concern the core; what they pass too has survived.

Each change is tried in a fork of this process, which has everything else loaded; the seeds that found the last ones
are played first. Verdicts are kept in a file, so that a sweep can be interrupted, and a change of one function costs
the verdicts of that function alone.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import hashlib
import importlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ghtrader_runtime
from tests.core_simulation.mutant_runner import CORE_MODULES, ROOM, find, in_child, source

TESTS = (
    "core/test_trading_core.py",
    "core/test_edge_cases.py",
    "core/test_roll_execution.py",
    "core/test_order_planning.py",
    "core/test_risk_rules.py",
    "core/test_request_watermark.py",
    "accounts/test_disk_outage.py",
    "core/test_order_prediction.py",
    "core/test_core_parts.py",
)
_WARM = ("pytest", "hypothesis", "numpy", "msgspec", "tests.support.runtime_kit", "ghtrader_runtime.brokers.paper")
_FAVOURITES = 25
"""Seeds that found something lately, played before the others."""
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
        case ast.Return(value=ast.List(elts=[])):  # nothing already
            return
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


def mutants(module: str) -> Iterator[tuple[str, str, str]]:
    """(key, what and where, text) of every small change of a module; journal lines and their texts are left alone.

    The key stands for the change and the text of the function or class it is in, and for nothing else.
    """
    text = source(module)
    lines, tree = text.splitlines(), ast.parse(text)
    skipped = {id(child) for node in ast.walk(tree) if _uninteresting(node) for child in ast.walk(node)}
    around = _surroundings(tree)
    seen: dict[str, int] = {}
    for parent, name, i, node in list(_slots(tree)):
        if id(node) in skipped or not hasattr(node, "lineno"):
            continue
        for what, new in list(_changes(node)):
            line = lines[node.lineno - 1].strip()
            plain = f"{module} {around.get(id(node), line)} {what} {line}"
            seen[plain] = seen.get(plain, 0) + 1
            key = hashlib.sha256(f"{plain} {seen[plain]}".encode()).hexdigest()[:16]
            _put(parent, name, i, ast.fix_missing_locations(ast.copy_location(new, node)))
            yield key, f"{module}.py:{node.lineno} {what}: {line}", ast.unparse(tree)
            _put(parent, name, i, node)


def _surroundings(tree: ast.AST) -> dict[int, str]:
    """Text of the innermost function around each node, by the node's id."""
    found: dict[int, str] = {}
    for node in ast.walk(tree):  # outer ones first
        if isinstance(node, ast.FunctionDef):
            text = ast.unparse(node)
            found |= {id(child): text for child in ast.walk(node)}
    return found


def _put(parent: ast.AST, name: str, i: int | None, node: ast.AST) -> None:
    if i is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[i] = node


def _uninteresting(node: ast.AST) -> bool:
    """A journal record, the words of a message, a field's type, a stub, whether a class may be changed."""
    return (
        isinstance(node, ast.JoinedStr | ast.keyword)
        and (isinstance(node, ast.JoinedStr) or node.arg in ("frozen", "gc"))
        or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__")
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Record")
        or (isinstance(node, ast.FunctionDef) and node.name in ("fill_fields", "order_id"))
        or (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or isinstance(node, ast.Raise)
    )


def unit_tests_find(module: str, text: str, tests: tuple[str, ...] = TESTS) -> bool:
    """Whether the room's unit tests of the core fail with a module of this text."""
    return bool(unit_tests_say(module, text, tests))


def unit_tests_say(module: str, text: str, tests: tuple[str, ...] = TESTS) -> str:
    """What the room's unit tests of the core tell where they fail with a module of this text; run in a fork, not on
    the tree, in a folder of their own."""

    def work() -> str:
        import pytest

        for name in [n for n in sys.modules if n.startswith(("tests.", "ghtrader_runtime."))]:
            del sys.modules[name]
            vars(ghtrader_runtime).pop(name.removeprefix("ghtrader_runtime."), None)
        here = ROOM.parent / "tests" / "unit" / "runtime"
        names = [str(here / name) for name in tests if (here / name).exists()]
        quiet = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not million"]
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as told:
            failed = pytest.main([*quiet, f"--basetemp={folder}/t", *names])
        return f"{failed!r}: {told.getvalue()[-3000:]}" if failed else ""

    return str(in_child(module, text, work))


def warm_up() -> None:
    """Load what every fork needs."""
    for name in _WARM:
        importlib.import_module(name)


def verdict(module: str, text: str, favourites: list[int], seeds: list[int], tests: bool) -> tuple[str, int]:
    """`stories` and the seed, `tests`, or `survived`; what is quick is asked first."""
    if favourites and (found := find(module, text, favourites, 60.0)[0]) >= 0:
        return "stories", found
    if tests and unit_tests_find(module, text):
        return "tests", -1
    found = find(module, text, [seed for seed in seeds if seed not in favourites], 240.0)[0]
    return ("stories", found) if found >= 0 else ("survived", -1)


def sweep(
    modules: tuple[str, ...] = CORE_MODULES, seeds: int = 300, part: tuple[int, int] = (0, 1), tests: bool = True,
    kept: Path | None = None,
) -> dict[str, object]:  # fmt: skip
    """Try all; returns counts and survivors.

    Parameters
    ----------
    modules : tuple of str
        Of `CORE_MODULES`.
    seeds : int
        How many scenarios a change must pass to survive.
    part : (int, int)
        (i, n): only every n-th change from the i-th.
    tests : bool
        Whether the unit tests judge what the scenarios passed.
    kept : Path, optional
        File of verdicts, one JSON line a change: those it has are not asked for again, but for what survived fewer
        scenarios than `seeds`.
    """
    warm_up()
    known: dict[str, dict[str, object]] = {}
    if kept is not None and kept.exists():
        known = {row["key"]: row for row in map(json.loads, kept.read_text().splitlines())}  # the last of each counts
    counts = {"stories": 0, "tests": 0, "survived": 0}
    survivors: list[str] = []
    favourites = list(range(_FAVOURITES))
    started = time.monotonic()
    for module in modules:
        for number, (key, what, text) in enumerate(mutants(module)):
            if number % part[1] != part[0]:
                continue
            row = known.get(key)
            if row is None or (row["verdict"] == "survived" and int(str(row["seeds"])) < seeds):
                before = range(int(str(row["seeds"]))) if row else ()
                found, seed = verdict(module, text, favourites, [s for s in range(seeds) if s not in before], tests)
                if seed >= 0:
                    favourites = [seed, *(one for one in favourites if one != seed)][:_FAVOURITES]
                row = {"key": key, "what": what, "verdict": found, "seed": seed, "seeds": seeds}
                if kept is not None:
                    with kept.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            counts[str(row["verdict"])] += 1
            if row["verdict"] == "survived":
                survivors.append(what)
                print("survived", what, file=sys.stderr, flush=True)
    seconds = round(time.monotonic() - started)
    return {"seeds": seeds, **counts, "survivors": survivors, "seconds": seconds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.core_simulation.mutation_sweep")
    parser.add_argument("--modules", default=",".join(CORE_MODULES))
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="only every N-th change from the I-th: I N")
    parser.add_argument("--no-tests", action="store_true", help="leave the unit tests out")
    parser.add_argument("--kept", type=Path, help="file of verdicts; those it has are not asked for again")
    given = parser.parse_args()
    answer = sweep(tuple(given.modules.split(",")), given.seeds, tuple(given.part), not given.no_tests, given.kept)
    print(json.dumps(answer, indent=1))
