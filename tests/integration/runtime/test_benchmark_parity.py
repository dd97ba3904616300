"""The benchmark gets the very fills that the processes get on paper: price, time, volume, offset and fee."""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
import pytest

from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.closing_rules import closing_rule
from ghtrader_market.reference.session_times import factor_clock, in_sessions
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS, values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.samples import IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.evaluation.order_simulation import fill_targets
from ghtrader_models.evaluation.policy_simulation import simulate_stretch, trading_costs
from ghtrader_models.evaluation.recorded_books import RecordedBooks, books_of
from ghtrader_models.evaluation.simulated_days import SimulatedDays
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.inference.predictors import Predictor, WarmTracker
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.core.order_planning import ExecutionStyle
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.replay.in_process import backtest_day
from ghtrader_runtime.runlog.journal import read_factors
from tests.support.lock_step import CONTRACT, DAY, LockStepRun
from tests.support.runtime_kit import (
    session_times,
    synthetic_values,
    tiny_factor_set,
    write_main_l5,
    write_tiny_bundle,
)


def key(fill: Fill) -> tuple:
    return fill.side, fill.offset, fill.volume, fill.price, fill.market_ns, pytest.approx(fill.fee)


def test_paper_and_benchmark_agree_to_the_last_fill(lock_step: LockStepRun) -> None:
    run, bundle = lock_step.summary, load_bundle(lock_step.model)
    table = Lake(lock_step.settings.data).read_day("main_l5", "KQ.m@SHFE.cu", DAY)
    times, values = table["datetime_ns"].to_numpy(), values_matrix(table)
    bid, ask = values[COLUMN_INDEX["bid_price1"]], values[COLUMN_INDEX["ask_price1"]]
    kept = read_factors(run.folder / "strategy")
    end = bundled_calendar().sessions(variety_of(CONTRACT), DAY)[-1][1]
    done = simulate_stretch(
        kept["probabilities"], times, bid, ask, bundle.policy, trading_costs(CONTRACT, DAY), times >= end - 60 * 10**9
    )
    assert len(done.fills) == run.fills > 20
    assert [key(fill) for fill in done.fills] == [key(fill) for fill in run.fill_list]
    assert done.report.gross_pnl == pytest.approx(run.gross_pnl) and done.report.fees == pytest.approx(run.fees)
    deep = simulate_stretch(
        kept["probabilities"], times, bid, ask, bundle.policy, trading_costs(CONTRACT, DAY),
        times >= end - 60 * 10**9, depth=books_of(values).depth,
    )  # fmt: skip
    assert [key(fill) for fill in deep.fills] == [key(fill) for fill in run.fill_list], "the best level has a lot"
    # no order fills on the tick it was decided on
    assert not {fill.market_ns for fill in run.fill_list} & {int(times[0])}


@pytest.mark.parametrize(("contract", "day", "seed"), [
    ("SHFE.cu2502", date(2025, 1, 8), 3), ("CFFEX.IF2101", date(2021, 1, 4), 4), ("DCE.m2105", date(2021, 1, 5), 5),
])  # fmt: skip
@pytest.mark.parametrize("latency_ms", [0.0, 2.0, 700.0])
def test_the_compiled_simulation_is_the_core_and_the_paper_account(settings, contract, day, seed, latency_ms) -> None:
    """Thin books with holes and jumps, several lots, orders cut small: the same fills, whatever happens."""
    rng, n, variety = np.random.default_rng(seed), 900, variety_of(contract)
    tick = variety.price_tick(contract, day)
    values = synthetic_values(n, seed, price=round(5_000 / tick) * tick if tick < 10 else 70_000.0, tick=tick)
    prices = [COLUMN_INDEX[f"{side}_price{level}"] for side in ("bid", "ask") for level in range(1, 6)]
    volumes = [COLUMN_INDEX[f"{side}_volume{level}"] for side in ("bid", "ask") for level in range(1, 6)]
    values[:7] = np.round(values[:7], 6)
    values[prices] = np.round(values[prices] + tick * rng.integers(0, 4, n) * (rng.random(n) < 0.1), 6)
    values[volumes] = rng.integers(0, 4, (len(volumes), n))
    for bad in (np.nan, 0.0, 1.7976931348623157e308):
        for column in prices[::5]:
            values[column, rng.random(n) < 0.05] = bad
    times = session_times(contract, day, n)
    bundle = load_bundle(write_tiny_bundle(settings.models, variety.continuous_symbol, 0.3, 0.1, tick, lots=5))
    model = ExecutionModel(latency_ms=latency_ms, slip_ticks=1, max_order=2)
    played = backtest_day(
        bundle, bundled_calendar(), Market(contract, day, tick, variety.multiplier), np.arange(n), times,
        np.ascontiguousarray(values.T), model=model, style=ExecutionStyle(slip_ticks=1, max_order=2),
        limits=RiskLimits(
            max_position=5, rate_orders=10**6, daily_loss=0.0, drawdown=0.0, price_collar=1.0, max_notional=1e12
        ),
    )  # fmt: skip
    assert len(played.fills) > 30
    found = fill_targets(
        played.targets, times, books_of(values).depth, tick, closing_rule(contract), model, Position()
    )
    simulated = list(zip(times[found.row].tolist(), found.volume.tolist(), found.price.tolist(), strict=True))
    assert simulated == [(fill.market_ns, fill.signed, fill.price) for fill in played.fills]


@cache
def packaged_day() -> tuple[str, date, np.ndarray, np.ndarray]:
    """Contract, day, times and values of the packaged IF day: one level, as its exchange printed it."""
    ((contract, day, table),) = read_recording(IF2101, "IF")
    return contract, day, table["datetime_ns"].to_numpy(), values_matrix(table)


@cache
def simulated_day() -> tuple[str, date, np.ndarray, np.ndarray]:
    """The same of a simulated copper day, with five levels."""
    history = History(Scenario(start=date(2025, 2, 10), end=date(2025, 2, 12), snapshot_seconds=2.0, contracts=2))
    day = history.days[1]
    found = history.day(history.main_contract("cu", day), day)
    values = np.array([found.values[name] for name in VALUE_COLUMNS], np.float64)
    return found.symbol, day, found.datetime_ns, values


@pytest.mark.parametrize("made", [packaged_day, simulated_day])
@pytest.mark.parametrize("lots", [1, 3, 10])
def test_several_lots_walk_the_displayed_depth_alike(settings, made, lots) -> None:
    contract, day, times, values = made()
    variety, calendar = variety_of(contract), bundled_calendar()
    tick, rows = variety.price_tick(contract, day), min(times.size, 1_500)
    inside = in_sessions(times[:rows], calendar.sessions(variety, day))
    times, values = times[:rows][inside], np.ascontiguousarray(values[:, :rows][:, inside])
    path = write_tiny_bundle(settings.models, variety.continuous_symbol, 0.6, 0.1, tick, lots=lots)
    bundle = load_bundle(path)
    played = backtest_day(
        bundle, calendar, Market(contract, day, tick, variety.multiplier), np.arange(times.size), times,
        np.ascontiguousarray(values.T), style=ExecutionStyle(max_order=10),
        limits=RiskLimits(
            max_position=10, max_order=10, rate_orders=10**6, daily_loss=0.0, drawdown=0.0, price_collar=1.0,
            max_notional=1e12,
        ),
    )  # fmt: skip
    factors = FactorEngine(tiny_factor_set(), tick, variety.multiplier, calendar.sessions(variety, day))
    batch = factors.batch(factor_clock(times, calendar.sessions(variety, day)), values)
    p = np.full((times.size, 3), np.nan)
    warm = WarmTracker(batch.shape[1]).batch(batch)
    p[warm] = Predictor.from_bundle(bundle).predict(batch[warm])

    write_main_l5(settings, contract, day, times, values)
    bid, ask = values[COLUMN_INDEX["bid_price1"]], values[COLUMN_INDEX["ask_price1"]]
    recorded = RecordedBooks(lake=Lake(settings.data), symbol=variety.continuous_symbol)
    books = recorded.of_day(day, times, bid, ask, one_lot=lots == 1)
    days = SimulatedDays(model=ExecutionModel(max_order=10))
    days.play(p, times, bid, ask, bundle.policy, contract, day, np.zeros(times.size, bool), books)
    assert len(played.fills) > 20
    assert [key(fill) for fill in days.fills] == [key(fill) for fill in played.fills]
    assert days.held == played.held
    if lots > 1:
        volumes = {fill.volume for fill in days.fills}
        assert len(volumes) > 1, "books that never show enough, and some that do"

