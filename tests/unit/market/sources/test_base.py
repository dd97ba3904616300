"""What every source shares: canonical times, absent levels, cutting into days, the life of a contract."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import UsageError
from ghtrader_market.reference.tick_schema import LEVELS, RAW_TICK_SCHEMA, VALUE_COLUMNS, validate_ticks
from ghtrader_market.sources.base import (
    ContractInfo,
    canonical_table,
    canonical_time,
    empty_ticks,
    life_of,
    split_days,
)


@given(st.integers(10**18, 2 * 10**18 - 1))
def test_live_and_downloaded_times_meet_on_the_microsecond(micros: int) -> None:
    exact = micros // 1000 * 1000
    through_float = np.array([exact], np.float64)
    assert canonical_time(through_float)[0] == canonical_time(np.array([exact]))[0] == exact


def columns(count: int = 3) -> dict[str, np.ndarray]:
    out = {name: np.full(count, 100.0) for name in VALUE_COLUMNS}
    for level in range(1, LEVELS + 1):
        out[f"bid_price{level}"] = np.full(count, 100.0 - level)
        out[f"ask_price{level}"] = np.full(count, 100.0 + level)
    return out


@pytest.mark.parametrize("absent", [np.nan, 0.0, -1.0, 1.7976931348623157e308])
def test_an_absent_level_is_nan_and_no_volume(absent: float) -> None:
    raw = columns()
    raw["ask_price5"][1] = absent
    table = canonical_table(np.arange(3), np.arange(3) + 10**18, raw)
    assert table.schema.equals(RAW_TICK_SCHEMA)
    validate_ticks(table)
    assert np.isnan(table["ask_price5"].to_numpy()).tolist() == [False, True, False]
    assert table["ask_volume5"].to_pylist() == [100, 0, 100]


def test_missing_depth_columns_are_absent_levels() -> None:
    raw = {name: values for name, values in columns().items() if name[-1] not in "2345"}
    table = canonical_table(np.arange(3), np.arange(3) + 10**18, raw)
    assert np.isnan(table["bid_price2"].to_numpy()).all()
    assert table["bid_volume2"].to_pylist() == [0, 0, 0]
    assert table["bid_price1"].to_pylist() == [99.0] * 3


@given(st.lists(st.integers(0, 5), max_size=40))
def test_days_are_cut_where_they_change(numbers: list[int]) -> None:
    numbers.sort()
    count = len(numbers)
    table = canonical_table(np.arange(count), np.arange(count) + 10**18, columns(count))
    days = np.datetime64("2025-01-02") + np.array(numbers, dtype="timedelta64[D]")
    parts = split_days(table, days)
    assert [part.num_rows for part in parts.values()] == [numbers.count(n) for n in sorted(set(numbers))]
    assert list(parts) == sorted({day.astype(date) for day in days})
    assert [i for part in parts.values() for i in part["id"].to_pylist()] == list(range(count))
    assert split_days(empty_ticks(), days[:0]) == {}


@given(st.lists(st.integers(0, 5), max_size=40))
def test_rows_out_of_order_stay_with_their_day(numbers: list[int]) -> None:
    count = len(numbers)
    table = canonical_table(np.arange(count), np.arange(count) + 10**18, columns(count))
    days = np.datetime64("2025-01-02") + np.array(numbers, dtype="timedelta64[D]")
    parts = split_days(table, days)
    assert list(parts) == sorted({day.astype(date) for day in days})
    for day, part in parts.items():
        assert part["id"].to_pylist() == np.flatnonzero(days == np.datetime64(day)).tolist()


def test_the_life_of_a_contract() -> None:
    assert life_of("SHFE.cu2512", date(2025, 1, 2)).expires == date(2025, 12, 31)
    assert life_of("SHFE.cu2502", date(2025, 1, 2)).expires == date(2025, 2, 28)
    info = ContractInfo("SHFE.cu2502", date(2025, 2, 17))
    assert info.lives_in(date(2025, 2, 17), date(2025, 3, 1)) and not info.lives_in(date(2025, 2, 18), date(2025, 3, 1))
    assert info.lives_in(date(2024, 6, 1), date(2024, 6, 2)) and not info.lives_in(date(2020, 1, 1), date(2023, 1, 1))
    assert ContractInfo("SHFE.cu2502", date(2025, 2, 17), date(2024, 2, 19)).first_possible == date(2024, 2, 19)
    with pytest.raises(UsageError):
        life_of("nonsense", date(2025, 1, 2))
    assert life_of("CZCE.SR501", date(2024, 6, 3)).expires == date(2025, 1, 31)
    assert life_of("CZCE.SR501", date(2014, 6, 3)).expires == date(2015, 1, 31)
    with pytest.raises(UsageError, match="2015-01 or 2025-01"):
        life_of("CZCE.SR501", date(2020, 1, 6))
    assert life_of("INE.sc2503", date(2025, 1, 2)).lives_in(date(2022, 4, 1), date(2022, 4, 29))
