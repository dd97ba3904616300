"""Defines what a layout's reader is asked and what it hands back, and makes raw tick tables by trading day of it.

A layout says times, values and contract of each row; here they become `RAW_TICK_SCHEMA`, cut into trading days. What a
layout does not have is null (NaN), never 0. Rows are neither dropped nor sorted here: `ingest` judges them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Protocol

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.reference.symbols import NEAR_MONTHS, parse_symbol
from ghtrader_market.reference.tick_schema import validate_ticks
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.base import canonical_table, split_days
from ghtrader_market.sources.recordings.recording_file import RecordingFile


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """Which column of a table is what; read from TOML in `layouts.mapped_columns`.

    Attributes
    ----------
    names : mapping of str to str
        Ours (tick columns, and where time and contract stand) -> the table's.
    symbol : str, optional
        The contract, where no column says it.
    time_zone : str, optional
        The zone of times that do not say theirs.
    volume_per_row : bool
        Whether volume and amount count each row alone.
    """

    names: Mapping[str, str]
    symbol: str | None = None
    time_zone: str | None = None
    volume_per_row: bool = False


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the user says of the files.

    Attributes
    ----------
    calendar : TradingCalendar
    variety, symbol : str, optional
        Which variety, which contract.
    time_zone : str, optional
        The zone of times that do not say theirs.
    columns : ColumnMap, optional
        Which column is what, for a table of no other layout.
    """

    calendar: TradingCalendar
    variety: str | None = None
    symbol: str | None = None
    time_zone: str | None = None
    columns: ColumnMap | None = None


@dataclass(frozen=True, kw_only=True)
class ContractRows:
    """Rows of one contract in file order.

    Attributes
    ----------
    contract : str
    times : int64[n]
        UTC epoch ns.
    values : dict of float64[n]
        By the names of `tick_schema.VALUE_COLUMNS`; a name that is missing is not in the file.
    rows : int64[n]
        Where each row stands in the file, from 0.
    time_column : str
        Where the times stand, for errors.
    ids : int64[n], optional
        The source's own numbers; counted from 0 in each day where there are none.
    days : datetime64[D][n], optional
        Trading days as the file states them; by the calendar where it does not.
    """

    contract: str
    times: np.ndarray
    values: dict[str, np.ndarray]
    rows: np.ndarray
    time_column: str
    ids: np.ndarray | None = None
    days: np.ndarray | None = None


class RowPlaces(Protocol):
    """Says where rows stand, for people."""

    @property
    def name(self) -> str:
        """What errors call the file."""
        ...

    def place_word(self, row: int) -> str:
        """Where row `row` (from 0) stands in it."""
        ...


@dataclass(frozen=True, kw_only=True)
class RecordedDay:
    """One contract-day of a file as a table, its rows in file order, not yet judged.

    Attributes
    ----------
    contract : str
    day : date
    table : pyarrow.Table
        `RAW_TICK_SCHEMA`.
    rows : int64[n]
        Where each row of the table stands in the file.
    file : RowPlaces
        The file, or the files it was joined of.
    time_column : str
    counted : bool
        Whether the ids count the rows of the day, for want of the source's own.
    layout : str
        The file's, by name.
    """

    contract: str
    day: date
    table: pa.Table
    rows: np.ndarray
    file: RowPlaces = field(repr=False)
    time_column: str
    counted: bool
    layout: str = ""

    def place_word(self, row: int) -> str:
        """Where row `row` of the table stands in the file."""
        return self.file.place_word(int(self.rows[row]))

    def taken(self, kept: np.ndarray) -> RecordedDay:
        """The same with only some rows, in the order of `kept` int64[m]; ids that were counted still rise."""
        table = self.table.take(pa.array(kept))
        if self.counted:
            table = table.set_column(0, table.schema.field("id"), pa.array(np.sort(table.column("id").to_numpy())))
        return replace(self, table=table, rows=self.rows[kept])

    def counted_anew(self) -> RecordedDay:
        """The same, its ids those of a file that never had the rows that are gone; the source's own stay."""
        if not self.counted:
            return self
        ids = pa.array(np.arange(self.table.num_rows, dtype=np.int64))
        return replace(self, table=self.table.set_column(0, self.table.schema.field("id"), ids))


def recorded_days(file: RecordingFile, found: ContractRows, options: ReadOptions) -> Iterator[RecordedDay]:
    """The contract's days, ascending."""
    days = found.days if found.days is not None else options.calendar.trading_day_of(found.times)
    ids = found.ids if found.ids is not None else np.zeros(len(found.times), dtype=np.int64)
    table = canonical_table(ids, found.times, found.values, null_counts=True)
    for day, part in sorted(split_days(table, days).items()):
        if found.ids is None:
            part = part.set_column(0, table.schema.field("id"), pa.array(np.arange(part.num_rows, dtype=np.int64)))
        yield RecordedDay(
            contract=found.contract,
            day=day,
            table=part,
            rows=found.rows[days == np.datetime64(day)],
            file=file,
            time_column=found.time_column,
            counted=found.ids is None,
        )


def check_day(part: RecordedDay, options: ReadOptions) -> RecordedDay:
    """The same day, where it may be stored.

    Raises
    ------
    BadRecordingError
        Another variety than the one asked for, no trading day, or rows that are no ticks; names file and line.
    """
    name, contract, day, table = part.file.name, part.contract, part.day, part.table
    if options.variety is not None and variety_of(contract).key != options.variety:
        raise BadRecordingError(
            f"{name} holds {contract}, not {options.variety}", f"import it with --var {variety_of(contract).key}"
        )
    times = table.column("datetime_ns").to_numpy()
    if (back := np.flatnonzero(np.diff(times) < 0)).size:
        raise BadRecordingError(
            f"{name}: {part.place_word(int(back[0]) + 1)}, column {part.time_column}: time goes backwards",
            "sort the file by time and import again",
        )
    if (again := np.flatnonzero(np.diff(table.column("id").to_numpy()) <= 0)).size:
        raise BadRecordingError(
            f"{name}: {part.place_word(int(again[0]) + 1)}: its id does not rise over that of the row before",
            "leave out rows that stand twice, or the column of ids: rows are then counted",
        )
    try:
        options.calendar.require_trading_day(day)
        _require_alive(contract, day)
        validate_ticks(table)
    except UsageError as exc:
        raise BadRecordingError(f"{name}: {contract}: {exc.message}", "correct the file's dates, or --symbol") from exc
    except BadRecordingError as exc:
        message = re.sub(r"at row (\d+)", lambda match: f"at {part.place_word(int(match[1]))}", exc.message)
        raise BadRecordingError(
            f"{name}: {contract} {day}: {message}", exc.hint or "correct or leave out that line"
        ) from exc
    return part


def _require_alive(contract: str, day: date) -> None:
    """UsageError where the contract was delivered before `day`, or cannot have been listed yet."""
    year, month = parse_symbol(contract).delivered(day)
    ahead = (year - day.year) * 12 + month - day.month
    if not 0 <= ahead <= NEAR_MONTHS:
        when = "was delivered in" if ahead < 0 else "is not delivered before"
        raise UsageError(f"{contract} {when} {year}-{month:02d} and did not trade on {day}")


def refuse_first(file: RecordingFile, column: str, bad: np.ndarray, say: Callable[[int], str]) -> None:
    """`BadRecordingError` naming the first bad row; nothing where none is."""
    if (rows := np.flatnonzero(bad)).size:
        row = int(rows[0])
        raise BadRecordingError(f"{file.place(row)}, column {column}: {say(row)}", "correct that line and import again")
