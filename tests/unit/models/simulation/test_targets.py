"""Targets get the fills of the order simulation that is held to the real processes, and the money of `accounting`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.pnl import equity_curve, profit
from ghtrader_market.accounting.positions import Position, apply_fill
from ghtrader_market.reference.closing_rules import ClosingRule
from ghtrader_models.evaluation.order_simulation import fill_targets
from ghtrader_models.simulation.assumptions import BookMet, Latencies, SimulationModel
from ghtrader_models.simulation.simulate import SimulatedRun, Targets, next_changes, sweep
from tests.support.tapes import CHARGED, STYLES, TICK, random_depth, tape_of

CONTRACTS = {
    ClosingRule.BY_OFFSET: "SHFE.cu2503", ClosingRule.TODAY_FIRST: "CFFEX.IF2503",
    ClosingRule.YESTERDAY_FIRST: "DCE.m2505",
}  # fmt: skip


def path_of_targets(seed: int, rows: int, most: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    changes = rng.random(rows) < 0.1
    return np.where(changes, rng.integers(-most, most + 1, rows), 0)[np.maximum.accumulate(changes * np.arange(rows))]


def added_up(row: np.ndarray, lots: np.ndarray, offset: np.ndarray, price: np.ndarray) -> list[tuple]:
    """Fills with those of one row, offset and price in one, in order."""
    out: list[list] = []
    for at, volume, kind, paid in zip(row.tolist(), lots.tolist(), offset.tolist(), price.tolist(), strict=True):
        if out and (out[-1][0], out[-1][2], out[-1][3]) == (at, kind, paid) and out[-1][1] * volume > 0:
            out[-1][1] += volume
        else:
            out.append([at, volume, kind, paid])
    return [tuple(fill) for fill in out]


@pytest.mark.parametrize("rule", list(ClosingRule))
@pytest.mark.parametrize("style", STYLES)
def test_targets_get_the_fills_of_the_order_simulation(style: str, rule: ClosingRule) -> None:
    """Thin books, orders of several legs, two latencies, lots of yesterday at the start."""
    for seed in range(6):
        times, depth = random_depth(seed, 400, style)
        depth.ask[50:60] = np.nan  # limit-locked
        depth.bid[200, 1] = 70_003.0  # off the grid: nothing counts behind it
        wanted = path_of_targets(seed, times.size)
        opening = Position(long_his=3, long_today=2, long_his_cost=1.0, long_today_cost=1.0) if seed % 2 else Position()
        for latency in (0.0, 2.0, 700.0):
            execution = ExecutionModel(latency_ms=latency, slip_ticks=seed % 3, max_order=5)
            closed = seed == 5
            other = fill_targets(wanted, times, depth, TICK, rule, execution, opening, closed)
            run = SimulatedRun(
                tape_of(times, depth), Targets(wanted), replace(CHARGED, rule=rule, only_closed=closed),
                SimulationModel(execution=execution), opening=opening,
            )  # fmt: skip
            run.advance()
            found = run.executions
            theirs = added_up(other.row, other.volume, other.offset, other.price)
            assert added_up(found.row, found.lots, found.offset, found.price) == theirs
            assert closed or style == "fast" or len(theirs) > 10


@pytest.mark.parametrize("rule", list(ClosingRule))
def test_fees_lots_and_profit_are_those_of_accounting(rule: ClosingRule) -> None:
    times, depth = random_depth(3, 600, "gapped")
    opening = Position(short_his=4, short_his_cost=4 * 70_000.0)
    run = SimulatedRun(
        tape_of(times, depth), Targets(path_of_targets(4, times.size)), replace(CHARGED, rule=rule), SimulationModel(),
        opening=opening,
    )  # fmt: skip
    run.advance()
    contract, position = CONTRACTS[rule], opening
    fills = run.executions.as_fills(contract)
    for fill in fills:
        booked = apply_fill(position, fill, CHARGED.rates, CHARGED.multiplier)
        assert fill.fee == pytest.approx(booked.fee, rel=1e-12)
        position = booked.position
    totals = run.totals
    assert len(fills) > 40 and position.net == totals.net
    assert totals.today == position.long_today + position.short_today
    mark = 70_500.0
    money = profit(fills, {contract: 5}, {contract: mark}, {contract: opening.net}, {contract: 70_000.0})
    moved = opening.net * 70_000.0 * 5
    assert totals.equity(mark, 5) - moved == pytest.approx(money["net_pnl"])
    assert totals.fees == pytest.approx(money["fees"])
    _, net = equity_curve(fills, times, np.full(times.size, mark), 5, opening.net, 70_000.0)
    assert totals.equity(mark, 5) - moved == pytest.approx(net)


def test_a_run_that_stands_still_between_rows_ends_as_one_that_does_not() -> None:
    times, depth = random_depth(5, 9000, "wide")
    tape, wanted = tape_of(times, depth), path_of_targets(6, times.size)
    changes = next_changes(wanted)
    models = [
        SimulationModel(execution=ExecutionModel(latency_ms=latency, slip_ticks=slip), book=book)
        for latency in (0.0, 300.0, 1200.0) for slip in (0, 3) for book in BookMet
    ]  # fmt: skip
    whole = [SimulatedRun(tape, Targets(wanted), CHARGED, model) for model in models]
    for run in whole:
        run.advance()
    shared = sweep(SimulatedRun(tape, Targets(wanted), CHARGED, model, next_change=changes) for model in models)
    for one, other in zip(whole, shared, strict=True):
        assert one.totals == other.totals and one.row == other.row == times.size
        assert all(
            np.array_equal(getattr(one.executions, name), getattr(other.executions, name))
            for name in ("row", "known_ns", "lots", "offset", "price", "fee")
        )
    assert len({run.totals.cash for run in whole}) > 6, "the variants do not differ"


def test_latencies_of_each_row_are_those_of_a_constant_where_they_are_one() -> None:
    times, depth = random_depth(7, 800, "fast")
    tape, wanted = tape_of(times, depth), Targets(path_of_targets(8, times.size, 1))
    one = Latencies.constant(feed_ms=12, order_ms=7, answer_ms=9)
    each = Latencies(**{name: np.full(times.size, getattr(one, name)) for name in ("feed", "order", "answer")})
    drawn = Latencies.drawn(
        times.size, 1, feed=np.array([12_000_000]), order=np.array([7_000_000]), answer=np.array([9_000_000])
    )
    runs = [
        SimulatedRun(tape, wanted, CHARGED, SimulationModel(latencies=delays, book=BookMet.IN_FORCE), watch=True)
        for delays in (one, each, drawn)
    ]
    for run in runs:
        run.advance()
    assert runs[0].executions.row.size > 20
    for run in runs[1:]:
        assert run.totals == runs[0].totals and np.array_equal(run.known.net, runs[0].known.net)
