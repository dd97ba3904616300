"""Reads a recording's bytes as named columns: gzip, CSV and Parquet, with errors that name the place.

Columns are only found, decompressed and turned into numbers; what they mean is decided in `reader`.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ghtrader_base.errors import BadRecordingError

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_SHOW = 24


@dataclass(frozen=True)
class Columns:
    """Columns of one recording, still as read: text (CSV) or typed (Parquet)."""

    name: str
    table: pa.Table
    lines: bool
    """Whether places are lines of a text file (CSV) or rows (Parquet)."""

    @property
    def names(self) -> list[str]:
        """Column names in file order."""
        names: list[str] = self.table.column_names
        return names

    def place(self, row: int) -> str:
        """Where row `row` (from 0) stands in the file."""
        return f"{self.name}: {self.place_word(row)}"

    def place_word(self, row: int) -> str:
        """The same without the file: ``line 7`` or ``row 6``."""
        return f"line {row + 2}" if self.lines else f"row {row + 1}"

    def renamed(self, new: Mapping[str, str]) -> Columns:
        """The same columns, some under other names."""
        names = [new.get(name, name) for name in self.names]
        _refuse_twins(names, self.name)
        return replace(self, table=self.table.rename_columns(names))

    def require(self, needed: Iterable[str], hint: str) -> None:
        """`BadRecordingError` naming the columns that are missing."""
        if missing := [name for name in needed if name not in self.names]:
            raise BadRecordingError(f"{self.name}: columns missing: {', '.join(missing)}", hint)

    def numbers(self, column: str, empty: bool) -> np.ndarray:
        """float64[n]; an empty cell is NaN where `empty`, else an error; so is anything that is no finite number."""
        values = self._cast(column, pa.float64(), "a number")
        out: np.ndarray = pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False)
        bad = np.isinf(out) if empty else ~np.isfinite(out)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            what = "is infinite" if np.isinf(out[row]) else "is empty"
            raise BadRecordingError(f"{self.place(row)}, column {column}: {what}", "correct that line and import again")
        return out

    def integers(self, column: str) -> np.ndarray:
        """int64[n]; an empty cell or anything but a whole number is an error."""
        values = self._cast(column, pa.int64(), "a whole number")
        if values.null_count:
            row = int(np.flatnonzero(pc.is_null(values).to_numpy(zero_copy_only=False))[0])
            raise BadRecordingError(
                f"{self.place(row)}, column {column}: is empty", "correct that line and import again"
            )
        out: np.ndarray = values.to_numpy(zero_copy_only=False)
        return out

    def texts(self, column: str) -> np.ndarray:
        """object[n] of str; empty text for an empty cell."""
        out: np.ndarray = pc.fill_null(self._cast(column, pa.string(), "text"), "").to_numpy(zero_copy_only=False)
        return out

    def _cast(self, column: str, wanted: pa.DataType, what: str) -> pa.Array:
        found = self.table.column(column).combine_chunks()
        if isinstance(found, pa.ChunkedArray):
            found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
        if pa.types.is_dictionary(found.type):
            found = found.dictionary_decode()
        if pa.types.is_timestamp(found.type) and pa.types.is_integer(wanted):
            found = found.cast(pa.timestamp("ns"))
        if self.lines:
            found = pc.utf8_trim_whitespace(found)
            found = pc.if_else(pc.equal(found, ""), pa.scalar(None, pa.string()), found)
        try:
            return found.cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            row = _first_failure(found, wanted)
            cell = "" if row is None else f" {str(found[row].as_py())[:_SHOW]!r}"
            place = self.name if row is None else self.place(row)
            twin = cell.strip().strip("'") == column
            why = "the header stands again (files joined?)" if twin else f"{cell.strip() or 'it'} is not {what}"
            raise BadRecordingError(f"{place}, column {column}: {why}", "correct that line and import again") from exc


def _first_failure(values: pa.Array, wanted: pa.DataType) -> int | None:
    """First row that does not cast, by halving; None where the whole type is wrong."""
    low, high = 0, len(values)
    if _casts(values.slice(0, 0), wanted) is False or high == 0:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _casts(values.slice(low, middle - low), wanted):
            low = middle
        else:
            high = middle
    return low


def _casts(values: pa.Array, wanted: pa.DataType) -> bool:
    try:
        values.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def load_columns(data: bytes, name: str) -> Columns:
    """Find out what the bytes are and cut them into columns.

    Raises
    ------
    BadRecordingError
        Empty, half a gzip, binary, no header, lines of different lengths, a column twice.
    """
    if data.startswith(_GZIP_MAGIC):
        data = _gunzip(data, name)
    elif name.endswith(".gz"):
        raise BadRecordingError(f"{name} is called .gz but is no gzip file", "fetch or pack it again")
    if not data.strip():
        raise BadRecordingError(f"{name} is empty", "give a file with a header and at least one tick")
    columns = _parquet(data, name) if data.startswith(_PARQUET_MAGIC) else _csv(data, name)
    if columns.table.num_rows == 0:
        raise BadRecordingError(f"{name} holds no ticks, only column names", "give a file with at least one tick")
    return columns


def _gunzip(data: bytes, name: str) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as exc:
        raise BadRecordingError(f"{name} is a broken or cut-off gzip: {exc}", "fetch the file again, whole") from exc


def _parquet(data: bytes, name: str) -> Columns:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError, ValueError) as exc:
        first = str(exc).splitlines()[0]
        raise BadRecordingError(f"{name} is a broken Parquet file: {first}", "fetch or write the file again") from exc
    _refuse_twins(table.column_names, name)
    return Columns(name, table, lines=False)


def _csv(data: bytes, name: str) -> Columns:
    from pyarrow import csv

    data = data.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n \t") + b"\n"
    if b"\0" in data:
        raise BadRecordingError(f"{name} is neither CSV, gzip nor Parquet", "give a CSV, CSV.gz or Parquet file")
    try:
        text = data[: data.index(b"\n")].decode()
        data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise BadRecordingError(f"{name}: line {line} is not UTF-8 text", "save the file as UTF-8 CSV") from exc
    header = [cell.strip().strip('"') for cell in text.strip("\r").split(",")]
    header = ["(index)" if not cell and number == 0 else cell for number, cell in enumerate(header)]
    _refuse_twins(header, name)
    if all(_is_number(cell) for cell in header):
        raise BadRecordingError(f"{name}: line 1 holds numbers, not column names", "add the header line")
    uneven: list[csv.InvalidRow] = []

    def stop(row: csv.InvalidRow) -> str:
        uneven.append(row)
        return "error"

    try:
        table = csv.read_csv(
            io.BytesIO(data),
            # One thread: only then do errors carry the row's number.
            csv.ReadOptions(use_threads=False, column_names=header, skip_rows=1, block_size=1 << 24),
            csv.ParseOptions(invalid_row_handler=stop, ignore_empty_lines=False, newlines_in_values=False),
            csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowException as exc:
        if not uneven:
            raise BadRecordingError(f"{name} is no CSV: {str(exc).splitlines()[0]}", "save it as CSV again") from exc
        row = uneven[0]
        where = f"{name}: line {row.number}" if row.number is not None else name
        cells = f"{row.actual_columns} cells where the header has {row.expected_columns}"
        raise BadRecordingError(f"{where} has {cells}", "the line is cut or the file damaged: correct it") from exc
    return Columns(name, table, lines=True)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_twins(names: list[str], name: str) -> None:
    if twins := [column for column, count in Counter(names).items() if count > 1]:
        raise BadRecordingError(
            f"{name}: column {twins[0] or '(without a name)'} stands twice in the header", "give each column once"
        )
