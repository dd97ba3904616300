"""Tick schemas, hashes and validation."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.reference import tick_schema


def _table(n: int = 50, depth: int = 5) -> pa.Table:
    rng = np.random.default_rng(0)
    values = np.zeros((27, n))
    column = tick_schema.COLUMN_INDEX
    values[column["last_price"]] = 74000 + 10 * rng.integers(-3, 4, n)
    values[column["volume"]] = np.cumsum(rng.integers(0, 9, n))
    values[column["amount"]] = values[column["volume"]] * 74000 * 5
    for level in range(1, 6):
        for side, sign in (("bid", -1), ("ask", 1)):
            here = level <= depth
            values[column[f"{side}_price{level}"]] = 74000 + sign * 10 * level if here else np.nan
            values[column[f"{side}_volume{level}"]] = rng.integers(1, 50, n) if here else 0
    return tick_schema.table_from_values(np.arange(n), np.arange(n) * 500_000_000, values)


def test_values_round_trip() -> None:
    table = _table()
    values = tick_schema.values_matrix(table)
    again = tick_schema.table_from_values(table["id"].to_numpy(), table["datetime_ns"].to_numpy(), values)
    assert again.equals(table)
    assert tick_schema.table_hash(again) == tick_schema.table_hash(table)


def test_hashes_ignore_chunks_but_see_every_column() -> None:
    table = _table()
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    assert tick_schema.table_hash(chunked) == tick_schema.table_hash(table)
    assert (tick_schema.row_hash(chunked) == tick_schema.row_hash(table)).all()
    base = tick_schema.row_hash(table)
    for name in ("datetime_ns", *tick_schema.VALUE_COLUMNS):
        column = table[name].to_numpy() + 1
        other = table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(column))
        assert (tick_schema.row_hash(other) != base).all(), name
        assert tick_schema.table_hash(other) != tick_schema.table_hash(table), name
    renumbered = table.set_column(0, "id", pa.array(np.arange(50) + 9))
    assert (tick_schema.row_hash(renumbered) == base).all()


def test_row_hashes_do_not_collide_on_neighbours() -> None:
    table = _table(20_000)
    assert len(np.unique(tick_schema.row_hash(table))) == 20_000


def test_depth() -> None:
    assert tick_schema.has_depth(_table(depth=5)) and not tick_schema.has_depth(_table(depth=1))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("datetime_ns", -5, "backwards"),
        ("volume", 0, "falls"),
        ("bid_volume2", -1, "negative"),
    ],
)
def test_validation_names_the_fault(name: str, value: float, says: str) -> None:
    table = _table()
    column = table[name].to_numpy().copy()
    column[30] = value
    broken = table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(column))
    with pytest.raises(BadRecordingError, match=says):
        tick_schema.validate_ticks(broken)
    tick_schema.validate_ticks(table)


@pytest.mark.parametrize("ask", [73990.0, 73000.0])
def test_a_locked_or_crossed_book_is_kept(ask: float) -> None:
    table = _table()
    column = table["ask_price1"].to_numpy().copy()
    column[:3] = ask  # the bid stands at 73990
    field = table.schema.field("ask_price1")
    tick_schema.validate_ticks(table.set_column(table.schema.get_field_index("ask_price1"), field, pa.array(column)))


def test_wrong_schema_is_named() -> None:
    with pytest.raises(BadRecordingError, match="bid_price5"):
        tick_schema.validate_ticks(_table().drop_columns(["bid_price5"]))


@given(st.lists(st.none() | st.sampled_from(["SHFE.cu2503", "SHFE.cu2504", "", "\u94dc"]) | st.text(max_size=3)))
def test_table_hash_of_texts_is_that_of_each_text_in_turn(texts: list[str | None]) -> None:
    digest = hashlib.sha256(b"name:string;" + bytes(text is None for text in texts))
    for text in texts:
        digest.update(b"\0" if text is None else text.encode() + b"\1")
    assert tick_schema.table_hash(pa.table({"name": pa.array(texts, pa.string())})) == digest.hexdigest()
