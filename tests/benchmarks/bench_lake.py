"""Measures the lake: reading, writing, bytes a row and coverage.

Reading twelve columns of main_l5 against bare polars on the same files, writing a day against a bare pyarrow write,
bytes a row against pyarrow's defaults, and coverage of 500 contract-years.

Simulated copper days at the market's own pace (a snapshot each half second, up to 55,800 a day), warm page cache, wall
time (both sides use threads). The sides alternate; the best run of each counts, which is what noise of others leaves
alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.inventory.contract_catalog import bundled_contracts
from ghtrader_market.inventory.coverage import Coverage
from ghtrader_market.main_series.main_l5 import build_main_l5_day
from ghtrader_market.reference.roll_schedule import schedule_from_open_interest
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from tests.support.many_contracts import index_500_contract_years

SCENARIO = Scenario(start=date(2025, 2, 10), end=date(2025, 2, 19), snapshot_seconds=0.5, contracts=2)
CONTRACT, KEY = "SHFE.cu2503", "KQ.m@SHFE.cu"
COLUMNS = [
    *("datetime_ns", "last_price", "volume", "amount", "open_interest", "segment_id"),
    *("bid_price1", "ask_price1", "bid_volume1", "ask_volume1", "bid_price2", "ask_price2"),
]


def day_of_ticks(times: np.ndarray, seed: int) -> pa.Table:
    """Rows where no market is needed: a five-level book without gaps over `times` int64[n]."""
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


def simulated_days() -> tuple[str, dict[date, pa.Table]]:
    """A contract and its days, as the exchange prints them."""
    history = History(SCENARIO)
    contract = history.contracts("cu")[0]
    tables = {}
    for day in history.days:
        printed = history.day(contract, day)
        values = np.array([np.asarray(printed.values[name], float) for name in VALUE_COLUMNS])
        ids = history.first_id(contract, day) + np.arange(len(printed.datetime_ns))
        tables[day] = table_from_values(ids, printed.datetime_ns, values)
    return contract, tables


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _result(value: float, unit: str, peer: str, peer_value: float, ratio: float, target: str, met: bool) -> dict:
    return {
        "value": round(value, 3), "unit": unit, "peer": peer, "peer_value": round(peer_value, 3),
        "ratio": round(ratio, 3), "target": target, "met": bool(met),
    }  # fmt: skip


def run(repeats: int = 15) -> dict[str, dict]:
    """The table's rows."""
    import polars
    import pyarrow.parquet as pq

    calendar = bundled_calendar()
    contract, tables = simulated_days()
    days, rows = list(tables), sum(table.num_rows for table in tables.values())
    bars = [
        {"symbol": contract, "trading_day": day, "open_interest": 1.0}
        for day in [calendar.previous_day(days[0]), *days]
    ]
    schedule = schedule_from_open_interest("cu", pa.Table.from_pylist(bars))
    with tempfile.TemporaryDirectory() as folder:
        lake, bare = Lake(Path(folder) / "data"), Path(folder) / "bare.parquet"
        taken: dict[str, list[float]] = {"write": [], "bare": [], "read": [], "polars": []}
        for _ in range(repeats):
            for day in days:
                lake.delete_day("ticks", contract, day)
            for day, table in tables.items():
                write = _seconds(lambda d=day, t=table: lake.write_day("ticks", contract, d, t, source="bench"))
                taken["write"].append(write / table.num_rows)
                taken["bare"].append(_seconds(lambda t=table: pq.write_table(t, bare)) / table.num_rows)
        default_bytes = 0
        for table in tables.values():
            pq.write_table(table, bare)
            default_bytes += bare.stat().st_size
        our_bytes = sum(path.stat().st_size for path in lake.files("ticks"))
        for day in days:
            build_main_l5_day(lake, calendar, schedule, day)
        files = lake.files("main_l5")
        for _ in range(repeats):
            taken["read"].append(_seconds(lambda: [lake.read_day("main_l5", KEY, day, COLUMNS) for day in days]) / rows)
            taken["polars"].append(
                _seconds(lambda: [polars.read_parquet(f, columns=COLUMNS, hive_partitioning=False) for f in files])
                / rows
            )
        coverage = _coverage_seconds(Path(folder) / "wide")
    speed = {name: 1e-6 / min(values) for name, values in taken.items()}
    read, write = speed["read"] / speed["polars"], speed["bare"] / speed["write"]
    ours, defaults = our_bytes / rows, default_bytes / rows
    return {
        "lake_read_main_l5_12_columns": _result(
            speed["read"], "M rows/s", "polars, same files", speed["polars"], read,
            ">= 5 and >= 0.8 of polars", speed["read"] >= 5 and read >= 0.8,
        ),
        "lake_bytes_a_row": _result(
            ours, "bytes", "pyarrow's defaults", defaults, ours / defaults, "<= 0.65 of them", ours <= 0.65 * defaults
        ),
        "lake_write_day": _result(
            1e3 * min(taken["write"]) * max(t.num_rows for t in tables.values()), "ms a day",
            "bare pyarrow write, no check, no fsync",
            1e3 * min(taken["bare"]) * max(t.num_rows for t in tables.values()), write, "<= 2 of it", write <= 2,
        ),
        "coverage_500_contract_years": _result(
            coverage, "s", "a second", 1.0, coverage, "<= 1", coverage <= 1
        ),
    }  # fmt: skip


def _coverage_seconds(root: Path) -> float:
    """Processor time of the coverage document over 500 contract-years whose days stand in the index alone."""
    calendar, lake = bundled_calendar(), Lake(root)
    index_500_contract_years(lake, calendar)
    bundled_contracts("cu")
    taken = []
    for _ in range(3):
        start = time.process_time()
        Coverage(lake, calendar, "cu", datetime.now(UTC)).to_json()
        taken.append(time.process_time() - start)
    return min(taken)


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
