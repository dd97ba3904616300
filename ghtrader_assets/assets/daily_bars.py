"""Reads and writes the lake's daily bars, and makes them from ticks where nobody gave them.

A recording brings no bars; its day's bar follows from the ticks, whose highest, lowest, volume and open interest
are the exchange's own running figures of the trading day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ghtrader_assets.runs.outcomes import as_ours
from ghtrader_base.errors import GhtraderError
from ghtrader_market.reference.tick_origin import TickOrigin
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA
from ghtrader_market.stores.day_details import DayDetails
from ghtrader_market.stores.lake.daily_bars import DATASET, read_bar_day
from ghtrader_market.stores.lake.lake import Lake


def bar_of_ticks(symbol: str, day: date, ticks: pa.Table) -> dict[str, object]:
    """One row of `DAILY_BAR_SCHEMA` from a contract-day of raw ticks; settlement is unknown (null).

    So is open interest where no tick has one: a 0 is how a recording says that it does not.

    Parameters
    ----------
    ticks : pyarrow.Table
        `RAW_TICK_SCHEMA`, at least one row.
    """
    held = ticks["open_interest"].to_numpy()
    held = held[held > 0]
    last = ticks["last_price"].to_numpy()
    traded = last[~np.isnan(last)]
    end = ticks.slice(ticks.num_rows - 1).to_pylist()[0]
    return {
        "symbol": symbol,
        "trading_day": day,
        "open": float(traded[0]) if len(traded) else float("nan"),
        "high": end["highest"],
        "low": end["lowest"],
        "close": end["last_price"],
        "volume": end["volume"],
        "open_interest": int(held[-1]) if held.size else None,
        "settlement": None,
    }


@dataclass(frozen=True)
class TickBars:
    """Bars that were made of ticks.

    Attributes
    ----------
    bars : pyarrow.Table
        `DAILY_BAR_SCHEMA`.
    failed : dict of (symbol, day) to GhtraderError
        Contract-days whose ticks cannot be read.
    """

    bars: pa.Table
    failed: dict[tuple[str, date], GhtraderError]

    @property
    def with_unknown(self) -> pa.Table:
        """The bars, and one without figures (null) for each that failed: it traded, nobody knows how much is held."""
        unknown = [{"symbol": symbol, "trading_day": day} for symbol, day in self.failed]
        return pa.concat_tables([self.bars, pa.Table.from_pylist(unknown, schema=DAILY_BAR_SCHEMA)])

    @property
    def by_item(self) -> dict[str, GhtraderError]:
        """What failed by name, for `outcomes.together`."""
        return {f"{symbol} {day}": error for (symbol, day), error in self.failed.items()}


def bars_from_ticks(lake: Lake, variety: str, days: Iterable[date]) -> TickBars:
    """Bars of every contract of a variety that has ticks on these days; a damaged contract-day costs itself alone."""
    product = get_variety(variety)
    prefix = f"{product.exchange}.{product.product}"
    columns = ["last_price", "highest", "lowest", "volume", "open_interest"]
    rows: list[dict[str, object]] = []
    failed: dict[tuple[str, date], GhtraderError] = {}
    wanted = set(days)
    for symbol in lake.keys("ticks"):
        if symbol.rstrip("0123456789") != prefix:
            continue
        for day in sorted(wanted.intersection(lake.days("ticks", symbol))):
            try:
                ticks = lake.read_day("ticks", symbol, day, columns=columns)
                if ticks.num_rows:
                    rows.append(bar_of_ticks(symbol, day, ticks))
            except Exception as exc:  # whatever it is, a fault of one contract-day is that day's alone
                failed[symbol, day] = as_ours(exc)
    return TickBars(pa.Table.from_pylist(rows, schema=DAILY_BAR_SCHEMA), failed)


def write_bars(
    lake: Lake, variety: str, bars: pa.Table, source: str, run_id: str, origin: TickOrigin | None = None
) -> list[date]:
    """Store bars day by day, with where they come from; returns the days written."""
    days = sorted(set(bars["trading_day"].to_pylist()))
    for day in days:
        of_day = bars.filter(pc.equal(bars["trading_day"], pa.scalar(day, pa.date32()))).sort_by("symbol")
        lake.write_day(
            DATASET, variety, day, of_day, schema=DAILY_BAR_SCHEMA, source=source, run_id=run_id,
            details=DayDetails(origin=origin),
        )  # fmt: skip
    return days


def read_bars(lake: Lake, variety: str, days: Iterable[date] | None = None) -> pa.Table:
    """Stored bars of a variety, of these days or of all, ordered by day and symbol; errors as `read_bar_day`."""
    wanted = lake.days(DATASET, variety) if days is None else [d for d in days if lake.has_day(DATASET, variety, d)]
    tables = [read_bar_day(lake, variety, day) for day in wanted]
    return pa.concat_tables(tables) if tables else DAILY_BAR_SCHEMA.empty_table()


def traded_symbols(bars: pa.Table) -> list[str]:
    """Contracts with volume in these bars, sorted."""
    return sorted(set(bars.filter(pc.greater(bars["volume"], 0))["symbol"].to_pylist()))
