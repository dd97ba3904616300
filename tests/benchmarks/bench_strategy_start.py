"""Measures how long a strategy process takes from its start to its first readiness, and how much memory it holds then.

All of `core` and XGBoost (300 rounds of depth 6), compiled kernels in the cache, a quarter of a day's ticks to catch up
with.

The peer is a process that imports what any strategy has to (numpy, numba, pyzmq, pyarrow) and ends.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.tick_schema import values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import event_labels, mid_prices
from ghtrader_runtime.run_options import GatewayOptions, ReplayOptions, StrategyOptions, run_folder
from ghtrader_runtime.runlog.journal import read_lines
from ghtrader_runtime.supervisor.supervisor import Child, new_run_id
from tests.benchmarks.bench_tick_to_target import KEY, bundle_of, write_simulated_day

STARTS, HISTORY = 3, 5_000
LONGEST_S, MOST_MB = 3.0, 400.0
IMPORTS = "import numba, numpy, pyarrow.parquet, zmq"


def prepare(settings: Settings, rows: int) -> tuple[Path, str, str]:
    """A simulated day in the lake and a boosted model trained on its first `rows` warm rows; the bundle, the contract
    and the day."""
    market = write_simulated_day(settings)
    table = Lake(settings.data).read_day("main_l5", KEY, market.trading_day)
    times, values = table["datetime_ns"].to_numpy(), values_matrix(table)
    factor_set = get_factor_set("core")
    bounds = bundled_calendar().sessions("cu", market.trading_day)
    x = FactorEngine(factor_set, market.price_tick, market.multiplier, bounds).batch(times, values)
    y = event_labels(mid_prices(values), 50, 1, price_tick=market.price_tick)
    usable = np.flatnonzero((y >= 0) & np.isfinite(x).all(axis=1))[:rows]
    path = bundle_of(settings, "xgboost", x[usable], y[usable], factor_set)
    return path, market.symbol, str(market.trading_day)


def start(settings: Settings, model: Path, symbol: str, day: str, history: int = HISTORY) -> tuple[float, float]:
    """Seconds from the start of a strategy process until its gateway calls it ready, and its peak memory then, MB."""
    times = Lake(settings.data).read_day("main_l5", KEY, date.fromisoformat(day), ["datetime_ns"]).column(0).to_numpy()
    run_id = new_run_id("start")
    folder = run_folder(settings, run_id)
    replay = ReplayOptions(dataset="main_l5", key=KEY, day=day, from_ns=int(times[history]), pace=5.0)
    options = GatewayOptions(account="paper", mode="paper", symbol=symbol, run_id=run_id, replay=replay)
    wanted = StrategyOptions(account="paper", mode="paper", symbol=symbol, model=str(model))
    gateway = Child(settings, "gateway", folder, options)
    try:
        _wait(lambda: (folder / "gateway.json").exists(), gateway)
        began_ns = time.time_ns()
        strategy = Child(settings, "strategy", folder, wanted)
        try:
            _wait(lambda: _ready_ns(folder) > 0, strategy)
            status = Path(f"/proc/{strategy.process.pid}/status").read_text()
        finally:
            strategy.stop()
    finally:
        gateway.stop()
    peak_kb = next(int(line.split()[1]) for line in status.split("\n") if line.startswith("VmHWM"))
    return (_ready_ns(folder) - began_ns) / 1e9, peak_kb / 1024


def _ready_ns(folder: Path) -> int:
    return next((line["at"] for line in read_lines(folder / "events.jsonl") if line["kind"] == "ready"), 0)


def _wait(done: Callable[[], bool], child: Child, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if not child.running or time.monotonic() > deadline:
            raise RuntimeError(f"the {child.kind} did not come up: {'too slow' if child.running else child.error()}")
        time.sleep(0.02)


def run() -> dict[str, dict[str, Any]]:
    """The median of some starts, after one that fills the cache of compiled kernels; the highest peak."""
    with tempfile.TemporaryDirectory(prefix="gt") as text:
        settings = load_settings(Path(text))
        model, symbol, day = prepare(settings, 6000)
        start(settings, model, symbol, day)
        found = [start(settings, model, symbol, day) for _ in range(STARTS)]
    bare = []
    for _ in range(STARTS):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        bare.append(time.monotonic() - began)
    seconds, peak = median(s for s, _ in found), max(mb for _, mb in found)
    peer = median(bare)
    return {
        "strategy_start": {
            "value": round(seconds, 2), "unit": "s to ready, core and XGBoost", "peer": "its imports alone",
            "peer_value": round(peer, 2), "ratio": round(seconds / peer, 2), "target": f"< {LONGEST_S:g}",
            "met": seconds < LONGEST_S,
        },
        "strategy_memory": {
            "value": round(peak), "unit": "MB at its peak, ready", "peer": "the target", "peer_value": MOST_MB,
            "ratio": round(peak / MOST_MB, 2), "target": f"< {MOST_MB:g}", "met": peak < MOST_MB,
        },
    }  # fmt: skip
