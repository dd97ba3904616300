"""Corners of the core that stories come to seldom or never: each of these was a small change nothing noticed."""

from __future__ import annotations

import math
from collections import deque

import msgspec
import pytest

from ghtrader_base.trading_enums import TimeInForce
from ghtrader_market.accounting.fill import Offset
from ghtrader_market.accounting.positions import Position
from ghtrader_runtime.accounts.order_ledger import Intent
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core import state
from ghtrader_runtime.core.actions import (
    Answer,
    AnswerStatus,
    Cancel,
    CloseIntent,
    Record,
    Resubscribe,
    Resync,
    SendOrder,
    TripKill,
    WriteMarks,
)
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec, plan_target, towards_flat, why_not
from ghtrader_runtime.core.orders import Holding, Order, OrderKind, OrderStatus, PriceType, TradingState
from ghtrader_runtime.core.request_watermark import MAX_SESSIONS, TTL_NS, Watermark
from ghtrader_runtime.core.risk_rules import MaxPosition, OrderRate, Proposed, RiskLimits
from ghtrader_runtime.core.trading_core import Core, CoreConfig
from tests.support.core_events import CU, DAY, book, trade

IF = "CFFEX.IF2503"
SPEC = SymbolSpec(CU, 10.0, 5, True)
S = 1_000_000_000


def started(*holdings: Holding, style: ExecutionStyle | None = None, limits: RiskLimits | None = None, **changes):
    core = Core(
        CoreConfig(
            symbols={CU: SPEC},
            limits=limits or RiskLimits(max_position=3, max_order=5, rate_orders=100, rate_window_s=60.0),
            style=style or ExecutionStyle(slip_ticks=1),
            **changes,
        ),
        lambda number: f"o{number}",
    )
    core.handle(ev.Terms(symbol=CU, trading_day=DAY, sessions=((0, 10**15),), now_ns=0, lower=60_000.0, upper=80_000.0))
    core.handle(ev.Snapshot(trading_day=DAY, holdings=holdings, orders=(), trades=(), now_ns=1))
    core.handle(book(1))
    return core


def want(volume: int, revision: int, now: int = 2) -> ev.TargetWanted:
    return ev.TargetWanted(session="s", revision=revision, symbol=CU, volume=volume, now_ns=now)


def said(order_id: str, left: int, finished: bool, now: int = 3, volume: int = 1, **fields) -> ev.OrderReport:
    given = {"error": False, "exchange_order_id": "x", "message": "", "side": 1, "offset": "OPEN", **fields}
    return ev.OrderReport(
        order_id=order_id, symbol=CU, volume=volume, left=left, finished=finished, now_ns=now, **given
    )


def only(actions: list, kind: type) -> list:
    return [action for action in actions if isinstance(action, kind)]


# What is refused -----------------------------------------------------------------------------------------------


def at(market_ns: int, *sent_ns: int) -> Proposed:
    return Proposed(
        symbol=CU, side=1, volume=1, offset=Offset.OPEN, price=1.0, net=0, working=0, market_ns=market_ns,
        sent_ns=deque(sent_ns),
    )  # fmt: skip


def test_orders_of_a_later_market_time_do_not_count_for_the_rate() -> None:
    rule = OrderRate(2, 60.0)
    assert "at most 2" in rule.check(at(100 * S, 50 * S, 99 * S))
    assert not rule.check(at(100 * S, 40 * S, 99 * S)), "the window is open at its begin"
    assert not rule.check(at(100 * S, 500 * S, 501 * S)), "a later day that was played before"
    assert not rule.check(at(100 * S, 99 * S, 501 * S, 502 * S))
    assert "at most 2" in rule.check(at(100 * S, 501 * S, 98 * S, 99 * S))


def test_every_order_that_is_not_sent_is_recorded_once() -> None:
    core = started(limits=RiskLimits(max_position=3, max_order=5, rate_orders=1, rate_window_s=60.0))

    def refusals(volume: int, revision: int) -> int:
        actions = [*core.handle(book(revision)), *core.handle(want(volume, revision))]
        return sum(one.kind == "order-refused" for one in only(actions, Record))

    core.handle(want(1, 1))  # the one order of the minute; it is cancelled by the exchange
    core.handle(said("o1", 1, True))
    assert [refusals(1, 2), refusals(1, 3)] == [1, 0], "the rest of it, which the rate does not let through"
    assert [refusals(2, 4), refusals(2, 5)] == [1, 0], "another order, and not again with every tick"
    assert [refusals(0, 6), refusals(2, 7)] == [0, 1], "what was given up in between is wanted anew"


def test_an_order_given_up_because_trading_is_limited_is_recorded_once() -> None:
    core = started()
    core.handle(ev.StateWanted(TradingState.HALTED, "a person said so"))
    (record,) = only(core.handle(want(1, 2)), Record)
    assert record.kind == "order-refused" and "a person said so" in record.fields["reason"]
    assert not only([*core.handle(book(2)), *core.handle(want(1, 3))], Record)
    core.handle(ev.StateWanted(TradingState.REDUCING, "only closes"))
    assert not only(core.handle(want(1, 4)), Record), "the same order, and still not sent"
    assert len(only(core.handle(want(2, 5)), Record)) == 1 and not only(core.handle(book(3)), Record)


@pytest.mark.parametrize("bad", [math.nan, 0.0, -10.0, 1.7976931348623157e308, 70_003.7])
def test_a_quote_that_is_no_price_is_an_empty_side(bad: float) -> None:
    core = started()
    core.handle(ev.Book(symbol=CU, trading_day=DAY, market_ns=2, tick_id=2, bid=70_000.0, ask=bad, now_ns=2))
    assert math.isnan(core.state.books[CU].ask) and core.state.books[CU].bid == 70_000.0
    assert not only(core.handle(want(1, 1)), SendOrder), "nobody sells"
    asked = ev.Book(symbol=CU, trading_day=DAY, market_ns=3, tick_id=3, bid=bad, ask=70_010.0, now_ns=3)
    (sent,) = only(core.handle(asked), SendOrder)
    assert sent.order.price == 70_020.0


# Executing ---------------------------------------------------------------------------------------------------------


def resting(volume: int = 1, side: int = 1, price: float = 70_000.0, sent_market_ns: int = 0) -> Order:
    return Order(
        order_id="w",
        symbol=CU,
        side=side,
        offset="OPEN",
        volume=volume,
        price=price,
        tif="GFD",
        left=volume,
        status=OrderStatus.WORKING,
        sent_market_ns=sent_market_ns,
    )


@pytest.mark.parametrize(("away", "chased"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_resting_order_is_chased_from_so_many_ticks_on(away: int, chased: bool) -> None:
    style = ExecutionStyle(slip_ticks=0, tif="GFD", peg="join", chase_ticks=2, reprice_s=100.0)
    for sign in (1, -1):
        moved = ev.Book(
            symbol=CU,
            trading_day=DAY,
            market_ns=1,
            tick_id=1,
            bid=70_000.0 + sign * 10 * away,
            ask=70_010.0 + sign * 10 * away,
            now_ns=1,
        )
        step = plan_target(1, Position(), [resting()], moved, SPEC, style)
        assert bool(step.cancel) is chased
    never = ExecutionStyle(slip_ticks=0, tif="GFD", peg="join", chase_ticks=0, reprice_s=100.0)
    assert not plan_target(1, Position(), [resting()], moved, SPEC, never).cancel


def test_a_resting_order_is_sent_anew_after_its_seconds_and_not_before() -> None:
    style = ExecutionStyle(tif="GFD", reprice_s=5.0)
    order = resting(price=70_020.0, sent_market_ns=10 * S)
    for late, cancelled in ((5 * S - 1, False), (5 * S, True)):
        now = ev.Book(
            symbol=CU, trading_day=DAY, market_ns=10 * S + late, tick_id=1, bid=70_000.0, ask=70_010.0, now_ns=1
        )
        assert bool(plan_target(1, Position(), [order], now, SPEC, style).cancel) is cancelled


@pytest.mark.parametrize(("target", "side", "volume", "fits"), [
    (2, 1, 2, True), (2, 1, 1, True), (2, 1, 3, False), (1, -1, 1, False), (-2, -1, 2, True), (-1, -1, 2, False),
    (0, 1, 1, False),
])  # fmt: skip
def test_what_works_stays_only_where_the_target_still_wants_it(target: int, side: int, volume: int, fits: bool) -> None:
    style = ExecutionStyle(tif="GFD", reprice_s=100.0)
    step = plan_target(target, Position(), [resting(volume, side)], book(1), SPEC, style)
    assert bool(step.cancel) is not fits


def test_towards_flat_from_flat_is_flat() -> None:
    assert [towards_flat(target, 0) for target in (-2, 0, 2)] == [0, 0, 0]


@pytest.mark.parametrize(("symbol", "changes", "words"), [
    (CU, {"side": 0}, "no such order"), (CU, {"offset": "OPENN"}, "no such order"), (CU, {"tif": "GTC"}, "GTC"),
    (CU, {"price_type": "BEST"}, "takes LIMIT"), (CU, {"price": math.nan}, "wants a price"),
    (IF, {"price_type": "BEST", "tif": "GFD"}, "cannot rest"), (IF, {"price_type": "BEST", "tif": "FOK"}, "are FAK"),
    (IF, {"price_type": "FIVELEVEL", "tif": "FOK"}, "are FAK"), (IF, {"offset": "CLOSETODAY"}, "knows no CLOSETODAY"),
    (IF, {"price_type": "ANY", "tif": "FOK", "price": math.nan}, ""), (IF, {"price_type": "LIMIT", "tif": "GFD"}, ""),
    (IF, {"price_type": "LIMIT", "tif": "FOK"}, ""), (IF, {"price_type": "BEST", "price": math.nan}, ""),
    (CU, {}, ""), (CU, {"tif": "GFD"}, ""),
])  # fmt: skip
def test_what_is_wrong_with_a_direct_order(symbol: str, changes: dict, words: str) -> None:
    fields = {"side": 1, "offset": "OPEN", "price": 70_000.0, "price_type": "LIMIT", "tif": "FAK", **changes}
    order = ev.OrderWanted(session="s", revision=1, symbol=symbol, volume=1, now_ns=1, **fields)
    reason = why_not(order, Position(), [], SymbolSpec(symbol, 10.0, 5, symbol == CU))
    assert words in reason and bool(reason) is bool(words)


@pytest.mark.parametrize("state", TradingState)
@pytest.mark.parametrize("changes", [{"offset": "SHUT"}, {"tif": "IOC"}, {"price_type": "limit"}, {"side": 2}])
def test_a_direct_order_of_unknown_words_is_refused_in_every_state(changes: dict, state: TradingState) -> None:
    core = started()
    core.handle(ev.StateWanted(state, "a test"))
    answers = only(core.handle(msgspec.structs.replace(direct(1), **changes)), Answer)
    assert [answer.status for answer in answers] == [AnswerStatus.REFUSED] and answers[0].reason
    if state is TradingState.ACTIVE:
        assert str(next(iter(changes.values()))) in answers[0].reason
        (sent,) = only(core.handle(direct(2)), SendOrder)
        words = (sent.order.offset, sent.order.tif, sent.order.price_type, sent.order.kind)
        assert words == (Offset.OPEN, TimeInForce.GFD, PriceType.LIMIT, OrderKind.DIRECT)
        assert [type(word) for word in words] == [Offset, TimeInForce, PriceType, OrderKind]


def test_what_a_too_large_position_may_do() -> None:
    def after(side: int, volume: int, offset: str) -> str:
        return MaxPosition(1).check(
            Proposed(
                symbol=CU,
                side=side,
                volume=volume,
                offset=offset,
                price=70_000.0,
                net=4,
                working=0,
                market_ns=1,
                sent_ns=None,
            )
        )  # type: ignore[arg-type]

    assert not after(-1, 1, "CLOSE") and not after(-1, 5, "CLOSE") and after(-1, 8, "CLOSE"), (
        "as large again is refused"
    )


# Remembering -------------------------------------------------------------------------------------------------------


def test_finished_orders_and_trades_are_forgotten_in_the_end_and_live_ones_never() -> None:
    core = started()
    core.handle(said("old", 1, False, side=1))  # a stranger's, at work
    for number in range(state.KEEP_ORDERS + 50):
        order = Order(order_id=f"d{number}", symbol=CU, side=1, offset="OPEN", volume=1, price=1.0, tif="FAK", left=1)
        core.state.track(order)
        order.status = OrderStatus.CANCELLED
        core.state.retire(order)
        assert len(core.state.orders) <= state.KEEP_ORDERS
    assert len(core.state.orders) == state.KEEP_ORDERS
    assert "old" in core.state.orders and "d0" not in core.state.orders and f"d{number}" in core.state.orders
    for number in range(state.KEEP_TRADES + 10):
        assert not core.state.saw_trade(trade(f"t{number}", "old"))
    assert len(core.state.seen_trades) == state.KEEP_TRADES
    assert core.state.saw_trade(trade(f"t{number}", "old")), "the newest ones are known"


def test_a_session_heard_of_lately_is_not_the_one_forgotten() -> None:
    marks = Watermark.of([(f"s{i}", 1) for i in range(MAX_SESSIONS)])
    assert marks.note("s0", 2, TTL_NS - 1) == "new"
    assert marks.note("new", 1, TTL_NS - 1) == "full" and marks.note("new", 1, TTL_NS) == "new"
    assert "s0" in marks.marks and "s1" not in marks.marks
    core = started()
    for number in range(MAX_SESSIONS):
        core.handle(ev.CancelWanted(f"x{number}", 1, 2))
    (answer,) = only(core.handle(want(1, 1)), Answer)
    assert answer.status == "refused" and "too many sessions" in answer.reason


# Requests ----------------------------------------------------------------------------------------------------------


def test_a_new_target_may_join_again_and_a_repeated_one_goes_on_chasing() -> None:
    style = ExecutionStyle(slip_ticks=0, tif="GFD", peg="join", max_chases=1, reprice_s=100.0, chase_ticks=1)
    core = started(style=style)
    (first,) = only(core.handle(want(1, 1)), SendOrder)
    assert first.order.price == 70_000.0, "it joins the bid"
    core.handle(said("o1", 1, False))
    assert only(core.handle(book(2, 70_010.0, 70_020.0)), Cancel) and core.state.chases[CU] == 1
    core.handle(want(1, 2))
    assert core.state.chases[CU] == 1, "the same target again"
    core.handle(said("o1", 1, True, message="cancelled"))
    (second,) = only(core.handle(book(3, 70_010.0, 70_020.0)), SendOrder)
    assert second.order.price == 70_020.0, "chased often enough: it crosses"
    core.handle(trade("t1", "o3"))
    core.handle(said("o3", 0, True))
    (third,) = only(core.handle(want(2, 3)), SendOrder)
    assert third.order.price == 70_010.0, "another target joins again"
    core.handle(said("o5", 1, False))
    assert only(core.handle(book(4, 70_020.0, 70_030.0)), Cancel)
    core.handle(trade("t2", "o5"))  # just before the cancel
    core.handle(book(5, 70_020.0, 70_030.0))
    assert core.state.chases[CU] == 0, "arrived: the next step is not a chase"


def test_another_target_begins_anew_in_the_middle_of_a_chase() -> None:
    style = ExecutionStyle(slip_ticks=0, tif="GFD", peg="join", max_chases=1, reprice_s=100.0, chase_ticks=1)
    for volume, price in ((1, 70_020.0), (2, 70_010.0)):
        core = started(style=style)
        core.handle(want(1, 1))
        core.handle(said("o1", 1, False))
        core.handle(book(2, 70_010.0, 70_020.0))
        core.handle(said("o1", 1, True, message="cancelled"))
        (sent,) = only(core.handle(want(volume, 2)), SendOrder)
        assert sent.order.price == price


def direct(revision: int, session: str = "d", volume: int = 1, side: int = 1, offset: str = "OPEN") -> ev.OrderWanted:
    return ev.OrderWanted(
        session=session,
        revision=revision,
        symbol=CU,
        side=side,
        offset=offset,
        volume=volume,
        now_ns=2,
        price=70_000.0,
        price_type="LIMIT",
        tif="GFD",
    )


def test_a_session_takes_back_its_own_direct_orders_and_no_others() -> None:
    core = started()
    ids = [only(core.handle(direct(n)), SendOrder)[0].order.order_id for n in (1, 2)]
    for order_id in ids:
        core.handle(said(order_id, 1, False))
    assert [a.status for a in core.handle(ev.CancelWanted("other", 1, 3, ids[0]))] == ["refused"]
    assert [a.status for a in core.handle(ev.CancelWanted("other", 2, 3))] == ["refused"]
    assert [a.status for a in core.handle(ev.CancelWanted("d", 3, 3, "o9"))] == ["refused"]
    first = core.handle(ev.CancelWanted("d", 4, 3, ids[0]))
    assert [a.order_id for a in only(first, Cancel)] == ids[:1] and only(first, Answer)[0].status == "accepted"
    again = core.handle(ev.CancelWanted("d", 4, 3, ids[0]))
    assert [a.status for a in only(again, Answer)] == ["duplicate"] and not only(again, Cancel)
    rest = core.handle(ev.CancelWanted("d", 5, 3))
    assert [a.order_id for a in only(rest, Cancel)] == ids[1:]
    core = started(style=ExecutionStyle(tif="GFD"))
    core.handle(want(1, 1))
    core.handle(said("o1", 1, False))
    assert not only(core.handle(ev.CancelWanted("s", 2, 3)), Cancel), "a target's order is no direct one"


def test_direct_orders_in_reducing_shrink_what_is_held_with_all_that_is_out() -> None:
    core = started(Holding(CU, long_his=2))
    core.handle(ev.StateWanted(TradingState.REDUCING, "a test"))
    (sent,) = only(core.handle(direct(1, side=-1, offset="CLOSE")), SendOrder)
    assert sent.order.offset == "CLOSE"
    assert only(core.handle(direct(2, side=-1, offset="CLOSE", volume=2)), Answer)[0].status == "refused"
    assert only(core.handle(direct(3, side=-1, offset="CLOSE")), Answer)[0].status == "accepted"
    assert only(core.handle(direct(4, side=-1, offset="CLOSE")), Answer)[0].status == "refused", "all of it is out"
    assert only(core.handle(direct(5, side=1)), Answer)[0].status == "refused"


def test_a_killed_gateway_that_flattens_takes_no_direct_order() -> None:
    core = started(Holding(CU, long_his=2), on_kill="flatten")
    core.handle(ev.KillChange(True, "a test", 2))
    assert core.state.trading_state is TradingState.REDUCING
    (answer,) = only(core.handle(direct(1, side=-1, offset="CLOSE")), Answer)
    assert answer.status == "refused" and "kill switch" in answer.reason


# Reports -----------------------------------------------------------------------------------------------------------


def lost() -> Core:
    """A core whose order o1 was proven never to have been sent."""
    core = started()
    core.handle(want(1, 1, now=2))
    core.handle(want(0, 2, now=3))
    core.handle(ev.Timer(6 * S))
    core.handle(ev.Snapshot(trading_day=DAY, holdings=(), orders=(), trades=(), now_ns=9 * S))
    assert core.state.orders["o1"].status is OrderStatus.UNSENT
    return core


def test_what_was_taken_for_unsent_arrives_after_all() -> None:
    core = lost()
    late = core.handle(said("o1", 1, False, now=10 * S))
    order = core.state.orders["o1"]
    assert [a.order_id for a in only(late, Cancel)] == ["o1"] and order.status is OrderStatus.CANCELLING
    assert order.live and order.heard and not order.over and order.cancel_ns == 10 * S
    core = lost()
    whole = core.handle(trade("t1", "o1"))
    assert not only(whole, Cancel) and core.state.orders["o1"].status is OrderStatus.FILLED
    assert core.state.position(CU).net == 1
    core = lost()
    core.state.orders["o1"].volume = core.state.orders["o1"].left = 2
    part = core.handle(trade("t1", "o1"))
    assert [a.order_id for a in only(part, Cancel)] == ["o1"] and core.state.orders["o1"].live
    core = lost()
    assert not only(core.handle(said("o1", 1, True, now=10 * S)), Cancel), "it is over"
    assert core.state.orders["o1"].status is OrderStatus.CANCELLED and not core.state.orders["o1"].live


def test_a_list_tells_how_an_order_of_ours_stands() -> None:
    core = started()
    core.handle(want(2, 1))
    listed = said("o1", 1, False, volume=2)
    taken = core.handle(
        ev.Snapshot(
            trading_day=DAY,
            holdings=(Holding(CU, long_today=1),),
            orders=(listed,),
            trades=(trade("t1", "o1"),),
            now_ns=3 * S,
        )
    )
    order = core.state.orders["o1"]
    assert [a.order_id for a in only(taken, Cancel)] == ["o1"] and order.heard and order.traded == 1
    gone = core.handle(
        ev.Snapshot(trading_day=DAY, holdings=(Holding(CU, long_today=1),), orders=(), trades=(), now_ns=9 * S)
    )
    (closed,) = only(gone, CloseIntent)
    assert closed.outcome == "cancelled" and closed.left == 1, "it was heard of: over, and not unsent"
    core = started()
    core.handle(want(2, 1))
    core.handle(trade("t1", "o1"))
    (closed,) = only(
        core.handle(
            ev.Snapshot(trading_day=DAY, holdings=(Holding(CU, long_today=1),), orders=(), trades=(), now_ns=9 * S)
        ),
        CloseIntent,
    )
    assert closed.outcome == "cancelled" and closed.left == 1, "a trade is as good as a report"


def test_lots_a_complete_list_calls_filled_are_in_its_positions() -> None:
    core = started()
    core.handle(want(2, 1))
    listed = said("o1", 0, True, volume=2)
    core.handle(
        ev.Snapshot(trading_day=DAY, holdings=(Holding(CU, long_today=2),), orders=(listed,), trades=(), now_ns=3 * S)
    )
    assert not core.state.orders["o1"].live and core.state.orders["o1"].status is OrderStatus.FILLED


def test_a_list_settles_exactly_from_the_settling_time_on() -> None:
    for late, status in ((2 * S - 1, OrderStatus.UNKNOWN), (2 * S, OrderStatus.UNSENT)):
        core = started()
        core.handle(want(1, 1, now=2))
        core.handle(ev.Snapshot(trading_day=DAY, holdings=(), orders=(), trades=(), now_ns=2 + late))
        assert core.state.orders["o1"].status is status
        halted = core.state.trading_state is TradingState.HALTED
        assert halted is (status is OrderStatus.UNKNOWN), "an unknown order halts"


def test_an_order_that_is_over_is_not_reopened_by_a_late_report() -> None:
    core = started()
    core.handle(want(1, 1))
    core.handle(said("o1", 0, True))
    assert core.state.orders["o1"].status is OrderStatus.SETTLING
    assert not core.handle(said("o1", 1, False)) and core.state.orders["o1"].status is OrderStatus.SETTLING
    core.handle(trade("t1", "o1"))
    assert core.state.orders["o1"].status is OrderStatus.FILLED
    assert not core.handle(said("o1", 1, False)) and not core.handle(said("o1", 0, True))


def test_what_is_filled_goes_on_at_once_and_what_is_not_waits_for_the_next_tick() -> None:
    core = started(Holding(CU, long_his=1))
    core.handle(want(-1, 1))  # closes first
    unfilled = core.handle(said("o2", 1, True, side=-1, offset="CLOSE"))
    assert not only(unfilled, SendOrder)
    (again,) = only(core.handle(book(2)), SendOrder)
    core.handle(trade("t1", again.order.order_id, side=-1, offset=Offset.CLOSE))
    went_on = core.handle(said(again.order.order_id, 0, True, side=-1, offset="CLOSE"))
    assert core.state.orders[again.order.order_id].status is OrderStatus.FILLED
    opened = [a.order.offset for a in only(went_on, SendOrder)] or [
        order.offset for order in core.state.live_orders(CU)
    ]
    assert opened == ["OPEN"]


def test_a_report_of_a_cancelled_order_does_not_forget_the_cancel() -> None:
    core = started()
    core.handle(want(1, 1))
    core.handle(ev.StateWanted(TradingState.HALTED, "a test"))
    order = core.state.orders["o1"]
    order.status = OrderStatus.UNKNOWN
    core.handle(said("o1", 1, False))
    assert order.status is OrderStatus.CANCELLING and order.heard


def test_an_earlier_lifes_fills_are_told_once_and_under_their_own_name() -> None:
    intent = Intent(order_id="e1", number=1, symbol=CU, side=1, offset="OPEN", volume=1, price=70_000.0, tif="FAK")
    core = Core(
        CoreConfig(symbols={CU: SPEC}, limits=RiskLimits(max_position=3)),
        lambda n: f"o{n}",
        open_intents={"e1": intent},
    )
    listed = ev.Snapshot(trading_day=DAY, holdings=(Holding(CU, long_today=1),), orders=(said("e1", 0, True),),
                         trades=(trade("t1", "e1"), trade("t2", "stranger")), now_ns=9 * S)  # fmt: skip
    first = only(core.handle(listed), Record)
    assert [(r.kind, r.fields["trade"]) for r in first if r.kind.startswith("fill")] == [("fill-of-earlier-run", "t1")]
    assert not [r for r in only(core.handle(listed), Record) if r.kind.startswith("fill")]
    core.handle(want(2, 1, now=10 * S))


def test_fills_a_later_list_brings_are_fills() -> None:
    core = started()
    core.handle(want(1, 1))
    listed = ev.Snapshot(
        trading_day=DAY,
        holdings=(Holding(CU, long_today=1),),
        orders=(said("o1", 0, True),),
        trades=(trade("t1", "o1"),),
        now_ns=9 * S,
    )
    assert [r.kind for r in only(core.handle(listed), Record) if "fill" in r.kind] == ["fill"]


# Time, links, losses -----------------------------------------------------------------------------------------------


def test_pauses_before_asking_again_double_and_end_at_a_minute() -> None:
    core = started()
    core.handle(ev.LinkChange("broker", False, 2 * S))
    assert core.state.blocks["broker"][0] is core.state.trading_state is TradingState.HALTED
    assert only(core.handle(ev.LinkChange("broker", True, 3 * S)), Resync)
    now, pauses = 3 * S, []
    for _ in range(9):
        core.handle(ev.AskFailed("away", now))
        assert core.state.trading_state is TradingState.HALTED
        start = now
        while not only(core.handle(ev.Timer(now)), Resync):
            now += S // 4
        pauses.append((now - start) / S)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_subscribing_anew_has_growing_pauses_too() -> None:
    core = started(limits=RiskLimits(max_position=3, data_age_s=15.0))
    now, asked = 15 * S, []
    while len(asked) < 7:
        now += S // 2
        if only(core.handle(ev.Timer(now)), Resubscribe):
            asked.append(now)
    gaps = [(b - a) / S for a, b in zip(asked, asked[1:], strict=False)]
    assert gaps == [15, 30, 60, 120, 240, 240] and "no tick for" in core.state.blocks["data"][1]
    core.handle(book(2, now=now))
    assert "data" not in core.state.blocks and core.state.resubscribe_tries == 0


def test_the_age_of_data_is_told_in_seconds() -> None:
    core = started(limits=RiskLimits(max_position=3, data_age_s=15.0))
    core.handle(ev.Timer(15 * S + 1))
    assert "data" not in core.state.blocks, "exactly as old as allowed"
    core.handle(ev.Timer(21 * S))
    assert core.state.blocks["data"][1].endswith("no tick for 21 s")


def test_an_order_is_unknown_only_after_its_time() -> None:
    for late, unknown in ((5 * S, False), (5 * S + 1, True)):
        core = started()
        core.handle(want(1, 1, now=2))
        asked = core.handle(ev.Timer(2 + late))
        assert (core.state.orders["o1"].status is OrderStatus.UNKNOWN) is unknown
        assert bool(only(asked, Resync)) is unknown and ("reconcile" in core.state.blocks) is unknown
    told = [r.kind for r in only(asked, Record)]
    assert told == ["order-unknown"], "once, and not while the answer is awaited"
    assert not only(core.handle(ev.Timer(7 * S)), Record)


def test_an_order_whose_trades_are_missing_stays_settling() -> None:
    core = started()
    core.handle(want(1, 1, now=2))
    core.handle(said("o1", 0, True, now=3))
    core.handle(ev.Timer(6 * S))
    assert core.state.orders["o1"].status is OrderStatus.SETTLING and "reconcile" in core.state.blocks


def test_marks_of_a_later_day_silence_no_limit_and_count_once_their_day_is_there() -> None:
    core = Core(
        CoreConfig(symbols={CU: SPEC}, limits=RiskLimits(max_position=3, daily_loss=50.0, drawdown=0.0)),
        lambda n: f"o{n}",
        marks=("2025-01-09", 100.0, 120.0), other_marks=[("2025-01-07", 10.0, 10.0), ("2025-01-10", 95.0, 95.0)],
    )  # fmt: skip
    assert not core.handle(ev.Equity(200.0, 1)), "no day yet"
    core.handle(ev.Terms(symbol=CU, trading_day=DAY, sessions=((0, 10**15),), now_ns=1))
    (marks,) = only(core.handle(ev.Equity(200.0, 2)), WriteMarks)
    assert (marks.trading_day, marks.opening, marks.peak) == (DAY, 200.0, 200.0)
    assert not only(core.handle(ev.Equity(151.0, 3)), TripKill) and not core.handle(ev.Equity(math.nan, 3))
    (trip,) = only(core.handle(ev.Equity(150.0, 4)), TripKill)
    assert "lost 50 CNY since the day opened" in trip.reason, "marks of a later day silenced this"
    core.handle(ev.KillChange(tripped=False, reason="", now_ns=4))
    for day, opening in (("2025-01-09", 100.0), ("2025-01-10", 95.0)):  # a restart on a quiet evening forgets no loss
        core.handle(ev.Terms(symbol=CU, trading_day=day, sessions=((0, 10**15),), now_ns=5))
        assert not only(core.handle(ev.Equity(90.0, 5)), WriteMarks)
        assert (core.state.marks.trading_day, core.state.marks.opening) == (day, opening)
    assert only(core.handle(ev.Equity(45.0, 6)), TripKill), "lost since that day opened"
    assert not core.handle(ev.Equity(math.nan, 6)) and core.state.marks.last == 45.0, "no figure is no loss"


def test_equity_before_the_day_is_known_marks_nothing() -> None:
    fresh = Core(CoreConfig(symbols={CU: SPEC}, limits=RiskLimits(max_position=3)), lambda n: f"o{n}")
    before = fresh.state.marks.last
    assert not fresh.handle(ev.Equity(90.0, 1)) and repr(fresh.state.marks.last) == repr(before), "no day yet"


def test_reducing_takes_back_what_opens_and_leaves_what_closes_at_work() -> None:
    for held, offset, taken in ((0, "OPEN", True), (1, "CLOSE", False)):
        core = started(Holding(CU, long_his=held), style=ExecutionStyle(slip_ticks=1, tif="GFD", reprice_s=100.0))
        (sent,) = only(core.handle(want(1 - held, 1)), SendOrder)
        assert sent.order.offset == offset
        core.handle(said("o1", 1, False, side=sent.order.side, offset=offset))
        assert bool(only(core.handle(ev.StateWanted(TradingState.REDUCING, "by hand")), Cancel)) is taken


def test_without_a_drawdown_limit_a_peak_is_not_written_again_and_again() -> None:
    core = started(limits=RiskLimits(max_position=3, daily_loss=0.0, drawdown=0.0))
    core.handle(ev.Equity(1000.0, 2))
    assert not core.handle(ev.Equity(2000.0, 3)) and core.state.marks.peak == 2000.0
    core = started(limits=RiskLimits(max_position=3, daily_loss=0.0, drawdown=100.0))
    core.handle(ev.Equity(1000.0, 2))
    assert not only(core.handle(ev.Equity(1004.0, 3)), WriteMarks)
    assert only(core.handle(ev.Equity(1005.0, 4)), WriteMarks), "a twentieth of the limit"


def test_who_only_monitors_is_not_tripped_by_a_loss() -> None:
    for monitor, trips in ((True, 0), (False, 1)):
        core = started(limits=RiskLimits(max_position=3, daily_loss=10.0), monitor_only=monitor)
        core.handle(ev.Equity(1000.0, 2))
        assert len(only(core.handle(ev.Equity(900.0, 3)), TripKill)) == trips


def test_a_tick_enters_its_day_and_terms_of_another_day_forbid() -> None:
    core = started(Holding(CU, long_today=1))
    core.handle(
        ev.Book(symbol=CU, trading_day="2025-01-09", market_ns=2, tick_id=2, bid=70_000.0, ask=70_010.0, now_ns=2)
    )
    assert core.state.trading_day == "2025-01-09" and core.state.position(CU).long_his == 1
    refused = only(core.handle(want(2, 1)), Record)
    assert [r.fields["reason"] for r in refused] == [f"{CU}: its trading hours are not known"]


def test_the_same_refusal_is_told_again_once_an_order_has_left_in_between() -> None:
    core = started(limits=RiskLimits(max_position=3, rate_orders=1, rate_window_s=10.0))
    core.handle(want(1, 1))
    core.handle(trade("t1", "o1"))
    core.handle(said("o1", 0, True))
    kinds = []
    for n, volume in ((2, 2), (3, 2)):
        kinds += [r.kind for r in only(core.handle(want(volume, n)), Record)]
    assert kinds == ["order-refused"], "not with every target"
    assert only(core.handle(book(20 * S)), SendOrder)
    core.handle(trade("t2", "o3"))
    core.handle(said("o3", 0, True))
    assert [r.kind for r in only(core.handle(want(3, 4)), Record)] == ["order-refused"], "news again"
    assert core.state.next_number == 4


# Rolls and clocks --------------------------------------------------------------------------------------------------


def test_a_list_that_names_lots_of_another_contract_opens_nothing_before_they_are_closed() -> None:
    new = "SHFE.cu2503"
    core = Core(
        CoreConfig(symbols={CU: SPEC, new: SymbolSpec(new, 10.0, 5, True)}, limits=RiskLimits(max_position=3)),
        lambda number: f"o{number}",
    )
    for symbol in (CU, new):
        core.handle(
            ev.Terms(symbol=symbol, trading_day=DAY, sessions=((0, 10**15),), now_ns=0, lower=60_000.0, upper=80_000.0)
        )
        core.handle(
            ev.Book(symbol=symbol, trading_day=DAY, market_ns=1, tick_id=1, bid=70_000.0, ask=70_010.0, now_ns=1)
        )
    core.handle(
        ev.Bound(requested="KQ.m@SHFE.cu", symbol=new, now_ns=1, price_tick=10.0, multiplier=5, needs_close_today=True)
    )
    core.handle(ev.Snapshot(trading_day=DAY, holdings=(), orders=(), trades=(), now_ns=1))
    assert core.state.trading_state is TradingState.ACTIVE
    core.handle(ev.LinkChange("broker", False, 2))
    core.handle(ev.TargetWanted(session="s", revision=1, symbol=new, volume=1, now_ns=2))
    core.handle(ev.LinkChange("broker", True, 3))
    found = core.handle(
        ev.Snapshot(trading_day=DAY, holdings=(Holding(CU, long_his=1),), orders=(), trades=(), now_ns=4)
    )
    sent = [(a.order.symbol, a.order.offset) for a in only(found, SendOrder)]
    assert (new, "OPEN") not in sent and core.state.trading_state is TradingState.REDUCING


def test_clocks_that_jump_back_make_nothing_old_young_or_double() -> None:
    core = started(limits=RiskLimits(max_position=3, rate_orders=2, data_age_s=0.0))
    core.handle(want(1, 1, now=100 * S))
    assert core.state.now_ns == 100 * S
    core.handle(book(2, now=50 * S))
    core.handle(ev.Timer(20 * S))
    assert core.state.now_ns == 100 * S, "time goes on or stands still"
    order = core.state.orders["o1"]
    core.handle(ev.Timer(106 * S))
    assert order.status is OrderStatus.UNKNOWN, "its five seconds are counted from when it was sent"
    assert [a.status for a in only(core.handle(want(1, 1, now=1)), Answer)] == ["duplicate"]
    core = started(limits=RiskLimits(max_position=3, rate_orders=1))
    core.handle(ev.Book(symbol=CU, trading_day=DAY, market_ns=500 * S, tick_id=2, bid=70_000.0, ask=70_010.0, now_ns=2))
    core.handle(want(1, 1))
    core.handle(trade("t1", "o1"))
    core.handle(said("o1", 0, True))
    assert not core.handle(
        ev.Book(symbol=CU, trading_day=DAY, market_ns=400 * S, tick_id=1, bid=70_000.0, ask=70_010.0, now_ns=3)
    ), "an older tick is known already"
    back = core.handle(
        ev.Book(symbol=CU, trading_day=DAY, market_ns=400 * S, tick_id=3, bid=70_000.0, ask=70_010.0, now_ns=4)
    )
    assert not back and core.state.market_ns == 500 * S and core.state.next_number == 2
    assert not only(core.handle(want(2, 2)), SendOrder), "the rate is not forgotten by a market clock that goes back"


def test_reducing_counts_what_is_out_on_the_same_side() -> None:
    core = started(Holding(CU, long_today=2))

    def sell(revision: int, offset: str, volume: int) -> tuple[str, list[Order]]:
        actions = core.handle(
            ev.OrderWanted(
                session="s",
                revision=revision,
                symbol=CU,
                side=-1,
                offset=offset,
                volume=volume,
                now_ns=2,
                price=70_010.0,
                price_type="LIMIT",
                tif="GFD",
            )
        )
        (answer,) = only(actions, Answer)
        return answer.status, [action.order for action in only(actions, SendOrder)]

    status, (opening,) = sell(1, "OPEN", 1)
    core.handle(said(opening.order_id, 1, False, side=-1))
    core.handle(ev.StateWanted(TradingState.REDUCING, "a test"))  # it is called in, and may be filled until it is
    assert status == "accepted" and sell(2, "CLOSETODAY", 2)[0] == "refused"
    assert sell(3, "CLOSETODAY", 1)[0] == "accepted"
    core = started(Holding(CU, long_today=2))
    core.handle(
        ev.OrderWanted(
            session="s",
            revision=1,
            symbol=CU,
            side=1,
            offset="OPEN",
            volume=1,
            now_ns=2,
            price=70_000.0,
            price_type="LIMIT",
            tif="GFD",
        )
    )
    core.handle(ev.StateWanted(TradingState.REDUCING, "a test"))
    assert sell(2, "CLOSETODAY", 2)[0] == "accepted", "what is out on the other side does not count"


def test_a_tick_told_again_changes_nothing() -> None:
    core = started()
    for repeated in (book(1, bid=69_000.0, now=9), book(0, bid=69_000.0, now=9)):
        core.handle(repeated)
        assert (core.state.books[CU].bid, core.state.books[CU].now_ns) == (70_000.0, 1), "no fresher, either"


def test_how_long_the_market_has_been_silent_is_said() -> None:
    core = started()
    core.handle(book(2, now=100 * S))
    (told,) = only(core.handle(ev.Timer(350 * S)), Record)
    assert told.fields == {"symbol": CU, "age_s": pytest.approx(250.0)}
