"""Failpoints: silent unless armed, they trace what was passed and kill at the passing asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S

_BODY = """
from ghtrader_base.failpoints import failpoint
for name in ("a->b", "b->c", "a->b", "b->c"):
    failpoint(name)
print("through")
"""


def passed(tmp_path: Path, **armed: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    trace = tmp_path / "trace"
    environment = {**os.environ, **{f"GHTRADER_FAILPOINT_{name}": value for name, value in armed.items()}}
    command = [sys.executable, "-c", _BODY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    lines = trace.read_text().splitlines() if trace.exists() else []
    return done, [line.split(" ", 1)[1] for line in lines]


def test_nothing_happens_where_nothing_is_armed(tmp_path: Path) -> None:
    done, lines = passed(tmp_path)
    assert done.returncode == 0 and done.stdout == "through\n" and lines == []


@pytest.mark.parametrize(
    ("kill", "lines"),
    [("b->c:2", ["a->b", "b->c", "a->b", "b->c"]), ("a->b:1", ["a->b"]), ("*:3", ["a->b", "b->c", "a->b"])],
)
def test_it_dies_at_the_passing_named_and_the_trace_says_where(tmp_path: Path, kill: str, lines: list[str]) -> None:
    done, found = passed(tmp_path, TRACE=str(tmp_path / "trace"), KILL=kill)
    assert done.returncode == -signal.SIGKILL and done.stdout == ""
    assert found == lines


def test_a_passing_too_many_is_never_reached(tmp_path: Path) -> None:
    done, found = passed(tmp_path, TRACE=str(tmp_path / "trace"), KILL="a->b:3")
    assert done.stdout == "through\n" and len(found) == 4
