"""Reads the 27 numbers of a tick from the columns of a table, as the layouts that are tables share it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial

import numpy as np

from ghtrader_market.reference.tick_schema import LEVELS
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.recordings.contract_names import one_contract, rows_by_contract
from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions, refuse_first
from ghtrader_market.sources.recordings.recording_file import RecordingFile
from ghtrader_market.sources.recordings.wall_clock import Moments, utc_times

PRICES = ("last_price", "average", "highest", "lowest")
NO_PRICE = 1e12
"""Beyond this a price is a sentinel: CTP prints DBL_MAX."""


def level_columns(price: str, volume: str) -> dict[str, str]:
    """Tick columns of the five levels -> a file's, by patterns such as ``{Side}Price{level}``."""
    found = {}
    for level in range(1, LEVELS + 1):
        for side in ("bid", "ask"):
            words = {"side": side, "Side": side.title(), "level": level}
            found[f"{side}_price{level}"] = price.format(**words)
            found[f"{side}_volume{level}"] = volume.format(**words)
    return found


def tick_values(file: RecordingFile, wanted: Mapping[str, str], whole: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Numbers of the wanted columns that the file has.

    Parameters
    ----------
    file : RecordingFile
        A table.
    wanted : mapping
        Tick column -> the file's column.
    whole : collection of str
        Tick columns that must have a number on each row.

    Returns
    -------
    dict of float64[n]
        By tick column. A price of 0 or of a sentinel's size is NaN; so is a count of that size.

    Raises
    ------
    BadRecordingError
        A cell is no number, or a count is negative or no whole number.
    """
    columns, values = file.columns, {}
    for tick_column, column in wanted.items():
        if column not in columns.names:
            continue
        numbers = columns.numbers(column, empty=tick_column not in whole)
        if tick_column in PRICES or "price" in tick_column:
            values[tick_column] = no_sentinels(numbers, zero_is_none=True)
            continue
        if "volume" in tick_column or tick_column == "open_interest":
            numbers = no_sentinels(numbers)
            bad = ~np.isnan(numbers) & ((numbers < 0) | (numbers != np.rint(numbers)) | (numbers > 2**53))
            refuse_first(file, column, bad, partial(_no_count, numbers))
        values[tick_column] = no_sentinels(numbers)
    return values


def _no_count(column: np.ndarray, row: int) -> str:
    return f"{column[row]:g} is no whole number of lots"


def no_sentinels(numbers: np.ndarray, zero_is_none: bool = False) -> np.ndarray:
    """The same with NaN for numbers that mean "none": those of a sentinel's size, and 0 where `zero_is_none`."""
    limit = NO_PRICE if zero_is_none else 1e18
    with np.errstate(invalid="ignore"):
        none = np.abs(numbers) >= limit
        if zero_is_none:
            none |= numbers == 0.0
    return np.where(none, np.nan, numbers)


def groups(
    file: RecordingFile, options: ReadOptions, code: str = "", exchange: str = "", said: str | None = None
) -> list[tuple[str, np.ndarray]]:
    """Contracts of a table with their rows int64[m]: by a column of codes, or the one contract of the whole file.

    Parameters
    ----------
    code, exchange : str
        Columns; empty, or not in the file, where there is none.
    said : str, optional
        The contract as the file says it elsewhere.
    """
    columns = file.columns
    if code and code in columns.names:
        exchanges = columns.texts(exchange) if exchange and exchange in columns.names else None
        return list(rows_by_contract(file.name, columns.texts(code), exchanges, options.variety, options.symbol))
    return [(one_contract(file.name, options.variety, said, options.symbol), np.arange(columns.table.num_rows))]


def timed_rows(
    file: RecordingFile,
    options: ReadOptions,
    moments: Moments,
    values: Mapping[str, np.ndarray],
    found: Collection[tuple[str, np.ndarray]],
    ids: np.ndarray | None = None,
) -> Iterator[ContractRows]:
    """Rows of each contract, their times held against its sessions."""
    for contract, rows in found:
        own = Moments(moments.ns[rows], moments.clock, moments.column)
        times = utc_times(own, variety_of(contract), options.calendar, options.time_zone, file.name)
        yield ContractRows(
            contract=contract,
            times=times,
            values={name: column[rows] for name, column in values.items()},
            rows=rows,
            time_column=moments.column,
            ids=None if ids is None else ids[rows],
        )
