"""One day, four ways: two processes in lock-step and at a pace, one process tick by tick and at once: the same targets
at the same ticks, and the same fills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_market.accounting.fill import Fill
from ghtrader_market.reference.tick_schema import values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.replay.in_process import BacktestResult, backtest_day
from ghtrader_runtime.replay.recorded_days import paper_day
from ghtrader_runtime.runlog.journal import read_factors
from tests.support.lock_step import CONTRACT, DAY, ROWS, LockStepRun


def fill_key(fill: Fill) -> tuple:
    return fill.side, fill.offset, fill.volume, fill.price, fill.market_ns, fill.fee


def one_process(settings: Any, model: Path, at_once: bool) -> BacktestResult:
    table = Lake(settings.data).read_day("main_l5", "KQ.m@SHFE.cu", DAY)
    return backtest_day(
        load_bundle(model),
        bundled_calendar(),
        Market(CONTRACT, DAY, 10.0, 5),
        table["id"].to_numpy(),
        table["datetime_ns"].to_numpy(),
        np.ascontiguousarray(values_matrix(table).T),
        limits=RiskLimits(max_position=1, max_order=10, rate_orders=10**6, rate_window_s=60.0),
        flat_before_end_ns=60 * 10**9,
        at_once=at_once,
    )


def test_one_process_or_two_at_once_or_tick_by_tick(lock_step: LockStepRun) -> None:
    settings, model, run = lock_step.settings, lock_step.model, lock_step.summary
    kept = read_factors(run.folder / "strategy")
    assert run.fills > 20 and kept["id"].tolist() == list(range(1000, 1000 + ROWS))
    for at_once in (True, False):
        played = one_process(settings, model, at_once)
        assert played.targets.tolist() == kept["target"].tolist()
        assert [fill_key(fill) for fill in played.fills] == [fill_key(fill) for fill in run.fill_list]


def test_at_a_pace_the_targets_are_the_same(lock_step: LockStepRun) -> None:
    settings, model = lock_step.settings, lock_step.model
    run = paper_day(settings, "cu", DAY, model=str(model), rate_orders=10**6, pace=400.0)
    kept = read_factors(run.folder / "strategy")
    assert kept["target"].tolist() == one_process(settings, model, True).targets.tolist()
