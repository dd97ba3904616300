"""What holds for any stream of orders: cash, fees, lots and value add up, and nothing is filled that was not there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.pnl import equity_curve
from ghtrader_market.accounting.positions import Position, apply_fill
from ghtrader_market.reference.closing_rules import ClosingRule
from ghtrader_models.simulation.assumptions import BookMet, Latencies, QueueModel, SimulationModel
from ghtrader_models.simulation.simulate import OrderStream, SimulatedRun, Targets
from tests.support.examples import examples
from tests.support.tapes import CHARGED, FREE, STYLES, TICK, random_depth, random_trades, tape_of

CONTRACTS = {
    ClosingRule.BY_OFFSET: "SHFE.cu2503", ClosingRule.TODAY_FIRST: "CFFEX.IF2503",
    ClosingRule.YESTERDAY_FIRST: "DCE.m2505",
}  # fmt: skip
ROWS = 60


@st.composite
def order_streams(draw: st.DrawFn) -> OrderStream:
    """Up to forty orders near the market, of all kinds, some of them cancelled later."""
    seed, count = draw(st.integers(0, 10**6)), draw(st.integers(1, 40))
    rng = np.random.default_rng(seed)
    row, order = np.sort(rng.integers(0, ROWS, count)), np.arange(count)
    side = rng.choice([-1, 1], count)
    price = 70_000.0 + TICK * rng.integers(-8, 9, count)
    price = np.where(rng.random(count) < 0.2, np.where(side > 0, np.inf, 0.0), price)
    lots, tif = rng.integers(1, 12, count), rng.integers(0, 3, count)
    cancelled = np.flatnonzero(rng.random(count) < 0.4)
    late = np.minimum(row[cancelled] + rng.integers(0, 9, cancelled.size), ROWS - 1)
    columns = {
        "row": np.concatenate([row, late]), "side": np.concatenate([side, 0 * late]),
        "lots": np.concatenate([lots, late + 1]), "price": np.concatenate([price, 1.0 * late]),
        "tif": np.concatenate([tif, 0 * late]), "order": np.concatenate([order, cancelled]),
    }  # fmt: skip
    by_row = np.argsort(columns["row"], kind="stable")
    return OrderStream(**{name: column[by_row] for name, column in columns.items()})


@settings(max_examples=examples(400))
@given(
    wanted=order_streams(), seed=st.integers(0, 999), style=st.sampled_from(STYLES), rule=st.sampled_from(ClosingRule),
    queue=st.sampled_from(QueueModel), book=st.sampled_from(BookMet), opening=st.integers(-5, 5),
    delays=st.tuples(*[st.sampled_from([0, 3, 400, 1500])] * 3), flat=st.booleans(),
)  # fmt: skip
def test_cash_fees_lots_and_value_add_up(
    wanted: OrderStream, seed: int, style: str, rule: ClosingRule, queue: QueueModel, book: BookMet, opening: int,
    delays: tuple[int, int, int], flat: bool,
) -> None:  # fmt: skip
    times, depth = random_depth(seed, ROWS, style)
    tape = tape_of(times, depth, random_trades(seed, depth))
    side = "long_his" if opening > 0 else "short_his"
    start = Position(**{side: abs(opening), f"{side}_cost": abs(opening) * 70_000.0}) if opening else Position()
    model = SimulationModel(
        queue=queue, book=book,
        latencies=Latencies.constant(feed_ms=delays[0], order_ms=delays[1], answer_ms=delays[2]),
    )  # fmt: skip
    terms = replace(CHARGED, rule=rule)
    run = SimulatedRun(tape, wanted, terms, model, opening=start, watch=True, flat_from=50 if flat else None)
    run.advance()
    found, totals = run.executions, run.totals

    position, fees, contract = start, 0.0, CONTRACTS[rule]
    for fill in found.as_fills(contract):
        booked = apply_fill(position, fill, terms.rates, terms.multiplier)
        position, fees = booked.position, fees + booked.fee
        assert fill.fee == pytest.approx(booked.fee, rel=1e-12)
    assert totals.net == position.net == opening + found.lots.sum()
    assert totals.today == position.long_today + position.short_today
    assert totals.fees == pytest.approx(fees)
    assert totals.cash == pytest.approx(-(found.lots * found.price).sum() * 5)
    mark = 70_100.0
    _, net = equity_curve(found.as_fills(contract), times, np.full(ROWS, mark), 5, opening, 70_000.0)
    assert totals.equity(mark, 5) - opening * 70_000.0 * 5 == pytest.approx(net)

    # What was known is what had been answered by then; an order without latency is answered after its decision.
    if delays[1]:
        answered = np.searchsorted(found.known_ns, times + delays[0] * 1_000_000, side="right")
        assert np.array_equal(run.known.net, opening + np.concatenate([[0], np.cumsum(found.lots)])[answered])
        assert np.allclose(run.known.fees, np.concatenate([[0.0], np.cumsum(found.fee)])[answered])

    # No order gets more than it asked for, or another price; no lot is taken twice.
    news = wanted.side != 0
    asked = {order: line for order, *line in zip(*(column[news].tolist() for column in (
        wanted.order, wanted.side, wanted.lots, wanted.price)), strict=True)}  # fmt: skip
    taken: Counter[tuple[int, float]] = Counter()
    filled: Counter[int] = Counter()
    for row, order, lots, price, maker in zip(*(column.tolist() for column in (
        found.row, found.order, found.lots, found.price, found.maker)), strict=True):  # fmt: skip
        filled[order] += abs(lots)
        if order in asked:
            side_of, _, limit = asked[order]
            assert lots * side_of > 0 and (limit - price) * side_of >= 0
        if not maker:
            taken[row, price] += abs(lots)
    assert all(filled[order] <= asked[order][1] for order in filled if order in asked)
    for (row, price), lots in taken.items():
        shown = tape.lots[row][np.abs(tape.prices[row] - price) < 1.0].sum()
        assert lots <= shown
    assert (np.diff(found.datetime_ns) >= 0).all() and (np.diff(found.known_ns) >= 0).all()
    assert (found.known_ns - found.datetime_ns >= delays[2] * 1_000_000).all()


def best_with_foresight(bid: np.ndarray, ask: np.ndarray, multiplier: int) -> tuple[float, list[int]]:
    """Most that one lot either way can earn at the best prices, flat at the end; and the path that does."""
    known: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for low, high in zip(bid.tolist(), ask.tolist(), strict=True):
        following: dict[int, tuple[float, list[int]]] = {}
        for (held, (cash, path)), to in product(known.items(), (-1, 0, 1)):
            after = cash - (to - held) * (high if to > held else low) * multiplier
            if to not in following or after > following[to][0]:
                following[to] = after, [*path, to]
        known = following
    return known[0]


INSTANT = SimulationModel(execution=ExecutionModel(latency_ms=0.0, slip_ticks=0), book=BookMet.IN_FORCE)


@pytest.mark.parametrize("style", STYLES)
def test_foresight_without_delay_and_fees_earns_the_known_optimum(style: str) -> None:
    """The best path earns what it should, and of all paths on a small tape none earns more."""
    for seed in range(8):
        times, depth = random_depth(seed, 120, style, least=3)
        most, path = best_with_foresight(depth.bid[:, 0], depth.ask[:, 0], 5)
        run = SimulatedRun(tape_of(times, depth), Targets(np.array(path)), FREE, INSTANT)
        run.advance()
        assert (run.totals.net, run.totals.cash) == (0, pytest.approx(most))
    times, depth = random_depth(99, 6, style, least=3)
    tape = tape_of(times, depth)
    most, _ = best_with_foresight(depth.bid[:, 0], depth.ask[:, 0], 5)
    earned = []
    for way in product((-1, 0, 1), repeat=5):
        run = SimulatedRun(tape, Targets(np.array([*way, 0])), FREE, INSTANT)
        run.advance()
        earned.append(run.totals.cash)
    assert max(earned) == pytest.approx(most)
