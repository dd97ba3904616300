"""Reads WonderTrader's ticks as CSV or Parquet: as wtpy dumps them, or as its repository's sample has them.

``exchg``, ``code``, trading date, action date and action time (HHMMSSmmm, Asia/Shanghai), ``total_volume`` and
``total_turnover`` of the day so far, up to ten levels. The average is turnover over volume and lot, as this project has
always made it for this layout.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions, refuse_first
from ghtrader_market.sources.recordings.layouts.exchange_clock import dated_ns, wall_ns
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
    "last_price": "price",
    "highest": "high",
    "lowest": "low",
    "volume": "total_volume",
    "amount": "total_turnover",
    "open_interest": "open_interest",
    **level_columns("{side}_prices_{level}", "{side}_qty_{level}"),
}
_DUMPED = {"tradingdate": "trading_date", "actiondate": "action_date", "actiontime": "action_time"} | {
    f"{side}{short}{level}": f"{side}_{long}_{level}"
    for side in ("bid", "ask")
    for short, long in (("price", "prices"), ("qty", "qty"))
    for level in range(1, 11)
}
"""Column names of wtpy's `dump_ticks` -> the sample's."""
_NEEDED = (
    "exchg", "code", "price", "high", "low", "total_volume", "total_turnover", "open_interest", "trading_date",
    "action_date", "action_time", "bid_prices_1", "bid_qty_1", "ask_prices_1", "ask_qty_1",
)  # fmt: skip
_ALWAYS = frozenset(VALUE_COLUMNS)


def _recognises(file: RecordingFile) -> bool:
    return (
        file.is_table and "exchg" in file.columns.names and bool({"action_time", "actiontime"} & {*file.columns.names})
    )


def _read(file: RecordingFile, options: ReadOptions) -> Iterator[ContractRows]:
    file = file.with_columns(
        file.columns.renamed({old: new for old, new in _DUMPED.items() if old in file.columns.names})
    )
    columns = file.columns
    columns.require(_NEEDED, "give WonderTrader's columns: exchg, code, price, ... trading_date, action_time ...")
    days, dates = days_of(columns, "trading_date"), days_of(columns, "action_date")
    for name, found in (("trading_date", days), ("action_date", dates)):
        refuse_first(file, name, np.isnat(found), lambda _row: "is empty")
    of_day = time_of_day_ns(columns, "action_time", thousandths=True)
    values = tick_values(file, _VALUES, whole=_ALWAYS)
    for contract, rows in groups(file, options, "code", "exchg"):
        own = {name: column[rows] for name, column in values.items()}
        yield contract_rows(file, options, contract, dates[rows], of_day[rows], days[rows], own, rows)


def contract_rows(
    file: RecordingFile,
    options: ReadOptions,
    contract: str,
    dates: np.ndarray,
    of_day: np.ndarray,
    days: np.ndarray,
    values: dict[str, np.ndarray],
    rows: np.ndarray,
) -> ContractRows:
    """One contract's rows, its trading days held against its times.

    Parameters
    ----------
    file, options
    contract : str
    dates, of_day : datetime64[D][n], int64[n]
        The calendar date as the file states it, which may be wrong at night, and ns since midnight.
    days : datetime64[D][n]
        Trading days as the file states them.
    values : dict of float64[n]
    rows : int64[n]
        Where they stand in the file.

    Raises
    ------
    BadRecordingError
        A trading day that does not fit its time, or times outside the sessions.
    """
    variety = variety_of(contract)
    if options.time_zone in (None, SHANGHAI):
        wall = dated_ns(dates, days, of_day, options.calendar, file.name, "trading_date")
    else:
        wall = wall_ns(dates, of_day)
    times = utc_times(Moments(wall, Clock.WALL, "action_time"), variety, options.calendar, options.time_zone, file.name)
    by_rule = options.calendar.trading_day_of(times)
    wrong = np.zeros(int(rows.max(initial=-1)) + 1, bool)
    wrong[rows] = days != by_rule
    at = {int(row): number for number, row in enumerate(rows[days != by_rule].tolist())}
    stated, expected = days[days != by_rule], by_rule[days != by_rule]
    refuse_first(
        file,
        "trading_date",
        wrong,
        lambda row: f"trading day {stated[at[row]]} does not fit its time, which belongs to {expected[at[row]]}",
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        average = values["amount"] / values["volume"] / variety.multiplier
    values = values | {"average": np.where(values["volume"] > 0, average, np.nan)}
    return ContractRows(contract=contract, times=times, values=values, rows=rows, time_column="action_time", days=days)


LAYOUT = Layout(
    name="wondertrader-csv",
    about="WonderTrader's CSV: exchg, code, price, total_volume, trading_date, action_time (or actiontime) ...",
    recognises=_recognises,
    read=_read,
)
