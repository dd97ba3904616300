"""Parses recordings: CSV, CSV.gz or Parquet, in TqSdk's columns or in the packaged sample's.

A pure parser: bytes in, raw tick tables out; every fault names the file, the line (CSV) or row (Parquet), the column
and what to do. Nothing is written here (`ghtrader_market.ingest` does), no time of day is guessed, no row is dropped.

Two layouts are known by their columns, others beside them are ignored:

- TqSdk: ``datetime`` (UTC epoch ns; ``datetime_nano`` of its DataDownloader), optional ``id`` and ``symbol``, and the
  tick columns, level 1 at least; the DataDownloader's ``SHFE.cu2502.last_price`` names are understood.
- wondertrader: ``exchg``, ``code``, ``action_date``, ``action_time`` (HHMMSSmmm, Asia/Shanghai), ``trading_date``,
  ``total_volume`` and ``total_turnover`` (cumulative), ``bid_prices_1`` ...
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_schema import LEVELS, validate_ticks
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import get_variety, variety_of
from ghtrader_market.sources.base import canonical_table, split_days
from ghtrader_market.sources.recordings.columns import Columns, load_columns

Recorded = tuple[str, date, pa.Table]

_NS = 1_000_000_000
_SHANGHAI_NS = 8 * 3600 * _NS
_EARLIEST = int(np.datetime64("1995-01-01", "ns").astype(np.int64))
_LATEST = int(np.datetime64("2100-01-01", "ns").astype(np.int64))
_TQ_NEEDED = (
    "last_price", "average", "highest", "lowest", "volume", "amount", "open_interest",
    "bid_price1", "bid_volume1", "ask_price1", "ask_volume1",
)  # fmt: skip
_TQ_DEPTH = tuple(
    f"{side}_{what}{i}" for i in range(2, LEVELS + 1) for side in ("bid", "ask") for what in ("price", "volume")
)
_WT_NEEDED = (
    "exchg", "code", "price", "high", "low", "total_volume", "total_turnover", "open_interest", "trading_date",
    "action_date", "action_time", "bid_prices_1", "bid_qty_1", "ask_prices_1", "ask_qty_1",
)  # fmt: skip
_EXPECTED = (
    "give TqSdk's columns (datetime, last_price, average, highest, lowest, volume, amount, open_interest, "
    "bid_price1, bid_volume1, ask_price1, ask_volume1 ...) or the sample's (exchg, code, price, ... action_time); "
    "the packaged samples show both"
)
_PREFIXED = re.compile(r"^([A-Z]{3,5}\.[A-Za-z]{1,4}\d{3,4})\.(\w+)$")
_IN_NAME = re.compile(r"(?:([A-Z]{3,5})\.)?([A-Za-z]{1,4})(\d{3,4})(?!\d)")


def read_recording(
    path: Path | str,
    variety: str | None = None,
    symbol: str | None = None,
    calendar: TradingCalendar | None = None,
) -> list[Recorded]:
    """Read one file.

    Parameters
    ----------
    path : Path or str
        CSV, gzipped CSV or Parquet; told apart by content.
    variety : str, optional
        Key of the variety the file must hold; also completes a file name such as ``IF2101_20210104.csv``.
    symbol : str, optional
        The contract, where neither columns nor file name say it.
    calendar : TradingCalendar, optional
        Default: the bundled one.

    Returns
    -------
    list of (symbol, trading day, table)
        Tables of `RAW_TICK_SCHEMA`, validated, ordered by symbol and day.

    Raises
    ------
    BadRecordingError
        Missing, garbled, or not what it claims to be.
    UsageError
        `variety` or `symbol` is unknown.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise BadRecordingError(f"{path}: no such file", "check the path") from exc
    except OSError as exc:
        raise BadRecordingError(f"{path} cannot be read: {exc.strerror}", "give a readable file, not a folder") from exc
    return parse_recording(data, str(path), variety, symbol, calendar)


def parse_recording(
    data: bytes,
    name: str,
    variety: str | None = None,
    symbol: str | None = None,
    calendar: TradingCalendar | None = None,
) -> list[Recorded]:
    """As `read_recording`, from bytes; `name` is what errors call them."""
    calendar = calendar or bundled_calendar()
    if variety is not None:
        get_variety(variety)
    if symbol is not None and parse_symbol(symbol).continuous:
        raise UsageError(f"{symbol} is a continuous series", "a recording holds contracts: --symbol SHFE.cu2502")
    columns = load_columns(data, name)
    if "action_time" in columns.names or "exchg" in columns.names:
        found = _wondertrader(columns, symbol, calendar)
    else:
        found = _tqsdk(columns, variety, symbol, calendar)
    for part in found:
        _check(columns, part, variety, calendar)
    return sorted(((part.contract, part.day, part.table) for part in found), key=lambda item: item[:2])


@dataclass(frozen=True)
class _Part:
    """One contract-day of a file; `rows` says where each of its rows stands in the file."""

    contract: str
    day: date
    table: pa.Table
    rows: np.ndarray


def _parts(contract: str, table: pa.Table, days: np.ndarray, rows: np.ndarray) -> list[_Part]:
    return [
        _Part(contract, day, part, rows[days == np.datetime64(day)]) for day, part in split_days(table, days).items()
    ]


def _check(columns: Columns, part: _Part, variety: str | None, calendar: TradingCalendar) -> None:
    contract, day, table = part.contract, part.day, part.table
    if variety is not None and variety_of(contract).key != variety:
        raise BadRecordingError(
            f"{columns.name} holds {contract}, not {variety}", f"import it with --var {variety_of(contract).key}"
        )
    try:
        calendar.require_trading_day(day)
        validate_ticks(table)
    except UsageError as exc:
        raise BadRecordingError(f"{columns.name}: {contract}: {exc.message}", "correct the file's dates") from exc
    except BadRecordingError as exc:
        message = re.sub(
            r"at row (\d+)", lambda match: f"at {columns.place_word(int(part.rows[int(match[1])]))}", exc.message
        )
        raise BadRecordingError(
            f"{columns.name}: {contract} {day}: {message}", exc.hint or "correct or leave out that line"
        ) from exc


def _known(columns: Columns, contract: str, hint: str) -> str:
    """`contract` if the variety table knows it."""
    try:
        if not parse_symbol(contract).continuous:
            variety_of(contract)
            return contract
    except UsageError as exc:
        raise BadRecordingError(f"{columns.name}: {exc.message}", exc.hint or hint) from exc
    raise BadRecordingError(f"{columns.name} holds the continuous series {contract}", "import recordings of contracts")


# ---- TqSdk's columns ------------------------------------------------------------------------------------------------


def _tqsdk(columns: Columns, variety: str | None, symbol: str | None, calendar: TradingCalendar) -> list[_Part]:
    columns, prefix = _unprefix(columns)
    time_name = "datetime_nano" if "datetime_nano" in columns.names else "datetime"
    columns.require((time_name, *_TQ_NEEDED), _EXPECTED)
    depth = [name for name in _TQ_DEPTH if name in columns.names]
    if depth and len(depth) != len(_TQ_DEPTH):
        absent = [name for name in _TQ_DEPTH if name not in columns.names]
        raise BadRecordingError(f"{columns.name} has some depth columns but not {', '.join(absent)}", _EXPECTED)
    times = columns.integers(time_name)
    _check_times(columns, time_name, times)
    values = {key: columns.numbers(key, empty=key not in ("volume", "open_interest")) for key in (*_TQ_NEEDED, *depth)}
    _check_counts(columns, [key for key in values if "volume" in key or key == "open_interest"], values)
    ids = columns.integers("id") if "id" in columns.names else np.arange(len(times), dtype=np.int64)
    out: list[_Part] = []
    for contract, rows in _by_contract(columns, variety, symbol or prefix, symbol):
        _check_order(columns, time_name, times, rows)
        table = canonical_table(ids[rows], times[rows], {key: column[rows] for key, column in values.items()})
        out += _parts(contract, table, calendar.trading_day_of(times[rows]), rows)
    return out


def _unprefix(columns: Columns) -> tuple[Columns, str | None]:
    """Take ``SHFE.cu2502.`` off the DataDownloader's column names."""
    found = {match[1] for name in columns.names if (match := _PREFIXED.match(name))}
    if not found:
        return columns, None
    if len(found) > 1:
        raise BadRecordingError(
            f"{columns.name} holds several contracts side by side: {', '.join(sorted(found))}", "one file a contract"
        )
    return columns.renamed({name: match[2] for name in columns.names if (match := _PREFIXED.match(name))}), found.pop()


def _by_contract(
    columns: Columns, variety: str | None, one: str | None, asked: str | None
) -> list[tuple[str, np.ndarray]]:
    """Row selections by contract: from the `symbol` column, what the caller said, or the file's name."""
    if "symbol" in columns.names:
        return _groups(columns, columns.texts("symbol"), asked)
    if one is not None and asked is not None and one != asked:
        raise BadRecordingError(f"{columns.name} holds {one}, not {asked}", f"import it with --symbol {one}")
    if one is None:
        one = _from_name(columns.name, variety)
    if one is None:
        raise BadRecordingError(
            f"{columns.name} does not say which contract it is", "add --symbol, for example --symbol SHFE.cu2502"
        )
    return [(_known(columns, one, "check --symbol"), np.arange(columns.table.num_rows))]


def _from_name(name: str, variety: str | None) -> str | None:
    for exchange, product, delivery in _IN_NAME.findall(Path(name).name):
        if not exchange and variety is not None and get_variety(variety).product == product:
            exchange = get_variety(variety).exchange
        if exchange:
            return f"{exchange}.{product}{delivery}"
    return None


def _groups(columns: Columns, texts: np.ndarray, asked: str | None) -> list[tuple[str, np.ndarray]]:
    unique, inverse = np.unique(texts.astype(str), return_inverse=True)
    for contract in unique.tolist():
        _known(columns, contract, "correct the column")
    if asked is not None and unique.tolist() != [asked]:
        raise BadRecordingError(
            f"{columns.name} holds {', '.join(unique.tolist())}, not {asked}", "correct or leave out --symbol"
        )
    return [(str(contract), np.flatnonzero(inverse == number)) for number, contract in enumerate(unique)]


# ---- wondertrader's columns -----------------------------------------------------------------------------------------


def _wondertrader(columns: Columns, symbol: str | None, calendar: TradingCalendar) -> list[_Part]:
    columns.require(_WT_NEEDED, _EXPECTED)
    times = _shanghai(columns)
    _check_times(columns, "action_date", times)
    stated = _dates(columns, "trading_date")
    by_rule = calendar.trading_day_of(times)
    _first_fault(
        columns, "trading_date", stated != by_rule,
        lambda row: f"trading day {stated[row]} does not fit its time, which belongs to {by_rule[row]}",
    )  # fmt: skip
    wanted = {
        "last_price": "price",
        "highest": "high",
        "lowest": "low",
        "volume": "total_volume",
        "amount": "total_turnover",
    }
    wanted |= {"open_interest": "open_interest"}
    for level in range(1, LEVELS + 1):
        for side in ("bid", "ask"):
            if f"{side}_prices_{level}" in columns.names and f"{side}_qty_{level}" in columns.names:
                wanted |= {
                    f"{side}_price{level}": f"{side}_prices_{level}",
                    f"{side}_volume{level}": f"{side}_qty_{level}",
                }
    counts = [key for key in wanted if "volume" in key or key == "open_interest"]
    values = {key: columns.numbers(column, empty=False) for key, column in wanted.items()}
    _check_counts(columns, counts, values, wanted)
    codes = np.char.add(np.char.add(columns.texts("exchg").astype(str), "."), columns.texts("code").astype(str))
    out: list[_Part] = []
    for contract, rows in _groups(columns, codes, symbol):
        _check_order(columns, "action_time", times, rows)
        part = {key: column[rows] for key, column in values.items()}
        with np.errstate(divide="ignore", invalid="ignore"):
            average = part["amount"] / part["volume"] / variety_of(contract).multiplier
        part["average"] = np.where(part["volume"] > 0, average, np.nan)
        table = canonical_table(np.arange(len(average), dtype=np.int64), times[rows], part)
        for found in _parts(contract, table, stated[rows], rows):
            numbered = pa.array(np.arange(len(found.rows), dtype=np.int64))
            out.append(replace(found, table=found.table.set_column(0, table.schema.field("id"), numbered)))
    return out


def _dates(columns: Columns, key: str) -> np.ndarray:
    """datetime64[D][n] from YYYYMMDD integers."""
    numbers = columns.integers(key)
    unique, inverse = np.unique(numbers, return_inverse=True)
    days = np.empty(len(unique), dtype="datetime64[D]")
    for position, number in enumerate(unique.tolist()):
        try:
            days[position] = date(number // 10000, number // 100 % 100, number % 100)
        except (ValueError, OverflowError):
            _first_fault(columns, key, numbers == number, lambda row: f"{numbers[row]} is no date (YYYYMMDD)")
    return days[inverse]


def _shanghai(columns: Columns) -> np.ndarray:
    """UTC epoch ns from `action_date` and `action_time` (HHMMSSmmm)."""
    days, clock = _dates(columns, "action_date"), columns.integers("action_time")
    hours, minutes = clock // 10_000_000, clock // 100_000 % 100
    seconds, millis = clock // 1000 % 100, clock % 1000
    bad = (clock < 0) | (hours > 23) | (minutes > 59) | (seconds > 59)
    _first_fault(columns, "action_time", bad, lambda row: f"{clock[row]} is no time of day (HHMMSSmmm)")
    of_day = ((hours * 60 + minutes) * 60 + seconds) * _NS + millis * 1_000_000
    utc_ns: np.ndarray = days.astype("datetime64[ns]").astype(np.int64) + of_day - _SHANGHAI_NS
    return utc_ns


# ---- checks that name a line ----------------------------------------------------------------------------------------


def _first_fault(columns: Columns, column: str, bad: np.ndarray, say: Callable[[int], str]) -> None:
    if (rows := np.flatnonzero(bad)).size:
        row = int(rows[0])
        raise BadRecordingError(
            f"{columns.place(row)}, column {column}: {say(row)}", "correct that line and import again"
        )


def _check_times(columns: Columns, column: str, times: np.ndarray) -> None:
    bad = (times < _EARLIEST) | (times > _LATEST)
    _first_fault(columns, column, bad, lambda row: f"{times[row]} is no time in UTC epoch ns between 1995 and 2100")


def _check_order(columns: Columns, column: str, times: np.ndarray, rows: np.ndarray) -> None:
    falling = np.flatnonzero(np.diff(times[rows]) < 0)
    if falling.size:
        row = int(rows[falling[0] + 1])
        raise BadRecordingError(
            f"{columns.place(row)}, column {column}: time goes backwards", "sort the file by time and import again"
        )


def _check_counts(
    columns: Columns, counts: list[str], values: dict[str, np.ndarray], written_as: dict[str, str] | None = None
) -> None:
    for key in counts:
        column, shown = values[key], (written_as or {}).get(key, key)
        bad = ~np.isnan(column) & ((column < 0) | (column != np.rint(column)) | (column > 2**53))
        _first_fault(columns, shown, bad, partial(_no_count, column))


def _no_count(column: np.ndarray, row: int) -> str:
    return f"{column[row]:g} is no whole number of lots"
