"""Which price marks a position: by hand, and the path against the rule row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.marks import is_price, mark_path, mark_price
from ghtrader_market.accounting.pnl import RunTotals, equity_curve, profit

NAN, DBL_MAX = math.nan, 1.7976931348623157e308
NONSENSE = [NAN, 0.0, -5.0, DBL_MAX, math.inf, 7_000.37]


@pytest.mark.parametrize("bad", NONSENSE)
def test_a_price_that_is_none_is_none_on_either_side(bad: float) -> None:
    assert not is_price(bad, 1.0)
    assert mark_price(7_000.0, bad, 7_100.0, 7_005.0, 1.0) == 7_000.5
    assert mark_price(bad, 7_001.0, 7_100.0, 7_005.0, 1.0) == 7_000.5
    assert mark_price(bad, bad, 7_100.0, 7_005.0, 1.0) == 7_100.0
    assert mark_price(bad, bad, bad, 7_005.0, 1.0) == 7_005.0
    assert math.isnan(mark_price(bad, bad, bad, NAN, 1.0))


def test_limits_grid_and_nearness() -> None:
    assert is_price(7_000.0, 1.0, 6_500.0, 7_500.0) and is_price(6_500.0, 1.0, 6_500.0, 7_500.0)
    assert not is_price(7_501.0, 1.0, 6_500.0, 7_500.0) and not is_price(6_499.0, 1.0, 6_500.0, 7_500.0)
    assert is_price(780.02, 0.02) and not is_price(780.013, 0.02) and not is_price(70_050.07, 10.0)
    assert mark_price(7_000.0, 9_000.0, 7_000.0, 7_000.0, 1.0, 6_500.0, 7_500.0) == 7_000.5
    assert mark_price(7_000.0, 70_000.0, 7_000.0, 7_000.0, 1.0) == 7_000.5, "no limits known: not near the last mark"
    assert mark_price(7_002.0, 7_000.0, 7_001.0, 6_999.0, 1.0) == 7_001.0, "a crossed book tells nothing"
    assert mark_price(7_000.0, 7_000.0, NAN, NAN, 1.0) == 7_000.0


values = st.sampled_from([*NONSENSE, 6_990.0, 6_999.0, 7_000.0, 7_001.0, 7_010.0, 3.0, 70_000.0])


@given(st.lists(st.tuples(values, values, values), max_size=12), st.sampled_from([NAN, 7_000.0]))
@settings(max_examples=200, deadline=None)
def test_a_path_is_the_rule_row_by_row_and_never_loses_a_mark(rows, previous) -> None:
    bid, ask, last = (np.array([row[i] for row in rows], float) for i in range(3))
    path, before = mark_path(bid, ask, last, 1.0, previous), previous
    for found, row in zip(path, rows, strict=True):
        expected = mark_price(*row, before, 1.0)
        assert found == expected or (math.isnan(found) and math.isnan(expected))
        assert math.isfinite(found) or not math.isfinite(before)
        before = expected
    assert np.isnan(path).sum() == 0 or math.isnan(previous)


def test_a_plain_path_is_the_mids() -> None:
    bid = np.arange(7_000.0, 7_100.0)
    np.testing.assert_array_equal(mark_path(bid, bid + 1, None, 1.0), bid + 0.5)
    assert mark_path(np.empty(0), np.empty(0)).size == 0


def fill(lots: int, price: float, at: int = 0) -> Fill:
    side = "BUY" if lots > 0 else "SELL"
    return Fill(symbol="S", side=side, offset=None, volume=abs(lots), price=price, fee=1.0, market_ns=at)


def test_a_position_without_any_mark_is_worth_its_last_fill_and_never_nothing() -> None:
    bought = [fill(1, 7_000.0, at=1), fill(1, 7_010.0, at=3)]
    times, nowhere = np.arange(5), np.full(5, NAN)
    equity, net = equity_curve(bought, times, nowhere, 15)
    assert equity.tolist() == [0.0, -1.0, -1.0, 148.0, 148.0] and net == 148.0
    totals = RunTotals(15)
    for one in bought:
        totals.add(one)
    assert totals.net({}) == totals.net({"S": NAN}) == profit(bought, {"S": 15}, {}, {})["net_pnl"] == 148.0


def test_lots_that_were_carried_in_count_from_their_mark_on() -> None:
    equity, net = equity_curve([fill(-1, 6_990.0, at=2)], np.arange(4), np.array([6_995.0] * 4), 15, 1, 7_000.0)
    assert equity.tolist() == [-75.0, -75.0, -151.0, -151.0] and net == -151.0


@pytest.mark.parametrize(("bid", "ask", "last", "right"), [
    (7_000.0, 70_010.0, 70_000.0, 70_005.0),  # one side is nonsense: the other, half a tick inside
    (10.0, 20.0, 70_000.0, math.nan),  # book and last price contradict each other: neither
    (10.0, math.nan, 70_000.0, math.nan),
    (70_000.0, 70_010.0, 10.0, 70_005.0),  # two against one
    (7_000.0, 70_010.0, math.nan, math.nan),  # nothing says which side it is
    (70_000.0, 70_010.0, math.nan, 70_005.0),
    (70_000.0, math.nan, math.nan, 70_005.0),
    (math.nan, 0.0, 70_000.0, 70_000.0),
])  # fmt: skip
def test_the_first_row_of_a_day_does_not_fix_a_mark_that_is_nonsense(bid, ask, last, right) -> None:
    """Every later price is judged by the mark before: one that is wrong would stand all day."""
    tick = 10.0
    assert mark_price(bid, ask, last, math.nan, tick) == pytest.approx(right, nan_ok=True)
    later = np.full(3, 70_000.0)
    marks = mark_path(np.r_[bid, later], np.r_[ask, later + 10], np.r_[last, later], tick)
    assert marks[0] == pytest.approx(right, nan_ok=True) and marks[1:].tolist() == [70_005.0] * 3


def test_a_market_locked_at_its_limit_is_valued_at_it() -> None:
    """Half a tick inside of the only side would lie beyond the day's limits, where nothing can trade."""
    assert mark_price(77_000.0, NAN, 77_000.0, 76_900.0, 10.0, 63_000.0, 77_000.0) == 77_000.0
    assert mark_price(NAN, 63_000.0, 63_000.0, 63_100.0, 10.0, 63_000.0, 77_000.0) == 63_000.0
    assert mark_price(NAN, 63_010.0, 63_000.0, 63_100.0, 10.0, 63_000.0, 77_000.0) == 63_005.0
