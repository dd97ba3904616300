"""Measures building features and labels: two whole copper days, one at a time and side by side.

Wall time of `build_days` with everything it does (read, check, compute, hash, compress, fsync), no process or pool
started beforehand. The sides alternate; the best run of each counts.
"""

from __future__ import annotations

import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import ScheduleDay
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_days import build_days
from ghtrader_models.factors.library.sets import get_factor_set, set_names
from ghtrader_models.labels.labels import LabelSpec
from tests.benchmarks.bench_lake import CONTRACT, KEY, day_of_ticks

DAYS = (date(2025, 2, 11), date(2025, 2, 12))


def run(repeats: int = 3) -> dict[str, dict]:
    """Speed on one core, and what the second one brings."""
    calendar = bundled_calendar()
    name = "core" if "core" in set_names() else "lean"
    factors, labels = get_factor_set(name), LabelSpec()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "data")
        rows = 0
        for seed, day in enumerate(DAYS):
            times = np.concatenate([np.arange(a, b, 500_000_000) for a, b in calendar.sessions("cu", day)])
            table = with_provenance(day_of_ticks(times, seed), ScheduleDay(day, CONTRACT, 0, "bench"))
            lake.write_day("main_l5", KEY, day, table, source="bench")
            rows += len(times)

        def seconds(workers: int) -> float:
            for dataset in ("features", "labels"):
                for day in DAYS:
                    lake.delete_day(dataset, KEY, day)
            start = time.perf_counter()
            report = build_days(lake, KEY, DAYS, factors, labels, run_id="bench", workers=workers)
            taken = time.perf_counter() - start
            report.raise_if_failed()
            return taken

        seconds(1)
        taken: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(repeats):
            for workers, found in taken.items():
                found.append(seconds(workers))
    one, two = min(taken[1]), min(taken[2])
    return {
        "build_two_days_on_two_cores": {
            "value": round(rows / two / 1e3, 1),
            "unit": f"k ticks/s, {len(factors)} factors",
            "peer": "the same, one core",
            "peer_value": round(rows / one / 1e3, 1),
            "ratio": round(one / two, 2),
            "target": ">= 1.7",
            "met": bool(one / two >= 1.7),
        }
    }


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
