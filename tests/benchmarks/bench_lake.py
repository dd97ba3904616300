"""The lake: reading twelve columns of main_l5 against bare polars on the same files, and writing days of ticks.

Ten copper days of 55,800 rows, warm page cache, wall time (both readers use threads). The sides alternate; the best
run of each counts, which is what noise of others leaves alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ghtrader_market.calendar import bundled_calendar
from ghtrader_market.main_l5 import build_main_l5_day
from ghtrader_market.roll import schedule_from_open_interest
from ghtrader_market.stores.lake import Lake
from ghtrader_market.ticks import COLUMN_INDEX, VALUE_COLUMNS, table_from_values

FIRST, LAST = date(2025, 2, 10), date(2025, 2, 21)
CONTRACT, KEY = "SHFE.cu2503", "KQ.m@SHFE.cu"
COLUMNS = [
    *("datetime_ns", "last_price", "volume", "amount", "open_interest", "segment_id"),
    *("bid_price1", "ask_price1", "bid_volume1", "ask_volume1", "bid_price2", "ask_price2"),
]


def day_of_ticks(times: np.ndarray, seed: int) -> pa.Table:
    """A five-level book without gaps over `times` int64[n]."""
    rng, n = np.random.default_rng(seed), len(times)
    values = np.zeros((len(VALUE_COLUMNS), n))
    bid = 7400 + np.cumsum(rng.integers(-1, 2, n) * (rng.random(n) < 0.2))
    lots = rng.integers(0, 30, n) * (rng.random(n) < 0.6)
    values[COLUMN_INDEX["last_price"]] = values[COLUMN_INDEX["average"]] = bid * 10.0
    values[COLUMN_INDEX["highest"]], values[COLUMN_INDEX["lowest"]] = bid.max() * 10.0, bid.min() * 10.0
    values[COLUMN_INDEX["volume"]] = np.cumsum(lots)
    values[COLUMN_INDEX["amount"]] = np.cumsum(lots * 50.0 * bid)
    values[COLUMN_INDEX["open_interest"]] = 200_000 + np.cumsum(rng.integers(-3, 4, n))
    for level in range(1, 6):
        values[COLUMN_INDEX[f"bid_price{level}"]] = (bid - level + 1) * 10.0
        values[COLUMN_INDEX[f"ask_price{level}"]] = (bid + level) * 10.0
        for side in ("bid", "ask"):
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = rng.integers(1, 60, n)
    return table_from_values(np.arange(n), times, values)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(repeats: int = 15) -> dict[str, dict]:
    """The table's rows: read against polars; write against bare pyarrow with its default encodings."""
    import polars
    import pyarrow.parquet as pq

    calendar = bundled_calendar()
    days = calendar.days(FIRST, LAST)
    tables = {
        day: day_of_ticks(np.concatenate([np.arange(a, b, 500_000_000) for a, b in calendar.sessions("cu", day)]), i)
        for i, day in enumerate(days)
    }
    rows = sum(table.num_rows for table in tables.values())
    bars = [
        {"symbol": CONTRACT, "trading_day": day, "open_interest": 1.0}
        for day in [calendar.previous_day(days[0]), *days]
    ]
    schedule = schedule_from_open_interest("cu", pa.Table.from_pylist(bars))
    with tempfile.TemporaryDirectory() as folder:
        lake, bare = Lake(Path(folder) / "data"), Path(folder) / "bare.parquet"
        taken: dict[str, list[float]] = {"write": [], "bare": [], "read": [], "polars": []}
        for _ in range(3):
            for day in days:
                lake.delete_day("ticks", CONTRACT, day)
            taken["write"].append(
                _seconds(lambda: [lake.write_day("ticks", CONTRACT, d, t, source="bench") for d, t in tables.items()])
            )
            taken["bare"].append(
                _seconds(lambda: [pq.write_table(t, bare, compression="zstd") for t in tables.values()])
            )
        for day in days:
            build_main_l5_day(lake, calendar, schedule, day)
        files = lake.files("main_l5")
        for _ in range(repeats):
            taken["read"].append(_seconds(lambda: [lake.read_day("main_l5", KEY, day, COLUMNS) for day in days]))
            taken["polars"].append(
                _seconds(lambda: [polars.read_parquet(f, columns=COLUMNS, hive_partitioning=False) for f in files])
            )
    speed = {name: rows / min(values) / 1e6 for name, values in taken.items()}
    read_ratio = speed["read"] / speed["polars"]
    return {
        "lake_read_main_l5_12_columns": {
            "value": round(speed["read"], 2),
            "unit": "M rows/s",
            "peer": "polars, same files",
            "peer_value": round(speed["polars"], 2),
            "ratio": round(read_ratio, 2),
            "target": ">= 5 and >= 0.8 of polars",
            "met": bool(speed["read"] >= 5 and read_ratio >= 0.8),
        },
        "lake_write_ticks": {
            "value": round(speed["write"], 2),
            "unit": "M rows/s",
            "peer": "bare pyarrow, zstd, no fsync, no check",
            "peer_value": round(speed["bare"], 2),
            "ratio": round(speed["write"] / speed["bare"], 2),
            "target": "reported",
            "met": True,
        },
    }


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
