"""Spoils all the exchange can, through the unmodified TqSdk client: complete data or a named reason, in bounded time.

The line under a download, the login, and the rows of a day; tests/integration tries the spoilt day alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import LoginRefusedError, TimedOutError, UnreachableError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.ingest.download import IngestReport, download, policy_of
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import skipped_days

pytestmark = [pytest.mark.timeout(600), pytest.mark.sample(1, of="download faults")]
CALENDAR = bundled_calendar()
# More rows a day than one window of TqSdk's, so that a fault can meet one day and no other.
SCENARIO = Scenario(start=date(2025, 4, 8), end=date(2025, 4, 15), snapshot_seconds=20.0)
DAYS = CALENDAR.days(SCENARIO.start, SCENARIO.end)
TIMEOUT_S, OUTAGE_S = 4.0, 8.0
BOUND_S = 120.0
"""Attempts x time-out, the outage and the start of new clients, on a busy machine."""


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture(scope="module")
def history(exchange: ExchangeProcess) -> History:
    return History(SCENARIO)


@pytest.fixture
def settings(exchange: ExchangeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name, value in exchange.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("GHTRADER_TQSDK_TIMEOUT_S", str(TIMEOUT_S))
    monkeypatch.setenv("GHTRADER_INGEST_OUTAGE_S", str(OUTAGE_S))
    monkeypatch.setenv("GHTRADER_INGEST_ATTEMPTS", "2")
    yield load_settings(tmp_path / "home")
    exchange.control.fault("clear")


def fetch(settings: Settings, symbol: str) -> IngestReport:
    with TqSdkSource(settings) as source:
        return download(
            source, Lake(settings.data), CALENDAR, [symbol], DAYS[0], DAYS[-1], policy=policy_of(settings), tell=print
        )


def assert_complete(settings: Settings, history: History, symbol: str, but: tuple[date, ...] = ()) -> None:
    lake = Lake(settings.data)
    assert lake.days("ticks", symbol) == [day for day in DAYS if day not in but]
    for day in lake.days("ticks", symbol):
        times = lake.read_day("ticks", symbol, day)["datetime_ns"].to_numpy()
        np.testing.assert_array_equal(times, history.day(symbol, day).datetime_ns)
        lake.verify_day("ticks", symbol, day)


@pytest.mark.parametrize("kind", ["drop-data", "close-data", "stall-data", "garbage-data"])
def test_a_line_that_fails_once_costs_no_day(
    exchange: ExchangeProcess, settings: Settings, history: History, kind: str
) -> None:
    symbol = history.contracts("cu")[0]
    exchange.control.fault(kind, symbol=symbol)
    began = time.monotonic()
    report = fetch(settings, symbol)
    assert time.monotonic() - began < BOUND_S
    assert report.skipped == () and skipped_days(Lake(settings.data), symbol) == {}
    assert_complete(settings, history, symbol)


def test_a_slow_service_is_no_fault(exchange: ExchangeProcess, settings: Settings, history: History) -> None:
    symbol = history.contracts("cu")[0]
    exchange.control.fault("slow-data", symbol=symbol, seconds=0.6, count=1000)
    assert fetch(settings, symbol).skipped == ()
    assert_complete(settings, history, symbol)


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [("stall-data", {"timed-out"}), ("garbage-data", {"source-error", "timed-out"}), ("close-data", {"timed-out"})],
)
def test_a_day_that_never_comes_is_named_and_the_others_come(
    exchange: ExchangeProcess, settings: Settings, history: History, kind: str, reasons: set[str]
) -> None:
    symbol, bad = history.contracts("cu")[0], DAYS[2]
    exchange.control.fault(kind, symbol=symbol, day=bad, count=1000)
    began = time.monotonic()
    report = fetch(settings, symbol)
    assert time.monotonic() - began < BOUND_S
    assert [(day, reason in reasons) for _, day, reason, _ in report.skipped] == [(bad, True)], report.skipped
    assert_complete(settings, history, symbol, but=(bad,))
    exchange.control.fault("clear")
    assert [day for _, day in fetch(settings, symbol).written] == [bad]
    assert_complete(settings, history, symbol)
    assert skipped_days(Lake(settings.data), symbol) == {}


def test_a_service_that_says_nothing_at_all_ends_in_named_days(
    exchange: ExchangeProcess, settings: Settings, history: History
) -> None:
    symbol = history.contracts("cu")[0]
    exchange.control.fault("stall-data", count=1000)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="contract-days are skipped"):
        fetch(settings, symbol)
    assert time.monotonic() - began < BOUND_S
    ledger = skipped_days(Lake(settings.data), symbol)
    assert list(ledger) == DAYS and {entry.reason for entry in ledger.values()} == {"timed-out"}


def test_a_login_refused_for_a_while_is_waited_for_and_for_too_long_is_said(
    exchange: ExchangeProcess, settings: Settings, history: History
) -> None:
    symbol = history.contracts("cu")[0]
    exchange.control.fault("refuse-login", seconds=5)
    assert fetch(settings, symbol).skipped == ()
    assert_complete(settings, history, symbol)
    exchange.control.fault("refuse-login", seconds=600)
    other = history.contracts("cu")[1]
    began = time.monotonic()
    with pytest.raises((LoginRefusedError, TimedOutError)):
        fetch(settings, other)
    assert time.monotonic() - began < BOUND_S
    ledger = skipped_days(Lake(settings.data), other)
    assert list(ledger) == DAYS and {entry.reason for entry in ledger.values()} == {"login-refused"}


def test_days_with_damaged_rows(exchange: ExchangeProcess, settings: Settings, history: History) -> None:
    symbol = history.contracts("cu")[0]
    kinds = ("empty-day", "partial-day", "duplicate-rows", "disordered-rows", "crossed-rows", "nan-rows")
    for kind, day in zip(kinds, DAYS, strict=True):
        exchange.control.fault(kind, symbol=symbol, day=day)
    report = fetch(settings, symbol)
    assert {day: reason for _, day, reason, _ in report.skipped} == {
        DAYS[0]: "no-ticks", DAYS[1]: "partial", DAYS[3]: "disordered", DAYS[5]: "blank-rows",
    }  # fmt: skip
    lake = Lake(settings.data)
    assert lake.days("ticks", symbol) == [DAYS[2], DAYS[4]]
    whole = len(history.day(symbol, DAYS[2]).datetime_ns)
    once = lake.manifest("ticks", symbol, DAYS[2])
    assert once.rows == whole and once.ticks.dropped_duplicates > 10
    crossed = lake.read_day("ticks", symbol, DAYS[4])
    assert (crossed["bid_price1"].to_numpy() >= crossed["ask_price1"].to_numpy()).sum() > 10, "raw ticks stay raw"
    exchange.control.fault("clear")
    again = fetch(settings, symbol)
    assert len(again.written) == 4 and skipped_days(lake, symbol) == {}
