"""Reads ticks in CTP's own columns, as loggers of CTP, Tushare and most Chinese vendors deliver them.

``TradingDay, InstrumentID, UpdateTime, UpdateMillisec, ActionDay, LastPrice ... BidPrice1, BidVolume1 ...``, in any
case and with or without underscores. ``ActionDay`` is wrong or missing at night in many files and is not needed; where
the file has neither date, its name may say the trading day. DBL_MAX, 0 or an empty cell is no price.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.trading_calendar import DAY_CHANGE_NS
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions, refuse_first
from ghtrader_market.sources.recordings.layouts.exchange_clock import (
    are_trading_days,
    evenings_alone,
    next_days,
    printed_ns,
    wall_ns,
)
from ghtrader_market.sources.recordings.layouts.layout import Layout
from ghtrader_market.sources.recordings.recording_file import RecordingFile
from ghtrader_market.sources.recordings.table_values import groups, level_columns, tick_values
from ghtrader_market.sources.recordings.wall_clock import (
    SHANGHAI,
    Clock,
    Moments,
    days_of,
    time_of_day_ns,
    utc_times,
)

_VALUES = {
    "last_price": "LastPrice",
    "average": "AveragePrice",
    "highest": "HighestPrice",
    "lowest": "LowestPrice",
    "volume": "Volume",
    "amount": "Turnover",
    "open_interest": "OpenInterest",
    **level_columns("{Side}Price{level}", "{Side}Volume{level}"),
}
_OTHERS = ("TradingDay", "ActionDay", "InstrumentID", "ExchangeID", "UpdateTime", "UpdateMillisec")
_PLAIN = {name.lower(): name for name in (*_VALUES.values(), *_OTHERS)}
_DATE_IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(\d\d)[-_]?(\d\d)(?!\d)")
_NO_EVENING_DATE = frozenset({"CZCE"})
"""Exchanges whose trading day is the calendar date at night."""
_EVENING_UNDER_TRADING_DAY = frozenset({"DCE"})
"""Exchanges whose ActionDay is the trading day at night."""


def _plain(name: str) -> str:
    return _PLAIN.get(name.lower().replace("_", ""), name)


def _recognises(file: RecordingFile) -> bool:
    return file.is_table and {"UpdateTime", "LastPrice"} <= {_plain(name) for name in file.columns.names}


def _read(file: RecordingFile, options: ReadOptions) -> Iterator[ContractRows]:
    plain = file.with_columns(file.columns.renamed({name: _plain(name) for name in file.columns.names}))
    plain.columns.require(("UpdateTime", "LastPrice", "BidPrice1", "AskPrice1"), "give CTP's columns, or --columns")
    of_day = time_of_day_ns(plain.columns, "UpdateTime")
    if "UpdateMillisec" in plain.columns.names:
        millis = plain.columns.numbers("UpdateMillisec", empty=True)
        refuse_first(
            plain, "UpdateMillisec", (millis < 0) | (millis >= 1000), lambda row: f"{millis[row]:g} is no part"
        )
        of_day = of_day + (of_day % 1_000_000_000 == 0) * np.nan_to_num(millis).astype(np.int64) * 1_000_000
    values = tick_values(plain, _VALUES)
    dates: dict[str, np.ndarray] = {
        name: days_of(plain.columns, name) for name in ("TradingDay", "ActionDay") if name in plain.columns.names
    }
    for contract, rows in groups(plain, options, "InstrumentID", "ExchangeID"):
        wall, days = _printed(plain, contract, rows, of_day[rows], dates, options)
        moments = Moments(wall, Clock.WALL, "UpdateTime")
        yield ContractRows(
            contract=contract,
            times=utc_times(moments, variety_of(contract), options.calendar, options.time_zone, plain.name),
            values=_per_unit({name: column[rows] for name, column in values.items()}, contract),
            rows=rows,
            time_column="UpdateTime",
            days=days,
        )


def _printed(
    file: RecordingFile,
    contract: str,
    rows: np.ndarray,
    of_day: np.ndarray,
    dates: dict[str, np.ndarray],
    options: ReadOptions,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Wall-clock ns of one contract's rows, and their trading days where the file states them."""
    known = {name: days[rows] for name, days in dates.items() if not np.isnat(days[rows]).all()}
    for name, days in known.items():
        missing = np.zeros(len(dates[name]), bool)
        missing[rows] = np.isnat(days)
        if name == "TradingDay" or "TradingDay" not in known:
            refuse_first(file, name, missing, lambda _row: "is empty")
    calendar = options.calendar
    if options.time_zone not in (None, SHANGHAI):
        if "ActionDay" not in known:
            raise BadRecordingError(
                f"{file.name}: with --time-zone {options.time_zone}, ActionDay must say the date of each UpdateTime",
                "leave out --time-zone where UpdateTime is the exchange's clock",
            )
        return wall_ns(known["ActionDay"], of_day), known.get("TradingDay")
    if "TradingDay" in known:
        days, action = known["TradingDay"], known.get("ActionDay")
        by_date = parse_symbol(contract).exchange in _NO_EVENING_DATE and not are_trading_days(days, of_day)
        evening = of_day >= DAY_CHANGE_NS
        if by_date and (action is None or (action == days)[evening].all()):
            return wall_ns(days, of_day), np.where(evening, next_days(days, calendar), days)
        return printed_ns(days, of_day, calendar, file.name, "TradingDay"), days
    if "ActionDay" in known:
        days = known["ActionDay"]
        if are_trading_days(days, of_day):
            return printed_ns(days, of_day, calendar, file.name, "ActionDay"), days
        exchange = parse_symbol(contract).exchange
        if exchange in _EVENING_UNDER_TRADING_DAY and evenings_alone(days, of_day):
            raise BadRecordingError(
                f"{file.name}, column ActionDay: {exchange} prints the trading day of its evenings there, loggers the "
                "calendar date, and no day session beside them tells which it is",
                "add the column TradingDay, or put night and day session into one file",
            )
        return wall_ns(days, of_day), None
    if (day := _day_in_name(file.name)) is None:
        raise BadRecordingError(
            f"{file.name} does not say its trading day: no TradingDay, no ActionDay, no date in its name",
            "add the date to its name, for example cu2502_20250106.csv",
        )
    days = np.full(len(rows), np.datetime64(day, "D"))
    return printed_ns(days, of_day, calendar, file.name, "the date in its name"), days


def _day_in_name(name: str) -> date | None:
    for year, month, day in _DATE_IN_NAME.findall(Path(name).name):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    return None


def _per_unit(values: dict[str, np.ndarray], contract: str) -> dict[str, np.ndarray]:
    """Average price of one unit and turnover of all: exchanges print the average, or not the turnover, times the lot.

    SHFE's average price is that of a lot, CZCE's turnover that of units: both are told by how far they are from the
    last price.
    """
    units, out = variety_of(contract).multiplier, dict(values)
    last = out.get("last_price")
    if last is None or units == 1:
        return out
    with np.errstate(divide="ignore", invalid="ignore"):
        if "average" in out and _middle(out["average"] / last) > math.sqrt(units):
            out["average"] = out["average"] / units
        if {"amount", "volume"} <= out.keys() and _middle(out["amount"] / out["volume"] / last) < math.sqrt(units):
            out["amount"] = out["amount"] * units
    return out


def _middle(ratios: np.ndarray) -> float:
    """Median of the finite ones; NaN where there are none, which is neither above nor below anything."""
    finite = ratios[np.isfinite(ratios)]
    return float(np.median(finite)) if finite.size else math.nan


LAYOUT = Layout(
    name="ctp",
    about="CTP's columns: TradingDay, InstrumentID, UpdateTime, UpdateMillisec, LastPrice, BidPrice1 ...",
    recognises=_recognises,
    read=_read,
)
