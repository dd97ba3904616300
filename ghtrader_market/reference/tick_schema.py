"""Defines the Arrow schemas of ticks (raw and main_l5), their hashes, and what makes a table of ticks valid.

Times are UTC epoch ns; volume and amount are cumulative over the trading day; an absent level is a NaN price
with volume 0.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ghtrader_base.errors import BadRecordingError

LEVELS = 5
_LEVEL_COLUMNS = tuple(
    f"{side}_{what}{level}" for level in range(1, LEVELS + 1) for side in ("bid", "ask") for what in ("price", "volume")
)
VALUE_COLUMNS: tuple[str, ...] = (
    "last_price",
    "average",
    "highest",
    "lowest",
    "volume",
    "amount",
    "open_interest",
    *_LEVEL_COLUMNS,
)
"""The 27 numbers of a tick, in the order every array and message uses."""
BOOK_COLUMNS: tuple[str, ...] = ("bid_price1", "ask_price1", "bid_price2", "ask_price2")
"""What depth is judged by."""
COLUMN_INDEX: dict[str, int] = {name: index for index, name in enumerate(VALUE_COLUMNS)}
_COUNTS = {name for name in VALUE_COLUMNS if "volume" in name} | {"open_interest"}

RAW_TICK_SCHEMA = pa.schema(
    [pa.field("id", pa.int64()), pa.field("datetime_ns", pa.int64())]
    + [pa.field(name, pa.int64() if name in _COUNTS else pa.float64()) for name in VALUE_COLUMNS]
)
L1_COLUMNS: tuple[str, ...] = VALUE_COLUMNS[:11]
"""What a continuous symbol (`KQ.m@SHFE.cu`) is quoted with: no second level, so that nobody takes it for depth."""
L1_TICK_SCHEMA = pa.schema([RAW_TICK_SCHEMA.field(name) for name in ("id", "datetime_ns", *L1_COLUMNS)])
PROVENANCE_FIELDS = (
    pa.field("underlying_contract", pa.string()),
    pa.field("segment_id", pa.int32()),
    pa.field("schedule_hash", pa.string()),
)
MAIN_L5_SCHEMA = pa.schema([*RAW_TICK_SCHEMA, *PROVENANCE_FIELDS])
PROVENANCE_COLUMNS: tuple[str, ...] = tuple(field.name for field in PROVENANCE_FIELDS)


def schema_hash(schema: pa.Schema) -> str:
    """Hex digest (16 characters) of names and types, in order."""
    text = ";".join(f"{field.name}:{field.type}" for field in schema)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _column(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return values


def values_matrix(table: pa.Table) -> np.ndarray:
    """The 27 value columns as one array.

    Returns
    -------
    numpy.ndarray
        float64[27, n], C-contiguous, rows in the order of `VALUE_COLUMNS`.
    """
    out = np.empty((len(VALUE_COLUMNS), table.num_rows))
    for row, name in enumerate(VALUE_COLUMNS):
        out[row] = _column(table, name)
    return out


def table_from_values(ids: np.ndarray, datetime_ns: np.ndarray, values: np.ndarray) -> pa.Table:
    """The inverse of `values_matrix`: ids int64[n], times int64[n], values float64[27, n] -> a raw tick table."""
    columns = [np.asarray(ids, np.int64), np.asarray(datetime_ns, np.int64)]
    columns += [
        values[row].astype(np.int64) if name in _COUNTS else values[row] for row, name in enumerate(VALUE_COLUMNS)
    ]
    return pa.table(columns, schema=RAW_TICK_SCHEMA)


def row_hash(table: pa.Table) -> np.ndarray:
    """A 64-bit hash of each tick's time and 27 numbers (the source's `id` is left out).

    Returns
    -------
    numpy.ndarray
        int64[n]; every NaN counts as the same value, and so do 0.0 and -0.0.
    """
    mixed = np.full(table.num_rows, np.uint64(0x9E3779B97F4A7C15))
    for name in ("datetime_ns", *VALUE_COLUMNS):
        column = _column(table, name)
        if column.dtype.kind == "f":
            column = np.where(np.isnan(column), np.nan, column + 0.0)
        bits = np.ascontiguousarray(column).view(np.uint64)
        mixed = (mixed ^ bits) * np.uint64(0xFF51AFD7ED558CCD)
        mixed ^= mixed >> np.uint64(32)
        mixed *= np.uint64(0xC4CEB9FE1A85EC53)
        mixed ^= mixed >> np.uint64(29)
    return mixed.view(np.int64)


def table_hash(table: pa.Table) -> str:
    """Hex sha256 of a table's content: names, types and values, whatever its chunks, nulls or row groups."""
    digest = hashlib.sha256()
    for field in table.schema:
        digest.update(f"{field.name}:{field.type};".encode())
        column = table.column(field.name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        nulls = pc.is_null(column).to_numpy(zero_copy_only=False) if column.null_count else np.zeros(len(column), bool)
        digest.update(nulls)  # type: ignore[arg-type]  # NumPy's stubs call an array a buffer from Python 3.12 on
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            digest.update(_text_bytes(column))
        else:
            values = column.to_numpy(zero_copy_only=False)
            if values.dtype.kind == "f":
                values = values + values.dtype.type(0)  # a copy, and -0.0 is 0.0 in it
                if (absent := values != values).any():
                    values[absent] = np.nan
            digest.update(np.ascontiguousarray(values))  # type: ignore[arg-type]  # as above
    return digest.hexdigest()


def _text_bytes(column: pa.Array) -> bytes:
    """Each text and how it ends, by way of the few different ones that a column of provenance has."""
    coded = column.dictionary_encode()
    words: list[bytes] = [text.encode() + b"\1" for text in coded.dictionary.to_pylist()]
    if len(words) == 1 and not column.null_count:
        return words[0] * len(column)
    codes = pc.fill_null(coded.indices, len(words)).to_pylist()
    return b"".join(map([*words, b"\0"].__getitem__, codes))


def has_depth(table: pa.Table) -> bool:
    """Whether levels 2-5 are present in at least half of the rows that have a first level."""
    first = ~np.isnan(_column(table, "bid_price1")) | ~np.isnan(_column(table, "ask_price1"))
    deep = ~np.isnan(_column(table, "bid_price2")) | ~np.isnan(_column(table, "ask_price2"))
    return bool(first.any()) and bool((deep & first).sum() * 2 >= first.sum())


def levels_of(table: pa.Table) -> int | None:
    """Levels a table of ticks really has: 5, 1, or 0 without any quote; None for a table without a book."""
    names = set(table.schema.names)
    if not set(BOOK_COLUMNS[:2]) <= names:
        return None
    if set(BOOK_COLUMNS) <= names and has_depth(table):
        return LEVELS
    return int(any(not np.isnan(_column(table, name)).all() for name in BOOK_COLUMNS[:2] if table.num_rows))


def missing_columns(table: pa.Table) -> tuple[str, ...]:
    """Value columns beside the book that no row of a table of ticks has a number in, in the order of `VALUE_COLUMNS`.

    A source may lack them altogether (cumulative volume, open interest ...); they are null then, or NaN.
    """
    names = [name for name in VALUE_COLUMNS[:7] if name in table.schema.names and table.num_rows]
    return tuple(name for name in names if np.isnan(_column(table, name).astype(np.float64)).all())


def unrecorded_columns(table: pa.Table) -> tuple[str, ...]:
    """Those of `missing_columns` that the source does not have at all, not for want of a trade that day.

    A day without a trade has NaN prices and counts of 0. Counts that are null were not recorded; where the volume was
    not, nothing else that is missing was.
    """
    missing = missing_columns(table)
    return missing if "volume" in missing else tuple(name for name in missing if name in _COUNTS)


def validate_ticks(table: pa.Table, schema: pa.Schema = RAW_TICK_SCHEMA) -> None:
    """Check a table that claims to be raw ticks of one contract and day, or with `L1_TICK_SCHEMA` of a main series.

    A locked or crossed book (bid at or above ask) is no fault: snapshots of the opening auction may show one, and
    raw ticks are kept raw.

    Raises
    ------
    BadRecordingError
        Naming the first fault: schema, time going backwards, negative count, volume or amount going backwards.
    """
    if not table.schema.remove_metadata().equals(schema):
        wrong = [field.name for field in schema if field not in list(table.schema)]
        raise BadRecordingError(f"not a table of raw ticks: columns missing or mistyped: {', '.join(wrong) or 'order'}")
    times = _column(table, "datetime_ns")
    if (backwards := np.flatnonzero(np.diff(times) < 0)).size:
        raise BadRecordingError(f"time goes backwards at row {int(backwards[0]) + 1}", "sort the recording by time")
    for name in sorted(_COUNTS.intersection(schema.names)):
        if (negative := np.flatnonzero(_column(table, name) < 0)).size:
            raise BadRecordingError(f"{name} is negative at row {int(negative[0])}")
    for name in ("volume", "amount"):
        if (falling := np.flatnonzero(np.diff(_column(table, name)) < 0)).size:
            row = int(falling[0]) + 1
            raise BadRecordingError(f"cumulative {name} falls at row {row}", "one trading day at a time, please")
