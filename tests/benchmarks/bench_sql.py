"""Measures `ghtrader sql` over a year of days against DuckDB reading the same files by itself.

243 days of raw ticks of one contract, 9,300 rows each. Ours is the whole command: its process, the one that answers
without access to files, Arrow data sets. The peer is one process that asks the index for the files and has DuckDB read
them, as older versions did: no limits, and a statement may write. Processor seconds of all processes, the sides in
alternation, the least of each; the ratio is ours by the peer's.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from tests.benchmarks.bench_lake import CONTRACT, day_of_ticks

FIRST, DAYS, ROWS = date(2024, 1, 2), 243, 9_300
QUERIES = {
    "sql_year_counted": "SELECT date, count(*) AS n FROM ticks_raw_v2 GROUP BY date ORDER BY date",
    "sql_year_averaged": "SELECT date, avg(ask_price1 - bid_price1), max(volume) FROM ticks_raw_v2 GROUP BY date",
    "sql_one_day": "SELECT count(*) AS n, avg(last_price) AS p FROM ticks_raw_v2 WHERE date = '2024-06-03'",
}  # fmt: skip
MOST = 1.2
_PEER = """
import sys
import typer
from pathlib import Path
from ghtrader_base.settings import load_settings
import duckdb
from ghtrader_market.stores.lake.lake import Lake
lake = Lake(load_settings(Path(sys.argv[1])).data)
days = [day for day in lake.index.files("ticks") if not sys.argv[3] or day.day == sys.argv[3]]
paths = [f"{lake.root}/ticks/symbol={day.key}/date={day.day}/{day.file}" for day in days]
connection = duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "2GB"})
connection.execute("SET VARIABLE files = ?", [paths])
read = "read_parquet(getvariable('files'), hive_partitioning=true)"
connection.execute(f"CREATE VIEW ticks_raw_v2 AS SELECT * FROM {read}")
print(len(connection.sql(sys.argv[2]).to_arrow_table().to_pylist()))
"""


def processor_seconds(command: list[str]) -> float:
    """Of a command and all processes it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def year(home: Path, rows: int = ROWS) -> None:
    """A lake of `DAYS` days."""
    lake, calendar, day = Lake(home / "data"), bundled_calendar(), FIRST
    for number in range(DAYS):
        start, _ = calendar.sessions("cu", day)[-1]
        times = start + np.arange(rows, dtype=np.int64) * 500_000_000
        lake.write_day("ticks", CONTRACT, day, day_of_ticks(times, number % 7), source="bench")
        day = calendar.next_day(day)


def run(repeats: int = 5) -> dict[str, dict]:
    """The table's rows."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        year(home)
        for name, sql in QUERIES.items():
            one_day = "2024-06-03" if name == "sql_one_day" else ""
            sides: dict[str, Callable[[], float]] = {
                "ours": lambda sql=sql: processor_seconds(
                    [sys.executable, "-m", "ghtrader", "sql", sql, "--home", str(home), "--json"]
                ),
                "peer": lambda sql=sql, day=one_day: processor_seconds(
                    [sys.executable, "-c", _PEER, str(home), sql, day]
                ),
            }
            taken: dict[str, list[float]] = {"ours": [], "peer": []}
            for _ in range(repeats):
                for side, work in sides.items():
                    taken[side].append(work())
            ours, peer = min(taken["ours"]), min(taken["peer"])
            found[name] = {
                "value": round(ours, 2),
                "unit": "processor s",
                "peer": "DuckDB reading the files itself, one process",
                "peer_value": round(peer, 2),
                "ratio": round(ours / peer, 2),
                "target": f"<= {MOST} of it",
                "met": bool(ours <= MOST * peer),
            }
    return found


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
