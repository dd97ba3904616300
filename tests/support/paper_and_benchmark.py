"""Plays a random day on paper and in the simulation of a benchmark, and holds the two against each other."""

from __future__ import annotations

import numpy as np
import pytest

from ghtrader_base.settings import Settings
from ghtrader_market.accounting.pnl import profit
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.evaluation.policy_simulation import SimulatedStretch, simulate_targets, trading_costs
from ghtrader_models.evaluation.recorded_books import books_of
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.core.order_planning import ExecutionStyle
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.replay.in_process import BacktestResult, backtest_day
from tests.support.random_days import RandomDay
from tests.support.runtime_kit import write_tiny_bundle

NO_LIMITS = RiskLimits(
    max_position=50, max_order=50, rate_orders=10**6, daily_loss=0.0, drawdown=0.0, price_collar=1e9, max_notional=1e15
)  # fmt: skip


def both(settings: Settings, made: RandomDay) -> tuple[BacktestResult, SimulatedStretch]:
    """The day on paper, and its targets in the simulation."""
    variety = variety_of(made.contract)
    path = write_tiny_bundle(settings.models, variety.continuous_symbol, 0.3, 0.1, made.price_tick, lots=made.lots)
    market = Market(made.contract, made.day, made.price_tick, variety.multiplier)
    played = backtest_day(
        load_bundle(path), bundled_calendar(), market, np.arange(made.times.size), made.times,
        np.ascontiguousarray(made.values.T), limits=NO_LIMITS, model=made.model, held=made.held,
        style=ExecutionStyle(slip_ticks=made.model.slip_ticks, max_order=made.model.max_order),
    )  # fmt: skip
    books = books_of(made.values)
    simulated = simulate_targets(
        played.targets, made.times, made.bid, made.ask, trading_costs(made.contract, made.day), model=made.model,
        depth=books.depth, last=books.last, held=made.held,
    )  # fmt: skip
    return played, simulated


def check(settings: Settings, made: RandomDay) -> int:
    """Compare everything; how many fills there were."""
    played, simulated = both(settings, made)
    mine = [(f.market_ns, f.side, f.offset, f.volume, f.price) for f in played.fills]
    assert mine == [(f.market_ns, f.side, f.offset, f.volume, f.price) for f in simulated.fills]
    assert [f.fee for f in played.fills] == pytest.approx([f.fee for f in simulated.fills])
    opening = made.held
    contract, units = made.contract, {made.contract: variety_of(made.contract).multiplier}
    money = profit(
        played.fills, units, {contract: float(simulated.marks[-1])}, {contract: opening.net if opening else 0},
        {contract: opening.mark} if opening else {},
    )  # fmt: skip
    assert money["net_pnl"] == pytest.approx(simulated.report.net_pnl, abs=1e-3)
    assert np.isfinite(simulated.equity).all()
    left = played.held.position if played.held is not None else Position()
    assert left.net == simulated.report.final_position
    assert {name: getattr(left, name) for name in ("long_today", "long_his", "short_today", "short_his")} == {
        name: getattr(simulated.position, name) for name in ("long_today", "long_his", "short_today", "short_his")
    }
    if played.held is not None:
        assert played.held.mark == simulated.mark
    return len(played.fills)
