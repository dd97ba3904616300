"""Measures tick in to target out through the real gateway and strategy processes over ipc.

A bare ZeroMQ round trip of the same run stands beside it; and how fast a recorded day replays in one process.

From the update in hand to the order or decision out, durable intent included, every tick counted: ticks at 20 ms gaps
and at 500 a second, 256 factors and more (`core`), logistic and XGBoost (300 rounds of depth 6), the networks that are
stepped and DeepLOB, of those families that there are. The bare round trip sends a message of a tick's size from one
process to another at the same gaps and takes one of a target's size back: the same sockets (PUB/SUB there,
DEALER/ROUTER back), both ends asleep in between, half of it before and half of it after the runs it is compared with.
It computes nothing, decides nothing and makes nothing durable.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zmq

from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.tick_schema import MAIN_L5_SCHEMA, VALUE_COLUMNS, table_from_values, values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import load_bundle, write_bundle
from ghtrader_models.bundles.provenance import BundleContent
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.families.base import get_family
from ghtrader_models.families.table import family_names
from ghtrader_models.inference.predictors import STEPPED
from ghtrader_models.labels.labels import LabelSpec, event_labels, mid_prices
from ghtrader_models.policy import PolicyParams
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.replay.in_process import backtest_day
from ghtrader_runtime.replay.recorded_days import paper_day
from tests.benchmarks.bench_inference import config_of

SCENARIO = Scenario(start=date(2025, 2, 10), end=date(2025, 2, 12), snapshot_seconds=0.5, contracts=2)
KEY, ROWS = "KQ.m@SHFE.cu", 20_000
PACES = {"20ms": (50.0, 1500), "500_a_second": (500.0, 5000)}
LIVE = tuple(name for name in ("logistic", "xgboost", *STEPPED, "deeplob") if name in family_names())
REPLAY_TARGET = {"logistic": 20_000, "xgboost": 8_000}
TO_BARE = 3.0
"""How many times the bare round trip tabular models may take; of networks the time alone counts."""
TICK_BYTES, TARGET_BYTES = 330, 140

ECHO = """
import sys, zmq
context = zmq.Context()
ticks, back = context.socket(zmq.SUB), context.socket(zmq.DEALER)
ticks.setsockopt(zmq.SUBSCRIBE, b"")
ticks.connect(sys.argv[1]); back.connect(sys.argv[2])
answer = bytes(int(sys.argv[3]))
back.send(b"ready")
while True:
    data = ticks.recv()
    if data == b"end":
        break
    back.send(answer)
"""


def bare_round_trip(folder: Path, pace: float, count: int) -> np.ndarray:
    """Milliseconds of each of `count` round trips between two processes, float64[count]."""
    context = zmq.Context()
    publisher, router = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
    addresses = [f"ipc://{folder}/{name}" for name in ("p", "r")]
    publisher.bind(addresses[0])
    router.bind(addresses[1])
    child = subprocess.Popen([sys.executable, "-c", ECHO, *addresses, str(TARGET_BYTES)])
    try:
        router.recv_multipart()
        time.sleep(0.5)  # its subscription takes a moment
        taken, data = np.empty(count), bytes(TICK_BYTES)
        due = time.monotonic_ns()
        for i in range(count):
            due += int(1e9 / pace)
            while (left := (due - time.monotonic_ns()) / 1e6) > 0:
                router.poll(left)
            began = time.monotonic_ns()
            publisher.send(data)
            router.recv_multipart()
            taken[i] = (time.monotonic_ns() - began) / 1e6
        publisher.send(b"end")
        child.wait(10)
    finally:
        child.kill()
        publisher.close(0)
        router.close(0)
        context.term()
    return taken


def bundle_of(settings: Settings, family_name: str, x: np.ndarray, y: np.ndarray, factor_set: Any) -> Path:
    """A bundle of a family trained on a random walk: its speed is a real model's, its opinion is worth nothing."""
    samples = Samples.of_rows(x, y, horizon=50)
    model = get_family(family_name).fit(samples, seed=0, config=config_of(family_name))
    content = BundleContent(symbol=KEY, horizon=50, price_tick=10.0, levels=5, days=(), seed=0, config={})
    policy = PolicyParams(enter=0.3, leave=0.02)
    return write_bundle(settings.models, model, factor_set.spec(), LabelSpec((50,)), policy, content)


def write_simulated_day(settings: Settings) -> Market:
    """The first `ROWS` ticks of a simulated copper day, as main_l5."""
    history = History(SCENARIO)
    day = history.days[1]
    found = history.day(history.main_contract("cu", day), day)
    values = np.array([found.values[name][:ROWS] for name in VALUE_COLUMNS], np.float64)
    table = table_from_values(np.arange(ROWS), found.datetime_ns[:ROWS], values)
    for name, column in (
        ("underlying_contract", pa.array([found.symbol] * ROWS)),
        ("segment_id", pa.array(np.zeros(ROWS, np.int32))),
        ("schedule_hash", pa.array(["bench"] * ROWS)),
    ):
        table = table.append_column(name, column)
    Lake(settings.data).write_day("main_l5", KEY, day, table.cast(MAIN_L5_SCHEMA), source="simulated", run_id="bench")
    return Market(found.symbol, day, get_variety("cu").price_tick(found.symbol, day), get_variety("cu").multiplier)


def run() -> dict[str, dict[str, Any]]:
    """All of it; about two minutes a family."""
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="gt") as text:
        folder = Path(text)
        settings = load_settings(folder)
        market = write_simulated_day(settings)
        day = market.trading_day
        table = Lake(settings.data).read_day("main_l5", KEY, day)
        times, values = table["datetime_ns"].to_numpy(), values_matrix(table)
        factor_set = get_factor_set("core")
        x = FactorEngine(factor_set, 10.0, 5, bundled_calendar().sessions("cu", day)).batch(times, values)
        y = event_labels(mid_prices(values), 50, 1, price_tick=10.0)
        usable = np.flatnonzero((y >= 0) & np.isfinite(x).all(axis=1))[:6000]
        assert len(usable) == 6000
        bundles = {family: bundle_of(settings, family, x[usable], y[usable], factor_set) for family in LIVE}
        for name, (pace, count) in PACES.items():
            bare = [bare_round_trip(folder, pace, count // 2)]
            found = {}
            for family, path in bundles.items():
                found[family] = paper_day(
                    settings, "cu", day, model=str(path), from_ns=int(times[ROWS - count]), pace=pace, rate_orders=10**6
                ).tick_to_target_ms.to_json()
            bare.append(bare_round_trip(folder, pace, count // 2))
            for family, one in found.items():
                results[f"tick_to_target_{family}_{name}"] = _compared(family, one, np.concatenate(bare), count)
        for family, path in bundles.items():
            results[f"replay_{family}"] = _replay(path, market, table, values, REPLAY_TARGET.get(family, 0))
    return results


def _compared(family: str, found: dict[str, Any], bare: np.ndarray, count: int) -> dict[str, Any]:
    assert found["count"] == count and found["unanswered"] == 0
    p50, p99, p999 = (float(value) for value in np.quantile(bare, (0.5, 0.99, 0.999)))
    ratio = found["p99"] / p99
    tabular = family in REPLAY_TARGET
    bound, to_bare = 2.0 if tabular or family in STEPPED else 10.0, TO_BARE if tabular else np.inf
    return {
        "value": round(found["p99"], 3), "unit": f"ms p99 (p50 {found['p50']:.3f}, p99.9 {found['p999']:.3f})",
        "peer": f"bare ZeroMQ, p99 (p50 {p50:.3f}, p99.9 {p999:.3f})", "peer_value": round(p99, 3),
        "ratio": round(ratio, 2), "target": f"<= {bound:.0f} ms" + (f" and <= {TO_BARE:.0f}x" if tabular else ""),
        "met": bool(found["p99"] <= bound and ratio <= to_bare),
        "bare_p50": p50, "parts": found["parts"], "with_orders": found["with_orders"],
        "without_orders": found["without_orders"], "durable_intent": found["durable_intent"],
    }  # fmt: skip


def _replay(path: Path, market: Market, table: Any, values: np.ndarray, target: int) -> dict[str, Any]:
    bundle = load_bundle(path)
    ids, times = table["id"].to_numpy(), table["datetime_ns"].to_numpy()
    rows = np.ascontiguousarray(values.T)
    rates = []
    for at_once in (True, True, False):
        began = time.process_time()
        backtest_day(bundle, bundled_calendar(), market, ids, times, rows, at_once=at_once)
        rates.append(len(ids) / (time.process_time() - began))
    best = max(rates[:2])
    return {
        "value": round(best), "unit": "ticks/s a core", "peer": "the same, tick by tick", "peer_value": round(rates[2]),
        "ratio": round(best / rates[2], 2), "target": target or "reported", "met": best >= target if target else None,
    }  # fmt: skip
