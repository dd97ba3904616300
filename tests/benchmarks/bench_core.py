"""Measures the trading core: events a second of processor time, under the whole simulation and alone.

Under simulation everything counts: script, wire, broker, the core, and the auditor after every event. Alone, the same
events are stepped through fresh cores. The peer is the same number of dictionary look-ups and method calls in this
interpreter, to say how fast the machine was just then.
"""

from __future__ import annotations

import gc
import time
from typing import Any

from ghtrader_runtime.core.trading_core import Core
from tests.core_simulation.runner import run_script
from tests.core_simulation.scenario import script_of

SEEDS = 300
TARGET = 50_000


class _Recorder(Core):
    lives: list[tuple[tuple, list]] = []

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.told: list = []
        self.lives.append((given, self.told))

    def handle(self, event: Any) -> list:
        self.told.append(event)
        return super().handle(event)


class _Peer:
    def __init__(self) -> None:
        self.handlers = {int: self.step}

    def step(self, event: int) -> int:
        return event

    def handle(self, event: int) -> int:
        return self.handlers[type(event)](event)


def _rate(events: int, started: float) -> float:
    return events / max(time.process_time() - started, 1e-9)


def run() -> dict[str, dict[str, Any]]:
    """Both rates; the ratio says how many bare dispatches an event costs."""
    run_script(0, script_of(0))
    gc.freeze()  # as `python -m tests.core_simulation` does
    started, events = time.process_time(), 0
    for seed in range(SEEDS):
        count, failure = run_script(seed, script_of(seed))
        assert failure is None, failure
        events += count
    simulated = _rate(events, started)
    for seed in range(SEEDS // 3):
        run_script(seed, script_of(seed), _Recorder)
    started, alone = time.process_time(), 0
    for given, told in _Recorder.lives:
        core = Core(*given)
        for event in told:
            core.handle(event)
        alone += len(told)
    core_rate = _rate(alone, started)
    peer, started = _Peer(), time.process_time()
    for number in range(1_000_000):
        peer.handle(number)
    bare = _rate(1_000_000, started)
    return {
        name: {
            "value": round(value), "unit": "events/s", "peer": "bare dispatch", "peer_value": round(bare),
            "ratio": round(value / bare, 4), "target": TARGET, "met": value >= TARGET,
        }
        for name, value in (("core under simulation", simulated), ("core alone", core_rate))
    }  # fmt: skip


if __name__ == "__main__":
    for name, row in run().items():
        print(name, row)
