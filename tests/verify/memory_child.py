"""Runs the two processes of the memory test: one writes simulated ticks, the other builds them and tells its peak.

`memory_child write ROOT SECONDS DAYS` writes each variety's main contract, a snapshot each SECONDS;
`memory_child build ROOT` builds main_l5, features and labels of all of it and prints one JSON line.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import date
from pathlib import Path

from ghtrader_market.reference.roll_schedule import load_schedule, save_schedule, schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.lake import Lake

VARIETIES = ("cu", "au", "ag")
START = date(2025, 3, 3)


def write(root: Path, seconds: float, count: int) -> None:
    """Ticks of `count` trading days of each variety's main contract, and the schedules that name it."""
    import numpy as np
    import pyarrow as pa

    from ghtrader_exchange.world.scenario import Scenario
    from ghtrader_exchange.world.tick_history import History
    from ghtrader_market.sources.base import canonical_table

    calendar, lake = bundled_calendar(), Lake(root)
    days = [START]
    while len(days) <= count:  # one more: the first day has bars alone
        days.append(calendar.next_day(days[-1]))
    history = History(Scenario(varieties=VARIETIES, start=days[0], end=days[-1], snapshot_seconds=seconds, contracts=8))
    for variety in VARIETIES:
        interest = [
            {"symbol": symbol, "trading_day": day, "open_interest": history.closing_interest(symbol, day)}
            for symbol in history.contracts(variety)
            for day in history.contract_days(symbol)
            if day <= days[-1]
        ]
        schedule = schedule_from_open_interest(variety, pa.Table.from_pylist(interest), calendar=calendar)
        save_schedule(root, schedule)
        for day in schedule.days:
            found = history.day(day.contract, day.day)
            ids = np.arange(len(found.datetime_ns))
            table = canonical_table(ids, found.datetime_ns, found.values)
            lake.write_day("ticks", day.contract, day.day, table, source="simulated")


def build(root: Path) -> dict[str, object]:
    """main_l5, features and labels of every scheduled day, as the pipeline builds them."""
    from ghtrader_market.main_series.main_l5 import build_main_l5
    from ghtrader_models.datasets.build_days import build_days
    from ghtrader_models.factors.library.sets import get_factor_set
    from ghtrader_models.labels.labels import LabelSpec

    calendar, lake, rows = bundled_calendar(), Lake(root), 0
    counts = set()
    for variety in VARIETIES:
        schedule, symbol = load_schedule(root, variety), get_variety(variety).continuous_symbol
        days = [day.day for day in schedule.days]
        build_main_l5(lake, calendar, schedule, days, run_id="memory").raise_if_failed()
        report = build_days(lake, symbol, days, get_factor_set("lean"), LabelSpec(), run_id="memory", calendar=calendar)
        report.raise_if_failed()
        rows += sum(built.features.rows for built in report.built.values())
        counts.add(len(report.built))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"days": min(counts), "rows": rows, "peak_mib": round(peak)}


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
    else:
        print(json.dumps(build(Path(sys.argv[2]))))
