"""A lot that nobody bids for is held into the next day, the same on paper, in one process, and in a benchmark.

Rolls and expiries, with the processes: `tests/verify/test_carried_position.py`.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_market.reference.tick_schema import values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.replay.in_process import backtest_day
from ghtrader_runtime.runlog.summary import read_summary
from tests.support.locked_days import LOCKED, as_told, play, simulate

CU = "SHFE.cu2502"
DAYS = (date(2025, 1, 8), date(2025, 1, 9))


def test_a_lot_left_over_is_closed_on_the_next_day_as_yesterdays(tmp_path: Path) -> None:
    settings, model, runs = play(tmp_path / "home", (CU, CU), DAYS)
    first, second = runs
    assert first.positions == {CU: 1} and first.held is not None
    assert (first.held[0].position.long_today, first.held[0].net) == (1, 1)
    assert second.opening == {CU: 1} and second.positions == {CU: 0} and second.held is None
    closed = second.fill_list[0]
    rates = variety_of(CU).fees(CU, DAYS[1])
    assert (closed.side, closed.offset, closed.volume) == ("SELL", "CLOSE", 1), "yesterday's lot, not today's"
    assert closed.fee == pytest.approx(closed.price * 5 * rates.close_ratio + rates.close_lot)
    bought, opened_at = first.fill_list[-1], first.held[0].mark
    assert bought.offset == "OPEN" and opened_at < bought.price - 10 * LOCKED / 2, "marked down with the falling ask"
    every = [*first.fill_list, *second.fill_list]
    cash = -sum(fill.signed * fill.price * 5 + fill.fee for fill in every)
    assert sum(fill.signed for fill in every) == 0
    assert first.net_pnl + second.net_pnl == pytest.approx(cash), "nothing between the days is lost"
    assert second.by_contract[CU].net_pnl == pytest.approx(second.net_pnl)
    kept = read_summary(first.folder)
    assert kept is not None and kept.held == first.held and kept.settled is None

    days = simulate(settings, "KQ.m@SHFE.cu", model, runs)
    assert as_told(days.fills) == as_told(every)
    assert [report.net_pnl for report in days.reports] == pytest.approx([run.net_pnl for run in runs])
    total = days.trading()
    assert total is not None and (total.final_position, total.settled, days.held) == (0, [], None)
    assert "settled" not in total.to_dict()

    held, played = None, []
    for run, day in zip(runs, DAYS, strict=True):
        table = Lake(settings.data).read_day("main_l5", "KQ.m@SHFE.cu", day)
        result = backtest_day(
            load_bundle(model), bundled_calendar(), Market(CU, day, 10.0, 5), table["id"].to_numpy(),
            table["datetime_ns"].to_numpy(), np.ascontiguousarray(values_matrix(table).T),
            limits=RiskLimits(max_position=1, rate_orders=10**6, daily_loss=0.0, drawdown=0.0),
            flat_before_end_ns=60 * 10**9, held=held.at_start_of(day) if held else None,
        )  # fmt: skip
        held = result.held
        played += result.fills
        assert len(result.fills) == run.fills
    assert as_told(played) == as_told(every) and held is None
