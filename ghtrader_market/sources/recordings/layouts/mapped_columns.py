"""Reads any table by a map of its columns, written in TOML: what no other layout covers.

.. code-block:: toml

    symbol = "SHFE.cu2502"            # where no column says it
    time_zone = "Asia/Shanghai"       # of times that do not say theirs
    volume = "per row"                # where volume and amount count each row alone; "of the day" otherwise

    [columns]                         # ours = theirs
    datetime = "Timestamp"            # or date and time, or trading_day and time
    symbol = "Code"
    exchange = "Market"
    last_price = "Last"
    bid_price1 = "B1"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.sources.recordings.contract_rows import ColumnMap, ContractRows, ReadOptions, refuse_first
from ghtrader_market.sources.recordings.layouts.exchange_clock import printed_ns, wall_ns
from ghtrader_market.sources.recordings.layouts.layout import Layout
from ghtrader_market.sources.recordings.recording_file import RecordingFile
from ghtrader_market.sources.recordings.table_values import groups, tick_values, timed_rows
from ghtrader_market.sources.recordings.wall_clock import (
    Clock,
    Moments,
    days_of,
    read_moments,
    require_zone,
    time_of_day_ns,
)

PLACES = ("datetime", "date", "time", "millisecond", "trading_day", "symbol", "exchange", "id")
"""What a map may name beside the tick columns."""
_OF_THE_DAY, _PER_ROW = "of the day", "per row"
_HINT = f"a map has [columns] with {', '.join(PLACES)}, {', '.join(VALUE_COLUMNS[:11])} ..."


def load_column_map(path: Path) -> ColumnMap:
    """A column map from a TOML file.

    Raises
    ------
    UsageError
        It cannot be read, is no TOML, or names what is not known.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}", "check --columns") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UsageError(f"{path} is no TOML: {exc}", _HINT) from exc
    return check_column_map(found, str(path))


def check_column_map(found: Mapping[str, object], name: str) -> ColumnMap:
    """A map from its TOML document; `name` is what errors call it, UsageError what is wrong with it."""
    if unknown := set(found) - {"columns", "symbol", "time_zone", "volume"}:
        raise UsageError(f"{name}: nothing is called {', '.join(sorted(unknown))}", _HINT)
    columns = found.get("columns")
    if not isinstance(columns, dict) or not all(isinstance(each, str) for each in columns.values()):
        raise UsageError(f"{name} has no table [columns] of texts", _HINT)
    if unknown := set(columns) - {*PLACES, *VALUE_COLUMNS}:
        raise UsageError(f"{name}: there is no tick column {', '.join(sorted(unknown))}", _HINT)
    if "datetime" not in columns and not ({"date", "trading_day"} & columns.keys() and "time" in columns):
        raise UsageError(f"{name} does not say where the time stands", "name datetime, or date and time")
    if not {"last_price", "bid_price1"} & columns.keys():
        raise UsageError(f"{name} names no price", "name last_price, bid_price1 and ask_price1")
    if found.get("volume", _OF_THE_DAY) not in (_OF_THE_DAY, _PER_ROW):
        raise UsageError(f"{name}: volume is {_OF_THE_DAY!r} or {_PER_ROW!r}", "correct it")
    said = {key: str(found[key]) for key in ("symbol", "time_zone") if key in found}
    if "time_zone" in said:
        require_zone(said["time_zone"])
    return ColumnMap(names=columns, volume_per_row=found.get("volume") == _PER_ROW, **said)


def _read(file: RecordingFile, options: ReadOptions) -> Iterator[ContractRows]:
    if options.columns is None:
        raise UsageError("the layout 'columns' needs a map", "add --columns map.toml")
    said, names = options.columns, options.columns.names
    file.columns.require(names.values(), f"it has {', '.join(file.columns.names)}; correct the map")
    options = replace(options, time_zone=options.time_zone or said.time_zone)
    moments, days = _moments(file, names, options)
    values = tick_values(file, {ours: theirs for ours, theirs in names.items() if ours in VALUE_COLUMNS})
    ids = file.columns.integers(names["id"]) if "id" in names else None
    one = None if "symbol" in names else options.symbol or said.symbol
    found = groups(file, options, names.get("symbol", ""), names.get("exchange", ""), said=one)
    for rows in timed_rows(file, options, moments, values, found, ids):
        dated = rows if days is None else _dated(rows, days)
        yield _of_the_day(dated, options) if said.volume_per_row else dated


def _moments(file: RecordingFile, names: Mapping[str, str], options: ReadOptions) -> tuple[Moments, np.ndarray | None]:
    """The times of a file, and its trading days where the map names them."""
    days = days_of(file.columns, names["trading_day"]) if "trading_day" in names else None
    if days is not None:
        refuse_first(file, names["trading_day"], np.isnat(days), lambda _row: "is empty")
    if "datetime" in names:
        moments = read_moments(file.columns, names["datetime"])
        return _later(file, moments, names), days
    of_day = time_of_day_ns(file.columns, names["time"])
    if "date" in names:
        dates = days_of(file.columns, names["date"])
        refuse_first(file, names["date"], np.isnat(dates), lambda _row: "is empty")
        wall = wall_ns(dates, of_day)
    else:
        assert days is not None, "a checked map names date or trading_day"
        wall = printed_ns(days, of_day, options.calendar, file.name, names["trading_day"])
    return _later(file, Moments(wall, Clock.WALL, names["time"]), names), days


def _later(file: RecordingFile, moments: Moments, names: Mapping[str, str]) -> Moments:
    """With the milliseconds of a column of their own."""
    if "millisecond" not in names:
        return moments
    millis = file.columns.integers(names["millisecond"])
    refuse_first(file, names["millisecond"], (millis < 0) | (millis > 999), lambda row: f"{millis[row]} is none")
    return Moments(moments.ns + millis * 1_000_000, moments.clock, moments.column)


def _dated(rows: ContractRows, days: np.ndarray) -> ContractRows:
    return replace(rows, days=days[rows.rows])


def _of_the_day(rows: ContractRows, options: ReadOptions) -> ContractRows:
    """Volume and amount of the trading day so far, from those of each row."""
    days = rows.days if rows.days is not None else options.calendar.trading_day_of(rows.times)
    values = dict(rows.values)
    for name in ("volume", "amount"):
        if name not in values:
            continue
        if np.isnan(values[name]).any():
            raise BadRecordingError(f"{name} is empty on some rows of {rows.contract}", "give it on every row")
        running = np.empty(len(days))
        for day in np.unique(days):
            running[days == day] = np.cumsum(values[name][days == day])
        values[name] = running
    return replace(rows, values=values)


LAYOUT = Layout(
    name="columns",
    about="any table, by a map of its columns in a TOML file: --columns map.toml",
    recognises=lambda _file: False,
    read=_read,
)
