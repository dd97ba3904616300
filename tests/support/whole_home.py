"""Builds a home with one of everything that a trade or a build depends on, for tests that damage it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa

from ghtrader_assets.results.reports_store import save_candidate
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.inventory.contract_catalog import merge_contracts
from ghtrader_market.reference.holiday_list import save_holidays
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA, ContractInfo
from ghtrader_market.stores.lake.declared_days import save_declared
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import add_no_data, add_skips
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.bundles.champions import write_champion
from tests.support import built
from tests.support.runtime_kit import write_tiny_bundle

CONTRACT, OTHER = "SHFE.cu2505", "SHFE.cu2507"
EMPTY = date(2025, 3, 24)
"""A day that no contract has ticks or bars of."""
DECLARED = built.DAYS[0]


def build(home: Path) -> Settings:
    """Ticks, bars, schedule, main series, features, labels, ledgers, lists, and two bundles, one of them champion."""
    settings = load_settings(home)
    lake = built.build(settings.data)
    of, calendar = built.history(), bundled_calendar()
    for day in calendar.days(built.SCENARIO.start, built.LAST):
        rows = [dict.fromkeys(DAILY_BAR_SCHEMA.names, 1) | row for row in built.bars(of, [day]).to_pylist()]
        rows = [row | {"open_interest": round(row["open_interest"])} for row in rows]
        lake.write_day("daily_bars", "cu", day, pa.Table.from_pylist(rows, schema=DAILY_BAR_SCHEMA), source="tqsdk")
    add_no_data(lake, OTHER, [EMPTY])
    add_skips(lake, OTHER, {EMPTY: ("timed-out", "60 s")})
    save_declared(lake.root, "cu", {DECLARED: CONTRACT})
    save_holidays(settings.data, calendar.holidays, "test", calendar.first, calendar.last)
    merge_contracts(settings.data, "cu", [ContractInfo(CONTRACT, date(2025, 5, 15), None, False)], whole=True)
    for enter in (0.3, 0.4):
        bundle = load_bundle(write_tiny_bundle(settings.models, enter=enter))
        save_candidate(settings, bundle, "test")
    write_champion(settings.models, bundle, reason="a test")
    Lake(settings.data).index.rows("ticks")
    return settings
