"""Whole demos, each run once a session and shared by the tests that look at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEMO_LIMIT_S = 900


@dataclass(frozen=True)
class Demo:
    """A finished demo: its home, report.json, and what it printed."""

    home: Path
    report: dict[str, Any]
    text: str

    @property
    def env(self) -> dict[str, str]:
        """What the demo tells a shell to export."""
        return {
            **os.environ,
            "GHTRADER_HOME": str(self.home),
            "DAGSTER_HOME": str(self.home / "dagster"),
            "XDG_STATE_HOME": str(self.home / "state"),
        }


def run_demo(home: Path, *options: str) -> Demo:
    """`ghtrader demo` as a user types it; fails the test with its output where it does not end with 0."""
    command = [sys.executable, "-m", "ghtrader", "demo", "--home", str(home), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEMO_LIMIT_S)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads((home / "runs" / "demo" / "report.json").read_text())
    print(f"demo {' '.join(options)}: {report['seconds']:.0f} s")
    return Demo(home, report, done.stdout)


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory):
    """`demos("--seed", "2")` runs a demo the first time it is asked for and remembers it."""
    known: dict[tuple[str, ...], Demo] = {}

    def get(*options: str, again: bool = False) -> Demo:
        key = (*options, "again") if again else options
        if key not in known:
            known[key] = run_demo(tmp_path_factory.mktemp("demo") / "home", *options)
        return known[key]

    return get


@pytest.fixture(scope="session")
def default_demo(demos) -> Demo:
    """The default demo: `make demo`."""
    return demos()
