"""Cases worked out by hand: depth walk, partial fills, breaks, closing, flattening, limits, queues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.positions import Position
from ghtrader_models.simulation import kernel
from ghtrader_models.simulation.assumptions import BookMet, Latencies, QueueModel, SimulationModel
from ghtrader_models.simulation.book_tape import BookTape, TapeSessions
from ghtrader_models.simulation.simulate import OrderStream, Quotes, SimulatedRun, Targets
from tests.support.tapes import CHARGED, FREE, RATES, TICK, written

FULL = (
    [(1000.0, 2), (990.0, 3), (980.0, 4), (970.0, 5), (960.0, 6)],
    [(1010.0, 1), (1020.0, 2), (1030.0, 3), (1040.0, 4), (1050.0, 5)],
)
INSTANT = SimulationModel(execution=ExecutionModel(latency_ms=0.0, slip_ticks=0), book=BookMet.IN_FORCE)
FAK, GTC, POST_ONLY = kernel.FAK, kernel.GTC, kernel.POST_ONLY
ANY = float("inf")


def orders(*lines: tuple[int, int, int, float, int], cancels: dict[int, int] | None = None) -> OrderStream:
    """Orders as (row, side, lots, price, time in force), numbered from 0; cancels as number -> row."""
    rows = [(*line, number) for number, line in enumerate(lines)]
    rows += [(row, 0, 1, 0.0, FAK, number) for number, row in (cancels or {}).items()]
    rows.sort(key=lambda line: line[0])
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return OrderStream(
        row=columns[0], side=columns[1], lots=columns[2], price=columns[3].astype(float), tif=columns[4],
        order=columns[5],
    )  # fmt: skip


def fills(run: SimulatedRun) -> list[tuple[int, int, float]]:
    run.advance()
    found = run.executions
    return list(zip(found.row.tolist(), found.lots.tolist(), found.price.tolist(), strict=True))


def play(tape: BookTape, wanted: object, model: SimulationModel = INSTANT, **more: object) -> SimulatedRun:
    return SimulatedRun(tape, wanted, more.pop("terms", FREE), model, **more)  # type: ignore[arg-type]


# Crossing


def test_an_order_walks_the_levels_up_to_its_limit() -> None:
    run = play(written([FULL]), orders((0, 1, 5, 1030.0, FAK)))
    assert fills(run) == [(0, 1, 1010.0), (0, 2, 1020.0), (0, 2, 1030.0)]
    assert run.totals.cash == -5 * (1010 + 2 * 1020 + 2 * 1030)


def test_what_the_limit_leaves_is_cancelled() -> None:
    run = play(written([FULL]), orders((0, -1, 9, 990.0, FAK)))
    assert fills(run) == [(0, -2, 1000.0), (0, -3, 990.0)]
    assert (run.totals.cancelled, run.totals.net) == (1, -5)


def test_nothing_fills_beyond_the_fifth_level() -> None:
    run = play(written([FULL]), orders((0, 1, 100, ANY, FAK)))
    assert sum(lots for _, lots, _ in fills(run)) == 1 + 2 + 3 + 4 + 5
    assert run.totals.cancelled == 1


def test_depth_that_was_taken_is_missing_until_the_next_snapshot() -> None:
    run = play(written([FULL, FULL]), orders((0, 1, 2, ANY, FAK), (0, 1, 2, ANY, FAK), (1, 1, 2, ANY, FAK)))
    assert fills(run) == [
        (0, 1, 1010.0), (0, 1, 1020.0),
        (0, 1, 1020.0), (0, 1, 1030.0),
        (1, 1, 1010.0), (1, 1, 1020.0),
    ]  # fmt: skip


def test_an_order_meets_the_book_of_its_arrival() -> None:
    moved = ([(1100.0, 5)], [(1110.0, 5)])
    tape, wanted = written([FULL, moved, moved]), orders((0, 1, 1, ANY, FAK))
    late = Latencies(order=400)
    assert fills(play(tape, wanted, replace(INSTANT, latencies=late))) == [(0, 1, 1010.0)]
    assert fills(play(tape, wanted, replace(INSTANT, latencies=late, book=BookMet.NEXT))) == [(1, 1, 1110.0)]
    later = play(tape, wanted, replace(INSTANT, latencies=Latencies(feed=300, order=700, answer=90)))
    assert fills(later) == [(1, 1, 1110.0)]  # the row of that very moment comes first
    assert later.executions.known_ns.tolist() == [2000 + 90]


def test_orders_do_not_overtake_each_other() -> None:
    run = play(
        written([FULL] * 4), orders((0, 1, 1, ANY, FAK), (1, -1, 1, 0.0, FAK)),
        replace(INSTANT, latencies=Latencies(order=np.array([1500, 0, 0, 0]))),
    )  # fmt: skip
    run.advance()
    assert run.executions.datetime_ns.tolist() == [2500, 2500]


# Sessions, limits, the end of a segment


def test_an_order_that_arrives_in_a_break_is_refused() -> None:
    sessions = TapeSessions(row=np.array([0, 0, 1, 1], np.int32), ends_ns=np.array([2100, 9000]))
    tape = written([FULL] * 4, times=[1000, 2000, 5000, 6000], sessions=sessions)
    late = replace(INSTANT, latencies=Latencies(order=200))
    for book in BookMet:
        run = play(tape, orders((1, 1, 1, ANY, FAK), (2, 1, 1, ANY, FAK)), replace(late, book=book))
        assert fills(run) == [(2 if book == BookMet.IN_FORCE else 3, 1, 1010.0)]
        assert run.totals.refused == 1


def test_sessions_are_found_by_their_times() -> None:
    sessions = TapeSessions.between(np.array([5, 10, 19, 30, 39]), [(10, 20), (30, 40)])
    assert sessions.row.tolist() == [0, 0, 0, 1, 1] and sessions.ends_ns.tolist() == [20, 40]


def test_a_locked_market_fills_nothing_on_its_empty_side() -> None:
    locked = (FULL[0], [])
    run = play(written([FULL, locked, locked, FULL]), Targets(np.array([-1, 0, 0, 0])))
    assert fills(run) == [(0, -1, 1000.0), (3, 1, 1010.0)]
    stuck = play(written([FULL, locked, locked]), Targets(np.array([-1, 0, 0])))
    assert fills(stuck) == [(0, -1, 1000.0)]
    assert stuck.totals.net == -1 and stuck.totals.equity(1000.0, 5) == 0.0


def test_an_order_beyond_the_days_limits_is_refused() -> None:
    tape = written([FULL], lower=900.0, upper=1100.0)
    run = play(tape, orders((0, 1, 1, 1110.0, GTC), (0, -1, 1, 890.0, GTC), (0, 1, 1, 900.0, GTC)))
    run.advance()
    assert (run.totals.refused, run.totals.working) == (2, 1)


def test_everything_is_withdrawn_and_closed_before_the_end_of_a_segment() -> None:
    tape = written([FULL] * 6)
    run = play(tape, orders((0, 1, 3, ANY, FAK), (1, 1, 2, 960.0, GTC), (4, 1, 9, ANY, FAK)), flat_from=3)
    assert fills(run) == [(0, 1, 1010.0), (0, 2, 1020.0), (4, -2, 1000.0), (5, -1, 1000.0)]
    assert (run.totals.net, run.totals.working) == (0, 0)
    quotes = Quotes(bid=np.full(6, 1000.0), ask=np.full(6, 1010.0), lots=np.full(6, 1), most=5)
    quoted = play(tape, quotes, flat_from=3)
    quoted.advance()
    assert (quoted.totals.sent, quoted.totals.cancelled, quoted.totals.working) == (2, 2, 0)


# Closing


def test_yesterdays_lots_close_before_todays_and_each_pays_its_fee() -> None:
    opening = Position(long_his=1, long_today=2, long_his_cost=1000.0, long_today_cost=2000.0)
    run = play(written([FULL]), orders((0, -1, 5, 990.0, FAK)), terms=CHARGED, opening=opening)
    assert fills(run) == [(0, -1, 1000.0), (0, -1, 1000.0), (0, -1, 990.0), (0, -2, 990.0)]
    assert run.executions.offset.tolist() == [1, 2, 2, 0]
    expected = [
        1000 * 5 * RATES.close_ratio + RATES.close_lot,
        1000 * 5 * RATES.close_today_ratio + RATES.close_today_lot,
        990 * 5 * RATES.close_today_ratio + RATES.close_today_lot,
        2 * (990 * 5 * RATES.open_ratio + RATES.open_lot),
    ]
    assert run.executions.fee.tolist() == pytest.approx(expected)
    assert (run.totals.net, run.totals.today) == (-2, 2)


def test_only_what_closes_is_taken_where_nothing_may_be_opened() -> None:
    terms = replace(FREE, only_closed=True)
    opening = Position(long_his=2, long_his_cost=2000.0)
    run = play(written([FULL] * 2), orders((0, 1, 1, ANY, FAK), (0, -1, 3, 0.0, FAK), (1, -1, 2, 0.0, FAK)),
               terms=terms, opening=opening)  # fmt: skip
    assert fills(run) == [(1, -2, 1000.0)]
    assert run.totals.refused == 2


# Resting orders


def queued(model: QueueModel, books: list, trades: list, lots: int = 1, price: float = 1000.0) -> SimulatedRun:
    tape = written(books, trades=trades)
    return play(tape, orders((0, 1, lots, price, GTC)), replace(INSTANT, queue=model))


def with_bid(lots: int) -> tuple:
    return ([(1000.0, lots), *FULL[0][1:]], FULL[1])


def test_a_resting_order_fills_once_the_queue_before_it_was_traded() -> None:
    books = [with_bid(10), with_bid(6), with_bid(3), with_bid(3)]
    run = queued(QueueModel.RISK_AVERSE, books, [[], [(1000.0, -4)], [(1000.0, -6)], [(1000.0, -1)]])
    # 10 before it; 4 are traded, 6 are traded: nobody is left before it; the next lot is its own.
    assert fills(run) == [(3, 1, 1000.0)]
    assert run.executions.maker.tolist() == [True]


def test_a_resting_order_fills_in_parts() -> None:
    books = [with_bid(2), with_bid(2), with_bid(2)]
    run = queued(QueueModel.RISK_AVERSE, books, [[], [(1000.0, -5)], [(1000.0, -1)]], lots=5)
    assert fills(run) == [(1, 3, 1000.0), (2, 1, 1000.0)]
    assert run.totals.working == 1


def test_a_trade_beyond_its_price_fills_a_resting_order_whole() -> None:
    run = queued(QueueModel.RISK_AVERSE, [with_bid(50), with_bid(50)], [[], [(990.0, -1)]], lots=7)
    assert fills(run) == [(1, 7, 1000.0)]


def test_purchases_do_not_fill_a_resting_purchase() -> None:
    assert fills(queued(QueueModel.RISK_AVERSE, [with_bid(1)] * 2, [[], [(1000.0, 9), (1010.0, 9)]])) == []


def test_the_other_side_fills_a_resting_order_as_far_as_it_shows_lots() -> None:
    through = ([(990.0, 5)], [(1000.0, 3), (1010.0, 9)])
    run = queued(QueueModel.RISK_AVERSE, [with_bid(10), through, FULL], [[], [], []], lots=5)
    assert fills(run) == [(1, 3, 1000.0)]  # at its own price


@pytest.mark.parametrize(
    ("model", "front"),
    [
        (QueueModel.RISK_AVERSE, 8.0),
        # 8 before it, 4 behind (they joined later); 6 are gone; behind 16 / (16 + 64) of them, by power 2
        (QueueModel.POWER, 8 - 0.8 * 6 + min(4 - 0.2 * 6, 0)),
        (QueueModel.LOG, 8 - (1 - np.log(5) / (np.log(5) + np.log(9))) * 6),
    ],
)
def test_cancelled_lots_are_shared_out_by_the_queue_model(model: QueueModel, front: float) -> None:
    books = [with_bid(8), with_bid(12), with_bid(6)]
    run = queued(model, books, [[], [], []])
    run.advance()
    assert run._arrays[kernel.A_ORDER_VALUES][0, kernel.O_FRONT] == pytest.approx(min(front, 6.0))


def test_a_price_beyond_the_levels_shown_is_behind_all_that_ever_shows_there() -> None:
    down = ([(960.0, 6), (950.0, 9)], [(970.0, 1)])
    one = ([(950.0, 9), (940.0, 1)], [(970.0, 5)])
    tape = written([FULL, down, one, one], trades=[[], [], [(950.0, -9)], [(950.0, -1)]])
    run = play(tape, orders((0, 1, 1, 950.0, GTC)))
    assert fills(run) == [(3, 1, 950.0)]


def test_post_only_is_refused_where_it_would_take() -> None:
    run = play(written([FULL]), orders((0, 1, 1, 1010.0, POST_ONLY), (0, 1, 3, 1010.0, GTC)))
    assert fills(run) == [(0, 1, 1010.0)]
    assert (run.totals.refused, run.totals.working) == (1, 1)


def test_two_own_orders_of_one_price_share_a_trade() -> None:
    tape = written([with_bid(1), with_bid(1)], trades=[[], [(1000.0, -4)]])
    run = play(tape, orders((0, 1, 2, 1000.0, GTC), (0, 1, 2, 1000.0, GTC)))
    assert fills(run) == [(1, 2, 1000.0), (1, 1, 1000.0)]


def test_a_cancel_that_comes_too_late_ends_nothing() -> None:
    tape = written([with_bid(1)] * 3, trades=[[], [(1000.0, -2)], [(1000.0, -5)]])
    slow = replace(INSTANT, latencies=Latencies(order=np.array([0, 2000, 0])))
    assert fills(play(tape, orders((0, 1, 1, 1000.0, GTC), cancels={0: 1}), slow)) == [(1, 1, 1000.0)]
    early = play(tape, orders((0, 1, 1, 1000.0, GTC), cancels={0: 0}))
    assert fills(early) == [] and early.totals.cancelled == 1


def test_quotes_on_both_sides_earn_the_spread() -> None:
    trades = [[], [(1000.0, -9)], [(1010.0, 9)], []]
    quotes = Quotes(bid=np.full(4, 1000.0), ask=np.full(4, 1010.0), lots=np.ones(4, np.int64), most=1)
    run = play(written([FULL] * 4, trades=trades), quotes)
    assert fills(run) == [(1, 1, 1000.0), (2, -1, 1010.0)]
    assert run.totals.equity(0.0, 5) == 10 * 5


def test_quotes_hold_no_more_than_they_may() -> None:
    trades = [[], *[[(1000.0, -9)]] * 5]
    quotes = Quotes(bid=np.full(6, 1000.0), ask=np.full(6, np.nan), lots=np.full(6, 2), most=3)
    run = play(written([FULL] * 6, trades=trades), quotes)
    run.advance()
    assert run.totals.net == 3


# Bad input


def test_what_does_not_fit_is_refused_in_words() -> None:
    tape = written([FULL] * 2)
    with pytest.raises(UsageError, match="targets for 2 rows"):
        play(tape, Targets(np.zeros(3, np.int64)))
    with pytest.raises(UsageError, match="latencies for 2 rows"):
        play(tape, Targets(np.zeros(2, np.int64)), replace(INSTANT, latencies=Latencies(feed=np.zeros(3, np.int64))))
    with pytest.raises(UsageError, match="without lots or a price"):
        play(tape, orders((0, 1, 0, 1000.0, GTC)))
    with pytest.raises(UsageError, match="ascending"):
        written([FULL] * 2, times=[2000, 1000])
    with pytest.raises(UsageError, match="below 0"):
        Latencies(feed=-1)
    with pytest.raises(UsageError, match="one side alone"):
        play(tape, Targets(np.zeros(2, np.int64)), opening=Position(long_his=1, short_his=1))


def test_more_orders_than_a_run_has_places_for_are_named() -> None:
    lines = [(0, 1, 1, 100.0 + TICK * number, GTC) for number in range(kernel.MOST_ORDERS)]
    many = orders(*lines, (1, 1, 1, 400.0, GTC))
    run = play(written([FULL] * 3), many)
    with pytest.raises(FailedError, match="row 1"):
        run.advance()
