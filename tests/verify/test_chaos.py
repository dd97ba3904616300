"""Plays seeded chaos on the real processes, a scenario a case, judged by the exchange's own record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIOS = 24
"""More of them, and the deliberate faults: `python -m tests.chaos`."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tapes and bundles that the scenarios share."""
    return tmp_path_factory.mktemp("chaos")


@pytest.mark.sample(1)
@pytest.mark.parametrize("seed", range(SCENARIOS))
def test_a_scenario_holds(seed: int, home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "tests.chaos", "--first", str(seed), "--scenarios", "1", "--jobs", "1"]
    done = subprocess.run(
        [*command, "--home", str(home), "--json", str(told)],
        cwd=request.config.rootpath, env=dict(os.environ), capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(told.read_text())["figures"]["scenarios"] == 1
