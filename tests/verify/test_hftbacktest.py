"""The simulation of orders agrees with hftbacktest at every decision: position and balance, crossing and passive.

hftbacktest is a second opinion, not the truth: what it cannot tell (depth walk, partial fills, breaks, closing) is
worked out by hand in `tests/unit/models/simulation`. All orders are of one lot, and books show more than is taken. Two
things on which the two differ on purpose are kept out of the tapes: a price beyond the levels shown has no queue for
hftbacktest, so books have four levels and nothing behind; and its log model has no number where much of a queue goes at
once and sends the order to the back then, so queues change by few lots.
"""

from __future__ import annotations

import numpy as np
import pytest

from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_models.simulation.assumptions import BookMet, Latencies, QueueModel, SimulationModel
from ghtrader_models.simulation.simulate import Quotes, SimulatedRun, Targets
from tests.support.hftbacktest.environment import Case, PeerResult, run_peer
from tests.support.tapes import FREE, STYLES, TICK, random_depth, random_trades, tape_of

ROWS = 6000
MS = 1_000_000
DELAYS = {
    "near": (0, 2 * MS, 2 * MS),
    "far": (0, 700 * MS, 300 * MS),
    "uneven": (None, 60 * MS, 40 * MS),  # a feed latency of its own for each row
}


def feed_of(name: str, times: np.ndarray) -> int | np.ndarray:
    fixed = DELAYS[name][0]
    return fixed if fixed is not None else np.random.default_rng(5).integers(0, 400 * MS, times.size)


def cases_of(style: str, delays: str) -> list[Case]:
    """Crossing, and passive by each queue model, on one tape."""
    rng = np.random.default_rng(len(style))
    times, depth = random_depth(11, ROWS, style, least=20, most=24, levels=4)
    if style == "fast":
        times = times // (4 * MS) * (4 * MS)  # some rows of one time
    tape = tape_of(times, depth, random_trades(12, depth))
    seen = np.maximum.accumulate(times + feed_of(delays, times))
    _, order, answer = DELAYS[delays]
    wanted = rng.integers(-1, 2, ROWS)
    keep = rng.random(ROWS) < 0.8
    wanted = wanted[np.maximum.accumulate(np.where(keep, 0, np.arange(ROWS)))]
    # Quotes join the best price or the second one, sometimes inside of the spread, and sometimes there is none.
    level = rng.integers(-1, 2, (2, ROWS))[:, np.maximum.accumulate(np.where(keep, 0, np.arange(ROWS)))]
    bid, ask = depth.bid[:, 0] - level[0] * TICK, depth.ask[:, 0] + level[1] * TICK
    bid[rng.random(ROWS) < 0.02] = np.nan
    common = {"tape": tape, "seen": seen, "order_ns": order, "answer_ns": answer}
    return [
        Case(name="crossing", targets=wanted, **common),
        *(Case(name=queue.value, queue=queue.value, bid=bid, ask=ask, most=3, **common) for queue in QueueModel),
    ]


def ours(case: Case, feed: int | np.ndarray) -> SimulatedRun:
    model = SimulationModel(
        execution=ExecutionModel(slip_ticks=0), book=BookMet.IN_FORCE,
        latencies=Latencies(feed=feed, order=case.order_ns, answer=case.answer_ns), queue=QueueModel(case.queue),
    )  # fmt: skip
    if case.targets is not None:
        wanted = Targets(case.targets)
    else:
        wanted = Quotes(bid=case.bid, ask=case.ask, lots=np.ones(case.tape.rows, np.int64), most=case.most)
    run = SimulatedRun(case.tape, wanted, FREE, model, watch=True)
    run.advance()
    return run


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[tuple[Case, PeerResult]]]:
    """What hftbacktest makes of all cases, in one process."""
    known = {(style, delays): cases_of(style, delays) for style in STYLES for delays in DELAYS}
    results = iter(run_peer([case for cases in known.values() for case in cases], tmp_path_factory.mktemp("peer")))
    return {key: [(case, next(results)) for case in cases] for key, cases in known.items()}


@pytest.mark.parametrize("delays", DELAYS)
@pytest.mark.parametrize("style", STYLES)
def test_position_and_balance_agree_at_every_decision(style: str, delays: str, peers: dict) -> None:
    for case, peer in peers[style, delays]:
        run = ours(case, feed_of(delays, case.tape.times))
        differ = np.flatnonzero((run.known.net != peer.position) | (np.abs(run.known.cash - peer.balance) > 1e-3))
        where = f"{case.name}: first of {differ.size} differences at row {differ[:1]}, {peer.fills} fills"
        assert not differ.size, where
        assert peer.fills > 20, f"{case.name}: {peer.fills} fills say little"
