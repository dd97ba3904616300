"""Locks: exclusive over processes, re-entrant in one, free after kill -9, and they name their holder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ghtrader_base.errors import ConfigError, LockHeldError
from ghtrader_base.lock_keys import ticks_key, trade_strategy_key
from ghtrader_base.locks import Holder, holder_of, is_held, lock_path, read_holders, resource_lock
from ghtrader_base.processes import start_ticks
from tests.support.odd_files import KINDS, PRECIOUS, put, victim_of
from tests.support.waiting import PATIENCE_S

_HOLDER = (
    "import sys, time; from pathlib import Path; from ghtrader_base.locks import resource_lock\n"
    "with resource_lock(Path(sys.argv[1]), 'data/cu', 'holder of the test', run_id='r7'):\n"
    "    print('held', flush=True); time.sleep(float(sys.argv[2]))"
)
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a holder; it has the lock when this returns."""
    children: list[subprocess.Popen] = []

    def started(seconds: float = 60.0, code: str = _HOLDER) -> subprocess.Popen:
        command = [sys.executable, "-c", code, str(tmp_path), str(seconds)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        children.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield started
    for child in children:
        child.kill()
        child.wait()


@pytest.fixture
def holder(start: Start) -> subprocess.Popen:
    return start()


def test_second_process_is_told_who_holds_it(tmp_path: Path, holder: subprocess.Popen) -> None:
    began = time.monotonic()
    with pytest.raises(LockHeldError) as caught, resource_lock(tmp_path, "data/cu", "second"):
        pass
    assert time.monotonic() - began < 5.0, "no time to wait: refused at once"
    assert str(holder.pid) in caught.value.message and "holder of the test" in caught.value.message
    assert caught.value.message.startswith("data/cu is held by") and caught.value.exit_code == 3
    (held,) = read_holders(tmp_path)
    row = held.to_json()
    assert (row["name"], row["pid"], row["run_id"]) == ("data/cu", holder.pid, "r7")
    assert row["start"] == start_ticks(holder.pid) and row["since"]


def test_waiting_says_for_whom_and_ends_when_the_holder_does(tmp_path: Path, start: Start) -> None:
    child, lines = start(0.5), []
    with resource_lock(tmp_path, "data/cu", "second", wait_s=20, tell=lines.append):
        assert holder_of(lock_path(tmp_path, "data/cu")).purpose == "second"
    (line,) = lines
    assert f"pid {child.pid} (holder of the test) since " in line and "waiting for data/cu" in line
    assert read_holders(tmp_path) == []


def test_a_wait_that_is_too_short_says_who_it_was(tmp_path: Path, holder: subprocess.Popen) -> None:
    lines: list[str] = []
    second = resource_lock(tmp_path, "data/cu", "second", wait_s=0.3, tell=lines.append)
    with pytest.raises(LockHeldError, match=str(holder.pid)), second:
        pass
    assert len(lines) == 1 and holder.poll() is None


def test_kill_9_frees_the_lock(tmp_path: Path, holder: subprocess.Popen) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with resource_lock(tmp_path, "data/cu", "after the kill", wait_s=5):
        assert is_held(lock_path(tmp_path, "data/cu"))
    assert not is_held(lock_path(tmp_path, "data/cu"))


_WITH_CHILD = """
import multiprocessing, os, subprocess, sys, time
from pathlib import Path
from ghtrader_base.locks import resource_lock

def sleep():
    time.sleep(60)

if __name__ == "__main__":
    with resource_lock(Path(sys.argv[1]), "data/cu", "a parent"):
        if {forked}:
            child = multiprocessing.get_context("fork").Process(target=sleep)
            child.start()
        else:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
        print("held", flush=True)
        print(child.pid, flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("forked", [True, False])
def test_a_child_keeps_no_lock_of_a_killed_parent(tmp_path: Path, start: Start, forked: bool) -> None:
    parent = start(code=_WITH_CHILD.format(forked=forked))
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    try:
        assert start_ticks(child) is not None
        with resource_lock(tmp_path, "data/cu", "after the parent", wait_s=5):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


_IGNORES_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + _HOLDER


@pytest.mark.parametrize("code", [_HOLDER, _IGNORES_TERM])
def test_a_stuck_holder_of_ours_is_ended(
    tmp_path: Path, start: Start, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghtrader_base.locks._GRACE_S", 0.5)
    child, lines = start(code=code), []
    asked: list[Holder] = []

    def ours(found: Holder) -> bool:
        asked.append(found)
        return True

    with resource_lock(tmp_path, "data/cu", "second", wait_s=0.2, tell=lines.append, ours=ours):
        assert child.wait(PATIENCE_S) in (-signal.SIGTERM, -signal.SIGKILL)
    assert asked[0].pid == child.pid and "ending pid" in lines[-1]


def test_nobody_else_is_ever_ended(tmp_path: Path, start: Start) -> None:
    child, path = start(), lock_path(tmp_path, "data/cu")
    not_ours = {"wait_s": 0.1, "tell": lambda line: None, "ours": lambda found: False}
    with pytest.raises(LockHeldError), resource_lock(tmp_path, "data/cu", "second", **not_ours):
        pass
    # No time to wait: nobody was stuck.
    with pytest.raises(LockHeldError), resource_lock(tmp_path, "data/cu", "second", ours=lambda found: True):
        pass
    # The pid in the file has been given to another program since: its start time says so.
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "pid": bystander.pid}))
        forced = {"wait_s": 0.1, "tell": lambda line: None, "ours": lambda found: True}
        with pytest.raises(LockHeldError), resource_lock(tmp_path, "data/cu", "second", **forced):
            pass
        assert bystander.poll() is None and child.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_one_process_may_nest(tmp_path: Path) -> None:
    with resource_lock(tmp_path, ["b", "a"], "outer"), resource_lock(tmp_path, "a", "inner"):
        assert {held.name for held in read_holders(tmp_path)} == {"a", "b"}
    assert read_holders(tmp_path) == []


def test_a_refused_set_leaves_nothing_held(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(LockHeldError), resource_lock(tmp_path, ["aaa", "data/cu"], "both"):
        pass
    assert not is_held(lock_path(tmp_path, "aaa"))


def test_keys_stay_readable_as_files(tmp_path: Path) -> None:
    assert lock_path(tmp_path, ticks_key("KQ.m@SHFE.cu")).name == "ticks:symbol=KQ.m@SHFE.cu.lock"
    assert lock_path(tmp_path, trade_strategy_key("a/b")).name == "trade:strategy:account=a_b.lock"


def test_start_ticks_know_the_living_from_the_dead(holder: subprocess.Popen) -> None:
    first = start_ticks(holder.pid)
    assert first and first == start_ticks(holder.pid)
    holder.kill()
    holder.wait()
    assert start_ticks(holder.pid) is None


@pytest.mark.parametrize("kind", KINDS)
def test_something_else_in_the_place_of_a_lock_file(tmp_path: Path, kind: str) -> None:
    """What a link leads to is not written; the other locks are told all the same."""
    path = lock_path(tmp_path, "data/cu")
    put(kind, path)
    with pytest.raises(ConfigError) as caught, resource_lock(tmp_path, "data/cu", "a test"):
        pass
    assert str(path) in caught.value.message and "where a file is expected" in caught.value.message
    assert "move it away" in caught.value.hint
    with pytest.raises(ConfigError):
        is_held(path)
    with resource_lock(tmp_path, "data/au", "another"):
        assert [held.name for held in read_holders(tmp_path)] == ["data/au"]
    if kind == "link":
        assert victim_of(path).read_text() == PRECIOUS
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who can give a file to another user")
def test_a_lock_file_of_another_user(tmp_path: Path) -> None:
    path = lock_path(tmp_path, "data/cu")
    path.touch(0o600)
    os.chown(path, 0, 0)
    tmp_path.chmod(0o777)
    code = (
        "import os, sys; from pathlib import Path; os.setgid(65534); os.setuid(65534)\n"
        "from ghtrader_base.errors import ConfigError; from ghtrader_base.locks import open_lock_file\n"
        "try:\n    open_lock_file(Path(sys.argv[1]))\nexcept ConfigError as exc:\n    print(exc.message, exc.hint)"
    )
    if os.system(f"setpriv --reuid 65534 test -x {tmp_path}") != 0:
        pytest.skip("another user does not reach the folder of tests")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert f"another user (0) owns {path}" in done.stdout and "chown 65534" in done.stdout
