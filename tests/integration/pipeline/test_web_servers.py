"""`up` and `down` for real: servers that outlive the command; Dagster's are in tests/verify and tests/acceptance."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ghtrader.demo.run import strangers
from ghtrader_assets.instance import web_servers
from ghtrader_base.errors import PortInUseError
from tests.support.cli import ghtrader
from tests.support.http_requests import ask
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


def test_mlflow_answers_to_its_own_page_once_logged_in_and_stops(stopped_afterwards, monkeypatch):
    settings = stopped_afterwards
    monkeypatch.setenv("GHTRADER_WEB_LOGIN", "true")
    monkeypatch.setenv("TQSDK_PASSWORD", "canary-4711")
    port = free_port()
    started = up_and_gone("--only", "mlflow", "--mlflow-port", str(port))
    (link,) = started["logins"]
    here, body = ("Host", f"127.0.0.1:{port}"), json.dumps({"name": "mine"}).encode()
    assert ask(port, "GET", "/", [here]).status == 401
    came = ask(port, "GET", link.removeprefix(f"http://127.0.0.1:{port}"), [here])
    assert came.status == 303
    ours = [here, ("Cookie", came.headers["set-cookie"].partition(";")[0])]
    assert ask(port, "GET", "/", ours).status == 200

    create, kind = "/ajax-api/2.0/mlflow/experiments/create", ("Content-Type", "application/json")
    for status, headers in (
        (421, [("Host", "evil.example"), kind]),
        (403, [*ours, ("Origin", "null"), kind]),
        (403, [*ours, ("Sec-Fetch-Site", "cross-site"), kind]),
        (415, [*ours, ("Content-Type", "text/plain")]),
        (401, [here, kind]),
        (200, [*ours, ("Origin", f"http://127.0.0.1:{port}"), kind]),
    ):
        assert ask(port, "POST", create, headers, body).status == status, headers
    checked = ghtrader("config", "check", "--json")
    assert checked.returncode == 0 and json.loads(checked.stdout)["listeners"][0]["state"] == "closed"
    (info,) = web_servers.servers(settings)
    assert web_servers.log_path(settings, "mlflow").stat().st_mode & 0o077 == 0
    assert "canary" not in Path(f"/proc/{info.pid}/environ").read_text()
    assert json.loads(ghtrader("down", "--json").stdout)["stopped"][0]["server"] == "mlflow"
    assert web_servers.servers(settings) == []
    assert strangers(settings.home) == [], "`make ui`, then `make demo`"


def test_a_port_in_use_is_said_before_anything_starts(stopped_afterwards):
    settings = stopped_afterwards
    assert ghtrader("config", "check").stdout == "the settings are read; nothing listens\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            web_servers.up(settings, ["dagster"], port, 0)
        done = ghtrader("up", "--only", "mlflow", "--mlflow-port", str(port))
    assert done.returncode == 1 and "--mlflow-port" in done.stderr and "Traceback" not in done.stderr
    assert web_servers.servers(settings) == []
