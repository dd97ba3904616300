"""What a day must pass before it is stored: each damage has its reason, and clean days are never touched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_market.ingest.validation import examine
from ghtrader_market.reference.tick_schema import L1_TICK_SCHEMA, RAW_TICK_SCHEMA, table_hash
from ghtrader_market.samples import CU1909, IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.day_rows import repeated_rows
from ghtrader_market.stores.lake.missing_days import REASONS

Make = Callable[..., pa.Table]
TICKS = read_recording(CU1909)[0][2]
LOTS = int(TICKS["volume"][-1].as_py())


def changed(column: str, row: int, value: float, table: pa.Table = TICKS) -> pa.Table:
    values = table[column].to_numpy().copy()
    values[row] = value
    field = table.schema.field(column)
    return table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))


def test_the_real_days_pass_untouched() -> None:
    for path in (CU1909, IF2101):
        for _, _, table in read_recording(path):
            found = examine(table, int(table["volume"][-1].as_py()))
            assert found.table is table and not found.reason and found.details == TickDetails()
    narrow = TICKS.select(L1_TICK_SCHEMA.names)
    assert examine(narrow).table is narrow


@pytest.mark.parametrize(
    ("table", "volume", "reason", "words"),
    [
        (TICKS.slice(0, 0), 7, "no-ticks", "7 lots"),
        (TICKS, LOTS * 2, "partial", f"{LOTS} of the daily bar's {LOTS * 2} lots"),
        (TICKS.take([*range(50), *range(60, 200)]), None, "partial", "after row 49"),
        (changed("datetime_ns", 100, TICKS["datetime_ns"][0].as_py()), None, "disordered", "row 100"),
        (changed("last_price", 100, np.nan), None, "blank-rows", "row 100"),
        (changed("volume", 199, 0), None, "bad-values", "volume falls at row 199"),
        (changed("bid_volume2", 5, -1), None, "bad-values", "bid_volume2 is negative"),
    ],
)
def test_each_damage_has_its_reason(table: pa.Table, volume: int | None, reason: str, words: str) -> None:
    found = examine(table, volume, contiguous_ids=reason == "partial" and volume is None)
    assert (found.reason, reason in REASONS) == (reason, True)
    assert words in found.detail


def test_a_day_without_trades_and_ticks_is_simply_empty() -> None:
    for volume in (None, 0):
        assert not examine(TICKS.slice(0, 0), volume).reason
    assert not examine(TICKS, LOTS).reason and not examine(TICKS, 0).reason


def test_a_crossed_book_is_kept_raw() -> None:
    crossed = changed("bid_price1", 10, TICKS["ask_price1"][10].as_py() + 100)
    assert examine(crossed).table is crossed and not examine(crossed).reason


@given(st.lists(st.integers(0, 199), max_size=30))
def test_rows_that_are_there_twice_are_dropped_and_counted(twice: list[int]) -> None:
    rows = np.sort([*range(200), *twice])
    table = TICKS.take(rows).set_column(0, RAW_TICK_SCHEMA.field(0), pa.array(np.arange(len(rows))))
    already = int(repeated_rows(TICKS).sum())
    found = examine(table, contiguous_ids=True)
    assert (found.details.dropped_duplicates or 0) == len(twice) + already
    once = TICKS.filter(pa.array(~repeated_rows(TICKS)))
    assert table_hash(found.table.drop(["id"])) == table_hash(once.drop(["id"]))
