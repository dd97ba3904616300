"""Positions: hand-computed cases, and conservation over any sequence of fills."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import RefusedError, UsageError
from ghtrader_market.accounting.fees import fee
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.positions import Position, apply_fill, close_plan, margin, roll_day, unrealised
from ghtrader_market.reference.varieties import get_variety

CU = get_variety("cu")
CU_RATES = CU.fees("SHFE.cu2502", date(2025, 1, 6))
IF = get_variety("IF")
IF_RATES = IF.fees("CFFEX.IF2101", date(2021, 1, 4))


def fill(side, offset, price, volume):
    return Fill(symbol="SHFE.cu2502", side=side, offset=offset, volume=volume, price=price)


def test_a_round_trip_in_copper_costs_open_plus_close_today():
    opened = apply_fill(Position(), fill("BUY", "OPEN", 70_000.0, 2), CU_RATES, 5, True)
    assert opened.position == Position(long_today=2, long_today_cost=140_000.0)
    assert (opened.realised, opened.fee) == (0.0, pytest.approx(2 * 70_000 * 5 * 0.00005))
    closed = apply_fill(opened.position, fill("SELL", "CLOSETODAY", 70_030.0, 2), CU_RATES, 5, True)
    assert closed.position == Position()
    assert closed.realised == pytest.approx(2 * 30 * 5)
    assert closed.fee == pytest.approx(2 * 70_030 * 5 * 0.0001)
    assert closed.cash == closed.realised - closed.fee


def test_close_takes_yesterdays_lots_only_where_the_exchange_says_so():
    held = Position(long_today=1, long_his=1, long_today_cost=100.0, long_his_cost=90.0)
    with pytest.raises(RefusedError, match="1 of yesterday's and 1 of today's"):
        apply_fill(held, fill("SELL", "CLOSE", 110.0, 2), CU_RATES, 5, True)
    with pytest.raises(RefusedError):
        apply_fill(held, fill("SELL", "CLOSETODAY", 110.0, 2), CU_RATES, 5, True)
    yesterday = apply_fill(held, fill("SELL", "CLOSE", 110.0, 1), CU_RATES, 5, True)
    assert yesterday.position == Position(long_today=1, long_today_cost=100.0)
    assert yesterday.realised == pytest.approx(20 * 5)


def test_elsewhere_close_takes_yesterdays_first_and_pays_each_its_fee():
    held = Position(short_today=2, short_his=1, short_today_cost=10_000.0, short_his_cost=5_100.0)
    closed = apply_fill(held, fill("BUY", "CLOSE", 5_050.0, 2), IF_RATES, 300, False)
    assert closed.position == Position(short_today=1, short_today_cost=5_000.0)
    assert closed.realised == pytest.approx((50 - 50) * 300)
    assert closed.fee == pytest.approx(5_050 * 300 * (0.000023 + 0.000345))


def test_a_fee_by_lot_and_a_free_close_today():
    au = get_variety("au")
    rates = au.fees("SHFE.au2506", date(2025, 1, 6))
    assert fee(rates, "OPEN", 600.0, 3, au.multiplier) == 30.0
    assert fee(rates, "CLOSETODAY", 600.0, 3, au.multiplier) == 0.0


def test_close_plan_splits_then_opens():
    held = Position(long_today=2, long_his=3)
    assert close_plan(held, "SELL", 7, True) == [("CLOSE", 3), ("CLOSETODAY", 2), ("OPEN", 2)]
    assert close_plan(held, "SELL", 4, True, prefer_today=True) == [("CLOSETODAY", 2), ("CLOSE", 2)]
    assert close_plan(held, "SELL", 4, False) == [("CLOSE", 4)]
    assert close_plan(held, "BUY", 1, True) == [("OPEN", 1)]
    assert close_plan(held, "SELL", 0, True) == []


def test_margin_charges_both_sides():
    assert margin(Position(long_today=1, short_his=2), 100.0, 0.1, 5) == pytest.approx(150.0)


@pytest.mark.parametrize(
    "done", [fill("BUY", "OPEN", 1.0, 0), fill("HOLD", "OPEN", 1.0, 1), fill("BUY", "FLIP", 1.0, 1)]
)
def test_nonsense_is_refused(done: Fill):
    with pytest.raises(UsageError):
        apply_fill(Position(), done, CU_RATES, 5, True)


steps = st.lists(
    st.tuples(st.sampled_from(["BUY", "SELL", "DAY"]), st.integers(1, 9), st.integers(1_000, 9_000)), max_size=40
)


@given(steps, st.booleans(), st.booleans())
def test_lots_and_money_are_conserved(trades: list[tuple[str, int, int]], needs_close_today: bool, prefer: bool):
    """Whatever is planned can be booked; lots never go negative; the profit is what prices and lots say it is."""
    rates, multiplier, price = CU_RATES, 5, 1_000.0
    position, realised, fees, cash, net, flow = Position(), 0.0, 0.0, 0.0, 0, 0.0
    for side, volume, tick in trades:
        if side == "DAY":
            position = roll_day(position)
            assert position.long_today == position.short_today == 0
            continue
        price = float(tick)
        plan = close_plan(position, side, volume, needs_close_today, prefer)
        assert sum(lots for _, lots in plan) == volume
        for offset, lots in plan:
            outcome = apply_fill(position, fill(side, offset, price, lots), rates, multiplier, needs_close_today)
            position = outcome.position
            realised, fees, cash = realised + outcome.realised, fees + outcome.fee, cash + outcome.cash
            signed = lots if side == "BUY" else -lots
            net, flow = net + signed, flow - signed * price * multiplier
        for name in ("long_today", "long_his", "short_today", "short_his"):
            assert getattr(position, name) >= 0
            assert (getattr(position, name) == 0) == (getattr(position, f"{name}_cost") == 0.0)
        # A plan closes before it opens, so one side at a time is held.
        assert position.net == net and (position.long == 0 or position.short == 0)
        assert outcome.fee >= 0
    assert cash == pytest.approx(realised - fees, abs=1e-6)
    assert realised + unrealised(position, price, multiplier) == pytest.approx(
        flow + net * price * multiplier, rel=1e-9, abs=1e-3
    )


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 20), st.sampled_from(["CLOSE", "CLOSETODAY"]))
def test_nothing_that_is_not_held_can_be_closed(his: int, today: int, volume: int, offset: str):
    held = Position(long_his=his, long_today=today, long_his_cost=his * 10.0, long_today_cost=today * 10.0)
    if volume <= (his if offset == "CLOSE" else today):
        assert apply_fill(held, fill("SELL", offset, 10.0, volume), CU_RATES, 5, True).realised == pytest.approx(0.0)
    else:
        with pytest.raises(RefusedError):
            apply_fill(held, fill("SELL", offset, 10.0, volume), CU_RATES, 5, True)
