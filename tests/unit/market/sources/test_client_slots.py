"""TqSdk client slots: bounded over processes and homes, freed by the kernel, waiting says who has them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghtrader_base.errors import LockHeldError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.sources.tqsdk.client_slots import slot_holders, take_slot
from ghtrader_market.sources.tqsdk.source import TqSdkSource


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("GHTRADER_MAX_PARALLEL_TQSDK_JOBS", "2")
    monkeypatch.setenv("GHTRADER_TQSDK_SLOT_WAIT_S", "0.3")
    return load_settings(tmp_path / "home")


@pytest.fixture
def client(two: Settings) -> Iterator[subprocess.Popen]:
    """A process that has been given a slot."""
    slot = take_slot(two, "a client of another home")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=(slot.fd,))
    slot.give_to(child.pid)
    yield child
    child.kill()
    child.wait()


def test_there_are_as_many_as_the_setting_says(two: Settings, tmp_path: Path) -> None:
    slots = [take_slot(two, "x"), take_slot(load_settings(tmp_path / "another home"), "y")]
    assert all(slots) and take_slot(two, "z") is None
    told = zip("xy", slot_holders(two), strict=True)
    assert all(f"pid {os.getpid()} ({name}) since" in line for name, line in told)
    slots[0].close()
    assert (third := take_slot(two, "z")) is not None
    for slot in (third, slots[1]):
        slot.close()
    assert slot_holders(two) == []


def test_a_slot_lives_as_long_as_its_client(two: Settings, client: subprocess.Popen) -> None:
    (line,) = slot_holders(two)
    assert f"pid {client.pid} (a client of another home)" in line
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    assert slot_holders(two) == []


def test_nobody_waits_for_ever_and_the_wait_names_the_holders(two: Settings, client: subprocess.Popen) -> None:
    mine = take_slot(two, "mine")
    lines: list[str] = []
    began = time.monotonic()
    with TqSdkSource(two, tell=lines.append) as source, pytest.raises(LockHeldError) as caught:
        source.finished_day("cu")
    assert time.monotonic() - began < 30
    assert f"pid {client.pid}" in caught.value.message and caught.value.exit_code == 3
    assert len(lines) == 1 and f"pid {client.pid}" in lines[0]
    mine.close()


def test_more_threads_than_slots_never_meet(two: Settings) -> None:
    most, held, lock = [0], [0], threading.Lock()

    def work() -> None:
        for _ in range(20):
            slot = take_slot(two, "a thread")
            if slot is None:
                continue
            with lock:
                held[0] += 1
                most[0] = max(most[0], held[0])
            with lock:
                held[0] -= 1
            slot.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= 2
