"""Targets over days as sources deliver them at their worst get the fills of a benchmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ghtrader_base.errors import FailedError
from ghtrader_market.accounting.positions import Position
from ghtrader_models.evaluation.policy_simulation import simulate_targets, trading_costs
from ghtrader_models.evaluation.recorded_books import books_of
from ghtrader_models.simulation.assumptions import SimulationModel
from ghtrader_models.simulation.book_tape import BookTape, TapeTrades, pack
from ghtrader_models.simulation.day_tape import contract_terms, tape_of_day
from ghtrader_models.simulation.simulate import OrderStream, SimulatedRun, Targets
from tests.support.random_days import RandomDay, Trouble, random_day
from tests.support.tapes import CHARGED
from tests.unit.models.simulation.test_targets import added_up, path_of_targets

TROUBLES = tuple(trouble for trouble in Trouble if trouble not in (Trouble.ONE_TIME, Trouble.SESSION_END))
"""Not rows of one moment, of which here the last is the book, where in a benchmark an order meets the next row."""


def tape_of(made: RandomDay) -> BookTape:
    mark = made.held.mark if made.held is not None else np.nan
    return tape_of_day(made.times, made.values, made.contract, made.day, opening_mark=mark)


def check(made: RandomDay, seed: int) -> int:
    wanted, books = path_of_targets(seed, made.times.size, 5), books_of(made.values)
    other = simulate_targets(
        wanted, made.times, made.bid, made.ask, trading_costs(made.contract, made.day), model=made.model,
        depth=books.depth, last=books.last, held=made.held,
    )  # fmt: skip
    run = SimulatedRun(
        tape_of(made), Targets(wanted), contract_terms(made.contract, made.day), SimulationModel(execution=made.model),
        opening=made.held.position if made.held is not None else Position(),
    )  # fmt: skip
    run.advance()
    found = run.executions
    theirs = [(f.market_ns, f.side.sign * f.volume, f.price) for f in other.fills]
    mine = added_up(found.row, found.lots, np.zeros_like(found.row), found.price)
    assert [(int(made.times[row]), lots, price) for row, lots, _, price in mine] == joined(theirs)
    return len(mine)


def joined(fills: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Fills of one moment and price in one, in order."""
    out: list[tuple[int, int, float]] = []
    for at, lots, price in fills:
        if out and (out[-1][0], out[-1][2]) == (at, price) and out[-1][1] * lots > 0:
            out[-1] = (at, out[-1][1] + lots, price)
        else:
            out.append((at, lots, price))
    return out


@pytest.mark.clock
@pytest.mark.parametrize("troubles", [*((trouble,) for trouble in TROUBLES), TROUBLES])
def test_a_day_gets_the_fills_of_a_benchmark(troubles: tuple[Trouble, ...]) -> None:
    assert sum(check(random_day(seed, troubles), seed) for seed in range(16)) > 50


@pytest.mark.clock
def test_an_order_on_its_way_meets_the_sessions_last_book() -> None:
    """One that arrives after the session is refused here, where a benchmark has it meet the next session's first."""
    for seed in range(16):
        made = random_day(seed, (Trouble.SESSION_END,))
        check(replace(made, model=replace(made.model, latency_ms=min(made.model.latency_ms, 2.0))), seed)


def test_more_fills_between_two_decisions_than_there_is_room_for_are_said() -> None:
    rows, each = 3, 5000
    side = np.full((rows, 1), 70_000.0)
    trades = TapeTrades(first=np.array([0, 0, 0, each]), price=np.full(each, 70_000.0), lots=np.full(each, -1))
    tape = pack(
        np.arange(rows) * 10**9, side, np.ones((rows, 1), int), side + 10, np.ones((rows, 1), int), 10.0, trades=trades
    )
    one = np.array([0])
    stream = OrderStream(row=one, side=one + 1, lots=one + 10**6, price=one + 70_000.0, tif=one + 1, order=one)
    run = SimulatedRun(tape, stream, CHARGED, SimulationModel())
    with pytest.raises(FailedError, match="fills come between two decisions"):
        run.advance()


def test_an_order_without_a_limit_never_rests() -> None:
    """It would fill at its own price, which is none."""
    side, one = np.full((3, 1), 70_000.0), np.array([0])
    tape = pack(np.arange(3) * 10**9, side, np.ones((3, 1), int), side + 10, np.ones((3, 1), int), 10.0)
    stream = OrderStream(row=one, side=one + 1, lots=one + 5, price=one + np.inf, tif=one + 1, order=one)
    run = SimulatedRun(tape, stream, CHARGED, SimulationModel())
    run.advance()
    assert run.executions.price.tolist() == [70_010.0] and run.totals.cancelled == 1 and run.totals.working == 0
