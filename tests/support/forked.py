"""Runs one piece of code several times, each in a fork of a process that has paid for its imports once.

A test that kills a writer at ten points would otherwise start Python ten times. What is killed, and what is looked at
afterwards, belongs to the test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_PARENT = """
import json, os, sys, traceback
from ghtrader_base import failpoints
imports, code = json.loads(sys.stdin.readline())
exec(imports)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
    else:
        answer = os.fork()
        if answer == 0:
            os.environ.update(request["environment"])
            failpoints._armed = failpoints._Armed(os.environ)
            sys.argv[1:] = request["arguments"]
            status = 1
            try:
                exec(code)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
    answers.write(f"{answer}\\n")
    answers.flush()
"""


class Forks:
    """A process that has run `imports`, and forks one child for each `start` to run `code` in.

    The code finds its arguments in ``sys.argv[1:]``; what it prints goes to the standard error. A child has its
    environment's failpoints armed. `imports` must start no thread.

    Parameters
    ----------
    imports, code : str
        Python source; `code` sees the names that `imports` bound.
    """

    def __init__(self, imports: str, code: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-W", "ignore", "-c", _PARENT]
        self._parent = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._running: set[int] = set()
        self._tell([imports, code])

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait()
        self._parent.stdout.close()

    def _tell(self, message: Any) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(message) + "\n")
        self._parent.stdin.flush()

    def _ask(self, **request: Any) -> int:
        self._tell(request)
        assert self._parent.stdout is not None
        answer = self._parent.stdout.readline()
        assert answer, "the process that forks has ended"
        return int(answer)

    def start(self, *arguments: object, environment: Mapping[str, str] | None = None) -> int:
        """The process id of a new child, which is running."""
        pid = self._ask(arguments=[str(item) for item in arguments], environment={**(environment or {})})
        self._running.add(pid)
        return pid

    def wait(self, pid: int) -> int:
        """The exit code of a child that `start` gave, once it has ended; minus the signal that killed it."""
        code = self._ask(wait=pid)
        self._running.discard(pid)
        return code

    def run(self, *arguments: object, environment: Mapping[str, str] | None = None) -> int:
        """Start a child and wait for it: its exit code, minus the signal that killed it."""
        return self.wait(self.start(*arguments, environment=environment))
