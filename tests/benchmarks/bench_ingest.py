"""Measures ingest against the bare TqSdk client: the same days of the same contract from the same exchange, in one run.

Both log in first; the clock runs from the first request to the last row, for ours until the day is validated, written,
fsynced and in its manifest. One client each, full days at the market's own pace, the sides taking turns; the best turn
of each counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario

SCENARIO = Scenario(start=date(2025, 4, 8), end=date(2025, 4, 9), snapshot_seconds=0.5, contracts=2)
TURNS = 3
_BARE = """
import json, os, sys, time, warnings
from datetime import datetime, timedelta
warnings.filterwarnings("ignore")
import tqsdk
api = tqsdk.TqApi(auth=tqsdk.TqAuth(os.environ["TQSDK_USER"], os.environ["TQSDK_PASSWORD"]), disable_print=True)
api.query_quotes(ins_class="FUTURE", exchange_id="SHFE", product_id="cu")
first, last = (datetime.fromisoformat(day) for day in sys.argv[2:4])
began = time.perf_counter()
frame = api.get_tick_data_series(sys.argv[1], first - timedelta(hours=6), last + timedelta(hours=18))
seconds = time.perf_counter() - began
print(json.dumps({"rows": len(frame), "seconds": seconds}), flush=True)
os._exit(0)
"""
_OURS = """
import json, sys, time
from datetime import date
from ghtrader_base.settings import load_settings
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.ingest.download import download
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.stores.lake.lake import Lake
settings = load_settings(sys.argv[4])
with TqSdkSource(settings) as source:
    source.contracts("cu", date(2025, 4, 1), date(2025, 4, 30))
    began = time.perf_counter()
    days = [date.fromisoformat(day) for day in sys.argv[2:4]]
    report = download(source, Lake(settings.data), bundled_calendar(), sys.argv[1:2], *days, workers=1)
    seconds = time.perf_counter() - began
print(json.dumps({"rows": report.rows, "seconds": seconds}), flush=True)
"""


@contextmanager
def _exchange() -> Iterator[tuple[ExchangeProcess, Path]]:
    with tempfile.TemporaryDirectory() as folder, ExchangeProcess(SCENARIO, Path(folder, "exchange")) as running:
        yield running, Path(folder)


def _side(code: str, exchange: ExchangeProcess, home: Path, *more: str) -> tuple[int, float]:
    environment = {**os.environ, **exchange.env, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
    arguments = ["SHFE.cu2506", str(SCENARIO.start), str(SCENARIO.end), *more]
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, cwd=home, capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    told = json.loads(done.stdout.splitlines()[-1])
    return told["rows"], told["seconds"]


def run() -> dict[str, dict[str, Any]]:
    """Ticks a second into the lake, and what the client alone takes."""
    bare: list[float] = []
    ours: list[float] = []
    rows: set[int] = set()
    with _exchange() as (exchange, folder):
        _side(_OURS, exchange, folder / "warm-up", str(folder / "warm-up" / "lake"))  # the exchange makes its days now
        for turn in range(TURNS):
            for code, seconds, name in ((_BARE, bare, "bare"), (_OURS, ours, "ours")):
                home = folder / f"{name}{turn}"
                count, took = _side(code, exchange, home, str(home / "lake"))
                rows.add(count)
                seconds.append(took)
    if len(rows) != 1:
        raise RuntimeError(f"the two sides have different rows: {rows}")
    (count,) = rows
    value, peer = count / min(ours), count / min(bare)
    return {
        "ingest, one client": {
            "value": round(value),
            "unit": "ticks/s",
            "peer": "the TqSdk client alone, same days",
            "peer_value": round(peer),
            "ratio": round(value / peer, 3),
            "target": ">= 0.9",
            "met": value / peer >= 0.9,
        }
    }
