"""Partitions: trading days only, keys that read day|variety, the last day driven by calendar and clock."""

from datetime import date, datetime, timedelta

import pytest
from dagster._core.test_utils import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_assets.partitions import (
    PARTITIONS,
    build_partitions,
    day_key,
    days_by_variety,
    varieties_of_home,
)
from ghtrader_base.errors import ConfigError
from ghtrader_base.settings import load_settings
from ghtrader_market.reference.trading_calendar import SHANGHAI, TradingCalendar, bundled_calendar

pytestmark = pytest.mark.clock

CALENDAR, KEYS = bundled_calendar(), ("cu", "IF")


def test_trading_days_are_the_calendars_days():
    parts = build_partitions(CALENDAR, ("cu", "SR"), datetime(2025, 3, 3, 17, 30, tzinfo=SHANGHAI))
    keys = parts.trading_days.get_partition_keys()
    assert keys[0] == "2010-01-04" and keys[-1] == "2025-03-03"
    assert keys == [str(day) for day in CALENDAR.days(date(2010, 1, 1), date(2025, 3, 3))]
    later = build_partitions(CALENDAR, KEYS, datetime(2025, 3, 3, 17, 30, tzinfo=SHANGHAI), first_day=date(2025, 1, 1))
    assert later.trading_days.get_partition_keys()[0] == "2025-01-02"
    with pytest.raises(ConfigError, match="GHTRADER_FIRST_DAY is 2026-01-01, after 2025-03-03"):
        build_partitions(CALENDAR, KEYS, datetime(2025, 3, 3, 17, 30, tzinfo=SHANGHAI), first_day=date(2026, 1, 1))


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        ("2026-11-27 12:00", "2026-11-26"),
        ("2026-11-27 15:00", "2026-11-26"),
        ("2026-11-27 15:30", "2026-11-27"),
        ("2026-11-27 17:30", "2026-11-27"),  # a Friday evening
        ("2026-11-27 21:30", "2026-11-27"),
        ("2026-11-28 00:05", "2026-11-27"),  # over midnight
        ("2026-11-28 12:00", "2026-11-27"),  # a Saturday: Monday has no key yet
        ("2026-11-30 17:30", "2026-11-30"),
        ("2026-09-30 17:30", "2026-09-30"),  # before a holiday
        ("2026-10-04 12:00", "2026-09-30"),
        ("2025-12-31 17:30", "2025-12-31"),  # the last trading day of a year
        ("2026-01-01 00:05", "2025-12-31"),
        ("2026-12-31 17:30", "2026-12-31"),  # the last day the holiday list knows
        ("2026-12-31 23:55", "2026-12-31"),
        ("2027-01-01 00:05", "2026-12-31"),
        ("2027-02-01 12:00", "2026-12-31"),  # nobody refreshed the list: the graph loads all the same
    ],
)
def test_a_trading_day_has_its_key_once_it_is_over(now, newest):
    moment = datetime.fromisoformat(now).replace(tzinfo=SHANGHAI)
    with freeze_time(moment):  # Dagster's own clock, by which it closes windows
        parts = build_partitions(CALENDAR, KEYS, moment, first_day=date(2025, 1, 1))
        keys = parts.trading_days.get_partition_keys()
        assert keys == [str(day) for day in CALENDAR.days(date(2025, 1, 1), date.fromisoformat(newest))]
        assert parts.day_variety.has_partition_key(day_key(date.fromisoformat(newest), "cu"))
        assert parts.trading_days.get_last_partition_key() == newest
        following = date.fromisoformat(newest) + timedelta(days=1)
        assert not any(parts.trading_days.has_partition_key(str(following + timedelta(days=n))) for n in range(5))


def test_a_daemon_that_loaded_yesterday_has_no_key_too_many_today():
    loaded = datetime(2026, 11, 27, 17, 30, tzinfo=SHANGHAI)
    parts = build_partitions(CALENDAR, KEYS, loaded, first_day=date(2026, 11, 2))
    for now in ("2026-11-28 00:00:01", "2026-11-29 12:00", "2026-11-30 17:30", "2026-12-24 09:00"):
        with freeze_time(datetime.fromisoformat(now).replace(tzinfo=SHANGHAI)):
            assert parts.trading_days.get_partition_keys()[-1] == "2026-11-27"


def test_a_day_that_a_newer_list_calls_a_holiday_is_due_no_more():
    now, late = datetime(2026, 11, 27, 17, 30, tzinfo=SHANGHAI), date(2026, 11, 26)
    newer = TradingCalendar([*CALENDAR.holidays, late], CALENDAR.first, CALENDAR.last)
    before, after = build_partitions(CALENDAR, KEYS, now), build_partitions(newer, KEYS, now)
    days = [date(2026, 11, 27), late, date(2026, 11, 25)]
    assert before.split(days) == (sorted(days), [])
    assert after.split(days) == ([date(2026, 11, 25), date(2026, 11, 27)], [late])
    key = f"{late}|cu"
    assert key in before.day_variety.get_partition_keys(current_time=now)
    assert key not in after.day_variety.get_partition_keys(current_time=now)
    assert before.split([date(2009, 12, 30), late]) == ([late], [date(2009, 12, 30)])


def test_keys_read_day_then_variety():
    assert PARTITIONS.day_variety.has_partition_key("2021-01-04|IF")
    assert not PARTITIONS.day_variety.has_partition_key("2021-01-03|IF")
    assert PARTITIONS.horizon_variety.has_partition_key("50|cu")
    assert day_key(date(2025, 1, 2), "cu") == "2025-01-02|cu"
    assert set(PARTITIONS.varieties.get_partition_keys()) == {"cu", "au", "ag", "IF"}


def test_a_home_says_which_varieties_have_partitions(tmp_path):
    def settings(text):
        return load_settings(tmp_path).model_copy(update={"varieties": text})

    assert varieties_of_home(settings("SR, cu,SR,")) == ("SR", "cu")
    parts = build_partitions(bundled_calendar(), ("SR", "cu"))
    assert parts.day_variety.has_partition_key("2021-01-04|SR")
    assert not parts.day_variety.has_partition_key("2021-01-04|IF")
    for text, told in (("cu,zz", "GHTRADER_VARIETIES: unknown variety .zz."), (" ,", "names no variety")):
        with pytest.raises(ConfigError, match=told) as caught:
            varieties_of_home(settings(text))
        assert "cu" in caught.value.hint


def test_an_empty_range_is_an_error():
    with pytest.raises(ValueError, match="no partition"):
        days_by_variety([])


@given(st.lists(st.tuples(st.dates(date(2021, 1, 1), date(2024, 1, 1)), st.sampled_from(["cu", "au"])), min_size=1))
def test_keys_split_back_into_days_and_varieties(pairs):
    grouped = days_by_variety([day_key(day, variety) for day, variety in pairs])
    assert sorted((day, variety) for variety, days in grouped.items() for day in days) == sorted(pairs)
    assert all(days == sorted(days) for days in grouped.values())
