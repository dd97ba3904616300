"""What QuestDB's rows are, as pure functions: who came first, what is a twin, what a table lacks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import FailedError
from ghtrader_market.stores.mirror.compare import differences_of
from ghtrader_market.stores.questdb.client import SchemaError, refused
from ghtrader_market.stores.questdb.migrations import Fault, faults_of, mends, pending
from ghtrader_market.stores.questdb.rows import apart, column_hash, readable, sequence_of_new, to_schema
from ghtrader_market.stores.questdb.schema import MIGRATIONS, RAW_TICKS, Migration, expected_tables

TIMES = st.lists(st.integers(0, 6), min_size=1, max_size=12).map(sorted)


def arrays(*columns: list[int]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(column, dtype=np.int64) for column in columns)


class Ledger:
    """QuestDB in miniature: rows by (time, hash), a row sent again takes the place of the first."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], tuple[int, int]] = {}

    def write(self, times: list[int], ids: list[int], hashes: list[int], first_seq: int = 0) -> None:
        stored = arrays(
            [key[0] for key in self.rows],
            [row[0] for row in self.rows.values()],
            [key[1] for key in self.rows],
            [row[1] for row in self.rows.values()],
        )
        highest = max((row[1] for row in self.rows.values()), default=-1)
        writes = sequence_of_new(*arrays(times, ids, hashes), stored, first_seq, highest)
        for time, row_id, digest, write in zip(times, ids, hashes, writes.tolist(), strict=True):
            if write >= 0:
                self.rows[time, digest] = (row_id, write)

    def read(self, first_seq: int = 0) -> list[int]:
        times, writes = arrays([key[0] for key in self.rows], [row[1] for row in self.rows.values()])
        seen = readable(times, writes, first_seq)
        kept = [(*key, row[0]) for (key, row), shown in zip(self.rows.items(), seen, strict=True) if shown]
        return [digest for _, digest, _ in sorted(kept, key=lambda item: (item[0], item[2]))]


@given(TIMES, st.integers(0, 12))
def test_a_day_that_arrives_in_parts_is_read_whole(times: list[int], cut: int) -> None:
    ids = list(range(len(times)))
    hashes = [1000 + n for n in ids]
    parts, whole = Ledger(), Ledger()
    for part in (slice(0, cut), slice(cut, None)):
        parts.write(times[part], ids[part], hashes[part])
    whole.write(times[:cut], ids[:cut], hashes[:cut])
    whole.write(times, ids, hashes)
    assert parts.read() == whole.read() == hashes


@given(TIMES, st.data())
def test_what_was_first_stays_what_is_read(times: list[int], data: st.DataObject) -> None:
    ids = list(range(len(times)))
    hashes = [1000 + n for n in ids]
    other = data.draw(st.lists(st.sampled_from(hashes) | st.integers(5000, 5003), min_size=len(ids), max_size=len(ids)))
    other = [digest if digest >= 5000 or digest == mine else mine for digest, mine in zip(other, hashes, strict=True)]
    ledger = Ledger()
    ledger.write(times, ids, hashes)
    ledger.write(times, ids, other)
    assert ledger.read() == hashes
    assert len(ledger.rows) == len({*zip(times, hashes, strict=True), *zip(times, other, strict=True)})
    ledger.write(times, ids, hashes)
    ledger.write(times, ids, other)
    assert ledger.read() == hashes, "saying it again does not make it true"


@given(TIMES)
def test_rows_set_aside_are_not_read_and_may_come_back(times: list[int]) -> None:
    ids = list(range(len(times)))
    ledger = Ledger()
    ledger.write(times, ids, [2000 + n for n in ids])
    assert ledger.read(first_seq=1) == []
    ledger.write(times, ids, [1000 + n for n in ids], first_seq=1)
    assert ledger.read(first_seq=1) == [1000 + n for n in ids]


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_twins_get_hashes_of_their_own(values: list[int]) -> None:
    hashes = np.array(values, dtype=np.int64)
    moved = apart(hashes)
    assert len(set(moved.tolist())) == len(values)
    first = [values.index(value) for value in dict.fromkeys(values)]
    np.testing.assert_array_equal(moved[first], hashes[first])
    assert (moved == hashes).sum() == len(first)


def test_a_hash_knows_one_nan_and_one_zero() -> None:
    odd = np.array([0x7FF8000000000001, 0x7FF8000000000000], dtype=np.uint64).view(np.float64)
    one = column_hash([np.arange(2), np.array([odd[0], -0.0])])
    two = column_hash([np.arange(2), np.array([odd[1], 0.0])])
    np.testing.assert_array_equal(one, two)
    assert column_hash([np.arange(2), np.array([1.0, 0.0])])[0] != one[0]


def test_tables_come_back_in_the_lake_s_types() -> None:
    found = pa.table(
        {"a": pa.array([1, 2]), "b": pa.array([None, -0.0]), "c": pa.array(["x", "y"]).dictionary_encode()}
    )
    schema = pa.schema([("c", pa.string()), ("b", pa.float64()), ("a", pa.int32())])
    back = to_schema(found, schema)
    assert back.schema == schema and np.isnan(back["b"][0].as_py()) and np.signbit(back["b"][1].as_py())


# ---- schema ---------------------------------------------------------------------------------------------------------


def whole() -> dict[str, dict[str, tuple[str, bool]]]:
    return {
        table.name: {name: (kind, name in table.keys) for name, kind in table.columns}
        for table in expected_tables().values()
    }


def test_a_whole_server_has_no_fault_whatever_else_it_holds() -> None:
    found = whole()
    found["other"] = {"x": ("INT", False)}
    found[RAW_TICKS]["mood"] = ("SYMBOL", False)
    assert faults_of(found, expected_tables().values()) == []


@given(st.data())
def test_every_missing_or_retyped_column_is_found_and_has_a_mend(data: st.DataObject) -> None:
    tables = expected_tables()
    found = whole()
    name = data.draw(st.sampled_from(sorted(tables)))
    column = data.draw(st.sampled_from([column for column, _ in tables[name].columns[1:]]))
    if data.draw(st.booleans()):
        del found[name][column]
    else:
        found[name][column] = ("GEOHASH(4c)", found[name][column][1])
    faults = faults_of(found, tables.values())
    assert (name, column) in {(fault.table, fault.column) for fault in faults}
    assert all(name in str(fault) for fault in faults)
    statements = [step.statement for step in mends(faults, tables)]
    assert any(f"COLUMN {column} " in statement for statement in statements)
    assert (column in tables[name].keys) == any("DEDUP ENABLE" in statement for statement in statements)


def test_a_lossy_retype_keeps_the_old_column() -> None:
    fault = Fault(RAW_TICKS, "volume", "type", "VARCHAR", "LONG")
    statements = [step.statement for step in mends([fault], expected_tables(), [fault])]
    assert statements == [
        f"ALTER TABLE {RAW_TICKS} RENAME COLUMN volume TO volume_was_varchar",
        f"ALTER TABLE {RAW_TICKS} ADD COLUMN volume LONG",
        f"UPDATE {RAW_TICKS} SET volume = cast(volume_was_varchar AS LONG)",
    ]


def test_migrations_have_numbers_of_their_own_and_checksums_that_do_not_move() -> None:
    numbers = [migration.number for migration in MIGRATIONS]
    assert numbers == sorted(set(numbers))
    # An applied migration is never edited: a new need is a new number. These are in people's ledgers.
    assert {m.number: m.checksum for m in MIGRATIONS} == CHECKSUMS


CHECKSUMS = {1: "b46755b4f36bd3bc", 2: "39cef74bddf035cd", 3: "989a346e4e690883"}


def test_an_edited_migration_is_refused() -> None:
    applied = {migration.number: migration.checksum for migration in MIGRATIONS}
    assert pending(applied) == []
    assert [m.number for m in pending({})] == [m.number for m in MIGRATIONS]
    edited = (Migration(1, "raw ticks and more", MIGRATIONS[0].tables), *MIGRATIONS[1:])
    with pytest.raises(SchemaError, match="migration 1 .* was applied") as caught:
        pending(applied, edited)
    assert caught.value.exit_code == 1


def test_what_questdb_refuses_is_said_with_what_to_do() -> None:
    assert isinstance(refused("table does not exist [table=ghtrader_x]"), SchemaError)
    assert isinstance(refused("Invalid column: zz"), SchemaError)
    other = refused("out of disk\nmore")
    assert type(other) is FailedError and "out of disk" in other.message and "more" not in other.message


# ---- comparing ------------------------------------------------------------------------------------------------------


def day(**columns: list) -> pa.Table:
    return pa.table(columns)


def test_differences_are_told_by_kind_column_and_first_time() -> None:
    lake = day(datetime_ns=[1, 2, 2, 3], id=[1, 2, 3, 4], price=[1.0, np.nan, 3.0, 4.0])
    assert differences_of(lake, lake) == []
    other = day(datetime_ns=[1, 2, 2, 5], id=[1, 2, 3, 4], price=[1.0, 2.0, 3.0, 4.0])
    found = {(d.kind, d.rows, d.first, d.column) for d in differences_of(lake, other)}
    assert found == {("only-in-lake", 1, 3, ""), ("only-in-questdb", 1, 5, ""), ("value", 1, 2, "price")}
    swapped = lake.take(pa.array([0, 2, 1, 3]))
    assert [d.kind for d in differences_of(lake, swapped)] == ["order"]
    zero = (day(datetime_ns=[1], price=[0.0]), day(datetime_ns=[1], price=[-0.0]))
    assert [d.column for d in differences_of(*zero)] == ["price"], "to the bit"
    retyped = day(datetime_ns=[1], price=[1])
    assert [(d.kind, d.column) for d in differences_of(day(datetime_ns=[1], price=[1.0]), retyped)] == [
        ("schema", "price")
    ]
