"""Which contracts are listed, how open interest migrates, when the main contract changes."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import UsageError
from ghtrader_exchange.world.contract_listing import Listing, expiry, share_weight, start_before_roll
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import get_variety

CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2014, 1, 6), date(2026, 3, 1))


def listing(scenario: Scenario, variety: str = "cu") -> Listing:
    return Listing(get_variety(variety), scenario, CALENDAR)


def main_by_the_rule(found: Listing) -> dict[date, str]:
    """The rule of market-facts, spelled out over the closing open interest of the listed contracts."""
    mains, main = {}, None
    for today, tomorrow in zip(found.days, found.days[1:], strict=False):
        interest = {symbol: found.closing_interest(symbol, today) for symbol in found.contracts}
        if main is None:
            main = max(interest, key=lambda s: interest[s])
        elif max(interest[s] for s in interest if s != main) > 1.1 * interest[main]:
            main = max((s for s in interest if s != main), key=lambda s: interest[s])
        mains[tomorrow] = main
    return mains


def test_expiry_is_the_15th_or_the_next_trading_day() -> None:
    assert expiry("SHFE.cu2505", CALENDAR) == date(2025, 5, 15)
    assert expiry("SHFE.cu2506", CALENDAR) == date(2025, 6, 16)  # the 15th is a Sunday
    assert expiry("SHFE.cu2102", CALENDAR) == date(2021, 2, 18)  # the 15th lies in Spring Festival


def test_the_default_scenario_rolls_on_its_fifth_day() -> None:
    found = listing(Scenario())
    assert found.contracts == ("SHFE.cu2505", "SHFE.cu2506", "SHFE.cu2507")
    assert found.rolls() == [found.days[4]] == [date(2025, 4, 7)]
    assert start_before_roll(get_variety("cu"), CALENDAR, date(2025, 3, 10), lead=4) == Scenario().start
    assert not CALENDAR.has_night(date(2025, 4, 7)), "Qingming leaves the roll day without a night session"


@pytest.mark.parametrize("variety", ["cu", "au", "ag"])
def test_the_main_contract_follows_the_open_interest_rule(variety: str) -> None:
    found = listing(Scenario(varieties=(variety,), start=date(2024, 9, 2), end=date(2025, 6, 30)), variety)
    expected = main_by_the_rule(found)
    assert {day: found.main_contract(day) for day in expected} == expected
    rolls = found.rolls()
    assert len(rolls) == 9
    gaps = [len(CALENDAR.days(a, b)) - 1 for a, b in zip(rolls, rolls[1:], strict=False)]
    assert all(15 <= gap <= 25 for gap in gaps), gaps


@given(st.integers(0, len(DAYS) - 40), st.integers(2, 30), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_any_scenario_lists_its_mains_and_rolls_forward_only(first: int, length: int, contracts: int) -> None:
    found = listing(Scenario(start=DAYS[first], end=DAYS[first + length], contracts=contracts))
    mains = [found.main_contract(day) for day in found.days]
    assert len(found.contracts) >= contracts
    assert set(mains) <= set(found.contracts)
    order = [found.contracts.index(main) for main in mains]
    assert order == sorted(order) and max(b - a for a, b in zip(order, order[1:], strict=False)) <= 1
    assert mains[0] == found.contracts[0]
    for day in found.days:
        assert all(0.02 <= found.activity(s, day) <= 1.0 for s in found.contracts)
        assert all(found.trades_on(main, d) for main, d in zip(mains, found.days, strict=True) if d == day)


def test_a_day_opens_with_the_interest_the_day_before_closed_with() -> None:
    found = listing(Scenario())
    for before, day in zip(found.days, found.days[1:], strict=False):
        for symbol in found.contracts:
            assert found.opening_interest(symbol, day) == found.closing_interest(symbol, before)


def test_open_interest_shrinks_with_the_thinning() -> None:
    full, thin = listing(Scenario(snapshot_seconds=0.5)), listing(Scenario(snapshot_seconds=3.0))
    symbol, day = full.contracts[0], full.days[0]
    assert full.closing_interest(symbol, day) == pytest.approx(6 * thin.closing_interest(symbol, day), rel=1e-3)


def test_both_mains_are_about_as_busy_around_the_roll() -> None:
    found = listing(Scenario())
    for day in found.days:
        assert found.activity(found.main_contract(day), day) == 1.0
    old, new, following = found.contracts
    assert found.activity(old, found.days[-1]) < 0.8 and found.activity(following, found.days[0]) < 0.05


def test_an_expired_contract_trades_no_more() -> None:
    found = listing(Scenario(start=date(2025, 3, 31), end=date(2025, 6, 30)))
    assert found.trades_on("SHFE.cu2505", date(2025, 5, 15))
    assert not found.trades_on("SHFE.cu2505", date(2025, 5, 16))
    assert not found.trades_on("SHFE.cu2512", date(2025, 5, 16)), "not listed"
    assert share_weight(-1) == 0.0


def test_a_day_outside_has_no_main_contract() -> None:
    with pytest.raises(UsageError, match="not a day of this scenario"):
        listing(Scenario()).main_contract(date(2025, 5, 6))


@pytest.mark.parametrize("lead", [2, 4, 9])
def test_start_before_roll_leads_by_so_many_days(lead: int) -> None:
    start = start_before_roll(get_variety("cu"), CALENDAR, date(2024, 11, 5), lead)
    days = CALENDAR.days(start, date(2025, 3, 1))
    found = listing(Scenario(start=start, end=days[lead + 2]))
    assert found.rolls()[0] == days[lead]
