"""download, update and locks as a user types them, against a simulated exchange that spoils a day."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_base.lock_keys import ticks_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.settings import load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.tick_schema import L1_TICK_SCHEMA
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.tqsdk.client_slots import take_slot
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import skipped_days

SCENARIO = Scenario(start=date(2025, 4, 8), end=date(2025, 4, 11), snapshot_seconds=60.0)
DAYS = bundled_calendar().days(SCENARIO.start, SCENARIO.end)
MAIN = "KQ.m@SHFE.cu"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture(autouse=True)
def _environment(exchange: ExchangeProcess, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in exchange.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    monkeypatch.setenv("GHTRADER_MAX_PARALLEL_TQSDK_JOBS", "1")  # a second client takes longer to start than it saves


def said(capfd: pytest.CaptureFixture[str], code: int, *arguments: str) -> tuple[str, str]:
    """Run in this process; stdout and stderr."""
    capfd.readouterr()
    got = run(list(arguments))
    captured = capfd.readouterr()
    assert got == code, captured.err[-3000:]
    return captured.out, captured.err


def test_a_spoilt_day_is_named_and_update_mends_it(
    exchange: ExchangeProcess, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lake, symbol, spoilt = Lake(home / "data"), "SHFE.cu2506", DAYS[1]
    _, error = said(capfd, 1, "update", "--exchange", "SHFE", "--var", "cu")
    assert "download-contract-range" in error and not lake.root.joinpath("ticks").exists()

    exchange.control.fault("empty-day", symbol=symbol, day=spoilt)
    span = ["--start", str(DAYS[0]), "--end", str(DAYS[2])]
    try:
        _, error = said(capfd, 1, "download-contract-range", "--exchange", "SHFE", "--var", "cu", *span)
    finally:
        exchange.control.fault("clear")
    assert f"{symbol} {spoilt} (no-ticks: the daily bar has" in error and "ghtrader update" in error
    assert "contract-days" in error and "ticks/s" in error and " left" in error, "progress with rate and time left"
    assert list(skipped_days(lake, symbol)) == [spoilt]
    assert lake.days("ticks", symbol) == [DAYS[0], DAYS[2]] and len(lake.keys("ticks")) == SCENARIO.contracts

    out, _ = said(capfd, 0, "update", "--exchange", "SHFE", "--var", "cu", "--json")
    assert json.loads(out)["runs"][0]["success"]
    assert skipped_days(lake, symbol) == {}
    for each in lake.keys("ticks"):
        assert lake.days("ticks", each) == DAYS
    assert lake.days("daily_bars", "cu")[-1] == DAYS[-1]
    _, told = said(capfd, 0, "update", "--var", "cu", "--json")
    assert "0 ticks in 0 contract-days" in told


def test_a_main_series_is_kept_apart_and_has_one_level(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    span = ["--start", str(DAYS[0]), "--end", str(DAYS[1])]
    out, _ = said(capfd, 0, "download", "--symbol", MAIN, *span, "--json")
    made = json.loads(out)["runs"][0]["made"]
    assert set(made) == {f"observed ticks_l1[{day}|cu]" for day in DAYS[:2]}
    lake = Lake(home / "data")
    assert lake.keys("ticks") == [] and lake.days("ticks_l1", MAIN) == DAYS[:2]
    table = lake.read_day("ticks_l1", MAIN, DAYS[0])
    assert table.schema.equals(L1_TICK_SCHEMA) and "bid_price2" not in table.schema.names and table.num_rows > 100


def test_who_holds_what_is_told_and_a_second_download_is_refused(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(home)
    slot = take_slot(settings, "a client")
    with resource_lock(settings.locks, ticks_key("SHFE.cu2506"), "a long download"):
        out, _ = said(capfd, 0, "locks", "--json")
        held = {row["name"]: row for row in json.loads(out)["locks"]}
        assert set(held) == {"ticks:symbol=SHFE.cu2506", "tqsdk:client=0"}
        assert held["ticks:symbol=SHFE.cu2506"]["pid"] == os.getpid() and held["tqsdk:client=0"]["since"]
    slot.close()
    assert json.loads(said(capfd, 0, "locks", "--json")[0]) == {"locks": []}
