"""Puts each deliberate fault into the trading core: its stories find it, or the unit tests where it is theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.core_simulation.mutants import FAULTS, KILL_FAULTS, ROLL_FAULTS, SMALL_FAULTS


def finds(request: pytest.FixtureRequest, *arguments: str) -> None:
    command = [sys.executable, "-m", "tests.core_simulation", *arguments]
    done = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", [fault[0] for fault in FAULTS])
def test_stories_find_a_deliberate_fault(name: str, request: pytest.FixtureRequest) -> None:
    finds(request, "--faults", "--only", name)


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", [fault[0] for fault in (*ROLL_FAULTS, *SMALL_FAULTS, *KILL_FAULTS)])
def test_unit_tests_find_a_fault_of_theirs(name: str, request: pytest.FixtureRequest) -> None:
    finds(request, "--unit-faults", "--only", name)


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 15 and len(ROLL_FAULTS) >= 10 and len(SMALL_FAULTS) >= 15 and len(KILL_FAULTS) >= 8
