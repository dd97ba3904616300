"""Plays scenarios with a mutant of the core: one child process a mutant, patched at import."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import ghtrader_runtime
from tests.core_simulation.scenario import script_of

ROOM = Path(ghtrader_runtime.__file__).parent
CORE_MODULES = (
    "core.request_watermark",
    "core.risk_rules",
    "core.order_planning",
    "core.state",
    "core.order_entry",
    "core.roll_execution",
    "core.pre_trade_check",
    "core.target_steps",
    "core.market_data_watch",
    "core.strategy_requests",
    "core.broker_reports",
    "core.reconciliation",
    "core.account_risk",
    "core.order_prediction",
    "core.trading_core",
)
"""The modules a scenario exercises, by their names inside `ghtrader_runtime`."""


class _Patched(importlib.machinery.SourceFileLoader):
    """Loads one module from another text than its file's."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> object:  # never from the cache
        return compile(self._text, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> object:
        if fullname != self.name:
            return None
        file = str(_file(fullname.removeprefix("ghtrader_runtime.")))
        return importlib.machinery.ModuleSpec(fullname, _Patched(fullname, file, self.text), origin=file)


def _file(module: str) -> Path:
    return ROOM.joinpath(*module.split(".")).with_suffix(".py")


def source(module: str) -> str:
    """Text of one of `CORE_MODULES`."""
    return _file(module).read_text()


def patch(module: str, old: str, new: str) -> str:
    """A module's text with one place changed; `ValueError` where that place is not there exactly once."""
    text = source(module)
    if text.count(old) != 1:
        raise ValueError(f"{module}.py has {text.count(old)} times: {old!r}")
    return text.replace(old, new)


def _forget() -> None:
    names = {f"ghtrader_runtime.{name}" for name in (*CORE_MODULES, "accounts.order_ledger", "config")}
    kept = (
        "tests.core_simulation.scenario",
        "tests.core_simulation.exchange",
        "tests.core_simulation.mutant_runner",
        "tests.core_simulation.mutants",
    )
    for name in list(sys.modules):
        if name in names or (name.startswith("tests.core_simulation.") and name not in kept):
            del sys.modules[name]
            parent, _, attribute = name.rpartition(".")
            vars(sys.modules.get(parent, sys)).pop(attribute, None)  # `from parent import module` looks here first


def in_child(module: str, text: str, work: Callable[[], object], timeout_s: float = 120.0) -> object:
    """What `work` returns in a child process that imports `module` with `text`; a string where the child failed.

    A fork, so it is for a process that has one thread: who has more starts `python -m tests.core_simulation`. A fault
    that loops is stopped after `timeout_s` of CPU, one that waits after three times as long by the clock.
    """
    if threading.active_count() > 1:
        raise RuntimeError("a fork of several threads may hold their locks for ever")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            _work_as_child(module, text, work, timeout_s, write)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data, until = b"", time.monotonic() + 3 * timeout_s
        while select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            if not (more := os.read(read, 1 << 16)):
                break
            data += more
        else:
            os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return pickle.loads(data) if data else f"the child died ({status})"


def _work_as_child(module: str, text: str, work: Callable[[], object], timeout_s: float, write: int) -> None:
    try:
        _limit(timeout_s)
        _forget()
        sys.meta_path.insert(0, _Finder(f"ghtrader_runtime.{module}", text))
        answer = work()
    except BaseException as exc:
        answer = f"{type(exc).__name__}: {exc}"
    with os.fdopen(write, "wb") as pipe:
        pickle.dump(answer, pipe)


def _limit(seconds: float) -> None:
    """A fault that loops for ever is stopped, and counts as found."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 1, int(used + seconds) + 5))


def first_failure(seeds: Sequence[int]) -> tuple[int, str]:
    """The first seed that fails with the core as it is imported now, and what broke; (-1, "") where none does."""
    story = importlib.import_module("tests.core_simulation.runner")
    for seed in seeds:
        failure = story.run_script(seed, script_of(seed))[1]
        if failure is not None:
            return seed, failure.text[:200]
    return -1, ""


def find(module: str, text: str, seeds: Sequence[int], timeout_s: float = 120.0) -> tuple[int, str]:
    """The seed that finds a fault, and as what; (-1, "") where none does."""
    answer = in_child(module, text, lambda: first_failure(seeds), timeout_s)
    return answer if isinstance(answer, tuple) else (seeds[0], str(answer))


def shorten(module: str, text: str, seed: int) -> str:
    """The short scenario of a fault that `seed` finds."""

    def work() -> str:
        story = importlib.import_module("tests.core_simulation.runner")
        failure = story.run_script(seed, script_of(seed))[1]
        return story.tell(failure)

    return str(in_child(module, text, work))
