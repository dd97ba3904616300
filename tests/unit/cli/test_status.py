"""`ghtrader status`: each part on its own, whatever is down or broken."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from ghtrader.cli import run
from ghtrader_base.errors import IntegrityError
from ghtrader_base.processes import register
from ghtrader_base.settings import Settings
from ghtrader_market.reference.holiday_list import save_holidays
from ghtrader_market.reference.tick_schema import table_from_values
from ghtrader_market.reference.trading_calendar import SHANGHAI, bundled_calendar, holidays_path
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.operator_views.gateway_view import running_gateways
from tests.support.copper_day import CONTRACT, DAY, whole_day

PARTS = {
    "home", "servers", "clock", "calendar", "lake", "questdb", "runs", "champions", "trading", "kill_switches", "disk",
    "gpus",
}  # fmt: skip


def status(capfd: pytest.CaptureFixture[str]) -> dict:
    assert run(["status", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found.keys() == PARTS
    assert run(["status"]) == 0
    assert "Traceback" not in capfd.readouterr().out
    return found


def test_a_home_that_is_not_there_yet(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    found = status(capfd)
    assert found["lake"]["ok"] and found["questdb"] == {"configured": False}
    assert found["runs"] == found["champions"] == found["trading"] == found["kill_switches"] == []
    assert found["disk"]["free_gb"] > 0 and not any(server["up"] for server in found["servers"])
    assert not settings.home.exists(), "looking writes nothing"


def test_what_runs_and_what_is_tripped(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    KillSwitch(settings.home / "accounts" / "paper" / "inside").trip("a reason")
    KillSwitch(settings.account_state("tqkq", "outside")).trip("another")
    KillSwitch(settings.account_state("tqkq", "outside")).reset("mended")
    with register(settings, "mlflow", "web UI", detail="http://127.0.0.1:5000"), register(settings, "trade", "a on b"):
        found = status(capfd)
    assert {server["server"]: server["url"] for server in found["servers"] if server["up"]} == {
        "mlflow": "http://127.0.0.1:5000"
    }
    assert [process["kind"] for process in found["trading"]] == ["trade"]
    assert {row["account"]: row["tripped"] for row in found["kill_switches"]} == {"inside": True, "outside": False}


def test_a_broken_part_hides_no_other(
    settings: Settings, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = settings.dagster / "history"
    history.mkdir(parents=True)
    (history / "runs.db").write_bytes(b"no database")
    champion = settings.models / "champions" / "KQ.m@SHFE.cu" / "h50.json"
    champion.parent.mkdir(parents=True)
    champion.write_text("{")
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    found = status(capfd)
    assert all("error" in found[part] for part in ("runs", "champions", "gpus"))
    assert found["lake"]["ok"] and found["disk"]["free_gb"] > 0


def test_a_gpu_is_told(
    settings: Settings, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 12, 143771, 3'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (gpu,) = status(capfd)["gpus"]
    assert gpu == {
        "name": "NVIDIA H200",
        "memory_used_mb": "12",
        "memory_total_mb": "143771",
        "utilization_percent": "3",
    }


def test_last_runs_newest_first(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    history = settings.dagster / "history"
    history.mkdir(parents=True)
    with sqlite3.connect(history / "runs.db") as database:
        database.execute(
            "CREATE TABLE runs (id INTEGER PRIMARY KEY, run_id, pipeline_name, status, create_timestamp, start_time, "
            "end_time, run_body)"
        )
        database.execute("CREATE TABLE run_tags (id INTEGER PRIMARY KEY, run_id, key, value)")
        body = json.dumps({"asset_selection": {"__frozenset__": [{"path": ["main_l5"]}]}})
        rows = [(f"run{n}", "__ASSET_JOB", "SUCCESS", "2026-11-21", 1e9 + n, None, body) for n in range(7)]
        database.executemany(
            "INSERT INTO runs (run_id, pipeline_name, status, create_timestamp, start_time, end_time, run_body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        database.execute("INSERT INTO run_tags VALUES (1, 'run6', 'dagster/partition', '2025-01-02|cu')")
    found = status(capfd)["runs"]
    assert [row["id"] for row in found] == ["run6", "run5", "run4", "run3", "run2"]
    assert found[0]["what"] == "main_l5 2025-01-02|cu" and found[0]["status"] == "success"


def test_questdb_down_is_told_with_the_debt(
    settings: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ghtrader_market.stores.mirror.mirrored_lake import debt_ledger

    with debt_ledger(settings).owing("schedule", "cu", None, "not reachable"):
        pass
    monkeypatch.setenv("GHTRADER_QUESTDB_HOST", "127.0.0.1")
    monkeypatch.setenv("GHTRADER_QUESTDB_HTTP_PORT", "9")
    monkeypatch.setenv("GHTRADER_QUESTDB_PG_PORT", "9")
    started = time.monotonic()
    found = status(capfd)["questdb"]
    assert time.monotonic() - started < 10
    assert not found["ok"] and "127.0.0.1:9" in found["detail"] and "make questdb" in found["detail"]
    assert found["debt"] == {"owed": 1} and found["oldest_debt"]


def test_a_gateway_whose_contract_ends_is_warned_of(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    note = "SHFE.cu2502: a natural person may hold it until 2025-01-27, in 3 trading days"
    document = {
        "pid": os.getpid(), "account": "demo", "broker": "paper", "mode": "paper", "symbol": "SHFE.cu2502",
        "state_dir": str(settings.home), "ended": "", "trading_state": "ACTIVE", "reasons": [], "killed": False,
        "links": {"broker": "LIVE"}, "positions": {}, "net_pnl": 0.0, "data_age_s": 0.1, "holding_note": note,
    }  # fmt: skip
    path = settings.runs / "trading" / "one" / "gateway.json"
    path.parent.mkdir(parents=True)
    for holding in (document, {name: value for name, value in document.items() if name != "holding_note"}):
        path.write_text(json.dumps(holding))
        with register(settings, "gateway", "gateway of demo"):
            assert run(["status"]) == 0
            told = capfd.readouterr().out
            assert (f"WARNING {note}" in told) == ("holding_note" in holding)
            assert run(["status", "--json"]) == 0
            (gateway,) = json.loads(capfd.readouterr().out)["trading"]
            assert gateway["holding_note"] == holding.get("holding_note", "")


@pytest.mark.clock
def test_the_calendar_says_how_long_it_reaches_and_what_it_took_back(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    calendar = status(capfd)["calendar"]
    assert calendar["last"] == "2026-12-31" and calendar["source"] == "" and calendar["taken_back"] == []
    assert calendar["days_left"] == (date(2026, 12, 31) - datetime.now(SHANGHAI).date()).days
    assert any("the holiday list e" in text for text in calendar["warnings"]) is (calendar["days_left"] < 60)
    lake, (times, values) = Lake(settings.data), whole_day(seconds=60.0)
    lake.write_day("ticks", CONTRACT, DAY, table_from_values(np.arange(len(times)), times, values), source="tqsdk")
    save_holidays(settings.data, [*bundled_calendar().holidays, DAY], "by hand")
    assert status(capfd)["calendar"]["taken_back"] == [str(DAY)]
    assert run(["status"]) == 0
    assert f"WARNING  stored, and holidays by the list: {DAY}" in capfd.readouterr().out
    assert lake.has_day("ticks", CONTRACT, DAY), "nothing is deleted"
    holidays_path(settings.data).write_text("{")
    assert "error" in status(capfd)["calendar"]


@pytest.mark.clock
@pytest.mark.parametrize("broken", ["", "[]", "{", '"text"', "null"])
def test_a_broken_state_file_of_an_ended_run_hides_no_running_gateway(settings: Settings, broken: str) -> None:
    trading = settings.runs / "trading"
    state = {"account": "demo", "broker": "paper", "mode": "paper", "symbol": "SHFE.cu2505", "state_dir": "x"}
    for name, text in (("ended", broken), ("running", json.dumps({**state, "pid": os.getpid()}))):
        (trading / name).mkdir(parents=True)
        (trading / name / "gateway.json").write_text(text)
    with register(settings, "gateway", "gateway of demo"):
        assert [one.account for one in running_gateways(settings)] == ["demo"]
        (trading / "running" / "gateway.json").unlink()
        with pytest.raises(IntegrityError, match="ended"):  # it may be that of the gateway that runs
            running_gateways(settings)
    assert running_gateways(settings) == []
