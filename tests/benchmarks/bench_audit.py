"""Measures the whole audit of a lake, and the trading day of many moments.

Six full copper days of 55,800 ticks, raw and as main_l5: every byte hashed, every row decoded, hashed, looked at, and
main_l5 held against raw ticks and schedule. The peer reads the same files with pyarrow and hashes their bytes, and does
nothing else. Warm page cache, wall time, as many threads as cores; the sides alternate and the best run of each counts.

And whether a year costs no more a day than a few weeks do: days of few rows, so that all else is seen.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghtrader_market.audit.audit import audit_lake
from ghtrader_market.main_series.main_l5 import build_main_l5
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from tests.benchmarks.bench_lake import CONTRACT, day_of_ticks

FIRST, LAST = date(2025, 2, 10), date(2025, 2, 17)
MOMENTS = 20_000_000
FEW, YEAR, FEW_ROWS = 40, 240, 40
MOST_A_DAY = 1.1
"""How many times as long a day of a year may take as one of a few weeks."""


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _read_and_hash(path: Path) -> None:
    data = path.read_bytes()
    hashlib.sha256(data).hexdigest()
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        file.read(use_threads=False)


def _lake(folder: Path, days: list[date], rows: int | None = None) -> Lake:
    """Copper's raw ticks and main_l5 of some days; `rows` of each at most."""
    calendar, lake = bundled_calendar(), Lake(folder / "data")
    bars = [
        {"symbol": CONTRACT, "trading_day": day, "open_interest": 1.0}
        for day in [calendar.previous_day(days[0]), *days]
    ]
    schedule = schedule_from_open_interest("cu", pa.Table.from_pylist(bars))
    for index, day in enumerate(days):
        times = np.concatenate([np.arange(a, b, 500_000_000) for a, b in calendar.sessions("cu", day)])[:rows]
        lake.write_day("ticks", CONTRACT, day, day_of_ticks(times, index), source="bench")
    save_schedule(lake.root, schedule)
    build_main_l5(lake, calendar, schedule, days)
    return lake


def a_day(folder: Path, count: int) -> float:
    """Processor milliseconds a day that the audit of a lake of `count` small days takes."""
    calendar = bundled_calendar()
    lake = _lake(folder, calendar.days(date(2024, 1, 2), date(2025, 6, 30))[:count], FEW_ROWS)
    taken = []
    for _ in range(3):
        began = time.process_time()
        report = audit_lake(lake, calendar, workers=1)
        taken.append(time.process_time() - began)
    assert report.ok, report.findings[:3]
    return min(taken) / count * 1e3


def _year() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        few, year = a_day(Path(folder) / "few", FEW), a_day(Path(folder) / "year", YEAR)
    return {
        "value": round(year, 2),
        "unit": f"processor ms a day of {FEW_ROWS} rows, {YEAR} days",
        "peer": f"the same, {FEW} days",
        "peer_value": round(few, 2),
        "ratio": round(year / few, 2),
        "target": f"<= {MOST_A_DAY}",
        "met": bool(year <= MOST_A_DAY * few),
    }


def run(repeats: int = 5) -> dict[str, dict]:
    """The table's rows: rows audited a second, moments put into their trading day a minute, a year of days."""
    calendar = bundled_calendar()
    days = calendar.days(FIRST, LAST)
    taken: dict[str, list[float]] = {"audit": [], "cpu": [], "peer": [], "moments": []}
    with tempfile.TemporaryDirectory() as folder:
        lake = _lake(Path(folder), days)
        files = [*lake.files("ticks"), *lake.files("main_l5")]
        report = audit_lake(lake, calendar)
        assert report.ok, report.findings[:3]
        for _ in range(repeats):
            began = time.process_time()
            taken["audit"].append(_seconds(lambda: audit_lake(lake, calendar)))
            taken["cpu"].append(time.process_time() - began)
            with ThreadPoolExecutor() as pool:
                taken["peer"].append(_seconds(lambda: list(pool.map(_read_and_hash, files))))
    moments = np.random.default_rng(0).integers(1_514_800_000 * 10**9, 1_798_000_000 * 10**9, MOMENTS)
    for _ in range(3):
        taken["moments"].append(_seconds(lambda: calendar.trading_day_of(moments)))
    speed = report.rows / min(taken["audit"]) / 1e6
    peer = report.rows / min(taken["peer"]) / 1e6
    a_minute = MOMENTS / min(taken["moments"]) * 60 / 1e6
    return {
        "audit": {
            "value": round(speed, 2),
            "unit": "M rows/s",
            "peer": "read and hash the bytes alone",
            "peer_value": round(peer, 2),
            "ratio": round(speed / peer, 2),
            "target": ">= 1",
            "met": bool(speed >= 1),
        },
        "audit_a_core": {
            "value": round(report.rows / min(taken["cpu"]) / 1e6, 2),
            "unit": "M rows/CPU s",
            "peer": "none",
            "peer_value": None,
            "ratio": None,
            "target": "reported",
            "met": True,
        },
        "audit_year": _year(),
        "trading_day_of": {
            "value": round(a_minute),
            "unit": "M moments/min, one thread",
            "peer": "the target",
            "peer_value": 100,
            "ratio": round(a_minute / 100, 1),
            "target": ">= 100",
            "met": bool(a_minute >= 100),
        },
    }


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
