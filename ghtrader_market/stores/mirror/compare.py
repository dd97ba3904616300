"""Compares a day in two stores: which rows only one has, and which values are not the same.

Pure but for reading the day from both; nothing is changed here (`sync` and `mirrored_lake` repair).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import IntegrityError
from ghtrader_market.reference.tick_schema import table_hash
from ghtrader_market.stores.questdb.client import NoSuchDayError
from ghtrader_market.stores.questdb.rows import int_column

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.questdb.store import QuestDbStore


@dataclass(frozen=True)
class Difference:
    """One way in which two stores differ on a day.

    Attributes
    ----------
    kind : str
        only-in-lake, only-in-questdb, value, order, schema, damaged (QuestDB's rows are not what their hashes say),
        conflicts (rows QuestDB keeps beside the ones that are read).
    rows : int
        How many rows.
    first : int
        `datetime_ns` of the first of them; 0 where it is about the whole day.
    column : str
        For `value` and `schema`: which.
    detail : str
        For people.
    """

    kind: str
    rows: int
    first: int = 0
    column: str = ""
    detail: str = ""


def same_bits(left: pa.Table, right: pa.Table, column: str) -> np.ndarray:
    """Rows in which a column is equal to the bit (every NaN is the same), bool[n]."""
    a, b = (_array(table, column) for table in (left, right))
    if a.dtype.kind != "f":
        same: np.ndarray = a == b
    else:
        bits = f"u{a.dtype.itemsize}"
        same = (a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))
    return same


def _array(table: pa.Table, column: str) -> np.ndarray:
    if pa.types.is_integer(table.schema.field(column).type):
        return int_column(table, column)
    return np.ascontiguousarray(table[column].combine_chunks().to_numpy(zero_copy_only=False))


def differences_of(lake: pa.Table, questdb: pa.Table) -> list[Difference]:
    """Compare two tables of one day, row by row within each time.

    Parameters
    ----------
    lake, questdb : pyarrow.Table
        With a column `datetime_ns`, each in its store's order.
    """
    if not lake.schema.remove_metadata().equals(questdb.schema.remove_metadata()):
        unlike = sorted(
            name
            for name in {*lake.column_names, *questdb.column_names}
            if name not in lake.column_names
            or name not in questdb.column_names
            or lake.schema.field(name).type != questdb.schema.field(name).type
        )
        return [Difference("schema", lake.num_rows, column=unlike[0] if unlike else "", detail=", ".join(unlike))]
    pairs = _matched(lake, questdb)
    found = []
    for kind, table, places in (("only-in-lake", lake, pairs[2]), ("only-in-questdb", questdb, pairs[3])):
        if places.size:
            found.append(Difference(kind, int(places.size), int(_array(table, "datetime_ns")[places].min())))
    left, right = lake.take(pa.array(pairs[0])), questdb.take(pa.array(pairs[1]))
    times = _array(left, "datetime_ns")
    for name in lake.column_names:
        unlike_rows = np.flatnonzero(~same_bits(left, right, name))
        if unlike_rows.size:
            row = int(unlike_rows[0])
            detail = f"{left[name][row].as_py()} in the lake, {right[name][row].as_py()} in QuestDB"
            found.append(Difference("value", int(unlike_rows.size), int(times[row]), name, detail))
    if not found and (np.diff(pairs[1]) < 0).any():
        found.append(Difference("order", int((np.diff(pairs[1]) < 0).sum())))
    return found


def _matched(lake: pa.Table, questdb: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows that belong together (places in each table), and those only one has: by time, and id within it.

    Where the ids at a time are not the same ones, rows are matched in their order.
    """
    columns = ["datetime_ns", "id"] if "id" in lake.column_names else ["datetime_ns"]
    places: list[dict[tuple[int, ...], int]] = [{}, {}]
    for side, table in enumerate((lake, questdb)):
        keys = np.column_stack([_array(table, name) for name in columns])
        seen: dict[tuple[int, ...], int] = {}
        for row, key in enumerate(map(tuple, keys.tolist())):
            nth = seen.get(key, 0)
            seen[key] = nth + 1
            places[side][(*key, nth)] = row
    ours, theirs = places
    both = sorted(ours.keys() & theirs.keys(), key=ours.__getitem__)
    left, right = [ours[key] for key in both], [theirs[key] for key in both]
    by_time: dict[int, list[int]] = {}
    for key in sorted(theirs.keys() - ours.keys(), key=theirs.__getitem__):
        by_time.setdefault(key[0], []).append(theirs[key])
    only_ours = []
    for key in sorted(ours.keys() - theirs.keys(), key=ours.__getitem__):
        if by_time.get(key[0]):
            left.append(ours[key])
            right.append(by_time[key[0]].pop(0))
        else:
            only_ours.append(ours[key])
    only_theirs = [row for rows in by_time.values() for row in rows]
    order = np.argsort(left, kind="stable")
    return _places(left)[order], _places(right)[order], _places(only_ours), _places(only_theirs)


def _places(rows: list[int]) -> np.ndarray:
    return np.asarray(rows, dtype=np.int64)


def compare_day(lake: Lake, questdb: QuestDbStore, symbol: str, day: date, dataset: str = "ticks") -> list[Difference]:
    """Where lake and QuestDB differ on a day; an empty list where a reader gets the same bits from both.

    Rows that QuestDB keeps beside those that are read (conflicts) make no difference to a reader and are not told
    here: `QuestDbStore.conflict_days` counts them.

    Raises
    ------
    UnreachableError, SchemaError, FailedError
        As `QuestDbStore`.
    IntegrityError
        The lake's file cannot be read.
    """
    in_lake = lake.has_day(dataset, symbol, day)
    in_questdb = questdb.has_day(dataset, symbol, day)
    if not in_lake and not in_questdb:
        return []
    if not in_questdb:
        ours = lake.read_day(dataset, symbol, day, ["datetime_ns"])
        return [Difference("only-in-lake", ours.num_rows, _first(ours), detail="the whole day")]
    theirs, damaged = _read_questdb(questdb, symbol, day, dataset)
    if not in_lake:
        return [*damaged, Difference("only-in-questdb", theirs.num_rows if theirs else 0, detail="the whole day")]
    ours = lake.read_day(dataset, symbol, day)
    if theirs is None:
        return [*damaged, Difference("only-in-lake", ours.num_rows, _first(ours), detail="the whole day")]
    if not damaged and table_hash(ours) == table_hash(theirs) and _bits_equal(ours, theirs):
        return []
    return [*damaged, *differences_of(ours, theirs)]


def _read_questdb(
    questdb: QuestDbStore, symbol: str, day: date, dataset: str
) -> tuple[pa.Table | None, list[Difference]]:
    """What a reader gets of a day that is there, and what is wrong with it in itself."""
    try:
        return questdb.read_day(dataset, symbol, day), []
    except (IntegrityError, NoSuchDayError) as exc:
        fault = exc.message
    try:
        theirs = questdb.read_day(dataset, symbol, day, verify=False)
    except NoSuchDayError:  # its rows lost what tells them apart
        theirs = None
    return theirs, [Difference("damaged", theirs.num_rows if theirs else 0, detail=fault)]


def _bits_equal(ours: pa.Table, theirs: pa.Table) -> bool:
    return all(bool(same_bits(ours, theirs, name).all()) for name in ours.column_names)


def _first(table: pa.Table) -> int:
    return int(_array(table, "datetime_ns").min()) if table.num_rows else 0
