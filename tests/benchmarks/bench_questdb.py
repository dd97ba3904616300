"""Measures QuestDB beside the lake: rows a second of a full copper day, written with the log applied, read, verified.

No figure is promised: the peer is the lake on the same day in the same run. Left out where Java or Maven are missing.
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from ghtrader_base.settings import load_settings
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.questdb.store import QuestDbStore
from tests.benchmarks.bench_lake import CONTRACT, day_of_ticks
from tests.integration.conftest import questdb_runner

DAY = date(2025, 2, 10)
REPEATS = 3


def _rows_per_second(rows: int, work: Any) -> float:
    start = time.perf_counter()
    work()
    return rows / (time.perf_counter() - start)


def run() -> dict[str, dict]:
    """Write and read of raw ticks, best of some fresh days each."""
    runner = questdb_runner()
    with tempfile.TemporaryDirectory() as folder:
        server = runner.QuestDbServer(Path(folder) / "questdb")
        try:
            server.start()
        except runner.Unavailable as exc:
            print(f"QuestDB is left out: {exc}")
            return {}
        try:
            os.environ |= server.environment()
            return _measure(Path(folder))
        finally:
            server.stop()
            for name in server.environment():
                os.environ.pop(name, None)


def _measure(folder: Path) -> dict[str, dict]:
    store, lake = QuestDbStore(load_settings(folder / "home")), Lake(folder / "data")
    store.init()
    calendar = bundled_calendar()
    best = dict.fromkeys(("questdb write", "lake write", "questdb read", "lake read"), 0.0)
    day = DAY
    for repeat in range(REPEATS):
        sessions = calendar.sessions("cu", day)
        table = day_of_ticks(_half_seconds(sessions), repeat)
        rows = table.num_rows
        for name, target in (("questdb", store), ("lake", lake)):
            writing = _rows_per_second(rows, lambda s=target, d=day, t=table: s.write_ticks(CONTRACT, d, t))
            reading = _rows_per_second(rows, lambda s=target, d=day: s.read_ticks(CONTRACT, d))
            best[f"{name} write"] = max(best[f"{name} write"], writing)
            best[f"{name} read"] = max(best[f"{name} read"], reading)
        day = calendar.next_day(day)
    return {
        f"questdb_{what}": {
            "value": best[f"questdb {what}"], "unit": "rows/s", "peer": f"the lake, {what}",
            "peer_value": best[f"lake {what}"], "ratio": best[f"questdb {what}"] / best[f"lake {what}"],
            "target": None, "met": None,
        }
        for what in ("write", "read")
    }  # fmt: skip


def _half_seconds(sessions: Any) -> Any:
    import numpy as np

    return np.concatenate([np.arange(first, last, 500_000_000, dtype=np.int64) for first, last in sessions])
