"""Where no contract has a daily bar, it is said whether the days lie before the first listing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ghtrader_market.inventory.contract_catalog import no_bars
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA
from ghtrader_market.stores.lake.lake import Lake

FIRST, DAYS = date(2025, 4, 2), [date(2025, 3, 3), date(2025, 3, 4)]


def test_days_before_the_first_bar_and_days_without_any_trade(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    error = no_bars(lake, "cu", DAYS)
    assert "between 2025-03-03 and 2025-03-04: the source knows of no trade" in error.message
    lake.write_day("daily_bars", "cu", FIRST, DAILY_BAR_SCHEMA.empty_table(), source="tqsdk")
    error = no_bars(lake, "cu", DAYS)
    assert error.message.endswith("between 2025-03-03 and 2025-03-04: the first one that is known is of 2025-04-02")
    assert "before the first listing" in error.hint and error.exit_code == 1
    assert " on 2025-04-03: the source knows" in no_bars(lake, "cu", [date(2025, 4, 3)]).message
