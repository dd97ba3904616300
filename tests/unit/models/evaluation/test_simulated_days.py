"""Lots carried over days of a simulation, or closed at their mark where they can be held no longer; holding limits."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_market.accounting.carried_position import CarriedPosition, carried, settlement_fills, why_settled
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.marks import is_price
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.trading_calendar import bundled_calendar, last_session_end, merged_calendar
from ghtrader_market.reference.varieties import FeeRates, variety_of
from ghtrader_models.evaluation.order_simulation import _is_price
from ghtrader_models.evaluation.policy_simulation import trading_costs
from ghtrader_models.evaluation.simulated_days import SimulatedDays
from ghtrader_models.policy import PolicyParams
from ghtrader_runtime.replay.recorded_days import settled_summary
from tests.support.run_summaries import summary
from tests.support.runtime_kit import session_times

CU, NEXT, IF = "SHFE.cu2502", "SHFE.cu2503", "CFFEX.IF2101"
PARAMS = PolicyParams(enter=0.5, leave=0.1)
NO_OPINION = np.full((20, 3), np.nan)


def play(days: SimulatedDays, contract: str, day: date, price: float, locked: bool = False) -> None:
    """Twenty rows: bought at once where `locked`, and nobody bids after that; else whatever is held may be sold."""
    times, tick = session_times(contract, day, 20), variety_of(contract).price_tick(contract, day)
    bid, ask = np.full(20, price), np.full(20, round(price + tick, 6))
    flat = np.zeros(20, bool)
    flat[10:] = True
    p = NO_OPINION
    if locked:
        bid[5:] = np.nan
        p = np.tile([0.0, 0.2, 0.8], (20, 1))
    days.play(p, times, bid, ask, PARAMS, contract, day, flat)


def test_a_lot_is_held_over_days_that_are_not_there_and_sold_as_yesterdays() -> None:
    days = SimulatedDays(model=ExecutionModel())
    play(days, CU, date(2025, 1, 8), 70_000.0, locked=True)
    assert days.held is not None and (days.held.net, days.held.position.long_today) == (1, 1)
    play(days, CU, date(2025, 1, 14), 69_000.0)
    bought, sold = days.fills
    rates = variety_of(CU).fees(CU, date(2025, 1, 14))
    assert (sold.offset, sold.price) == ("CLOSE", 69_000.0) and days.held is None
    assert sold.fee == pytest.approx(69_000 * 5 * rates.close_ratio + rates.close_lot)
    total = days.trading()
    assert total is not None and total.settled == []
    assert total.net_pnl == pytest.approx((69_000 - 70_010) * 5 - bought.fee - sold.fee)
    assert [report.final_position for report in days.reports] == [1, 0] and total.final_position == 0


@pytest.mark.parametrize(("old", "new", "day", "later", "why", "offset"), [
    (CU, NEXT, date(2025, 1, 8), date(2025, 1, 9), "the next day has SHFE.cu2503", "CLOSETODAY"),
    (IF, "CFFEX.IF2102", date(2021, 1, 15), date(2021, 1, 18), "it traded for the last time", "CLOSE"),
])  # fmt: skip
def test_at_a_roll_and_at_the_expiry_it_is_closed_at_its_mark_with_its_fee(old, new, day, later, why, offset) -> None:
    variety, price = variety_of(old), 70_000.0 if old == CU else 5_200.0
    tick, rates, units = variety.price_tick(old, day), variety.fees(old, day), variety.multiplier
    days = SimulatedDays(model=ExecutionModel())
    play(days, old, day, price, locked=True)
    before, held = days.reports[0], days.held
    expires = why.startswith("it traded")
    assert (held is None) == expires
    play(days, new, later, price)
    bought, closed = days.fills
    mark = price + tick / 2  # of a one-sided book: half a tick inside
    fee = mark * units * rates.close_today_ratio + rates.close_today_lot
    assert (closed.offset, closed.volume) == (offset, 1)
    assert (closed.price, closed.fee) == (pytest.approx(mark), pytest.approx(fee))
    assert closed.market_ns == last_session_end(variety, day)
    said = f"1 long of {old} could not be closed on {day}: closed at {mark:g}, its last mark; {why}"
    total, report = days.trading(), days.reports[0]
    assert total is not None and total.settled == [said] == total.to_dict()["settled"]
    assert report.net_pnl == pytest.approx((mark - bought.price) * units - bought.fee - fee)
    assert (report.round_trips, report.fills, total.final_position, days.held) == (1, 2, 0, None)
    times, equity = days.equity()
    assert times.size == 40 and equity[19] == report.net_pnl and equity[-1] == pytest.approx(total.net_pnl)
    if expires:
        return
    # a run on paper that ended so says the same of itself
    money = {"gross_pnl": before.gross_pnl, "fees": before.fees, "net_pnl": before.net_pnl}
    run = summary(fill_list=(bought,), fills=1, symbol=old, positions={old: 1}, **money)
    kept = {"by_contract": {old: type(run.by_contract[next(iter(run.by_contract))])(fills=1, round_trips=0, **money)}}
    told = settled_summary(summary(fill_list=(bought,), fills=1, positions={old: 1}, **money, **kept), held, said)
    assert told.fill_list == (bought, closed) and told.positions == {old: 0} and told.settled == said
    assert (told.net_pnl, told.fees) == (pytest.approx(report.net_pnl), pytest.approx(report.fees))
    assert (told.round_trips, told.fills, told.by_contract[old].net_pnl) == (1, 2, told.net_pnl)


def test_what_is_held_has_a_mark_and_lots_of_both_ages_are_settled_by_age() -> None:
    day, rates = date(2025, 1, 8), FeeRates(close_lot=1.0, close_today_lot=10.0)
    assert carried(CU, day, Position(), np.nan) is None
    with pytest.raises(UsageError, match="without a mark"):
        carried(CU, day, Position(long_his=1), np.nan)
    lots = Position(long_his=1, long_today=2, short_today=1)
    held = CarriedPosition(contract=CU, day=day, position=lots, mark=70_000.0)
    assert [(f.side, f.offset, f.volume, f.fee) for f in settlement_fills(held, rates, 5, 0)] == [
        ("SELL", "CLOSE", 1, 1.0), ("SELL", "CLOSETODAY", 2, 20.0), ("BUY", "CLOSETODAY", 1, 10.0),
    ]  # fmt: skip
    assert "3 long and 1 short of SHFE.cu2502" in why_settled(held, NEXT, None)
    assert why_settled(held, CU, date(2025, 2, 17)) == why_settled(held, "", None) == ""
    assert held.at_start_of(day).position.long_today == 2
    assert held.at_start_of(date(2025, 1, 9)).position.long_his == 3


def test_nothing_is_opened_from_the_last_day_a_natural_person_may_hold() -> None:
    assert not trading_costs(CU, date(2025, 1, 24)).only_closed and trading_costs(CU, date(2025, 1, 27)).only_closed
    assert not trading_costs(IF, date(2021, 1, 15)).only_closed, "settled in cash"
    days = SimulatedDays(model=ExecutionModel())
    play(days, CU, date(2025, 1, 24), 70_000.0, locked=True)
    bid = np.full(20, 69_000.0)
    day = date(2025, 1, 27)
    times, p = session_times(CU, day, 20), np.tile([0.8, 0.2, 0.0], (20, 1))  # wants to be short: closes, opens nothing
    days.play(p, times, bid, bid + 10, PARAMS, CU, day, np.zeros(20, bool))
    assert [(fill.signed, fill.offset) for fill in days.fills] == [(1, "OPEN"), (-1, "CLOSE")]
    assert days.held is None


def test_a_day_beyond_the_packaged_list_goes_by_the_calendar_it_is_given() -> None:
    packaged = bundled_calendar()
    year = packaged.last.year + 1
    calendar = merged_calendar(packaged, [date(year, 1, 1)], date(year, 1, 1), date(year, 12, 31))
    day = calendar.next_day(date(year, 1, 3))
    contract = f"SHFE.cu{year % 100}05"
    assert not trading_costs(contract, day).sessions and trading_costs(contract, day, calendar).sessions
    days = SimulatedDays(model=ExecutionModel(), calendar=calendar)
    times = np.array(calendar.sessions(variety_of(contract), day)[-1][0] + np.arange(20) * 500_000_000)
    flat = np.arange(20) >= 10
    days.play(
        np.tile([0.0, 0.2, 0.8], (20, 1)), times, np.full(20, 7e4), np.full(20, 70_010.0), PARAMS, contract, day, flat
    )
    assert [fill.signed for fill in days.fills] == [1, -1]


def test_the_compiled_rule_of_prices_is_the_plain_one() -> None:
    rng = np.random.default_rng(1)
    prices = [*(rng.integers(1, 10**7, 300) * 0.01), 0.0, -1.0, np.nan, np.inf, 1.7976931348623157e308, 1e20, 9e299,
              70_050.07, 780.013, 5e-324]  # fmt: skip
    for tick in (0.02, 0.2, 1.0, 10.0, np.nan):
        for price in prices:
            assert bool(_is_price(price, tick)) == is_price(price, tick), (price, tick)
