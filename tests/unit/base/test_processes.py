"""The register of running processes: the living are listed, the killed are dropped."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from ghtrader_base.processes import list_processes, register
from ghtrader_base.settings import Settings
from tests.support.odd_files import KINDS, PRECIOUS, put, victim_of

_SERVER = (
    "import time; from ghtrader_base.processes import register; from ghtrader_base.settings import load_settings\n"
    "with register(load_settings(), 'exchange', 'a server of the test', detail='http://127.0.0.1:1'):\n"
    "    print('up', flush=True); time.sleep(60)"
)


def test_living_are_listed_and_killed_are_dropped(settings: Settings) -> None:
    child = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "up\n"
        with register(settings, "gateway", "mine"):
            listed = {info.kind: info for info in list_processes(settings)}
            assert listed["exchange"].pid == child.pid and listed["exchange"].detail == "http://127.0.0.1:1"
            assert listed["gateway"].purpose == "mine"
    finally:
        child.kill()
        child.wait()
    assert list_processes(settings) == []


def test_who_registers_while_others_look_is_listed(settings: Settings) -> None:
    """A look between the making of an entry and its lock takes it for a dead one's: it has to be made again."""
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            list_processes(settings)

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    missed = 0
    try:
        for _ in range(300):
            with register(settings, "gateway", "mine"):
                missed += not list((settings.home / "processes").glob("gateway-*.json"))
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()
    assert missed == 0


@pytest.mark.parametrize("kind", KINDS)
def test_something_else_among_the_entries_hides_no_process(settings: Settings, kind: str) -> None:
    odd = settings.home / "processes" / "gateway-1.json"
    put(kind, odd)
    with register(settings, "gateway", "mine"):
        assert [info.purpose for info in list_processes(settings)] == ["mine"]
    assert kind != "link" or victim_of(odd).read_text() == PRECIOUS
    assert odd.is_symlink() or odd.exists(), "it is not ours to remove"
