"""The core under its simulation: stories hold, one replays and is told in short, and some deliberate faults are found.

All 2,000 stories and every fault of the lists: `tests/verify/test_simulation.py` and `test_mutants.py`. The stories
run in processes of their own, two at a time and untraced: tracing would make them five times slower, and they are
judged by what they find, not by lines. Faults are tried in forks, and a process of tests has threads, whose locks a
fork would hold for ever.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
sys.path.insert(0, str(ROOT))  # `tests` is found however pytest was started

from tests.core_simulation.mutants import FAULTS, ROLL_FAULTS  # noqa: E402
from tests.core_simulation.runner import run_script  # noqa: E402
from tests.core_simulation.scenario import script_of  # noqa: E402

SEEDS = int(os.environ.get("SEEDS", "400"))
FOUND_BY_STORIES = ("losses do not trip", "monitor-only cancels")
FOUND_BY_UNIT_TESTS = ("a disk that refuses does not halt", "rolled before it is flat")
"""One of each kind the lists have: money and authority, disk and roll."""


def start(*arguments: str) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "COV_"))}
    command = [sys.executable, "-m", "tests.core_simulation", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen) -> str:
    try:
        output, _ = process.communicate(timeout=800)
    finally:
        process.kill()
    assert process.returncode == 0, output[-6000:]
    return output


def test_no_story_breaks_an_invariant(tmp_path) -> None:
    half = SEEDS // 2
    parts = [start("--first", str(i * half), "--seeds", str(half), "--json", str(tmp_path / f"{i}")) for i in range(2)]
    for part in parts:
        print(finish(part))
    measured = [json.loads((tmp_path / f"{i}").read_text()) for i in range(2)]
    assert sum(one["seeds"] for one in measured) == half * 2
    assert sum(one["events"] for one in measured) > 200 * SEEDS, "the stories are too short to prove anything"


@pytest.mark.parametrize("name", FOUND_BY_STORIES)
def test_stories_find_a_deliberate_fault(name: str) -> None:
    assert len(FAULTS) >= 15
    print(finish(start("--faults", "--only", name)))


@pytest.mark.parametrize("name", FOUND_BY_UNIT_TESTS)
def test_unit_tests_find_a_fault_of_roll_and_disk(name: str, tmp_path) -> None:
    assert len(ROLL_FAULTS) >= 10
    print(finish(start("--unit-faults", "--only", name, "--json", str(tmp_path / "found"))))
    assert json.loads((tmp_path / "found").read_text()) == {name: True}


def test_a_story_replays_exactly() -> None:
    first, second = [], []
    for seed in (3, 11, 42):
        assert run_script(seed, script_of(seed), log=first) == run_script(seed, script_of(seed), log=second)
    assert first == second and len(first) > 500


@pytest.mark.parametrize("name", ["a repeated trade counts twice", "killed orders stay at work"])
def test_a_failing_story_is_told_in_short(name: str, tmp_path) -> None:
    print(finish(start("--tell", name, "--json", str(tmp_path / "told"))))
    told = json.loads((tmp_path / "told").read_text())
    story, what = told["story"], told["as"]
    count = int(story.partition("shrunk to ")[2].split()[0])
    assert count <= 25, story
    assert story.rstrip().endswith(what.rstrip()[-20:]) or what[:30] in story, story
    assert "WriteIntent" in story and "=> " in story
