"""Starts the processes of a scenario: forked from one that has imported everything, or as the product does it.

A forked child runs the very `main` of the process it stands for; only importing was done before. Here too: where a
child is armed with a failpoint, made greedy, or given a deliberate fault. Nothing of that is in the product.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.chaos import injected_faults
from tests.chaos.scenario import Plan
from tests.support.waiting import PATIENCE_S


def preload() -> None:
    """Import and compile what every process of a scenario needs, so that a fork is ready at once."""
    import tqsdk  # noqa: F401



class Forked:
    """A child of this process that runs `work`; looks like a `subprocess.Popen`."""

    def __init__(self, work: Callable[[], int | None], log: Path) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                code = self._child(work, log)
            os._exit(code)

    @staticmethod
    def _child(work: Callable[[], int | None], log: Path) -> int:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.closerange(3, 4096)
        out, nothing = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), os.open(os.devnull, os.O_RDONLY)
        for fd, source in ((0, nothing), (1, out), (2, out)):
            os.dup2(source, fd)
        random.seed()
        try:
            return int(work() or 0)
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def poll(self) -> int | None:
        """As of Popen."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """As of Popen."""
        deadline = time.monotonic() + (1e9 if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("forked", timeout or 0.0)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """As of Popen."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As of Popen."""
        self.send_signal(signal.SIGKILL)


def start_exchange(folder: Path, cache: Path, scenario: Any) -> tuple[Forked, dict[str, str]]:
    """A real exchange process of its own, its clock standing; the environment that points at it."""
    from ghtrader_base.child_processes import die_with_parent
    from ghtrader_base.files import atomic_write_json
    from ghtrader_exchange.server import server

    folder.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    (folder / "cache").symlink_to(cache, target_is_directory=True)
    ready = folder / "ready.json"

    def work() -> None:
        die_with_parent()
        options = server.ServerOptions(scenario=scenario, state_dir=folder, port=0, frozen=True)
        server.run(options, lambda env: atomic_write_json(ready, env))

    process = Forked(work, folder / "exchange.log")
    deadline = time.monotonic() + PATIENCE_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no exchange: {(folder / 'exchange.log').read_text()[-2000:]}")
        time.sleep(0.02)
    return process, json.loads(ready.read_text())


def _arguments(command: list[str]) -> list[str]:
    """Those of the module that a command runs."""
    return command[command.index("-m") + 2 :]


class Starter:
    """Stands in for `subprocess` in the supervisor's module: notes every life, and forks it where the plan says so."""

    def __init__(self, plan: Plan, lives: Path, fault: str) -> None:
        self._plan, self._lives, self._fault = plan, lives, fault
        self._count: Counter[str] = Counter()

    def __call__(self, command: list[str], **given: Any) -> Any:
        kind = _arguments(command)[0]
        self._count[kind] += 1
        life = self._count[kind]
        if self._plan.exec_:
            process: Any = subprocess.Popen(command, **given)
        else:
            log = Path(f"/proc/self/fd/{given['stdout'].fileno()}").resolve()
            process = Forked(lambda: self._run(command, kind, life), log)
        row = {"kind": kind, "life": life, "pid": process.pid, "at_ns": time.monotonic_ns()}
        with self._lives.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return process

    def _run(self, command: list[str], kind: str, life: int) -> int:
        from ghtrader_base import failpoints
        from ghtrader_runtime.supervisor import child_main

        for point in self._plan.points:
            if (point.who, point.life) == (kind, life):
                armed = {
                    failpoints.KILL_ENV: f"{point.name}:{point.count}",
                    failpoints.TRACE_ENV: str(self._lives.with_name("points.txt")),
                }
                failpoints._armed = failpoints._Armed(armed)
        if self._plan.greedy and kind == "strategy":
            injected_faults.make_greedy()
        if self._fault:
            injected_faults.FAULTS[self._fault](kind, life)
        return child_main.main(_arguments(command))


def supervise(plan: Plan, folder: Path, gateway: Any, strategy: Any, fault: str) -> Forked:
    """The product's supervisor, in a process of its own; how the run ended goes to `result.json`."""
    from ghtrader_base.child_processes import die_with_parent
    from ghtrader_base.errors import GhtraderError
    from ghtrader_base.files import atomic_write_json
    from ghtrader_base.settings import load_settings
    from ghtrader_runtime.supervisor import supervisor
    from ghtrader_runtime.supervisor.restart_policy import RestartPolicy

    def work() -> int:
        die_with_parent()
        starter = Starter(plan, folder / "lives.txt", fault)
        supervisor.subprocess = SimpleNamespace(
            Popen=starter, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
        )
        policy = RestartPolicy(first_s=0.2, longest_s=2.0, most=30)
        try:
            settings = load_settings(folder / "home")
            result = supervisor.trade(settings, gateway, strategy, policy=policy, tell=lambda text: print(text))
            outcome = {"summary": result.to_json()}
        except GhtraderError as exc:
            outcome = {"error": type(exc).__name__, "message": exc.message}
        atomic_write_json(folder / "result.json", outcome)
        return 0

    return Forked(work, folder / "supervisor.log")
