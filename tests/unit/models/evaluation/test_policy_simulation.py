"""Bookkeeping of fills against hand-made cases and a plain ledger."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_market.accounting.fill import Fill
from ghtrader_market.reference.varieties import FeeRates
from ghtrader_models.evaluation.policy_simulation import (
    TradingCosts,
    add_reports,
    simulate_policy,
    trading_costs,
    trading_report,
)
from ghtrader_models.policy import PolicyParams


def fill(at: int, lots: int, price: float, fee: float) -> Fill:
    side = "BUY" if lots > 0 else "SELL"
    return Fill(symbol="S", side=side, offset=None, volume=abs(lots), price=price, fee=fee, market_ns=at)


def test_a_round_trip_by_hand() -> None:
    times = np.arange(6, dtype=np.int64)
    mid = np.array([100.0, 101, 103, np.nan, 98, 99])
    fills = [fill(1, 2, 101.0, 3.0), fill(4, -2, 98.0, 4.0)]
    report, equity = trading_report(fills, times, mid, multiplier=5)
    assert report.gross_pnl == pytest.approx(-30)
    assert report.fees == 7
    assert report.net_pnl == pytest.approx(-37)
    assert equity.tolist() == [0, -3, 17, 17, -37, -37]
    assert report.max_drawdown == pytest.approx(54)
    assert report.turnover == pytest.approx(2 * 5 * (101 + 98))
    assert (report.fills, report.volume, report.round_trips, report.winning_round_trips) == (2, 4, 1, 0)
    assert report.final_position == 0


def test_a_reversal_ends_one_trip_and_begins_another() -> None:
    fills = [fill(0, 1, 100.0, 1.0), fill(1, -2, 110.0, 2.0), fill(2, 1, 112.0, 1.0)]
    report, _ = trading_report(fills, np.arange(3, dtype=np.int64), np.array([100.0, 110, 112]), multiplier=1)
    assert (report.round_trips, report.winning_round_trips) == (2, 1)
    assert report.net_pnl == pytest.approx(10 - 2 - 4)


def test_an_open_position_is_marked_at_the_last_mid() -> None:
    report, equity = trading_report(
        [fill(0, -1, 100.0, 0.5)], np.arange(2, dtype=np.int64), np.array([100.0, 97.0]), multiplier=10
    )
    assert report.final_position == -1
    assert report.net_pnl == pytest.approx(29.5) == equity[-1]
    assert report.round_trips == 0


def test_nothing_traded() -> None:
    report, equity = trading_report([], np.arange(3, dtype=np.int64), np.array([np.nan, 1.0, 2.0]), multiplier=5)
    assert report.to_dict() == dict.fromkeys(report.to_dict(), 0)
    assert equity.tolist() == [0, 0, 0]
    assert add_reports([]).net_pnl == 0


@given(
    trades=st.lists(st.tuples(st.integers(-3, 3).filter(bool), st.integers(90, 110), st.floats(0, 2)), max_size=30),
)
@settings(max_examples=100, deadline=None)
def test_totals_agree_with_a_plain_ledger(trades: list[tuple[int, int, float]]) -> None:
    fills = [fill(i, lots, float(p), fee) for i, (lots, p, fee) in enumerate(trades)]
    mid = np.array([float(p) for _, p, _ in trades] or [100.0])
    report, equity = trading_report(fills, np.arange(mid.size, dtype=np.int64), mid, multiplier=5)
    cash, held, path = 0.0, 0, []
    for lots, price, fee in trades:
        cash -= lots * price * 5 + fee
        held += lots
        path.append(cash + held * price * 5)
    assert report.net_pnl == pytest.approx(path[-1] if path else 0.0, abs=1e-6)
    assert report.gross_pnl - report.fees == pytest.approx(report.net_pnl, abs=1e-6)
    assert report.final_position == held
    if path:
        assert equity == pytest.approx(np.array(path), abs=1e-6)
        high, worst = 0.0, 0.0
        for value in path:
            high = max(high, value)
            worst = max(worst, high - value)
        assert report.max_drawdown == pytest.approx(worst, abs=1e-6)


def test_fees_follow_the_rates() -> None:
    costs = TradingCosts(FeeRates(open_ratio=1e-4, open_lot=1.0, close_today_ratio=2e-4, close_today_lot=3.0), 5)
    fees = costs.of(np.array([1, -3]), np.array([0, 1]), np.array([100.0, 200.0]))
    assert fees == pytest.approx([0.05 + 1, 2 * (0.1 + 1) + (0.2 + 3)])
    real = trading_costs("SHFE.cu2506", date(2025, 4, 1))
    assert real.multiplier == 5
    assert real.of(np.array([1]), np.array([0]), np.array([70_000.0]))[0] > 0


def test_the_policy_pays_the_spread_and_the_fees() -> None:
    n = 50
    p = np.tile([0.1, 0.1, 0.8], (n, 1))
    p[20:] = [0.8, 0.1, 0.1]
    bid, ask = np.full(n, 100.0), np.full(n, 110.0)
    costs = TradingCosts(FeeRates(open_lot=1.0, close_today_lot=2.0), 5)
    fills, report, _ = simulate_policy(
        p, np.arange(n, dtype=np.int64), bid, ask, PolicyParams(enter=0.5, leave=0.1), costs
    )
    assert [fill.signed for fill in fills] == [1, -2, 1]
    assert report.gross_pnl == pytest.approx(-2 * 10 * 5)
    assert report.fees == pytest.approx(1 + 3 + 2)
    assert (report.round_trips, report.final_position) == (2, 0)
