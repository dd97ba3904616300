"""`up` and `down` for real: servers that outlive the command; Dagster's are in tests/verify and tests/acceptance."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from ghtrader.demo.run import strangers
from ghtrader_assets.instance import web_servers
from ghtrader_base.errors import PortInUseError
from tests.support.cli import ghtrader
from tests.support.waiting import PATIENCE_S


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def up_and_gone(*arguments: str) -> dict:
    """`up` in a process of its own, which its servers outlive; its answer."""
    command = [sys.executable, "-m", "ghtrader", "up", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def stopped_afterwards(settings, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster))
    yield settings
    for info in web_servers.servers(settings):
        os.killpg(info.pid, signal.SIGKILL)


def test_mlflow_answers_and_stops(stopped_afterwards):
    settings = stopped_afterwards
    port = free_port()
    up_and_gone("--only", "mlflow", "--mlflow-port", str(port))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S) as page:
        assert page.status == 200
    assert json.loads(ghtrader("down", "--json").stdout)["stopped"][0]["server"] == "mlflow"
    assert web_servers.servers(settings) == []
    assert strangers(settings.home) == [], "`make ui`, then `make demo`"


def test_a_port_in_use_is_said_before_anything_starts(stopped_afterwards):
    settings = stopped_afterwards
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            web_servers.up(settings, ["dagster"], port, 0)
        done = ghtrader("up", "--only", "mlflow", "--mlflow-port", str(port))
    assert done.returncode == 1 and "--mlflow-port" in done.stderr and "Traceback" not in done.stderr
    assert web_servers.servers(settings) == []
