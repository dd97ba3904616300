"""Executor, risk rules, paper fills, PnL arithmetic, latency bookkeeping: pure parts, hand-computed cases."""

from __future__ import annotations

import math
from collections import deque
from datetime import date

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS, values_matrix
from ghtrader_market.reference.varieties import FeeRates, get_variety
from ghtrader_market.sources.base import canonical_table, canonical_time
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.brokers.paper import PaperBroker, take
from ghtrader_runtime.brokers.recorded_feed import ReplayFeed
from ghtrader_runtime.brokers.tqsdk_feed import canonical_values
from ghtrader_runtime.core.events import Book, OrderReport, TradeReport
from ghtrader_runtime.core.order_planning import ExecutionStyle, Place, SymbolSpec, crossing_price, plan_target
from ghtrader_runtime.core.orders import Order, OrderStatus
from ghtrader_runtime.core.risk_rules import MaxPosition, OrderRate, OrderSize, Proposed, RiskLimits, first_reason
from ghtrader_runtime.runlog.latency import PartTimes, TickToTarget
from tests.support.runtime_kit import synthetic_values

SPEC = SymbolSpec("SHFE.cu2502", 10.0, 5, True)
CFFEX = SymbolSpec("CFFEX.IF2101", 0.2, 300, False)
BOOK = Book(
    symbol="SHFE.cu2502", trading_day="2025-01-08", market_ns=10**18, tick_id=1, bid=70_000.0, ask=70_010.0, now_ns=5
)
STYLE = ExecutionStyle(slip_ticks=2, max_order=3)


def plan(target: int, position: Position, working: tuple = (), spec: SymbolSpec = SPEC, style: ExecutionStyle = STYLE):
    return plan_target(target, position, working, BOOK, spec, style)


def test_opening_crosses_the_spread_by_the_slip() -> None:
    assert plan(1, Position()).place == (Place(side=1, offset="OPEN", volume=1, price=70_030.0, tif="FAK"),)
    assert plan(-1, Position()).place == (Place(side=-1, offset="OPEN", volume=1, price=69_980.0, tif="FAK"),)


def test_reversal_closes_first_and_splits_todays_from_yesterdays() -> None:
    held = Position(long_today=1, long_his=2)
    step = plan(-2, held)
    assert [(p.offset, p.volume) for p in step.place] == [("CLOSE", 2), ("CLOSETODAY", 1)]
    assert [(p.offset, p.volume) for p in plan(2, held).place] == [("CLOSE", 1)]
    assert [(p.offset, p.volume) for p in plan(-2, held, spec=CFFEX).place] == [("CLOSE", 3)]
    assert plan(3, held).place == ()


def test_large_orders_are_cut() -> None:
    assert [p.volume for p in plan(8, Position()).place] == [3, 3, 2]


def test_nothing_is_sent_while_something_works_or_a_side_is_empty() -> None:
    order = Order(
        order_id="a",
        symbol="SHFE.cu2502",
        side=1,
        offset="OPEN",
        volume=1,
        price=70_000.0,
        tif="FAK",
        left=1,
        status=OrderStatus.WORKING,
    )
    assert plan(1, Position(), (order,)) == plan(0, Position())
    empty = Book(
        symbol="SHFE.cu2502", trading_day="2025-01-08", market_ns=1, tick_id=1, bid=70_000.0, ask=math.nan, now_ns=5
    )
    assert plan_target(1, Position(), (), empty, SPEC, STYLE).place == ()
    assert plan_target(-1, Position(), (), empty, SPEC, STYLE).place != ()


def test_a_resting_order_is_taken_back_when_stale_or_wrong() -> None:
    style = ExecutionStyle(tif="GFD", reprice_s=5.0)
    order = Order(
        order_id="a",
        symbol="S",
        side=1,
        offset="OPEN",
        volume=1,
        price=70_000.0,
        tif="GFD",
        left=1,
        status=OrderStatus.WORKING,
        sent_market_ns=BOOK.market_ns,
    )
    assert plan(1, Position(), (order,), style=style).cancel == ()
    assert plan(-1, Position(), (order,), style=style).cancel == ("a",)
    order.sent_market_ns -= 5 * 10**9
    assert plan(1, Position(), (order,), style=style).cancel == ("a",)
    order.status = OrderStatus.CANCELLING
    assert plan(1, Position(), (order,), style=style).cancel == ()


def test_prices_stay_on_the_grid() -> None:
    book = Book(
        symbol="CFFEX.IF2101", trading_day="2021-01-04", market_ns=1, tick_id=1, bid=5123.4, ask=5123.6, now_ns=1
    )
    for slip in range(6):
        price = crossing_price(book, 1, CFFEX, slip)
        assert price == pytest.approx(5123.6 + 0.2 * slip) and len(repr(price)) < 8


def proposed(volume: int, side: int = 1, net: int = 0, working: int = 0, sent: tuple = ()) -> Proposed:
    offset = "CLOSE" if net * side < 0 else "OPEN"
    return Proposed(
        symbol="SHFE.cu2502",
        side=side,
        volume=volume,
        offset=offset,
        price=70_000.0,
        net=net,
        working=working,
        market_ns=10**18,
        sent_ns=deque(sent),
        multiplier=5,
        reference=70_000.0,
        price_tick=10.0,
        sessions=((0, 2 * 10**18),),
    )


def test_rules_say_why() -> None:
    assert MaxPosition(2).check(proposed(2)) == "" and "+3" in MaxPosition(2).check(proposed(3))
    assert "+3" in MaxPosition(2).check(proposed(1, net=1, working=1))
    assert MaxPosition(2).check(proposed(1, side=-1, net=5)) == "", "a position that is too large may shrink"
    assert "-3" in MaxPosition(2).check(proposed(3, side=-1))
    assert OrderSize(3).check(proposed(3)) == "" and OrderSize(3).check(proposed(4)) and OrderSize(3).check(proposed(0))
    second = 10**9
    sent = tuple(10**18 - k * second for k in (61, 59, 2, 1))
    assert "3 orders" in OrderRate(3, 60.0).check(proposed(1, sent=sent)) and not OrderRate(4, 60.0).check(
        proposed(1, sent=sent)
    )
    assert first_reason(
        RiskLimits(max_position=1, max_order=1, rate_orders=1, rate_window_s=1.0).rules(), proposed(2)
    ).startswith("SHFE.cu2502: position")


def test_a_day_limit_beside_the_grid_is_rounded_inwards() -> None:
    assert crossing_price(BOOK, 1, SPEC, 3, 69_000.0, 70_023.5) == 70_020.0
    assert crossing_price(BOOK, -1, SPEC, 3, 69_976.5, 71_000.0) == 69_980.0
    assert crossing_price(BOOK, 1, SPEC, 3, 69_000.0, 70_020.0) == 70_020.0
    assert crossing_price(BOOK, -1, SPEC, 3, 69_980.0, 71_000.0) == 69_980.0
    assert crossing_price(msgspec.structs.replace(BOOK, ask=5_000.2), 1, CFFEX, 9, 4_000.0, 5_000.6) == 5_000.6


def test_a_fill_never_takes_a_lot_twice_or_beyond_the_limit() -> None:
    values = synthetic_values(1, seed=2)[:, 0]
    for level, lots in enumerate((2, 3, 4), 1):
        values[COLUMN_INDEX[f"ask_volume{level}"]] = lots
    best, taken = values[COLUMN_INDEX["ask_price1"]], np.zeros((2, 5), np.int64)
    assert take(values, taken, 1, 4, best + 10) == [(best, 2), (best + 10, 2)]
    assert take(values, taken, 1, 9, best + 10) == [(best + 10, 1)]
    assert take(values, taken, 1, 1, best - 10) == []
    unknown = values.copy()
    unknown[COLUMN_INDEX["ask_volume1"]] = np.nan  # some recordings have no volumes of the book
    assert take(unknown, np.zeros((2, 5), np.int64), 1, 4, best) == []
    values[COLUMN_INDEX["bid_price1"]] = np.nan
    assert take(values, taken, -1, 1, 0.0) == []


MARKET = Market("SHFE.cu2502", date(2025, 1, 8), 10.0, 5)
AT_ONCE = ExecutionModel(latency_ms=0.0)


def no_fees(symbol: str, market_ns: int) -> FeeRates:
    return FeeRates()


def paper(values: np.ndarray) -> PaperBroker:
    n = values.shape[1]
    feed = ReplayFeed(MARKET, np.arange(n), np.arange(n), np.ascontiguousarray(values.T))
    return PaperBroker(feed, lambda symbol, market_ns: FeeRates(open_lot=7.0), AT_ONCE)


def test_a_paper_account_tells_what_its_feed_missed() -> None:
    broker = paper(synthetic_values(3, seed=4))
    assert (broker.missed, broker.broker_side_rules) == (0, [])
    broker._feed.missed = 3
    assert broker.missed == 3, "of a live feed: it was told as 0"


def test_paper_orders_fill_rest_and_close() -> None:
    values = synthetic_values(3, seed=4)
    values[COLUMN_INDEX["ask_volume1"]] = 1
    for level in range(2, 6):
        values[COLUMN_INDEX[f"ask_volume{level}"]] = 0
    broker = paper(values)
    broker.pump(0.0, True)
    ask = values[COLUMN_INDEX["ask_price1"], 0]
    broker.submit(
        Order(order_id="a", symbol="SHFE.cu2502", side=1, offset="OPEN", volume=2, price=ask, tif="FAK", left=2)
    )
    trade, report = broker.drain()
    assert isinstance(trade, TradeReport) and (trade.volume, trade.price, trade.commission) == (1, ask, 7.0)
    assert isinstance(report, OrderReport) and report.finished and report.left == 1 and not report.error
    broker.submit(
        Order(order_id="b", symbol="SHFE.cu2502", side=-1, offset="CLOSE", volume=1, price=0.0, tif="FAK", left=1)
    )
    (report,) = broker.drain()
    assert report.error, "today's lot is not yesterday's"
    broker.submit(
        Order(
            order_id="c",
            symbol="SHFE.cu2502",
            side=-1,
            offset="CLOSETODAY",
            volume=1,
            price=ask + 1000,
            tif="GFD",
            left=1,
        )
    )
    (report,) = broker.drain()
    assert not report.finished
    broker.cancel("c")
    (report,) = broker.drain()
    assert report.finished and report.left == 1
    assert broker.snapshot().holdings[0].long_today == 1
    assert [order_id for order_id, _ in broker.departures()] == ["a", "b", "c"]


def test_a_paper_account_charges_index_futures_by_the_exchanges_own_rule() -> None:
    """CFFEX knows no CLOSETODAY: what was opened today pays the close-today rate all the same."""
    contract, day = "CFFEX.IF2101", date(2021, 1, 4)
    rates = get_variety("IF").fees(contract, day)
    values = np.zeros((1, 27))
    values[0, COLUMN_INDEX["bid_price1"]], values[0, COLUMN_INDEX["ask_price1"]] = 5_400.0, 5_400.2
    values[0, COLUMN_INDEX["bid_volume1"]] = values[0, COLUMN_INDEX["ask_volume1"]] = 9
    feed = ReplayFeed(Market(contract, day, 0.2, 300), np.arange(1), np.arange(1), values)
    broker = PaperBroker(feed, lambda symbol, market_ns: rates, AT_ONCE)
    broker.pump(0.0, True)

    def trade(name: str, side: int, offset: str) -> float:
        order = Order(
            order_id=name, symbol=contract, side=side, offset=offset, volume=1, price=5_400.0 + 10 * side, tif="FAK",
            left=1,
        )  # fmt: skip
        broker.submit(order)
        (report,) = [one for one in broker.drain() if isinstance(one, TradeReport)]
        return report.commission

    assert trade("a", 1, "OPEN") == pytest.approx(5_400.2 * 300 * 0.000023)
    broker.enter_day()
    assert trade("b", 1, "OPEN") == pytest.approx(5_400.2 * 300 * 0.000023)
    assert trade("c", -1, "CLOSE") == pytest.approx(558.90), "one of today's, one of yesterday's: today's goes first"
    assert trade("d", -1, "CLOSE") == pytest.approx(37.26)
    assert broker.snapshot().holdings[0].long_his == 0


@pytest.mark.parametrize("bad", [math.nan, 0.0, 1.7976931348623157e308, 7_000.37])
def test_nonsense_neither_values_nor_fills_anything_on_paper(bad: float) -> None:
    values = np.zeros((4, 27))
    for name in ("bid", "ask"):
        values[:, COLUMN_INDEX[f"{name}_volume1"]] = 5
    values[:, COLUMN_INDEX["ask_price1"]] = [7_001.0, 7_001.0, 6_701.0, bad]
    values[:, COLUMN_INDEX["bid_price1"]] = [7_000.0, 7_000.0, bad, bad]
    values[:, COLUMN_INDEX["last_price"]] = [7_000.0, 7_000.0, bad, bad]
    feed = ReplayFeed(Market("SHFE.ag2506", date(2025, 1, 8), 1.0, 15), np.arange(4), np.arange(4) * 10**9, values)
    broker = PaperBroker(feed, lambda symbol, market_ns: FeeRates(), balance=0.0)
    broker.pump(0.0, True)
    order = dict(symbol="SHFE.ag2506", volume=1, tif="FAK", left=1)
    broker.submit(Order(order_id="a", side=1, offset="OPEN", price=7_001.0, **order))
    broker.pump(0.0, True)
    assert broker.balance() == (7_000.5 - 7_001) * 15
    broker.submit(Order(order_id="b", side=-1, offset="CLOSETODAY", price=1.0, **order))
    (report,) = broker.pump(0.0, True).reports
    assert report.finished and report.left == 1, "nobody bids: what is there is no price"
    assert broker.balance() == (6_700.5 - 7_001) * 15, "marked by the side there is"
    broker.pump(0.0, True)
    assert broker.balance() == (6_700.5 - 7_001) * 15 and broker.snapshot().holdings[0].long_today == 1


def test_an_order_meets_the_first_book_at_or_after_its_arrival() -> None:
    values = synthetic_values(4, seed=4)
    values[COLUMN_INDEX["ask_price1"]] = [70_010.0, 70_000.0, 69_990.0, 69_980.0]
    times = np.array([0, 1_000_000, 2_000_000, 500_000_000])
    order = dict(symbol=MARKET.symbol, volume=1, tif="FAK", left=1)
    for latency_ms, ask in ((0.0, 70_010.0), (0.5, 70_000.0), (2.0, 69_990.0), (2.1, 69_980.0)):
        feed = ReplayFeed(MARKET, np.arange(4), times, np.ascontiguousarray(values.T))
        broker = PaperBroker(feed, no_fees, ExecutionModel(latency_ms=latency_ms))
        broker.pump(0.0, True)
        broker.submit(Order(order_id="a", side=1, offset="OPEN", price=70_020.0, **order))
        reports = broker.drain()
        while not reports:
            reports = broker.pump(0.0, True).reports
        assert isinstance(reports[0], TradeReport) and reports[0].price == ask
    broker.submit(Order(order_id="b", side=1, offset="OPEN", price=70_020.0, **order))
    broker.cancel("b")
    (report,) = broker.drain()
    assert report.finished and report.left == 1, "an order on its way never gets there"


def test_replay_waits_for_answers_in_lock_step() -> None:
    market = Market("SHFE.cu2502", date(2025, 1, 8), 10.0, 5)
    feed = ReplayFeed(market, np.arange(5), np.arange(5) * 10, np.zeros((5, 27)), from_ns=20)
    assert [row.id for row in feed.history()] == [0, 1]
    assert feed.pump(0.0, False).ticks is None
    seen = [feed.pump(0.0, True).ticks.rows[0].id for _ in range(3)]
    assert seen == [2, 3, 4] and feed.pump(0.0, True).ended


def test_latency_counts_every_tick_to_its_last_order() -> None:
    clock = TickToTarget()
    for tick_id in (1, 2, 3):
        clock.tick(tick_id, tick_id * 1000)
    clock.answered(1, [], 1500)
    clock.answered(2, ["a", "b"], 2100)
    clock.order_left("a", 2300)
    assert clock.unanswered == 2
    clock.order_left("b", 2900)
    clock.order_left("b", 9999)
    clock.answered(77, [], 1)
    clock.marked(3, (3100, 3150, 3180, 3190), 3300)
    clock.answered(3, [], 3350)
    arrays = clock.arrays()
    assert arrays["ns"].tolist() == [500, 900, 350] and arrays["ordered"].tolist() == [False, True, False]
    assert arrays["parts"].tolist() == [[-1] * 6, [-1] * 6, [100, 50, 30, 10, 110, 50]]
    found = clock.summary()
    assert found.count == 3 and found.unanswered == 0
    assert found.parts["receive"] == PartTimes(p50=1e-4, p99=1e-4, slow=1e-4)


@pytest.mark.parametrize("again", [[], ["c"]])
def test_latency_takes_a_second_answer_to_a_tick(again: list[str]) -> None:
    clock = TickToTarget()
    clock.tick(1, 1000)
    clock.answered(1, ["a", "b"], 1100)
    clock.answered(1, again, 1200)
    for at, order_id in enumerate(("a", "b", *again)):
        assert clock.unanswered == 1
        clock.order_left(order_id, 2000 + at)
    arrays = clock.arrays()
    assert clock.unanswered == 0 and arrays["ordered"].tolist() == [True]
    assert arrays["ns"].tolist() == [1001 + len(again)]


def test_latency_tells_ticks_that_a_strategy_left_unanswered() -> None:
    clock = TickToTarget()
    clock.tick(1, 1000)
    clock.tick(2, 2000)
    clock.abandon()
    clock.tick(3, 3000)
    assert clock.unanswered == 1, "nobody waits for those of one who left"
    assert clock.summary().unanswered == 3


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["marked", "answered", "left", "reported"]), st.booleans(), st.integers(0, 3)),
        min_size=4,
        max_size=20,
    )
)
def test_latency_takes_anything_in_any_order(steps: list[tuple[str, bool, int]]) -> None:
    clock, sent = TickToTarget(), ["a", "b", "c"]
    clock.tick(0, 0)
    for now, (what, later, number) in enumerate(steps, start=1):
        if what == "marked":
            clock.marked(later, (now,) * 4, now)
        elif what == "answered":
            clock.answered(later, sent[:number], now)
        elif number == len(sent):
            clock.tick(1, now)
        elif what == "left":
            clock.order_left(sent[number], now)
        else:
            clock.reported(sent[number], now)
        assert 2 >= clock.unanswered >= clock.undecided >= 0
    arrays = clock.arrays()
    assert len(arrays["ns"]) == len(arrays["parts"]) and (arrays["ns"] >= 0).all()


def test_live_rows_equal_downloaded_ones() -> None:
    rng = np.random.default_rng(5)
    values = synthetic_values(200, seed=6).T.copy()
    prices = [COLUMN_INDEX[name] for name in VALUE_COLUMNS if "price" in name and name != "last_price"]
    for bad in (np.nan, 0.0, -5.0, 1.7e308):
        rows = rng.integers(0, 200, 40)
        values[rows, rng.choice(prices, 40)] = bad
    values[3, COLUMN_INDEX["open_interest"]] = np.nan
    times = 1_744_722_012_510_940_928 + rng.integers(0, 10**9, 200)
    columns = {name: values[:, i].copy() for i, name in enumerate(VALUE_COLUMNS)}
    table = canonical_table(np.arange(200), times, columns)
    assert values_matrix(table).T.tobytes() == canonical_values(values.copy()).tobytes()
    printed = times // 1000 * 1000  # what an exchange prints lies on the microsecond; a live series is float64
    assert canonical_time(printed.astype(np.float64)).tolist() == printed.tolist()
