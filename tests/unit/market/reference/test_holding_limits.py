"""The last day a natural person may hold a contract, by exchange, and from when on is warned."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import UsageError
from ghtrader_market.reference.holding_limits import WARNING_DAYS, holding_warning, last_holding_day, no_open_from
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import all_varieties, get_variety, variety_of

CALENDAR = bundled_calendar()


@pytest.mark.parametrize(
    ("contract", "day", "last"),
    [
        ("SHFE.cu2502", date(2025, 1, 6), date(2025, 1, 27)),  # Spring Festival begins on the 28th
        ("SHFE.cu2510", date(2025, 9, 1), date(2025, 9, 30)),
        ("SHFE.au2506", date(2025, 5, 6), date(2025, 5, 30)),
        ("SHFE.ag2602", date(2026, 1, 5), date(2026, 1, 30)),
        ("DCE.m2505", date(2025, 4, 1), date(2025, 4, 30)),
        ("CZCE.SR501", date(2024, 12, 2), date(2024, 12, 31)),
        ("CZCE.SR501", date(2014, 12, 1), date(2014, 12, 31)),
        ("GFEX.si2505", date(2025, 4, 1), date(2025, 4, 30)),
        ("CFFEX.T2506", date(2025, 5, 6), date(2025, 5, 30)),
        ("INE.sc2503", date(2025, 2, 5), date(2025, 2, 18)),  # the eighth trading day before 2025-02-28
        ("INE.bc2503", date(2025, 2, 5), date(2025, 2, 28)),
        ("SHFE.fu2503", date(2025, 2, 5), date(2025, 2, 21)),
        ("CFFEX.IF2503", date(2025, 2, 5), None),
        ("INE.ec2504", date(2025, 2, 5), None),
    ],
)
def test_the_last_day_by_exchange(contract: str, day: date, last: date | None) -> None:
    variety = variety_of(contract)
    assert last_holding_day(variety, contract, day, CALENDAR) == last
    assert no_open_from(variety, contract, day, CALENDAR) == ("" if last is None else last.isoformat())


def test_warned_from_the_tenth_trading_day_before_it() -> None:
    cu = get_variety("cu")
    last = date(2025, 1, 27)
    days = CALENDAR.days(date(2024, 12, 2), date(2025, 2, 14))
    told = {day: holding_warning(cu, "SHFE.cu2502", day, CALENDAR) for day in days}
    first = next(day for day in days if told[day])
    assert first == date(2025, 1, 13) and len(CALENDAR.days(first, last)) == WARNING_DAYS + 1
    assert all(told[day] for day in days if day >= first)
    assert "until 2025-01-27, in 10 trading days" in told[first] and "from then on it is only closed" in told[first]
    assert "in 1 trading day;" in told[date(2025, 1, 24)]
    assert told[last].endswith("is 2025-01-27: it is only closed, not opened")
    assert told[date(2025, 2, 14)] == told[last]


def test_no_warning_where_no_day_is_set_and_another_contract_is_refused() -> None:
    assert holding_warning(get_variety("IF"), "CFFEX.IF2503", date(2025, 3, 21), CALENDAR) == ""
    with pytest.raises(UsageError, match="no contract of cu"):
        holding_warning(get_variety("cu"), "SHFE.au2506", date(2025, 3, 21), CALENDAR)
    with pytest.raises(UsageError, match="continuous"):
        last_holding_day(get_variety("cu"), "KQ.m@SHFE.cu", date(2025, 3, 21), CALENDAR)


def test_a_day_beyond_the_holiday_list_says_that_it_may_move() -> None:
    calendar = TradingCalendar([date(2024, 1, 1)], date(2024, 1, 1), date(2024, 12, 31))
    told = holding_warning(get_variety("cu"), "SHFE.cu2502", date(2025, 1, 28), calendar)
    assert "until 2025-01-31, in 3 trading days (the holiday list ends on 2024-12-31, it may be earlier)" in told


@given(st.sampled_from(all_varieties()), st.dates(date(2021, 1, 4), date(2026, 10, 30)), st.integers(1, 12))
def test_the_last_day_is_a_trading_day_before_the_delivery_month(variety, day: date, ahead: int) -> None:
    month = day.year * 12 + day.month - 1 + ahead
    digits = f"{month // 12 % 100:02d}{month % 12 + 1:02d}"[1 if variety.exchange == "CZCE" else 0 :]
    contract = f"{variety.exchange}.{variety.product}{digits}"
    last = last_holding_day(variety, contract, day, CALENDAR)
    if variety.holding.days_before is None:
        assert last is None
        return
    provisional = CALENDAR.assuming_weekdays  # contracts of the next year deliver behind the list
    assert last is not None and provisional.is_trading_day(last)
    delivery = date(month // 12, month % 12 + 1, 1)
    after = provisional.days(last + timedelta(1), delivery - timedelta(1))
    assert last < delivery and len(after) == variety.holding.days_before
