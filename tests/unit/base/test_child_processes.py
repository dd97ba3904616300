"""Nothing that lies in the folder one stands in is run by the processes that a command starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ghtrader_base.child_processes import python_module

ROOT = Path(__file__).parents[3]
PACKAGES = ("ghtrader", "ghtrader_assets", "ghtrader_base", "ghtrader_exchange", "ghtrader_market", "ghtrader_runtime")


@pytest.fixture
def poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder whose modules leave a mark when they are imported."""
    for name in ("msgspec", "pyarrow", "duckdb", "numpy", "multiprocessing", "pydantic"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_child_is_started_by_python_module() -> None:
    """One place spells the command, so that one place forgets nothing."""
    named = re.compile(r"sys\.executable,\s*\"-")
    for package in (*PACKAGES, "ghtrader_models"):
        for path in (ROOT / package).rglob("*.py"):
            assert path.name == "child_processes.py" or not named.search(path.read_text()), path


@pytest.mark.parametrize(
    ("module", "isolated"), [("ghtrader_runtime.supervisor.child_main", False), ("ghtrader_market.sql.worker", True)]
)
def test_a_child_imports_nothing_from_the_current_folder(poisoned: Path, module: str, isolated: bool) -> None:
    done = subprocess.run(python_module(module, isolated=isolated), stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode != 0 and b"ImportError" not in done.stderr
    assert not (poisoned / "mark").exists(), (poisoned / "mark").read_text()


def test_a_command_and_its_children_import_nothing_from_the_current_folder(poisoned: Path) -> None:
    ghtrader = Path(sys.executable).with_name("ghtrader")
    home = poisoned / "home"
    done = subprocess.run([ghtrader, "sql", "SELECT 41 + 1 AS a", "--home", home], capture_output=True, text=True)
    assert "42" in done.stdout, done.stderr
    assert not (poisoned / "mark").exists(), (poisoned / "mark").read_text()


def test_a_child_whose_parent_died_before_it_asked_ends_at_once() -> None:
    """Without it a query, or a gateway, whose parent was killed while the child still imported lived on for good."""
    imports = "import sys; from ghtrader_base.child_processes import die_with_parent"
    code = f"{imports}; die_with_parent(int(sys.argv[1])); print('on')"
    ours, another = (
        subprocess.run([sys.executable, "-c", code, str(pid)], capture_output=True, text=True, check=False)
        for pid in (os.getpid(), os.getppid())
    )
    assert (ours.returncode, ours.stdout) == (0, "on\n")
    assert (another.returncode, another.stdout) == (128 + signal.SIGTERM, "")
