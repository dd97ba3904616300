"""Runs whole demos, each once a process, shared by the tests that look at it.

With GHTRADER_DEMO_HOME the default demo is the finished one that lies there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ghtrader.demo.report import DemoReport
from ghtrader.demo.run import closing_text

DEMO_LIMIT_S = 900
_known: dict[tuple[str, ...], Demo] = {}


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


def finished_demo(home: Path) -> Demo:
    """A demo that somebody ran to its end; skips the test where there is none."""
    document = home / "runs" / "demo" / "report.json"
    if not document.exists():
        pytest.skip(f"no finished demo in {home}: `make demo` makes one")
    report = json.loads(document.read_text())
    return Demo(home, report, closing_text(DemoReport.from_dict(report), home))


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory):
    """`demos("--seed", "2")` runs a demo the first time it is asked for and remembers it."""

    def get(*options: str, again: bool = False) -> Demo:
        key = (*options, "again") if again else options
        if key not in _known:
            _known[key] = run_demo(tmp_path_factory.mktemp("demo") / "home", *options)
        return _known[key]

    return get


@pytest.fixture(scope="session")
def default_demo(demos, request: pytest.FixtureRequest) -> Demo:
    """The default demo: `make demo`."""
    if finished := os.environ.get("GHTRADER_DEMO_HOME"):
        return finished_demo(request.config.rootpath / finished)
    return demos()
