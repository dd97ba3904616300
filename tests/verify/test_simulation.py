"""Plays 2,000 stories of the trading core, two hundred a case, in processes of their own: none breaks an invariant."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK, SEEDS = 200, 2000


@pytest.mark.sample(1)
@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_story_breaks_an_invariant(first: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    measured = tmp_path / "measured"
    command = [sys.executable, "-m", "tests.core_simulation", "--first", str(first), "--seeds", str(BLOCK)]
    done = subprocess.run(
        [*command, "--json", str(measured)], cwd=request.config.rootpath, capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(measured.read_text())
    assert told["seeds"] == BLOCK and told["events"] > 200 * BLOCK, "the stories are too short to prove anything"
