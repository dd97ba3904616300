"""Reads the SQLite database of vnpy's data recorder: table ``dbtickdata``, one contract at a time.

Its times have no zone: vnpy writes them in the zone of its setting ``database.timezone``, by default the machine's.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.sources.recordings.columns import Columns
from ghtrader_market.sources.recordings.contract_names import rows_by_contract
from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions
from ghtrader_market.sources.recordings.layouts.layout import Layout
from ghtrader_market.sources.recordings.layouts.vnpy_csv import VALUES, read_vnpy_columns
from ghtrader_market.sources.recordings.recording_file import Container, RecordingFile

_TABLE = "dbtickdata"
_NEEDED = ("id", "datetime", "symbol", "exchange")


def _connect(file: RecordingFile) -> contextlib.closing[sqlite3.Connection]:
    """The database, to be read only; one that came as bytes (packed, say) in memory."""
    if (path := file.in_place) is not None:
        address = f"{path.absolute().as_uri()}?mode=ro"
        return contextlib.closing(sqlite3.connect(address, uri=True))
    connection = sqlite3.connect(":memory:")
    connection.deserialize(file.data)
    return contextlib.closing(connection)


def _recognises(file: RecordingFile) -> bool:
    if file.container is not Container.SQLITE:
        return False
    try:
        with _connect(file) as database:
            return bool(_columns(database))
    except sqlite3.Error:
        return False


def _columns(database: sqlite3.Connection) -> list[str]:
    return [str(row[1]) for row in database.execute(f"PRAGMA table_info({_TABLE})")]


def _read(file: RecordingFile, options: ReadOptions) -> Iterator[ContractRows]:
    try:
        with _connect(file) as database:
            names = _columns(database)
            if not names:
                raise BadRecordingError(f"{file.name} has no table {_TABLE}", "give the database of vnpy's recorder")
            if missing := [name for name in _NEEDED if name not in names]:
                raise BadRecordingError(
                    f"{file.name}: columns missing in {_TABLE}: {', '.join(missing)}",
                    "give the database of vnpy's recorder",
                )
            wanted = [name for name in (*_NEEDED[1:], *VALUES.values()) if name in names]
            pairs = database.execute(f"SELECT DISTINCT symbol, exchange FROM {_TABLE}").fetchall()
            if not pairs:
                raise BadRecordingError(f"{file.name} holds no ticks", "record some first")
            codes, exchanges = (np.array([str(pair[which]) for pair in pairs], dtype=object) for which in (0, 1))
            for _, which in rows_by_contract(file.name, codes, exchanges, options.variety, options.symbol):
                for number in which.tolist():
                    yield from _one(file, options, database, wanted, pairs[number])
    except sqlite3.Error as exc:
        raise BadRecordingError(f"{file.name} is no SQLite database that can be read: {exc}", "copy it again") from exc


def _one(
    file: RecordingFile, options: ReadOptions, database: sqlite3.Connection, wanted: list[str], pair: tuple[str, str]
) -> Iterator[ContractRows]:
    """Ticks of one contract, in the order of their time."""
    query = f"SELECT {', '.join(wanted)} FROM {_TABLE} WHERE symbol = ? AND exchange = ? ORDER BY datetime, id"
    columns: list[tuple[object, ...]] = list(zip(*database.execute(query, pair), strict=True))
    table = pa.table({name: _cells(column) for name, column in zip(wanted, columns, strict=True)})
    yield from read_vnpy_columns(file.with_columns(Columns(file.name, table, lines=False)), options)


def _cells(column: tuple[object, ...]) -> pa.Array:
    """A column as Arrow has it; as text where SQLite keeps several types in it, so that errors name the odd cell."""
    try:
        return pa.array(column)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if cell is None else str(cell) for cell in column], pa.string())


LAYOUT = Layout(
    name="vnpy-database",
    about="SQLite database of vnpy's recorder: table dbtickdata",
    recognises=_recognises,
    read=_read,
)
