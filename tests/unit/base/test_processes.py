"""The register of running processes: the living are listed, the killed are dropped."""

from __future__ import annotations

import subprocess
import sys

from ghtrader_base.processes import list_processes, register
from ghtrader_base.settings import Settings

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
