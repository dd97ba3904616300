"""Builds a small home from ticks to labels, over a roll, for tests of audits."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.main_series.main_l5 import build_main_l5
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.base import canonical_table
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec

KEY = "KQ.m@SHFE.cu"
# The first day has bars alone; the main contract changes on 2025-04-07.
FIRST, ROLL, LAST = date(2025, 4, 2), date(2025, 4, 7), date(2025, 4, 8)
DAYS = bundled_calendar().days(FIRST, LAST)
SCENARIO = Scenario(start=date(2025, 3, 31), end=LAST, snapshot_seconds=30.0)


def history() -> History:
    return History(SCENARIO)


def bars(of: History, days: list[date], variety: str = "cu") -> pa.Table:
    """Closing open interest of every contract."""
    return pa.Table.from_pylist(
        [
            {"symbol": symbol, "trading_day": day, "open_interest": of.closing_interest(symbol, day)}
            for symbol in of.contracts(variety)
            for day in days
            if day in of.contract_days(symbol)
        ]
    )


def ticks_of(of: History, symbol: str, day: date) -> pa.Table:
    """One contract-day as a raw tick table."""
    found, first = of.day(symbol, day), of.first_id(symbol, day)
    ids = np.arange(first, first + len(found.datetime_ns))
    return canonical_table(ids, found.datetime_ns, found.values)


def build(root: Path) -> Lake:
    """Ticks of every contract, schedule, main_l5, features and labels of DAYS."""
    of, lake, calendar = history(), Lake(root), bundled_calendar()
    for symbol in of.contracts("cu"):
        for day in DAYS:
            if day in of.contract_days(symbol):
                lake.write_day("ticks", symbol, day, ticks_of(of, symbol, day), source="tqsdk")
    schedule = schedule_from_open_interest("cu", bars(of, calendar.days(SCENARIO.start, LAST)))
    save_schedule(root, schedule)
    build_main_l5(lake, calendar, schedule, DAYS).raise_if_failed()
    for day in DAYS:
        build_day(lake, KEY, day, get_factor_set("lean"), LabelSpec(), run_id="test", calendar=calendar)
    return lake
