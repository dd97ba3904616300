"""Converts rows to and from QuestDB's form: their hashes, which of several was first, and back to the lake's own bits.

Pure: arrays in, arrays out; nothing here knows a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_TWIN = np.int64(0x5DEECE66D)
"""Rows equal in everything that is hashed get hashes this far apart, so that the dedup key keeps each."""


def column_hash(columns: Sequence[np.ndarray]) -> np.ndarray:
    """A 64-bit hash of each row of some numeric columns; every NaN is the same value.

    Returns
    -------
    numpy.ndarray
        int64[n].
    """
    mixed = np.full(len(columns[0]), np.uint64(0x9E3779B97F4A7C15))
    for column in columns:
        bits = column.astype(np.float64) if column.dtype.kind == "f" else column.astype(np.int64)
        if bits.dtype.kind == "f":
            bits = np.where(np.isnan(bits), np.nan, bits + 0.0)
        mixed = (mixed ^ bits.view(np.uint64)) * np.uint64(0xFF51AFD7ED558CCD)
        mixed ^= mixed >> np.uint64(32)
    return mixed.view(np.int64)


def apart(hashes: np.ndarray) -> np.ndarray:
    """Hashes that are all different: the k-th row with one hash is moved k steps away.

    Parameters
    ----------
    hashes : numpy.ndarray
        int64[n]; the time must be part of what was hashed.
    """
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    if len(starts) == len(hashes):
        return hashes
    nth = np.empty(len(hashes), dtype=np.int64)
    nth[order] = np.arange(len(hashes)) - np.repeat(starts, np.diff(np.append(starts, len(hashes))))
    with np.errstate(over="ignore"):
        told_apart: np.ndarray = hashes + nth * _TWIN
    return told_apart


def readable(times: np.ndarray, writes: np.ndarray, first_seq: int = 0) -> np.ndarray:
    """Which rows are read: of those with one time, the ones of the lowest write.

    Parameters
    ----------
    times : numpy.ndarray
        int64[n], ns.
    writes : numpy.ndarray
        int64[n], the ingest sequence of each row.
    first_seq : int
        Rows of earlier writes were set aside by a repair.

    Returns
    -------
    numpy.ndarray
        bool[n].
    """
    out = writes >= first_seq
    kept = np.flatnonzero(out)
    if not kept.size:
        return out
    order = kept[np.lexsort((writes[kept], times[kept]))]
    starts = np.flatnonzero(np.diff(times[order], prepend=times[order[0]] - 1))
    lowest = np.repeat(writes[order][starts], np.diff(np.append(starts, len(order))))
    out[order] = writes[order] == lowest
    return out


def sequence_of_new(
    times: np.ndarray, ids: np.ndarray, hashes: np.ndarray, stored: tuple[np.ndarray, ...], first_seq: int, highest: int
) -> np.ndarray:
    """The ingest sequence of each row of a write; -1 for a row that is stored already.

    A write that holds every row a reader sees, or comes after all of them in time and id, only adds to the day: its
    new rows join the write that was first. Rows of any other write get the next sequence, so that what was first
    stays what is read.

    Parameters
    ----------
    times, ids, hashes : numpy.ndarray
        int64[n], the rows to write.
    stored : tuple of numpy.ndarray
        times, ids, hashes, writes (int64[m] each) of the rows that are there.
    first_seq, highest : int
        Rows of writes before `first_seq` were set aside; the highest sequence used so far, -1 where there is none.
    """
    stored_times, stored_ids, stored_hashes, stored_writes = stored
    live = stored_writes >= first_seq
    out = np.full(len(hashes), -1, dtype=np.int64)
    new = ~np.isin(hashes, stored_hashes[live])
    if not new.any():
        return out
    seen = readable(stored_times, stored_writes, first_seq)
    if not seen.any():
        out[new] = max(first_seq, highest + 1)
        return out
    last = (stored_times[seen].max(), stored_ids[seen].max())
    whole = bool(np.isin(stored_hashes[seen], hashes).all())
    after = bool((times >= last[0]).all() and (ids > last[1]).all())
    if not whole and not after:
        out[new] = highest + 1
        return out
    # Where a time is stored, its new rows belong to the same write; any other time is open to every write.
    known, at = np.unique(stored_times[seen], return_index=True)
    place = np.minimum(np.searchsorted(known, times), len(known) - 1)
    same = known[place] == times
    out[new] = np.where(same, stored_writes[seen][at[place]], highest)[new]
    return out


def to_frame(table: pa.Table) -> Any:
    """A pandas frame of a table; a whole number that is null stays one (pandas would make floats of the column).

    QuestDB refuses a float in a LONG column, and a null in it is what a recording without volume has.
    """
    import pandas as pd

    frame = table.to_pandas()
    for field in table.schema:
        column = table.column(field.name)
        if pa.types.is_integer(field.type) and column.null_count:
            frame[field.name] = pd.array(column.to_pylist(), dtype=pd.Int64Dtype())
    return frame


def to_schema(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """Columns as QuestDB exports them -> the lake's own types; a null double is NaN (QuestDB knows only one)."""
    arrays = []
    for field in schema:
        column = found[field.name].combine_chunks()
        column = column.cast(field.type) if column.type != field.type else column
        arrays.append(pc.fill_null(column, np.nan) if pa.types.is_floating(field.type) else column)
    return pa.Table.from_arrays(arrays, schema=schema)


def int_column(table: pa.Table, name: str) -> np.ndarray:
    """An integer column as int64[n]; null as the smallest number, which no row of ours has."""
    column = table[name].combine_chunks().cast(pa.int64())
    values: np.ndarray = pc.fill_null(column, np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
    return values
