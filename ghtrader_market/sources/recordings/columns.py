"""Reads bytes as named columns: CSV in UTF-8, UTF-16 or GB18030, or Parquet, with errors that name the place.

Columns are only found and turned into numbers; what they mean is decided in `layouts`.
"""

from __future__ import annotations

import codecs
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ghtrader_base.errors import BadRecordingError, EmptyRecordingError
from ghtrader_market.sources.recordings.size_limit import most_bytes, too_large

_SHOW = 24
_DELIMITERS = (",", "\t", ";", "|")
_BLANKS = pa.array(["", "#N/A", "#NA", "N/A", "NA", "nan", "NaN", "NAN", "null", "NULL", "None", "NaT", "-", "--",
                    "1.#INF", "-1.#INF", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"])  # fmt: skip
"""What stands in a cell without a number."""
_INDEX = "__index_level_0__"
"""A pandas index without a name; one of times is the time of each row."""
_END = "(after the last comma)"


@dataclass(frozen=True)
class Columns:
    """Columns of one recording, still as read: text (CSV) or typed (Parquet)."""

    name: str
    table: pa.Table
    lines: bool
    """Whether places are lines of a text file (CSV) or rows (Parquet)."""
    torn: bool = False
    """Whether a last line that was cut off, as a killed logger leaves it, is left out."""

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
        """float64[n]; an empty cell is NaN where `empty`, else an error; so is anything that is no finite number.

        Of a column in single precision each number is the shortest decimal that it stands for (780.02, not
        780.02002), and infinity is what DBL_MAX became in it: an empty cell.
        """
        found = self.found(column)
        if pa.types.is_float32(found.type):
            narrow = pc.fill_null(found, np.nan).to_numpy(zero_copy_only=False)
            unique, inverse = np.unique(np.where(np.isinf(narrow), np.float32(np.nan), narrow), return_inverse=True)
            out: np.ndarray = unique.astype(str).astype(np.float64)[inverse]
        else:
            values = self.cast(column, pa.float64(), "a number")
            out = pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False)
        bad = np.isinf(out) if empty else ~np.isfinite(out)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            what = "is infinite" if np.isinf(out[row]) else "is empty"
            raise BadRecordingError(f"{self.place(row)}, column {column}: {what}", "correct that line and import again")
        return out

    def integers(self, column: str) -> np.ndarray:
        """int64[n]; an empty cell or anything but a whole number (``7``, also written ``7.0``) is an error."""
        try:
            values = self.cast(column, pa.int64(), "a whole number")
        except BadRecordingError:
            values = self._whole_floats(column)
            if values is None:
                raise
        if values.null_count:
            row = int(np.flatnonzero(pc.is_null(values).to_numpy(zero_copy_only=False))[0])
            raise BadRecordingError(
                f"{self.place(row)}, column {column}: is empty", "correct that line and import again"
            )
        out: np.ndarray = values.to_numpy(zero_copy_only=False)
        return out

    def texts(self, column: str) -> np.ndarray:
        """object[n] of str; empty text for an empty cell."""
        out: np.ndarray = self.strings(column).to_numpy(zero_copy_only=False)
        return out

    def strings(self, column: str) -> pa.Array:
        """The same as an Arrow array of strings, without the white space around them."""
        return pc.utf8_trim_whitespace(pc.fill_null(self.cast(column, pa.string(), "text"), ""))

    def found(self, column: str) -> pa.Array:
        """A column as one array of the type it has in the file; text of a CSV without the white space around it."""
        found = self.table.column(column).combine_chunks()
        if isinstance(found, pa.ChunkedArray):
            found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
        if pa.types.is_dictionary(found.type):
            found = found.dictionary_decode()
        if is_text(found.type):
            found = pc.utf8_trim_whitespace(found.cast(pa.string()))
        return found

    def _whole_floats(self, column: str) -> pa.Array | None:
        """Numbers with a point, where all of them are whole; None where one is not."""
        try:
            values = self.cast(column, pa.float64(), "a number")
        except BadRecordingError:
            return None
        numbers = pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False)
        if not (np.isfinite(numbers) & (numbers == np.rint(numbers)) & (np.abs(numbers) < 2.0**63)).all():
            return None
        return values.cast(pa.int64(), safe=False)

    def cast(self, column: str, wanted: pa.DataType, what: str) -> pa.Array:
        """The column as a type; `BadRecordingError` names the first cell that is not `what`."""
        found = self.found(column)
        if is_text(found.type) and not is_text(wanted):
            found = pc.if_else(pc.is_in(found, value_set=_BLANKS), pa.scalar(None, pa.string()), found)
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


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is one of the kinds of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def read_parquet(data: bytes, name: str) -> Columns:
    """Columns of a Parquet file.

    Raises
    ------
    BadRecordingError
        It is broken, has a column twice, or no rows.
    """
    import pyarrow.parquet as pq

    try:
        about = pq.read_metadata(io.BytesIO(data))
        if about.num_rows * about.num_columns * 8 > most_bytes():
            raise too_large(name)
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError, ValueError) as exc:
        first = str(exc).splitlines()[0]
        raise BadRecordingError(f"{name} is a broken Parquet file: {first}", "fetch or write the file again") from exc
    _refuse_twins(table.column_names, name)
    names = table.column_names
    if _INDEX in names and "datetime" not in names and pa.types.is_timestamp(table.schema.field(_INDEX).type):
        table = table.rename_columns(["datetime" if each == _INDEX else each for each in names])
    return _with_rows(Columns(name, table, lines=False))


def _with_rows(columns: Columns) -> Columns:
    if columns.table.num_rows == 0:
        raise EmptyRecordingError(
            f"{columns.name} holds no ticks, only column names", "give a file with at least one tick"
        )
    return columns


def _from_utf16(data: bytes, name: str) -> bytes:
    """The same; in UTF-8 where it begins with UTF-16's byte order mark, as spreadsheets save "Unicode text"."""
    if not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data
    try:
        return data.decode("utf-16").encode()
    except UnicodeError as exc:
        raise BadRecordingError(f"{name} is cut-off or damaged UTF-16 text", "save the file as UTF-8 CSV") from exc


def _as_utf8(data: bytes, name: str) -> bytes:
    """The text in UTF-8: it is that already, or GB18030 as Chinese spreadsheets save it."""
    try:
        data.decode()
        return data
    except UnicodeDecodeError as exc:
        try:
            return data.decode("gb18030").encode()
        except UnicodeDecodeError:
            line = data.count(b"\n", 0, exc.start) + 1
            raise BadRecordingError(
                f"{name}: line {line} is not UTF-8 text, nor is the file GB18030", "save the file as UTF-8 CSV"
            ) from exc


def read_csv(data: bytes, name: str) -> Columns:
    """Columns of a CSV file as text, cells cut at commas, tabs, semicolons or bars, whichever its header has most.

    Raises
    ------
    BadRecordingError
        Binary, no text, no header, lines of different lengths, a column twice, no rows.
    """
    from pyarrow import csv

    data = _from_utf16(data, name).removeprefix(b"\xef\xbb\xbf")
    ended = data.endswith((b"\n", b"\r"))
    data = data.rstrip(b"\r\n \t") + b"\n"
    if b"\n" not in data[:-1]:
        data = data.replace(b"\r", b"\n")  # lines that end with a carriage return alone
    if b"\0" in data:
        raise BadRecordingError(
            f"{name} is neither CSV, gzip, Parquet nor another container of ticks known here", "give a file of ticks"
        )
    data = _as_utf8(data, name)
    text = data[: data.index(b"\n")].decode()
    delimiter = max(_DELIMITERS, key=text.count)
    header = [cell.strip().strip('"') for cell in text.strip("\r").split(delimiter)]
    header = ["(index)" if not cell and number == 0 else cell for number, cell in enumerate(header)]
    start = data.index(b"\n") + 1
    following = data[start : max(data.find(b"\n", start), start)].rstrip(b"\r").decode()
    if following.endswith(delimiter) and following.count(delimiter) == len(header):
        header.append(_END)  # every line ends with a delimiter, but for the header
    last = data.rindex(b"\n", 0, len(data) - 1) + 1 if data.count(b"\n") > 1 else 0
    if torn := not ended and last > 0 and data.count(delimiter.encode(), last) < len(header) - 1:
        data = data[:last]
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
            csv.ParseOptions(
                delimiter=delimiter, invalid_row_handler=stop, ignore_empty_lines=False, newlines_in_values=False
            ),
            csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowException as exc:
        if not uneven:
            raise BadRecordingError(f"{name} is no CSV: {str(exc).splitlines()[0]}", "save it as CSV again") from exc
        row = uneven[0]
        where = f"{name}: line {row.number}" if row.number is not None else name
        cells = f"{row.actual_columns} cells where the header has {row.expected_columns}"
        raise BadRecordingError(f"{where} has {cells}", "the line is cut or the file damaged: correct it") from exc
    if _END in header:
        table = _without_end(table, name)
    return _with_rows(Columns(name, table, lines=True, torn=torn))


def _without_end(table: pa.Table, name: str) -> pa.Table:
    """The table without the empty cells after the last delimiter of each line."""
    filled = pc.not_equal(pc.utf8_trim_whitespace(table.column(_END)), "").to_numpy()
    if filled.any():
        raise BadRecordingError(
            f"{name}: line {int(np.flatnonzero(filled)[0]) + 2} has {table.num_columns} cells where the header has "
            f"{table.num_columns - 1}",
            "the line is cut or the file damaged: correct it",
        )
    return table.drop_columns([_END])


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
