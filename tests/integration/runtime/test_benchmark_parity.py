"""The benchmark gets the very fills that the processes get on paper: price, time, volume, offset and fee."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.closing_rules import closing_rule
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.evaluation.order_simulation import Depth, fill_targets
from ghtrader_models.evaluation.policy_simulation import simulate_stretch, trading_costs
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.core.order_planning import ExecutionStyle
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.replay.in_process import backtest_day
from ghtrader_runtime.runlog.journal import read_factors
from tests.support.lock_step import CONTRACT, DAY, LockStepRun
from tests.support.runtime_kit import session_times, synthetic_values, write_tiny_bundle

LEVELS = range(1, 6)


def key(fill: Fill) -> tuple:
    return fill.side, fill.offset, fill.volume, fill.price, fill.market_ns, pytest.approx(fill.fee)


def depth_of(values: np.ndarray) -> Depth:
    """The five levels of float64[27, n]."""

    def columns(name: str) -> np.ndarray:
        return np.stack([values[COLUMN_INDEX[f"{name}{level}"]] for level in LEVELS], axis=1)

    lots = [columns(f"{side}_volume").astype(np.int64) for side in ("bid", "ask")]
    return Depth(columns("bid_price"), lots[0], columns("ask_price"), lots[1])


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
        times >= end - 60 * 10**9, depth=depth_of(values),
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
    prices = [COLUMN_INDEX[f"{side}_price{level}"] for side in ("bid", "ask") for level in LEVELS]
    volumes = [COLUMN_INDEX[f"{side}_volume{level}"] for side in ("bid", "ask") for level in LEVELS]
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
        played.targets, times, depth_of(values), tick, closing_rule(contract), model, Position()
    )
    simulated = list(zip(times[found.row].tolist(), found.volume.tolist(), found.price.tolist(), strict=True))
    assert simulated == [(fill.market_ns, fill.signed, fill.price) for fill in played.fills]

