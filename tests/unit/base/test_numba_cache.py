"""Compiled code is kept under the home, never beside the sources, and is the running code's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ghtrader_base
from tests.support.waiting import PATIENCE_S

ROOT = Path(ghtrader_base.__file__).parent.parent
CHILD = """
import os, subprocess, sys
from ghtrader_base.numba_cache import cache_folder, njit
if sys.argv[1:] == ["run"]:
    from ghtrader_models.policy import PolicyParams
    PolicyParams(enter=0.1, leave=0.01).decide(0.2, 0.3, 0.5, 0)
print(cache_folder(), os.environ["NUMBA_CACHE_DIR"])
"""


def child(home: Path, *arguments: str, **environment: str) -> tuple[Path, Path]:
    """(cache_folder(), NUMBA_CACHE_DIR) of a process that has compiled.

    Not measured by coverage: a copy of the packages would be counted beside them, as code that nothing tries.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "GHTRADER_", "COVERAGE_"))}
    env = {**clean, "GHTRADER_HOME": str(home), **environment}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], env=env, cwd=home, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split()
    return Path(first), Path(second)


def compiled_files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*.nb[ic]") if ".venv" not in path.parts and ".cache" not in path.parts}


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A home that is there and empty."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_compiled_code_lies_under_the_home_and_not_beside_the_sources(empty):
    sources = [folder for folder in ROOT.glob("ghtrader*") if folder.is_dir()]
    before = {path for folder in sources for path in compiled_files(folder)}
    folder, in_force = child(empty, "run")
    assert folder == in_force
    assert folder.parent == empty / "numba"
    assert compiled_files(folder)
    assert {path for folder in sources for path in compiled_files(folder)} == before


def test_a_folder_in_the_environment_wins(empty, tmp_path):
    assert child(empty, NUMBA_CACHE_DIR=str(tmp_path / "own")) == (tmp_path / "own", tmp_path / "own")


def test_a_child_takes_its_parents_home_but_its_own_version(empty, tmp_path):
    mine, _ = child(empty)
    theirs = str(tmp_path / "elsewhere" / "numba" / "0123456789abcdef")
    found, _ = child(empty, NUMBA_CACHE_DIR=theirs, GHTRADER_NUMBA_CACHE=theirs)
    assert found == Path(theirs).parent / mine.name


def test_where_the_home_cannot_be_written_the_users_cache_is_used(empty, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder is needed")
    child(empty, "run", GHTRADER_HOME=str(blocked), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert compiled_files(tmp_path / "cache" / "numba")


def test_a_source_tree_that_nobody_may_write_and_its_upgrade(empty, tmp_path):
    tree = tmp_path / "tree"
    for package in ROOT.glob("ghtrader_*"):
        shutil.copytree(package, tree / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in tree.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def run() -> dict[Path, int]:
        folder, _ = child(empty, "run", PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1")
        return {path: path.stat().st_mtime_ns for path in compiled_files(folder)}

    before = set(tree.rglob("*"))
    first = run()
    assert first and run() == first  # nothing is compiled again
    assert set(tree.rglob("*")) == before
    kernel = tree / "ghtrader_models" / "policy.py"
    kernel.chmod(0o644)
    kernel.write_text(kernel.read_text("utf-8") + "\n# an upgrade\n", "utf-8")
    second = run()
    assert second and not first.keys() & second.keys()  # a folder of its own; the old one is as it was
    assert {path: path.stat().st_mtime_ns for path in first} == first


def test_every_kernel_takes_numba_from_here():
    users = [path for folder in ROOT.glob("ghtrader*") if folder.is_dir() for path in folder.rglob("*.py")]
    direct = [path for path in users if path.name != "numba_cache.py" and "\nfrom numba" in path.read_text("utf-8")]
    assert not direct
