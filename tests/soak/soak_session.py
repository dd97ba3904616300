"""Plays a whole trading day of silver, night session included, through the real processes.

Every tick, orders all day long, and memory that does not grow.

DAYS (1) days of 9.25 market hours, 66,600 ticks each, at TICKS (300) ticks a second; the figures go to stdout.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_models.bundles.bundle import write_bundle
from ghtrader_models.bundles.provenance import BundleContent
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.inference.predictors import LOGISTIC_FILE
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.policy import PolicyParams
from ghtrader_runtime.run_options import GatewayOptions, StrategyOptions
from ghtrader_runtime.supervisor.supervisor import new_run_id, trade
from tests.support.runtime_kit import TinyModel

SCENARIO = Scenario(
    varieties=("ag",), start=date(2025, 4, 14), end=date(2025, 4, 15), snapshot_seconds=0.5, contracts=2
)
LIVE_DAY = date(2025, 4, 16)
SYMBOL, SERIES = "SHFE.ag2506", "KQ.m@SHFE.ag"
WARM = 0.25
"""Part of the session after which memory is to be flat."""
MOST_MIB = {"gateway": 48.0, "strategy": 24.0}
"""MiB that resident memory may grow from then to the end. The gateway keeps the day's ticks for who joins late (16 MiB
in arrays that double), and a sample of latency for each tick."""


@dataclass
class Follower(TinyModel):
    """A logistic model over many factors that follows one of them."""

    place: int = 0

    def save(self, directory: Path) -> None:
        """Write the file a bundle wants."""
        super().save(directory)
        path = directory / LOGISTIC_FILE
        spec = json.loads(path.read_text())
        for row in spec["coef"]:
            row[0], row[self.place] = row[self.place], row[0]
        path.write_text(json.dumps(spec))


def core_bundle(settings: Settings) -> Path:
    """A model over the whole `core` set that trades all day; its opinion is worth nothing."""
    core = get_factor_set("core")
    content = BundleContent(
        symbol=SERIES, horizon=50, price_tick=1.0, levels=5, days=(), seed=0, config={}
    )
    model = Follower(n_features=len(core), place=list(core.names).index("imbalance_1"))
    return write_bundle(
        settings.models, model, core.spec(), LabelSpec((50,)), PolicyParams(enter=0.75, leave=0.2), content
    )


class Meter(threading.Thread):
    """Resident memory of gateway and strategy, once a second."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.samples: dict[str, list[tuple[float, float]]] = {"gateway": [], "strategy": []}
        self._settings, self._over = settings, threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._over.wait(1.0):
            for process in list_processes(self._settings):
                if process.kind in self.samples:
                    mib = resident_mib(process.pid)
                    if mib:
                        self.samples[process.kind].append((time.monotonic(), mib))

    def stop(self) -> None:
        """No more."""
        self._over.set()
        self.join()


def resident_mib(pid: int) -> float:
    """RSS of a process in MiB; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def growth(samples: list[tuple[float, float]], since: float) -> dict[str, float]:
    """Memory from when the session was warm: medians of the first and the last tenth, and the most, in MiB."""
    first, last = samples[0][0], samples[-1][0]
    values = np.array([mib for at, mib in samples if at >= since + WARM * (last - max(first, since))])
    tenth = max(1, len(values) // 10)
    begin, end = float(np.median(values[:tenth])), float(np.median(values[-tenth:]))
    return {"warm": round(begin, 1), "end": round(end, 1), "most": round(float(values.max()), 1),
            "growth": round(end - begin, 1)}  # fmt: skip


def session(folder: Path, ticks_a_second: float) -> dict[str, Any]:
    """One trading day; what it came to."""
    os.environ["GHTRADER_HOME"], os.environ["XDG_STATE_HOME"] = str(folder / "home"), str(folder / "state")
    History(SCENARIO, cache_dir=folder / "exchange" / "cache").day(SYMBOL, LIVE_DAY)  # rendered before anybody waits
    with ExchangeProcess(SCENARIO, folder / "exchange", speed=20.0) as exchange:
        os.environ.update(exchange.env)
        settings = load_settings(folder / "home")
        run_id, names = new_run_id("soak"), {"account": "soak", "mode": "sim", "symbol": SYMBOL}
        limits = {"rate_orders": 3, "daily_loss": 0.0, "drawdown": 0.0}  # TqSdk itself refuses 100 orders in a second
        gateway = GatewayOptions(**names, run_id=run_id, **limits)
        strategy = StrategyOptions(**names, model=str(core_bundle(settings)))
        meter, began = Meter(settings), [0.0]

        def run_clock() -> None:
            began[0] = time.monotonic()
            exchange.control.set_clock(frozen=False, speed=ticks_a_second * SCENARIO.snapshot_seconds)

        meter.start()
        try:
            run = trade(settings, gateway, strategy, on_ready=run_clock, tell=print)
        finally:
            meter.stop()
        fills = exchange.control.fills()
    return {
        "ticks": run.ticks, "missed": run.missed_ticks, "orders": run.orders, "fills": run.fills,
        "fills at the exchange": len(fills), "seconds": round(time.monotonic() - began[0], 1), "ended": run.ended,
        "restarts": len(run.restarts), "tick_to_target_ms": run.tick_to_target_ms.to_json(),
        "memory": {kind: growth(samples, began[0]) for kind, samples in meter.samples.items()},
    }  # fmt: skip


def run() -> bool:
    """Play; whether memory stayed flat and nothing was missed."""
    held = True
    for day in range(int(os.environ.get("DAYS", "1"))):
        told = session(Path(tempfile.mkdtemp(prefix="soak-")), float(os.environ.get("TICKS", "300")))
        print(json.dumps({"day": day + 1, **told}, indent=1, ensure_ascii=False, default=str), flush=True)
        wrong = [
            f"{kind} grew by {told['memory'][kind]['growth']} MiB, {most} allowed"
            for kind, most in MOST_MIB.items()
            if told["memory"][kind]["growth"] > most
        ]
        wrong += ["ticks were missed"] if told["missed"] or told["ticks"] < 60_000 else []
        wrong += ["a process was started again"] if told["restarts"] else []
        wrong += ["fills differ"] if told["fills"] != told["fills at the exchange"] else []
        wrong += ["there was no order flow"] if told["orders"] < 500 else []
        for text in wrong:
            print(f"NOT HELD: {text}", file=sys.stderr)
        held = held and not wrong
    return held
