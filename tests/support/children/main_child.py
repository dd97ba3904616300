"""Builds main_l5 of a home in a process of its own, for tests that kill it.

Run as `main_child.py ROOT WORKERS`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ghtrader_market.main_series.main_l5 import build_main_l5
from ghtrader_market.reference.roll_schedule import load_schedule
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake

if __name__ == "__main__":
    lake = Lake(Path(sys.argv[1]))
    schedule = load_schedule(lake.root, "cu")
    days = [day.day for day in schedule.days if lake.has_day("ticks", day.contract, day.day)]
    build_main_l5(lake, bundled_calendar(), schedule, days, run_id="test", workers=int(sys.argv[2])).raise_if_failed()
