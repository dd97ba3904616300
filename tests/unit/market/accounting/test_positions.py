"""Positions: hand-computed cases, and conservation over any sequence of fills."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import RefusedError, UsageError
from ghtrader_exchange.enums import Lifetime
from ghtrader_exchange.enums import Offset as ExchangeOffset
from ghtrader_exchange.enums import Side as ExchangeSide
from ghtrader_exchange.venue.accounts import Holding
from ghtrader_exchange.venue.orders import OrderRequest
from ghtrader_exchange.world.contract_terms import ContractTerms
from ghtrader_market.accounting.fees import fee, fill_fee, rates_at
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.positions import (
    Position,
    apply_fill,
    close_plan,
    closed_today,
    margin,
    roll_day,
    unrealised,
)
from ghtrader_market.reference.closing_rules import CLOSING_RULES, closing_rule
from ghtrader_market.reference.symbols import Exchange
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import FeeRates, get_variety, parse_varieties

CU = get_variety("cu")
CU_RATES = CU.fees("SHFE.cu2502", date(2025, 1, 6))
IF = get_variety("IF")
IF_RATES = IF.fees("CFFEX.IF2101", date(2021, 1, 4))


COPPER, INDEX = "SHFE.cu2502", "CFFEX.IF2101"


def fill(side, offset, price, volume, symbol=COPPER):
    return Fill(symbol=symbol, side=side, offset=offset, volume=volume, price=price)


def test_a_round_trip_in_copper_costs_open_plus_close_today():
    opened = apply_fill(Position(), fill("BUY", "OPEN", 70_000.0, 2), CU_RATES, 5)
    assert opened.position == Position(long_today=2, long_today_cost=140_000.0)
    assert (opened.realised, opened.fee) == (0.0, pytest.approx(2 * 70_000 * 5 * 0.00005))
    closed = apply_fill(opened.position, fill("SELL", "CLOSETODAY", 70_030.0, 2), CU_RATES, 5)
    assert closed.position == Position()
    assert closed.realised == pytest.approx(2 * 30 * 5)
    assert closed.fee == pytest.approx(2 * 70_030 * 5 * 0.0001)
    assert closed.cash == closed.realised - closed.fee


def test_close_takes_yesterdays_lots_only_where_the_exchange_says_so():
    held = Position(long_today=1, long_his=1, long_today_cost=100.0, long_his_cost=90.0)
    with pytest.raises(RefusedError, match="1 of yesterday's and 1 of today's"):
        apply_fill(held, fill("SELL", "CLOSE", 110.0, 2), CU_RATES, 5)
    with pytest.raises(RefusedError):
        apply_fill(held, fill("SELL", "CLOSETODAY", 110.0, 2), CU_RATES, 5)
    yesterday = apply_fill(held, fill("SELL", "CLOSE", 110.0, 1), CU_RATES, 5)
    assert yesterday.position == Position(long_today=1, long_today_cost=100.0)
    assert yesterday.realised == pytest.approx(20 * 5)


def test_cffex_closes_and_charges_todays_lots_first():
    held = Position(long_today=1, long_his=1, long_today_cost=5_000.0, long_his_cost=4_990.0)
    one = apply_fill(held, fill("SELL", "CLOSE", 5_000.0, 1, INDEX), IF_RATES, 300)
    assert one.fee == pytest.approx(517.50), "not 34.50: one of the lots was opened today"
    assert one.position == Position(long_his=1, long_his_cost=4_990.0) and closed_today(held, one.position) == 1
    other = apply_fill(one.position, fill("SELL", "CLOSE", 5_000.0, 1, INDEX), IF_RATES, 300)
    assert (other.fee, other.position) == (pytest.approx(34.50), Position())
    assert closed_today(one.position, other.position) == 0
    both = apply_fill(held, fill("SELL", "CLOSE", 5_000.0, 2, INDEX), IF_RATES, 300)
    assert both.fee == pytest.approx(517.50 + 34.50) and closed_today(held, both.position) == 1


@pytest.mark.parametrize("symbol", ["DCE.m2105", "CZCE.CF105", "GFEX.si2405"])
def test_the_others_close_what_was_opened_first_and_pay_each_lot_its_fee(symbol: str):
    rates = FeeRates(close_lot=3.0, close_today_lot=20.0)
    held = Position(short_today=2, short_his=1, short_today_cost=10_000.0, short_his_cost=5_100.0)
    closed = apply_fill(held, fill("BUY", "CLOSE", 5_050.0, 2, symbol), rates, 10)
    assert closed.position == Position(short_today=1, short_today_cost=5_000.0)
    assert (closed.realised, closed.fee) == (pytest.approx((50 - 50) * 10), 23.0)
    assert closed_today(held, closed.position) == 1


def test_a_fill_without_its_position_pays_for_the_lots_that_its_exchange_closes_first():
    price = 5_400.0
    closing = fill("SELL", "CLOSE", price, 1, INDEX)
    assert fill_fee(IF_RATES, closing, None, 300) == pytest.approx(558.90), "37.26 is yesterday's lots' rate"
    assert fill_fee(IF_RATES, closing, 0, 300) == pytest.approx(37.26)
    assert fill_fee(IF_RATES, fill("SELL", "CLOSE", price, 3, INDEX), 1, 300) == pytest.approx(558.90 + 2 * 37.26)
    assert fill_fee(CU_RATES, fill("SELL", "CLOSE", 70_000.0, 2), None, 5) == pytest.approx(35.0)
    assert fill_fee(CU_RATES, fill("SELL", "CLOSETODAY", 70_000.0, 2), None, 5) == pytest.approx(70.0)
    assert fill_fee(CU_RATES, fill("BUY", "OPEN", 70_000.0, 2), None, 5) == pytest.approx(35.0)
    with pytest.raises(ValueError, match="without an offset"):
        fill_fee(CU_RATES, Fill(symbol=COPPER, side="BUY", offset=None, volume=1, price=1.0), None, 5)


def test_a_fill_is_charged_by_its_own_trading_day():
    row = 'fees = [{ valid_from = 2010-01-01, open_ratio = 0.00005, close_ratio = 0.00005, close_today_ratio = 0.0001'
    text = resources.files("ghtrader_market.reference").joinpath("varieties.toml").read_text("utf-8")
    assert row in text
    later = row.replace("2010-01-01", "2025-01-07")
    changed = later.replace("fees = [", "fees = [{ valid_from = 2010-01-01, open_lot = 1.0, source = 'a' }, ")
    copper = parse_varieties(text.replace(row, changed))["cu"]
    calendar = bundled_calendar()
    night = calendar.sessions(copper, date(2025, 1, 7))[0][0]  # the evening of the sixth
    assert rates_at(copper, calendar, COPPER, night).open_ratio == 0.00005
    assert rates_at(copper, calendar, COPPER, calendar.bounds(date(2025, 1, 7))[0] - 1).open_lot == 1.0


def test_every_exchange_has_a_closing_rule():
    assert set(CLOSING_RULES) == set(Exchange)
    assert closing_rule("CFFEX.IF2101") == "today-first" and closing_rule("INE.sc2503") == "by-offset"
    assert closing_rule("XXXX.yy2503") == "yesterday-first"


def test_the_simulated_exchange_books_and_charges_the_same_by_its_own_book():
    """Two books, written apart: any sequence of fills costs and realises the same in both."""
    rng = np.random.default_rng(17)
    for symbol, variety in ((COPPER, CU), (INDEX, IF)):
        rates = CU_RATES if symbol == COPPER else IF_RATES
        terms = ContractTerms(
            symbol=symbol, multiplier=variety.multiplier, price_tick=1.0, fees=rates, margin_ratio=0.1,
            needs_close_today=variety.needs_close_today, pre_settlement=5_000.0, upper_limit=1e9, lower_limit=1.0,
        )  # fmt: skip
        ours, theirs, refused = Position(), Holding(), 0
        for _ in range(400):
            if rng.random() < 0.05:
                price = 5_000.0
                ours = roll_day(ours)
                theirs.settle(price, variety.multiplier)
                ours = replace(ours, long_his_cost=price * ours.long_his, short_his_cost=price * ours.short_his)
                continue
            side, offset = rng.choice(["BUY", "SELL"]), rng.choice(["OPEN", "CLOSE", "CLOSETODAY"])
            done = fill(str(side), str(offset), float(rng.integers(4_900, 5_100)), int(rng.integers(1, 4)), symbol)
            request = OrderRequest(
                order_id="1", symbol=symbol, side=ExchangeSide(done.side), offset=ExchangeOffset(done.offset),
                volume=done.volume, price=done.price, lifetime=Lifetime.FAK,
            )  # fmt: skip
            try:
                booked = apply_fill(ours, done, rates, variety.multiplier)
            except RefusedError:
                refused += 1
                with pytest.raises(ValueError, match="are held"):
                    theirs.fill(request, done.price, done.volume, terms)
                continue
            ours = booked.position
            found = theirs.fill(request, done.price, done.volume, terms)
            assert found == (pytest.approx(booked.realised, abs=1e-6), pytest.approx(booked.fee))
            for (held, age), bucket in theirs.lots.items():
                assert bucket.volume == getattr(ours, f"{held}_{age}")
        assert 20 < refused < 380


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
        apply_fill(Position(), done, CU_RATES, 5)


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
            done = fill(side, offset, price, lots, COPPER if needs_close_today else INDEX)
            outcome = apply_fill(position, done, rates, multiplier)
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
        assert apply_fill(held, fill("SELL", offset, 10.0, volume), CU_RATES, 5).realised == pytest.approx(0.0)
    else:
        with pytest.raises(RefusedError):
            apply_fill(held, fill("SELL", offset, 10.0, volume), CU_RATES, 5)
