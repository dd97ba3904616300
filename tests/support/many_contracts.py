"""Makes a lake of 500 contracts of a year each, for tests and benchmarks of coverage.

Their days stand in the index alone.
"""

from __future__ import annotations

import sqlite3
from datetime import date

from ghtrader_market.inventory.contract_catalog import merge_contracts
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.sources.base import ContractInfo
from ghtrader_market.stores.lake.lake import Lake


def index_500_contract_years(lake: Lake, calendar: TradingCalendar) -> None:
    """Write them straight into the index of an empty lake: no day's file exists, so nothing may look for one."""
    lake.root.mkdir(parents=True)
    lake.index.rebuild()
    contracts = []
    with sqlite3.connect(lake.index.path) as connection:
        for n in range(500):
            end = date(2001 + n // 12, n % 12 + 1, 15)
            symbol = f"SHFE.cu{end:%y%m}"
            folder = lake.key_path("ticks", symbol)
            folder.mkdir(parents=True)
            days = calendar.assuming_weekdays.days(end.replace(year=end.year - 1), end)
            contracts.append(ContractInfo(symbol, days[-1], days[0]))
            rest = (55_800, 5, 1, 2, "t", "r", "p", "s", "h", 9, 7)
            rows = [("ticks", symbol, str(day), *rest) for day in days if day.day % 9]
            connection.executemany(f"INSERT INTO days VALUES ({', '.join('?' * 14)})", rows)
            connection.execute("INSERT INTO folders VALUES ('ticks', ?, ?)", (symbol, folder.stat().st_mtime_ns))
    merge_contracts(lake.root, "cu", contracts, date(2042, 8, 15))
