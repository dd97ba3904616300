"""A test that reads the wall clock, or drives code that decides by it, is marked `clock`.

Marked tests are run at the moments of `python -m tests.verify.shifted_clock`. Who needs the mark is read from the
sources: functions that ask for the time of the day, whoever names one of those, and so on up to the tests. What only
writes down when something happened is left out, by name and with the reason (`STAMPS`).
"""

from __future__ import annotations

import ast
import gc
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ghtrader_exchange.faults.fault_kinds import CONNECTION_FAULTS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "ghtrader", "ghtrader_runtime", "ghtrader_assets", "ghtrader_models", "ghtrader_exchange", "ghtrader_market",
    "ghtrader_base",
)  # fmt: skip
TIERS = ("unit", "integration", "acceptance")
READS = {
    "datetime.now", "datetime.today", "datetime.utcnow", "date.today", "time.time", "time.time_ns", "time.localtime",
    "time.gmtime", "time.strftime", "time.ctime", "Timestamp.now", "Timestamp.today", "Timestamp.utcnow",
}  # fmt: skip
READ_ATTRIBUTES = {name.rpartition(".")[2] for name in READS}
STAMPS = {
    # a line or a page for people
    "progress_display", "render", "stderr_progress",
    # since when, written beside who holds or did something
    "write_holder", "register", "executing", "PendingWriteFile", "KillSwitch", "Journal", "StatePublisher",
    # when a result was made; nothing is decided by it
    "audit_lake", "save_holidays", "probe_l5_start", "add_skips", "_record", "write_champion", "report_of", "train_on",
    "_now", "RunManifest", "note_refusal",
    # how many days the holiday list has left, for people
    "calendar_state",
    # the difference of two clocks, which a test makes itself
    "read_service_clock", "ClockWatch",
    # where a live market stands; a recorded day is not asked
    "TradingDay",
    # a name that must only differ from the others, or only grow
    "new_run_id", "activate",
    # how long to wait, from now on: TqSdk's deadlines are wall-clock times
    "TqSdkBroker", "watch",
}  # fmt: skip
"""Functions and classes of the packages that ask for the time and decide nothing by it."""
BROKEN_LINES = frozenset(CONNECTION_FAULTS)
"""TqSdk asks what time it is when one of its lines breaks (tests/support/tqsdk_maintenance.py)."""
CLIENTS = "support.children"
"""Folder of scripts that run as children; whoever names a script's file runs it."""


class Node(NamedTuple):
    """A function, class or constant at the top of a module; a command of `ghtrader` as `("command", name)`."""

    module: str
    name: str


CLOCK = Node("the clock", "")


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree in the order of the source, walked once: there are more than a million in the repository."""
    found, todo = [], [tree]
    while todo:
        node = todo.pop()
        found.append(node)
        inner: list[ast.AST] = []
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                inner += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and name != "ctx":
                inner.append(value)
        todo += reversed(inner)
    return found


def reads_clock(nodes: Iterable[ast.AST]) -> bool:
    """Whether the code itself asks what time it is."""
    attributes = (node for node in nodes if isinstance(node, ast.Attribute) and node.attr in READ_ATTRIBUTES)
    return any(".".join(_dotted(node).split(".")[-2:]) in READS for node in attributes)


def _imports(nodes: Iterable[ast.AST]) -> dict[str, tuple[str, str]]:
    """Name here -> (module, name there); the name is empty for a module."""
    found: dict[str, tuple[str, str]] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {a.asname or a.name: (node.module, a.name) for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.asname or a.name.partition(".")[0]: (a.name if a.asname else a.name.partition(".")[0], "")
                      for a in node.names}  # fmt: skip
    return found


def _tops(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name, statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from ((name.id, statement) for name in targets if isinstance(name, ast.Name))


def _command_of(function: ast.AST) -> str:
    """Name of the command of `ghtrader` that a function is, or nothing."""
    for mark in getattr(function, "decorator_list", ()):
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "command":
            return mark.args[0].value if mark.args else function.name.replace("_", "-")  # type: ignore[attr-defined]
    return ""


def _commands(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Commands a test gives: the first word of a list, the one behind `ghtrader`, or what `run` and `ghtrader` take."""
    for node in nodes:
        if isinstance(node, ast.List | ast.Tuple):
            words = [item.value if isinstance(item, ast.Constant) else None for item in node.elts]
            behind = words[words.index("ghtrader") + 1 :] if "ghtrader" in words else []
            path = behind or (words if isinstance(node, ast.List) else [])
        elif isinstance(node, ast.Call) and _dotted(node.func).rpartition(".")[2] in ("run", "ghtrader"):
            path = [item.value if isinstance(item, ast.Constant) else None for item in node.args]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "split":
            path = node.func.value.value.split() if isinstance(getattr(node.func.value, "value", None), str) else []
        else:
            continue
        yield from (word for word in path[:2] if isinstance(word, str))  # `data contracts`: a group, then the command


class Graph:
    """Who names whom, over modules given as name -> source."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.trees = {module: ast.parse(source) for module, source in sources.items()}
        self.named_by: dict[Node, set[Node]] = defaultdict(set)
        self.clocks = {CLOCK}
        for module, tree in self.trees.items():
            self._read(module, tree)

    def _read(self, module: str, tree: ast.Module) -> None:
        walked = {statement: _nodes(statement) for statement in tree.body}
        imported, tops = _imports(itertools.chain(*walked.values())), dict(_tops(tree))
        tested = module.startswith("tests.")
        for name, statement in tops.items():
            node, nodes = Node(module, name), walked[statement]
            if reads_clock(nodes) and (tested or name not in STAMPS):
                self.clocks.add(node)
            for target in self._named(module, nodes, imported, tops):
                self.named_by[target].add(node)
            if tested:
                constants = {node.value for node in nodes if isinstance(node, ast.Constant)}
                if constants & BROKEN_LINES:
                    self.clocks.add(node)
                scripts = {text for text in constants if isinstance(text, str) and text.endswith(".py")}
                for word in {*_commands(nodes), *scripts}:
                    self.named_by[Node("command", word)].add(node)
            for function in nodes if ".commands." in module else ():
                if command := _command_of(function):
                    inner = _nodes(function)
                    for target in self._named(module, inner, imported | _imports(inner), tops):
                        self.named_by[target].add(Node("command", command))
        if f".{CLIENTS}." in module and reads_clock(itertools.chain(*walked.values())):  # a script: all of it runs
            self.clocks.add(Node("command", module.rpartition(".")[2] + ".py"))

    @staticmethod
    def _named(
        module: str, nodes: Iterable[ast.AST], imported: dict[str, tuple[str, str]], tops: dict[str, ast.stmt]
    ) -> Iterator[Node]:
        for node in nodes:
            if isinstance(node, ast.Name | ast.arg):
                name = node.id if isinstance(node, ast.Name) else node.arg
                if name in tops:
                    yield Node(module, name)
                elif name in imported:
                    yield Node(*imported[name])
                elif isinstance(node, ast.arg):
                    for folder in _folders(module):  # a fixture of a conftest above
                        yield Node(f"{folder}.conftest", name)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
                there = imported[node.value.id]
                yield Node(".".join(filter(None, there)), node.attr)

    def reached(self) -> set[Node]:
        """All that asks for the time, itself or through what it names."""
        found, todo = set(self.clocks), list(self.clocks)
        while todo:
            new = self.named_by[todo.pop()] - found
            found |= new
            todo += new
        return found

    def unmarked(self) -> list[str]:
        """`module::test` of every test that reaches the clock without the mark."""
        reached = self.reached()
        found = []
        for module, tree in self.trees.items():
            if not module.rpartition(".")[2].startswith("test_") or _module_marked(tree):
                continue
            for name, statement in _tops(tree):
                if name.lower().startswith("test") and Node(module, name) in reached and not _marked(statement):
                    found.append(f"{module}::{name}")
        return sorted(found)


def _folders(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))


def _mentions(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Attribute) and _dotted(node) == "pytest.mark.clock" for node in ast.walk(tree))


def _module_marked(tree: ast.Module) -> bool:
    return any(name == "pytestmark" and _mentions(statement) for name, statement in _tops(tree))


def _marked(statement: ast.stmt) -> bool:
    return any(_mentions(mark) for mark in getattr(statement, "decorator_list", ()))


def house() -> dict[str, str]:
    """Every module of the packages and the tests, as source."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    files += [path for tier in TIERS for path in (ROOT / "tests" / tier).rglob("*.py")]
    files += [path for path in (ROOT / "tests").glob("*.py")] + list((ROOT / "tests" / "support").rglob("*.py"))
    found = {}
    for path in files:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def test_every_test_that_reads_the_clock_is_marked() -> None:
    gc.disable()  # looking for garbage among the nodes takes twice as long as all else
    try:
        graph = Graph(house())
    finally:
        gc.enable()
    assert not graph.unmarked(), "mark them `clock`; STAMPS holds what only writes down when something happened"
    names = {node.name for node in graph.named_by} | {name for tree in graph.trees.values() for name, _ in _tops(tree)}
    assert names >= STAMPS, "a name that is gone"


PRODUCT = {
    "ghtrader_a.clock": "from datetime import datetime\ndef today(): return datetime.now()\ndef tomorrow(): return 1",
    "ghtrader_a.days": "from ghtrader_a import clock\nclass Days:\n    def last(self): return clock.today()",
    "ghtrader.commands.days": (
        "def register(app):\n    @app.command('show-days')\n    def show():\n"
        "        from ghtrader_a.days import Days\n        return Days()"
    ),
    "tests.unit.conftest": "from ghtrader_a.days import Days\ndef some_days(): return Days()",
    "tests.support.children.looker": "import time\nprint(time.time())",
}
READERS = {
    "itself": "import time\ndef test_it(): assert time.time()",
    "pandas": "import pandas as pd\ndef test_it(): assert pd.Timestamp.now()",
    "what it calls": "from ghtrader_a.clock import today\ndef test_it(): assert today()",
    "two away": "from ghtrader_a.days import Days\ndef helper(): return Days()\ndef test_it(): assert helper()",
    "in a constant": "from ghtrader_a.days import Days\nDAYS = Days()\ndef test_it(): assert DAYS",
    "its fixture": "def test_it(some_days): assert some_days",
    "a command": "from ghtrader.cli import run\ndef test_it(): assert run(['show-days', '--json']) == 0",
    "a process": "def test_it(): subprocess.run([sys.executable, '-m', 'ghtrader', 'show-days'])",
    "a script": "SCRIPT = 'looker.py'\ndef test_it(): subprocess.run([sys.executable, SCRIPT])",
    "a broken line": "def test_it(exchange): exchange.control.fault('abort-md')",
    "a test class": "from ghtrader_a.clock import today\nclass TestIt:\n    def test_it(self): assert today()",
}
OTHERS = {
    "what does not read": "from ghtrader_a.clock import tomorrow\ndef test_it(): assert tomorrow()",
    "a given moment": "from datetime import datetime\ndef test_it(): assert datetime(2025, 1, 2)",
    "a monotonic clock": "import time\ndef test_it(): assert time.monotonic()",
    "the neighbour": "import time\ndef other(): return time.time()\ndef test_it(): assert 1",
}


@pytest.mark.parametrize("source", READERS.values(), ids=list(READERS))
def test_a_reader_without_the_mark_is_found_and_with_it_is_not(source: str) -> None:
    def unmarked(text: str) -> list[str]:
        return [test.partition("::")[0] for test in Graph({**PRODUCT, "tests.unit.test_new": text}).unmarked()]

    assert unmarked(source) == ["tests.unit.test_new"]
    assert not unmarked("import pytest\npytestmark = [pytest.mark.clock]\n" + source)
    head = "class TestIt" if "class TestIt" in source else "def test_it"
    assert not unmarked(source.replace(head, f"@pytest.mark.clock\n{head}"))
    assert unmarked(source.replace(head, f"@pytest.mark.slow\n{head}"))


@pytest.mark.parametrize("source", OTHERS.values(), ids=list(OTHERS))
def test_who_does_not_read_needs_no_mark(source: str) -> None:
    assert not Graph({**PRODUCT, "tests.unit.test_new": source}).unmarked()
