"""Every test file is run by one tier, and `make verify` runs every one of the long tiers within its time."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.verify.parts import MINUTES, PARTS

ROOT = Path(__file__).parents[3]
FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
TARGETS = ("test", "acceptance", "test-vendor")


def paths_of(command: list[str]) -> set[Path]:
    """What a command names under tests/."""
    return {Path(word) for word in command if word.startswith("tests/")}


def covered(paths: set[Path]) -> set[Path]:
    return {file for file in FILES if paths & {file, *file.parents}}


def run_by_make(target: str) -> set[Path]:
    """Files a target runs whole: no sample of them, no marked cases."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make on this machine")
    told = subprocess.run([make, "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    found: set[Path] = set()
    for line in told.stdout.splitlines():
        words = shlex.split(line) if " -m pytest " in line else []
        if words and "--sample" not in words:
            paths = paths_of(words)
            found |= covered(paths - {Path("tests/verify")} if "acceptance" in words else paths)
    return found


def run_by_verify() -> set[Path]:
    return set().union(*(covered(paths_of(list(command))) for part in PARTS.values() for command in part.commands))


def test_every_test_file_belongs_to_one_tier() -> None:
    tiers = {target: run_by_make(target) for target in TARGETS}
    tiers["verify"] = {file for file in run_by_verify() if file.is_relative_to("tests/verify")}
    found = {file: [name for name, files in tiers.items() if file in files] for file in FILES}
    assert not (astray := {str(file): names for file, names in found.items() if len(names) != 1}), astray
    folders = {"test": {"unit", "integration"}, "test-vendor": {"vendor"}}
    for name, files in tiers.items():
        assert {file.parts[1] for file in files} == folders.get(name, {name}), name


def test_verify_runs_every_file_of_acceptance_and_verify() -> None:
    long = {file for file in FILES if file.parts[1] in ("acceptance", "verify")}
    assert long and not long - run_by_verify()


def test_the_parts_keep_to_their_time() -> None:
    assert sum(part.minutes for part in PARTS.values() if not part.named) <= MINUTES
    assert all(part.minutes > 0 and part.commands for part in PARTS.values())
