"""Bookkeeping of fills against hand-made cases and a plain ledger."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import UsageError
from ghtrader_market.accounting.carried_position import carried
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.closing_rules import ClosingRule
from ghtrader_market.reference.varieties import FeeRates
from ghtrader_models.evaluation.order_simulation import Depth, fill_targets
from ghtrader_models.evaluation.policy_simulation import (
    TradingCosts,
    add_reports,
    ends_flat,
    simulate_policy,
    simulate_stretch,
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
    costs = TradingCosts(
        rates=FeeRates(open_ratio=1e-4, open_lot=1.0, close_today_ratio=2e-4, close_today_lot=3.0), multiplier=5
    )
    fees = costs.of(np.array([1, -3]), np.array([0, 1]), np.array([100.0, 200.0]))
    assert fees == pytest.approx([0.05 + 1, 2 * (0.1 + 1) + (0.2 + 3)])
    real = trading_costs("SHFE.cu2506", date(2025, 4, 1))
    assert real.multiplier == 5
    assert real.of(np.array([1]), np.array([0]), np.array([70_000.0]))[0] > 0


HALF_SECOND = 500_000_000


def opinions(*edges: tuple[int, float]) -> np.ndarray:
    edge = np.concatenate([np.full(n, e) for n, e in edges])
    return np.stack([(1 - edge) / 2, np.zeros_like(edge), (1 + edge) / 2], axis=1)


def test_the_policy_pays_the_spread_and_the_fees() -> None:
    n = 50
    bid, ask = np.full(n, 100.0), np.full(n, 110.0)
    costs = TradingCosts(
        rates=FeeRates(open_lot=1.0, close_today_lot=2.0), multiplier=5, contract="CFFEX.IF2101", price_tick=10.0
    )
    times = np.arange(n, dtype=np.int64) * HALF_SECOND
    p, params = opinions((20, 0.7), (30, -0.7)), PolicyParams(enter=0.5, leave=0.1)
    fills, report, _ = simulate_policy(p, times, bid, ask, params, costs)
    done = [(fill.signed, fill.offset, fill.market_ns // HALF_SECOND) for fill in fills]
    # a reversal closes first, and opens with the tick that tells of it
    assert done == [(1, "OPEN", 1), (-1, "CLOSE", 21), (-1, "OPEN", 22), (1, "CLOSE", 49)]
    assert report.gross_pnl == pytest.approx(-2 * 10 * 5)
    assert report.fees == pytest.approx(1 + 2 + 1 + 2)
    assert (report.round_trips, report.final_position) == (2, 0)


def test_an_order_meets_the_first_book_after_its_latency() -> None:
    n = 12
    bid = 100.0 + 10 * np.arange(n)
    times = np.arange(n, dtype=np.int64) * HALF_SECOND
    costs = TradingCosts(
        rates=FeeRates(), multiplier=5, contract="SHFE.cu2505"
    )  # price tick not known: any price is paid
    p, params = opinions((n, 0.7)), PolicyParams(enter=0.5, leave=0.1)
    for latency_ms, row in ((0.0, 0), (2.0, 1), (500.0, 1), (501.0, 2), (1999.0, 4)):
        fills, _, _ = simulate_policy(p, times, bid, bid + 10, params, costs, ExecutionModel(latency_ms=latency_ms))
        assert fills[0].market_ns == times[row] and fills[0].price == bid[row] + 10
    with pytest.raises(UsageError, match="latency"):
        ExecutionModel(latency_ms=-1.0)


def test_an_order_pays_its_limit_at_most_and_is_sent_anew() -> None:
    bid = np.array([100.0, 130, 140, 140, 140, 140])
    times = np.arange(bid.size, dtype=np.int64) * HALF_SECOND
    costs = TradingCosts(rates=FeeRates(), multiplier=5, contract="SHFE.cu2505", price_tick=10.0)
    p, params = opinions((bid.size, 0.7)), PolicyParams(enter=0.5, leave=0.1)
    fills, _, _ = simulate_policy(p, times, bid, bid + 10, params, costs)
    # 110 and a tick is too little for 140; sent anew with the second book, one tick above 140 gets 150
    assert (fills[0].market_ns // HALF_SECOND, fills[0].price) == (2, 150.0)


def silver(n: int, gone: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, TradingCosts]:
    """Bought at 7,001; then nobody bids and the ask falls by 300 ticks."""
    bid, ask = np.full(n, 7_000.0), np.full(n, 7_001.0)
    bid[n - gone :] = np.nan
    ask[n - gone :] = 7_001.0 - np.linspace(30, 300, gone)
    times = np.arange(n, dtype=np.int64) * HALF_SECOND
    rates = FeeRates(open_ratio=5e-5, close_ratio=5e-5, close_today_ratio=5e-5)
    return times, bid, ask, TradingCosts(rates=rates, multiplier=15, contract="SHFE.ag2506", price_tick=1.0)


@pytest.mark.parametrize("bad", [np.nan, 0.0, 1.7976931348623157e308, 7_000.37])
def test_a_lot_nobody_bids_for_is_marked_by_the_falling_ask_and_held_on(bad: float) -> None:
    times, bid, ask, costs = silver(40, 10)
    bid[30:] = bad
    p, params = opinions((40, 0.7)), PolicyParams(enter=0.5, leave=0.1)
    done = simulate_stretch(p, times, bid, ask, params, costs, ends_flat(40))
    assert done.report.net_pnl == pytest.approx(-4_512.75, abs=0.1), "not -12.75: the old mid is nobody's price"
    assert (done.report.final_position, done.report.fills) == (1, 1)
    assert done.report.net_pnl == done.equity[-1] and done.mark == 6_700.5
    if bad != 7_000.37:  # without a price tick nothing is off the grid
        assert (
            simulate_policy(p, times, bid, ask, params, TradingCosts(rates=costs.rates, multiplier=15))[1].net_pnl
            < -4_500
        )
    # the next day it is there, yesterday's, and is sold when somebody bids
    held = carried("SHFE.ag2506", date(2025, 4, 1), done.position, done.mark)
    assert held is not None and (held.net, held.position.long_today) == (1, 1)
    again = held.at_start_of(date(2025, 4, 2))
    assert (again.position.long_his, again.position.long_today, again.position.long_his_cost) == (1, 0, 6_700.5)
    bid, ask = np.full(5, 6_690.0), np.full(5, 6_691.0)
    next_day = simulate_stretch(np.full((5, 3), np.nan), times[:5], bid, ask, params, costs, ends_flat(5), held=again)
    (sold,) = next_day.fills
    assert (sold.signed, sold.offset, sold.price) == (-1, "CLOSE", 6_690.0)
    assert next_day.report.net_pnl == pytest.approx((6_690 - 6_700.5) * 15 - 6_690 * 15 * 5e-5)
    total = add_reports([done.report, next_day.report], [0, 1])
    assert (total.final_position, total.round_trips) == (0, 1)
    assert total.net_pnl == pytest.approx((6_690 - 7_001) * 15 - 15 * 5e-5 * (6_690 + 7_001))


def test_what_a_book_shows_is_taken_level_by_level_and_never_twice() -> None:
    n = 4
    bid = np.tile(np.array([100.0, 90.0]), (n, 1))
    ask = np.tile(np.array([110.0, 120.0]), (n, 1))
    lots = np.tile(np.array([2, 1]), (n, 1))
    found = fill_targets(
        np.full(n, 5), np.arange(n) * HALF_SECOND, Depth(bid, lots, ask, lots), 10.0, ClosingRule.BY_OFFSET,
        ExecutionModel(slip_ticks=1, max_order=3), Position(),
    )  # fmt: skip
    # of five lots three are shown, and a second order gets none of them: the rest is sent anew
    done = list(zip(*(column.tolist() for column in found), strict=True))
    assert done == [(1, 2, 0, 110.0), (1, 1, 0, 120.0), (2, 2, 0, 110.0)]


def test_lots_of_both_ages_are_closed_as_the_exchange_wants_it() -> None:
    bid, ask = np.full(5, 100.0), np.full(5, 110.0)
    held = Position(long_today=1, long_his=2, long_today_cost=100.0, long_his_cost=200.0)
    times, books = np.arange(5) * HALF_SECOND, Depth.of_quotes(bid, ask)
    found = {
        rule: fill_targets(np.full(5, -1), times, books, 10.0, rule, ExecutionModel(), held) for rule in ClosingRule
    }
    assert found[ClosingRule.BY_OFFSET].offset.tolist() == [1, 2, 0]
    assert found[ClosingRule.BY_OFFSET].volume.tolist() == [-2, -1, -1]
    for rule in (ClosingRule.TODAY_FIRST, ClosingRule.YESTERDAY_FIRST):
        assert found[rule].offset.tolist() == [1, 0] and found[rule].volume.tolist() == [-3, -1]
