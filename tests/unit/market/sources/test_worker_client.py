"""Before a worker is started: servers and credentials are checked, TqSdk is not loaded, the child gets no secret."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from ghtrader_base.errors import ConfigError, UnreachableError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.sources.tqsdk.worker_client import scratch_folder, worker_environment
from tests.support.waiting import PATIENCE_S

DAY = date(2025, 4, 1)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as bound:  # bound, not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def open_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def pointed_at(monkeypatch: pytest.MonkeyPatch, home: Path, auth: int, md: int, password: str = "secret") -> Settings:
    monkeypatch.setenv("TQ_AUTH_URL", f"http://127.0.0.1:{auth}")
    monkeypatch.setenv("TQ_MD_URL", f"ws://127.0.0.1:{md}/md")
    monkeypatch.setenv("TQSDK_USER", "someone")
    monkeypatch.setenv("TQSDK_PASSWORD", password)
    return load_settings(home)


@pytest.mark.parametrize("dead", ["TQ_AUTH_URL", "TQ_MD_URL"])
def test_a_dead_server_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_port: int, closed_port: int, dead: str
) -> None:
    ports = (closed_port, open_port) if dead == "TQ_AUTH_URL" else (open_port, closed_port)
    settings = pointed_at(monkeypatch, tmp_path, *ports)
    started = time.monotonic()
    with TqSdkSource(settings) as source, pytest.raises(UnreachableError, match=str(closed_port)) as caught:
        list(source.ticks("SHFE.cu2505", DAY, DAY))
    assert time.monotonic() - started < 30
    assert caught.value.exit_code == 4
    assert dead in caught.value.message and "ghtrader exchange serve" in caught.value.hint
    assert not (tmp_path / "data").exists()


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_port: int) -> None:
    settings = pointed_at(monkeypatch, tmp_path, open_port, open_port, password=" ")
    with TqSdkSource(settings) as source, pytest.raises(ConfigError, match="no TQSDK_PASSWORD") as caught:
        source.contracts("cu", DAY, DAY)
    assert caught.value.exit_code == 2 and ".env" in caught.value.hint


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1:1", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_a_matter_of_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_port: int, url: str
) -> None:
    pointed_at(monkeypatch, tmp_path, open_port, open_port)
    monkeypatch.setenv("TQ_AUTH_URL", url)
    with TqSdkSource(load_settings(tmp_path)) as source, pytest.raises(ConfigError, match="is no address"):
        source.contracts("cu", DAY, DAY)


def test_a_holiday_list_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int) -> None:
    monkeypatch.setenv("TQ_CHINESE_HOLIDAY_URL", f"http://127.0.0.1:{closed_port}/holidays.json")
    with pytest.raises(UnreachableError, match=str(closed_port)):
        TqSdkSource(load_settings(tmp_path)).holidays()


def test_the_child_gets_its_own_home_and_no_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TQ_ACCOUNT_PASSWORD", "secret-too")
    monkeypatch.setenv("GHTRADER_QUESTDB_PG_PASSWORD", "secret-three")
    settings = pointed_at(monkeypatch, tmp_path, 1, 2)
    scratch = scratch_folder(settings.home)
    environment = worker_environment(settings, scratch)
    assert environment["HOME"] == str(scratch) and scratch.is_relative_to(tmp_path)
    assert environment["TQ_AUTH_URL"] == "http://127.0.0.1:1" and "TQ_TD_URL" not in environment
    assert not [value for value in environment.values() if "secret" in value]


def test_folders_of_dead_workers_are_removed(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, alive = tmp_path / "tmp" / f"tqsdk-{child.pid}-abc", tmp_path / "tmp" / f"tqsdk-{os.getpid()}-abc"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
    fresh = scratch_folder(tmp_path)
    assert fresh.is_dir() and alive.is_dir() and not dead.exists()


def test_importing_the_source_loads_no_tqsdk() -> None:
    code = (
        "import sys, ghtrader_market.sources.tqsdk.source, ghtrader_market.ingest.download;"
        "print([m for m in ('tqsdk', 'questdb', 'psycopg', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout.strip() == "[]"


def test_the_worker_refuses_a_persons_own_home(tmp_path: Path) -> None:
    keep = tmp_path / ".tqsdk" / "data_series_1" / "mine"
    keep.parent.mkdir(parents=True)
    keep.write_text("precious")
    environment = os.environ | {"HOME": str(tmp_path)}
    environment.pop("GHTRADER_TQSDK_SCRATCH", None)
    command = [sys.executable, "-m", "ghtrader_market.sources.tqsdk.worker"]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 2 and "started by it" in done.stderr
    assert keep.read_text() == "precious"
