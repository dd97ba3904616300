"""Tries the vendor's real service with the caller's account: login, history, live ticks, an order on its simulation.

`make test-vendor` with TQSDK_USER and TQSDK_PASSWORD; about five minutes while the market is open. Variables of
`ghtrader exchange serve --run` point the same tests at the simulated exchange.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from ghtrader_base.settings import Settings
from ghtrader_market.ingest.download import download, policy_of
from ghtrader_market.reference.tick_schema import L1_TICK_SCHEMA, RAW_TICK_SCHEMA
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_runtime.run_options import GatewayOptions, run_folder
from ghtrader_runtime.supervisor.supervisor import Child, new_run_id
from tests.integration.runtime.test_sim import Hand

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
VARIETY, SERIES = "cu", "KQ.m@SHFE.cu"
ACCOUNT = "vendor-test"
OPEN_S = 60.0
"""Seconds in which an open market has printed a tick."""


@pytest.fixture
def source(vendor: Settings) -> Iterator[TqSdkSource]:
    with TqSdkSource(vendor) as found:
        yield found


@pytest.fixture
def main_contract(source: TqSdkSource) -> str:
    return source.continuous(VARIETY, days=5)[-1][1]


def test_login_and_the_contracts_that_live(vendor: Settings, source: TqSdkSource) -> None:
    day = source.finished_day(VARIETY)
    contracts = source.contracts(VARIETY, day, day + timedelta(days=30))
    assert contracts and all(one.symbol.startswith("SHFE.cu") for one in contracts)
    assert load_calendar(vendor).days(day, day) == [day], "the service's clock is on a trading day of our calendar"


def test_a_short_download(vendor: Settings, source: TqSdkSource, main_contract: str) -> None:
    day, lake = source.finished_day(VARIETY), Lake(vendor.data)
    report = download(
        source, lake, load_calendar(vendor), [main_contract], day, day, policy=policy_of(vendor), tell=print
    )
    assert [found for _, found in report.written] == [day] and report.skipped == ()
    ticks = lake.read_day("ticks", main_contract, day)
    assert ticks.schema.names == RAW_TICK_SCHEMA.names and ticks.num_rows > 100
    lake.verify_day("ticks", main_contract, day)
    five = ticks["bid_price5"].to_numpy()
    assert (five == five).mean() > 0.5, "the account has five levels"


def test_a_tick_serial_of_the_main_series(source: TqSdkSource) -> None:
    day = source.finished_day(VARIETY)
    ((found, table),) = source.ticks(SERIES, day, day)
    assert found == day and table.num_rows > 100 and table.schema.names == L1_TICK_SCHEMA.names


@pytest.fixture
def hand(vendor: Settings, main_contract: str) -> Iterator[Hand]:
    """A strategy moved by hand behind a gateway on the vendor's own simulation (TqKq), once live ticks come."""
    run_id = new_run_id("vendor")
    options = GatewayOptions(account=ACCOUNT, mode="sim", sim="tqkq", symbol=main_contract, run_id=run_id)
    gateway = Child(vendor, "gateway", run_folder(vendor, run_id), options)
    found = Hand(vendor, ACCOUNT, main_contract)
    try:
        found.join()
        joined = found.tick.id if found.tick else -1
        deadline = time.monotonic() + OPEN_S
        while found.tick is None or found.tick.id <= joined + 2:
            if time.monotonic() > deadline:
                pytest.skip(f"no tick of {main_contract} in {OPEN_S:.0f} s: the market is closed")
            found.listen_once()
        yield found
    finally:
        found.bus.close()
        gateway.stop()
    assert gateway.error() is None


def test_live_ticks_come(hand: Hand) -> None:
    first = hand.tick
    hand.listen(lambda: hand.tick.id > first.id + 5, OPEN_S)
    assert hand.tick.datetime_ns > first.datetime_ns


def test_one_lot_is_bought_and_sold_on_the_vendors_simulation(hand: Hand) -> None:
    hand.listen(lambda: hand.state.trading_state == "ACTIVE" and not hand.state.working)
    before = hand.position
    assert before == 0, "the simulated account holds a position of this contract: close it first"
    hand.reach(1)
    hand.reach(0)
