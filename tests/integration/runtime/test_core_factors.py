"""What the strategy process journalled of `core`, through TqSdk and ZeroMQ, is the stored batch of the day bit for bit:
for a strategy that was there from the first tick, and for one that joined a running market in mid-session.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.ingest.download import download
from ghtrader_market.main_series.main_l5 import build_main_l5
from ghtrader_market.reference.roll_schedule import schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import write_bundle
from ghtrader_models.bundles.provenance import BundleContent
from ghtrader_models.datasets.build_days import build_days
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.policy import PolicyParams
from ghtrader_runtime.run_options import GatewayOptions, StrategyOptions
from ghtrader_runtime.runlog.journal import read_factors
from ghtrader_runtime.supervisor.supervisor import Pair, new_run_id
from tests.support.runtime_kit import TinyModel
from tests.support.waiting import until

SCENARIO = Scenario(start=date(2025, 4, 14), end=date(2025, 4, 15), snapshot_seconds=12.0, contracts=2)
DAYS = [SCENARIO.start, SCENARIO.end]
LIVE_DAY = date(2025, 4, 16)
SYMBOL, SERIES = "SHFE.cu2506", "KQ.m@SHFE.cu"
CALENDAR = bundled_calendar()
FAST, BRISK, SLOW = 6000.0, 2400.0, 120.0
"""Market seconds a second: 500 ticks a second; 200 until somebody joins, and 10 meanwhile: a slow machine starts
a process in a minute, and must find the day half done and half to come."""


@pytest.fixture
def exchange(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(SCENARIO, tmp_path / "exchange", speed=FAST) as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running


def core_bundle(settings: Settings, core: FactorSet) -> Path:
    """A model over the whole set; that it follows one factor alone is nothing to the others."""
    content = BundleContent(
        symbol=SERIES, horizon=50, price_tick=10.0, levels=5, days=(), seed=0, config={}
    )
    model = TinyModel(n_features=len(core))
    return write_bundle(
        settings.models, model, core.spec(), LabelSpec((50,)), PolicyParams(enter=0.7, leave=0.2), content
    )


def start(settings: Settings, model: Path, account: str, sim: str) -> Pair:
    """A gateway and a strategy process of their own."""
    run_id = new_run_id(account)
    return Pair(
        settings,
        GatewayOptions(account=account, mode="sim", sim=sim, symbol=SYMBOL, run_id=run_id, rate_orders=10_000),
        StrategyOptions(account=account, mode="sim", sim=sim, symbol=SYMBOL, model=str(model)),
    )


def journalled(pair: Pair) -> dict[str, np.ndarray]:
    """The rows of the live day, in the order in which they were computed."""
    found = read_factors(pair.folder / "strategy")
    at = found["trading_day"] == str(LIVE_DAY).encode()
    return {name: column[at] for name, column in found.items()}


def stored_batch(settings: Settings, source: TqSdkSource, core: FactorSet) -> tuple[np.ndarray, np.ndarray]:
    """The day downloaded and built like any other: times int64[n], factors float32[n, F]."""
    lake = Lake(settings.data)
    bars = source.daily_bars([info.symbol for info in source.contracts("cu", DAYS[0], LIVE_DAY)], DAYS[0], DAYS[-1])
    assert schedule_from_open_interest("cu", bars, None, CALENDAR).next_contract == SYMBOL
    schedule = schedule_from_open_interest("cu", bars, {LIVE_DAY: SYMBOL}, CALENDAR)  # its own bar comes tomorrow
    download(source, lake, CALENDAR, [SYMBOL], LIVE_DAY, LIVE_DAY, run_id="test")
    build_main_l5(lake, CALENDAR, schedule, [LIVE_DAY], run_id="test").raise_if_failed()
    build_days(lake, SERIES, [LIVE_DAY], core, LabelSpec(), run_id="test", calendar=CALENDAR).raise_if_failed()
    table = lake.read_day("features", SERIES, LIVE_DAY)
    assert lake.manifest("features", SERIES, LIVE_DAY).features.spec_hash == core.spec_hash
    return table["datetime_ns"].to_numpy(), np.stack([table[name].to_numpy() for name in core.names], axis=1)


def test_core_through_tqsdk_and_zeromq_is_the_stored_batch_of_the_day(exchange: ExchangeProcess, home: Path) -> None:
    settings, control, core = load_settings(home), exchange.control, get_factor_set("core")
    model = core_bundle(settings, core)
    sessions = CALENDAR.sessions("cu", LIVE_DAY)
    pairs = [start(settings, model, "opening", "tqkq")]
    try:
        until(pairs[0].ready)
        control.set_clock(frozen=False, speed=BRISK)
        until(lambda: control.clock().now_ns > sessions[0][0] + 2 * 3600 * 10**9)
        control.set_clock(speed=SLOW)  # the market goes on while the second one starts
        pairs.append(start(settings, model, "later", "tqsim"))
        until(pairs[1].ready)
        control.set_clock(speed=FAST)
        with TqSdkSource(settings) as source:
            source.contracts("cu", *DAYS)  # TqSdk is loaded while the day runs out
            until(lambda: control.clock().now_ns > sessions[-1][1] + 10**9)
            until(lambda: not any(child.running for pair in pairs for child in (pair.gateway, pair.strategy)))
            times, batch = stored_batch(settings, source, core)
    finally:
        for pair in pairs:
            pair.stop()

    runs = [pair.result() for pair in pairs]
    assert all(run.missed_ticks == 0 and run.ended == "the trading day is over" for run in runs)
    opening, later = (journalled(pair) for pair in pairs)
    assert len(core) >= 256 and len(times) > 2000
    assert opening["live"][1:].all(), "the opening's tick was there when the clock began to run; all others came live"
    history = int((~later["live"]).sum())
    assert history > 500 and not later["live"][:history].any(), "it joined in mid-session"
    assert later["live"].sum() > 750
    for kept in (opening, later):
        assert kept["datetime_ns"].tolist() == times.tolist(), "every tick, once, in order"
        assert (np.diff(kept["id"]) == 1).all()
        differ = kept["factors"].view(np.uint32) != batch.view(np.uint32)
        assert not differ.any(), [core.names[i] for i in np.flatnonzero(differ.any(axis=0))][:10]
    assert np.isnan(batch).any() and np.isfinite(batch[1000:]).mean() > 0.99, "cold and warm rows are among them"
