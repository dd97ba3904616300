"""Locks: exclusive over processes, re-entrant in one, free after kill -9, and they name their holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ghtrader_base.errors import LockHeldError
from ghtrader_base.locks import is_held, lock_path, read_holders, resource_lock

_HOLDER = (
    "import sys, time; from pathlib import Path; from ghtrader_base.locks import resource_lock\n"
    "with resource_lock(Path(sys.argv[1]), 'data/cu', 'holder of the test'):\n"
    "    print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path: Path):
    child = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()


def test_second_process_is_told_who_holds_it(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(LockHeldError) as caught, resource_lock(tmp_path, "data/cu", "second"):
        pass
    assert str(holder.pid) in caught.value.message and "holder of the test" in caught.value.message
    assert caught.value.exit_code == 3
    assert [row["pid"] for row in read_holders(tmp_path)] == [holder.pid]


def test_kill_9_frees_the_lock(tmp_path: Path, holder: subprocess.Popen) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with resource_lock(tmp_path, "data/cu", "after the kill", wait_s=5):
        assert is_held(lock_path(tmp_path, "data/cu"))
    assert not is_held(lock_path(tmp_path, "data/cu"))


def test_one_process_may_nest(tmp_path: Path) -> None:
    with resource_lock(tmp_path, ["b", "a"], "outer"), resource_lock(tmp_path, "a", "inner"):
        assert {row["name"] for row in read_holders(tmp_path)} == {"a", "b"}
    assert read_holders(tmp_path) == []


def test_a_refused_set_leaves_nothing_held(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(LockHeldError), resource_lock(tmp_path, ["aaa", "data/cu"], "both"):
        pass
    assert not is_held(lock_path(tmp_path, "aaa"))
