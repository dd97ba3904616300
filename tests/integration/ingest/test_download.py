"""The unmodified TqSdk client downloads from the simulated exchange: what arrives is what was printed, bit by bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import psutil
import pytest

from ghtrader_base.errors import ConfigError, NotListedError, UnreachableError, UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.ingest.download import FetchPolicy, download
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS, values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA, TickSource
from ghtrader_market.sources.circuit_breaker import Policy
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import no_data_days, skipped_days
from tests.support.waiting import PATIENCE_S

CALENDAR = bundled_calendar()
SCENARIO = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 8), snapshot_seconds=60.0)
DAYS = CALENDAR.days(SCENARIO.start, SCENARIO.end)  # 4 April is a holiday: 7 April has no night session
BEFORE, AFTER = date(2025, 3, 31), date(2025, 4, 10)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange")) as found:
        yield found


@pytest.fixture(scope="module")
def history(exchange: ExchangeProcess) -> History:
    return History(SCENARIO)


@pytest.fixture(scope="module")
def source(exchange: ExchangeProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TqSdkSource]:
    """One client for the tests that only ask; these stand first, since `settings` closes it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in exchange.env.items():
            patch.setenv(name, value)
        with TqSdkSource(load_settings(tmp_path_factory.mktemp("asking") / "home")) as found:
            found.holidays()  # its worker takes the environment along
            yield found


@pytest.fixture
def settings(
    exchange: ExchangeProcess, source: TqSdkSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """An empty home's, where no client of TqSdk runs."""
    source.close()
    for name, value in exchange.env.items():
        monkeypatch.setenv(name, value)
    # A worker that forgot its own HOME would leave its cache here.
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    return load_settings(tmp_path / "home")


def assert_printed(lake: Lake, history: History, symbol: str, day: date) -> int:
    table, printed = lake.read_day("ticks", symbol, day), history.day(symbol, day)
    np.testing.assert_array_equal(table["datetime_ns"].to_numpy(), printed.datetime_ns)
    values = values_matrix(table)
    for row, name in enumerate(VALUE_COLUMNS):
        np.testing.assert_array_equal(values[row], np.asarray(printed.values[name], np.float64), err_msg=name)
    np.testing.assert_array_equal(table["id"].to_numpy(), history.first_id(symbol, day) + np.arange(table.num_rows))
    return table.num_rows


def test_contracts_bars_main_contracts_and_holidays(source: TqSdkSource, history: History) -> None:
    assert isinstance(source, TickSource)
    contracts = source.contracts("cu", BEFORE, AFTER)
    assert [info.symbol for info in contracts] == list(history.contracts("cu"))
    assert all(info.expires > AFTER and not info.expired for info in contracts)
    assert source.contracts("cu", date(2010, 1, 4), date(2010, 1, 5)) == []

    bars = source.daily_bars([info.symbol for info in contracts], BEFORE, AFTER)
    assert bars.schema.equals(DAILY_BAR_SCHEMA)
    assert bars["symbol"].to_pylist() == [info.symbol for info in contracts for _ in DAYS]
    assert bars["trading_day"].to_pylist() == DAYS * len(contracts)  # the live day has begun and is left out
    for bar in bars.to_pylist():
        printed = history.day(bar["symbol"], bar["trading_day"]).values
        assert bar["open_interest"] == printed["open_interest"][-1]
        assert (bar["volume"], bar["close"]) == (printed["volume"][-1], printed["last_price"][-1])
        assert bar["high"] >= max(bar["open"], bar["close"]) and bar["low"] <= min(bar["open"], bar["close"])

    assert source.continuous("cu", 3)[-1][1] in history.contracts("cu")
    assert set(source.holidays()) == set(CALENDAR.holidays)
    assert len(source.workers) == 1


def test_long_ranges_are_asked_for_in_parts(
    source: TqSdkSource, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghtrader_market.sources.tqsdk.source._FIRST_CALL_DAYS", 2)
    monkeypatch.setattr("ghtrader_market.sources.tqsdk.source._ROWS_A_CALL", 1)
    symbol, told = history.contracts("cu")[0], []
    found = list(source.ticks(symbol, BEFORE, AFTER, told.append))
    assert [day for day, _ in found] == [BEFORE, *DAYS]
    assert [table.num_rows for _, table in found[1:]] == [len(history.day(symbol, day).datetime_ns) for day in DAYS]
    assert told[-1] == sum(table.num_rows for _, table in found) and told == sorted(told)


def test_an_unknown_contract_is_named_at_once(source: TqSdkSource, tmp_path: Path) -> None:
    source.contracts("cu", BEFORE, AFTER)
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"does not know the contract SHFE\.cu2511") as caught:
        download(source, Lake(tmp_path / "data"), CALENDAR, ["SHFE.cu2511"], DAYS[0], DAYS[1])
    assert time.monotonic() - started < 90
    assert caught.value.hint and not (tmp_path / "data").exists()
    # A product that this exchange does not have is no dead service: it took 233 s to call it one.
    for symbol in ("CFFEX.IF2506", "KQ.m@CFFEX.IF"):
        with pytest.raises(NotListedError, match=r"lists no contract of CFFEX\.IF"):
            download(source, Lake(tmp_path / "data"), CALENDAR, [symbol], DAYS[0], DAYS[1])
    with pytest.raises(NotListedError, match=r"lists no contract of SHFE\.au"):
        source.finished_day("au")
    assert time.monotonic() - started < 90 and not (tmp_path / "data").exists()
    # One that is gone from the list holds up no bars of the others.
    bars = source.daily_bars(["SHFE.cu2511", source.contracts("cu", BEFORE, AFTER)[0].symbol], DAYS[0], DAYS[1])
    assert bars["trading_day"].to_pylist() == DAYS[:2]
    assert source.contracts("cu", BEFORE, AFTER)  # the worker is still of use


def test_what_is_downloaded_is_what_was_printed(settings: Settings, history: History, tmp_path: Path) -> None:
    lake, lines = Lake(settings.data), []
    symbols = history.contracts("cu")
    with TqSdkSource(settings) as source:
        report = download(source, lake, CALENDAR, symbols, BEFORE, AFTER, run_id="r", workers=2, progress=lines.append)
    assert set(report.written) == {(symbol, day) for symbol in symbols for day in DAYS}
    assert report.rows == sum(assert_printed(lake, history, symbol, day) for symbol, day in report.written)
    # The day before the history has no ticks and never will; the live day and the next are not over.
    assert all(no_data_days(lake, symbol) == {BEFORE} for symbol in symbols)
    assert {day for _, day in report.pending} == {date(2025, 4, 9), date(2025, 4, 10)}
    assert lines and lines[-1].rows == report.rows
    for symbol, day in report.written:
        found = lake.verify_day("ticks", symbol, day)
        assert found.details.origin == SCENARIO.origin, "the exchange says that it is one, which world and which seed"
    assert not (tmp_path / "person" / ".tqsdk").exists()
    assert list((settings.home / "tmp").iterdir()) == []


def test_no_more_processes_than_the_settings_allow(settings: Settings, history: History) -> None:
    seen: list[int] = []
    one = settings.model_copy(update={"max_parallel_tqsdk_jobs": 1})
    with TqSdkSource(one) as source:
        lake = Lake(settings.data)
        download(
            source, lake, CALENDAR, history.contracts("cu"), DAYS[0], DAYS[1],
            workers=3, progress=lambda line: seen.append(len(source.workers)),
        )  # fmt: skip
    assert seen and max(seen) == 1


def test_a_wrong_password_is_refused_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQSDK_PASSWORD", "wrong-password")
    started = time.monotonic()
    with TqSdkSource(load_settings(settings.home)) as source, pytest.raises(ConfigError, match="refused") as caught:
        source.contracts("cu", BEFORE, AFTER)
    assert time.monotonic() - started < 90
    assert "TQSDK_PASSWORD" in caught.value.hint and "wrong-password" not in f"{caught.value}{caught.value.hint}"
    assert list((settings.home / "tmp").iterdir()) == []


_KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from ghtrader_base.settings import load_settings
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.ingest.download import download
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.stores.lake.lake import Lake

DAYS = date(2025, 4, 1), date(2025, 4, 8)
settings = load_settings(sys.argv[1])
source = TqSdkSource(settings)

def progress(line):
    if line.days == 3:
        print(*source.workers, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

download(source, Lake(settings.data), bundled_calendar(), sys.argv[2:], DAYS[0], DAYS[1], progress=progress)
"""


def test_a_killed_download_leaves_whole_days_and_no_process(settings: Settings, history: History) -> None:
    symbol = history.contracts("cu")[0]
    command = [sys.executable, "-c", textwrap.dedent(_KILLED), str(settings.home), symbol]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, env=os.environ | {"HOME": "/nonexistent"}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    workers = [int(pid) for pid in done.stdout.split()]
    assert workers
    deadline = time.monotonic() + PATIENCE_S
    while any(psutil.pid_exists(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(psutil.pid_exists(pid) for pid in workers)

    lake = Lake(settings.data)
    kept = lake.days("ticks", symbol)
    assert kept == DAYS[:3]
    before = {day: lake.verify_day("ticks", symbol, day) for day in kept}
    with TqSdkSource(settings) as source:
        report = download(source, lake, CALENDAR, [symbol], DAYS[0], DAYS[-1], run_id="second")
    assert [day for _, day in report.written] == DAYS[3:] and report.present == 3
    assert {day: lake.manifest("ticks", symbol, day) for day in kept} == before
    for day in DAYS:
        assert_printed(lake, history, symbol, day)
    assert list((settings.home / "tmp").iterdir()) == []


def test_an_exchange_that_goes_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 2), snapshot_seconds=1.0)
    gone_after: list[float] = []
    with ExchangeProcess(scenario, tmp_path / "exchange") as exchange:
        for name, value in exchange.env.items():
            monkeypatch.setenv(name, value)
        settings = load_settings(tmp_path / "home")
        lake = Lake(settings.data)

        def stop(_: object) -> None:
            if not gone_after:
                gone_after.append(time.monotonic())
                os.kill(exchange.pid, signal.SIGKILL)

        with TqSdkSource(settings) as source:
            symbol = source.contracts("cu", DAYS[0], DAYS[1])[0].symbol
            (worker,) = source.workers
            with pytest.raises(UnreachableError, match="2 contract-days are skipped") as caught:
                policy = FetchPolicy(outage_s=1.0, breaker=Policy(pause_s=0.2))
                download(source, lake, CALENDAR, [symbol], DAYS[0], DAYS[1], progress=stop, policy=policy)
        assert time.monotonic() - gone_after[0] < 90
        assert exchange.env["TQ_AUTH_URL"] in caught.value.message and "ghtrader exchange serve" in caught.value.hint
    assert not psutil.pid_exists(worker)
    assert lake.keys("ticks") == []
    assert {entry.reason for entry in skipped_days(lake, symbol).values()} == {"unreachable"}
