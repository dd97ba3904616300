"""Partitions: trading days only, keys that read day|variety, the last day driven by calendar and clock."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_assets.partitions import (
    PARTITIONS,
    build_partitions,
    day_key,
    days_by_variety,
    last_finished_day,
    trading_day_now,
    varieties_of_home,
)
from ghtrader_base.errors import ConfigError
from ghtrader_base.settings import load_settings
from ghtrader_market.reference.trading_calendar import bundled_calendar

pytestmark = pytest.mark.clock

SHANGHAI = ZoneInfo("Asia/Shanghai")


def test_trading_days_are_the_calendars_days():
    parts = build_partitions(bundled_calendar(), ("cu", "SR"), datetime(2025, 3, 3, 12, tzinfo=SHANGHAI))
    keys = parts.trading_days.get_partition_keys()
    assert keys[0] == "2020-01-02" and keys[-1] == "2025-03-03"
    assert keys == [str(day) for day in bundled_calendar().days(date(2020, 1, 1), date(2025, 3, 3))]


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


@pytest.mark.parametrize(
    ("now", "day", "finished"),
    [
        ("2025-03-03 09:30", "2025-03-03", "2025-02-28"),
        ("2025-03-03 17:30", "2025-03-03", "2025-03-03"),
        ("2025-03-03 21:30", "2025-03-04", "2025-03-03"),
        ("2025-03-08 12:00", "2025-03-10", "2025-03-07"),
        ("2025-01-27 22:00", "2025-02-05", "2025-01-27"),
    ],
)
def test_which_day_it_is(now, day, finished):
    moment = datetime.fromisoformat(now).replace(tzinfo=SHANGHAI)
    assert trading_day_now(bundled_calendar(), moment) == date.fromisoformat(day)
    assert last_finished_day(bundled_calendar(), moment) == date.fromisoformat(finished)


def test_an_empty_range_is_an_error():
    with pytest.raises(ValueError, match="no partition"):
        days_by_variety([])


@given(st.lists(st.tuples(st.dates(date(2021, 1, 1), date(2024, 1, 1)), st.sampled_from(["cu", "au"])), min_size=1))
def test_keys_split_back_into_days_and_varieties(pairs):
    grouped = days_by_variety([day_key(day, variety) for day, variety in pairs])
    assert sorted((day, variety) for variety, days in grouped.items() for day in days) == sorted(pairs)
    assert all(days == sorted(days) for days in grouped.values())
