"""Measures the simulation of orders against hftbacktest on equal fills, and a sweep against its runs one by one.

300,000 snapshots of five levels. The peer has one event for each level that changed, on its HashMap depth, in an
environment of its own (`tests/support/hftbacktest`); both sides count processor seconds of the simulation alone, the
least of some runs, and must know the same position and balance at every decision. Packing the books has a row of its
own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_models.simulation.assumptions import BookMet, Latencies, QueueModel, SimulationModel
from ghtrader_models.simulation.book_tape import BookTape
from ghtrader_models.simulation.simulate import Quotes, SimulatedRun, Targets, next_changes, sweep
from tests.support.hftbacktest.environment import Case, run_peer
from tests.support.tapes import FREE, TICK, random_depth, random_trades, tape_of

ROWS, REPEATS, VARIANTS, MS = 300_000, 5, 64, 1_000_000


def _seconds(work: Callable[[], Any], repeats: int) -> float:
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def _row(value: float, unit: str, peer: str, peer_value: float, target: float) -> dict:
    ratio = value / peer_value
    return {
        "value": round(value, 2), "unit": unit, "peer": peer, "peer_value": round(peer_value, 2),
        "ratio": round(ratio, 2), "target": f">= {target:g}x", "met": bool(ratio >= target),
    }  # fmt: skip


def _model(case: Case) -> SimulationModel:
    delays = Latencies(order=case.order_ns, answer=case.answer_ns)
    return SimulationModel(
        execution=ExecutionModel(slip_ticks=0), latencies=delays, book=BookMet.IN_FORCE, queue=QueueModel(case.queue)
    )


def _wanted(case: Case) -> Targets | Quotes:
    if case.targets is not None:
        return Targets(case.targets)
    assert case.bid is not None and case.ask is not None
    return Quotes(bid=case.bid, ask=case.ask, lots=np.ones(case.tape.rows, np.int64), most=case.most)


def _against_peer(tape: BookTape, targets: np.ndarray, quotes: tuple[np.ndarray, np.ndarray]) -> dict[str, dict]:
    common = {"tape": tape, "seen": tape.times, "order_ns": 2 * MS, "answer_ns": 2 * MS}
    cases = [Case(name="crossing", targets=targets, **common)] + [
        Case(name=f"passive_{queue.value}", queue=queue.value, bid=quotes[0], ask=quotes[1], most=3, **common)
        for queue in QueueModel
    ]
    with tempfile.TemporaryDirectory() as folder:
        peers = run_peer(cases, Path(folder), REPEATS)
    results = {}
    for case, peer in zip(cases, peers, strict=True):
        checked = SimulatedRun(tape, _wanted(case), FREE, _model(case), watch=True)
        checked.advance()
        assert np.array_equal(checked.known.net, peer.position), case.name
        assert np.abs(checked.known.cash - peer.balance).max() < 1e-3, case.name
        runs = iter([SimulatedRun(tape, _wanted(case), FREE, _model(case), watch=True) for _ in range(REPEATS)])
        ours = _seconds(lambda runs=runs: next(runs).advance(), REPEATS)
        unit = f"M ticks/s, {peer.fills} fills"
        name = f"hftbacktest (HashMap), {tape.rows} ticks"
        results[f"orders_{case.name}"] = _row(tape.rows / ours / 1e6, unit, name, tape.rows / peer.seconds / 1e6, 20)
    return results


def _sweeps(tape: BookTape, targets: np.ndarray, quotes: tuple[np.ndarray, np.ndarray]) -> dict[str, dict]:
    models = [
        SimulationModel(
            execution=ExecutionModel(latency_ms=latency, slip_ticks=slip), book=BookMet.IN_FORCE, queue=queue
        )
        for latency in (1.0, 20.0, 300.0, 700.0) for slip in range(VARIANTS // 8) for queue in list(QueueModel)[:2]
    ]  # fmt: skip
    lots = np.ones(tape.rows, np.int64)
    results = {}
    for name, wanted in (
        ("crossing", Targets(targets)),
        ("passive", Quotes(bid=quotes[0], ask=quotes[1], lots=lots, most=3)),
    ):
        known = targets if name == "crossing" else None

        def separate(wanted: Any = wanted) -> list[SimulatedRun]:
            runs = [SimulatedRun(tape, wanted, FREE, model) for model in models]
            for run in runs:
                run.advance()
            return runs

        def together(wanted: Any = wanted, known: np.ndarray | None = known) -> Any:
            changes = next_changes(known) if known is not None else None
            return sweep(SimulatedRun(tape, wanted, FREE, model, next_change=changes) for model in models)

        assert [run.totals for run in separate()] == [run.totals for run in together()]
        apart, one_pass = [], []
        for _ in range(3):  # in alternation
            apart.append(_seconds(separate, 1))
            one_pass.append(_seconds(together, 1))
        work = tape.rows * VARIANTS / 1e6
        results[f"orders_sweep_{name}"] = _row(
            work / min(one_pass), "M tick-variants/s", f"{VARIANTS} runs one by one", work / min(apart), 1.5
        )
    return results


def run() -> dict[str, dict]:
    """Crossing, three queue models, two sweeps, and packing."""
    rng = np.random.default_rng(1)
    times, depth = random_depth(2, ROWS, "tight", least=20, most=24, levels=4)
    trades = random_trades(3, depth)
    tape = tape_of(times, depth, trades)
    held = np.maximum.accumulate(np.where(rng.random(ROWS) < 0.03, np.arange(ROWS), 0))
    targets = rng.integers(-1, 2, ROWS)[held]
    level = rng.integers(0, 2, (2, ROWS))[:, held]
    quotes = depth.bid[:, 0] - level[0] * TICK, depth.ask[:, 0] + level[1] * TICK
    results = _against_peer(tape, targets, quotes) | _sweeps(tape, targets, quotes)
    copied = np.empty_like(tape.prices)
    packing = _seconds(lambda: tape_of(times, depth, trades), REPEATS)
    copying = _seconds(lambda: np.copyto(copied, tape.prices), REPEATS)
    results["orders_packing"] = {
        **_row(ROWS / packing / 1e6, "M ticks/s", "copying the prices", ROWS / copying / 1e6, 0), "target": "reported",
        "met": "",
    }  # fmt: skip
    return results


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
