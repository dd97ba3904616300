"""The core, case by case: what it answers, what it sends, what stops it."""

from __future__ import annotations

import math

import pytest

from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.accounts.order_ledger import Intent
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import (
    Answer,
    Cancel,
    CloseIntent,
    Record,
    Resubscribe,
    Resync,
    TripKill,
    WriteIntent,
    WriteMarks,
)
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec
from ghtrader_runtime.core.orders import Holding, OrderStatus, TradingState
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.core.trading_core import Core, CoreConfig
from tests.support.core_events import CU, DAY, book, trade

SYMBOL = CU
TERMS = ev.Terms(symbol=SYMBOL, trading_day=DAY, sessions=((0, 10**15),), now_ns=0, lower=60_000.0, upper=80_000.0)


def new_core(**changes) -> Core:
    config = CoreConfig(
        symbols={SYMBOL: SymbolSpec(SYMBOL, 10.0, 5, True)},
        limits=RiskLimits(max_position=2, max_order=5, rate_orders=3, rate_window_s=60.0),
        style=ExecutionStyle(slip_ticks=1),
        **changes,
    )
    core = Core(config, lambda number: f"o{number}")
    core.handle(TERMS)
    return core


def ready(**changes) -> Core:
    core = new_core(**changes)
    core.handle(snapshot())
    core.handle(book(1))
    return core


def snapshot(*holdings: Holding, orders: tuple = (), trades: tuple = (), now: int = 1) -> ev.Snapshot:
    return ev.Snapshot(trading_day=DAY, holdings=holdings, orders=orders, trades=trades, now_ns=now)


def target(volume: int, revision: int, session: str = "s", now: int = 2) -> ev.TargetWanted:
    return ev.TargetWanted(session=session, revision=revision, symbol=SYMBOL, volume=volume, now_ns=now)


def only(actions: list, kind: type) -> list:
    return [action for action in actions if isinstance(action, kind)]


def report(order_id: str, left: int, finished: bool, error: bool = False, now: int = 3) -> ev.OrderReport:
    return ev.OrderReport(
        order_id=order_id,
        symbol=SYMBOL,
        side=1,
        offset="OPEN",
        volume=1,
        left=left,
        finished=finished,
        error=error,
        exchange_order_id="" if error else "x",
        message="why",
        now_ns=now,
    )


def test_nothing_is_sent_before_the_broker_was_asked() -> None:
    core = new_core()
    core.handle(book(1))
    actions = core.handle(target(1, 1))
    assert not only(actions, WriteIntent) and "not been asked" in only(actions, Answer)[0].reason
    assert only(core.handle(snapshot()), WriteIntent)


def test_a_target_becomes_one_order_and_a_repeat_becomes_none() -> None:
    core = ready()
    (submit,) = only(core.handle(target(1, 1)), WriteIntent)
    assert (submit.order.side, submit.order.volume, submit.order.price) == (1, 1, 70_020.0)
    again = core.handle(target(1, 1))
    assert [a.status for a in only(again, Answer)] == ["duplicate"] and not only(again, WriteIntent)
    assert not only(core.handle(target(1, 2)), WriteIntent), "one is on its way"


def test_a_fill_counts_once_and_the_second_leg_follows_the_first() -> None:
    core = new_core()
    core.handle(snapshot(Holding(SYMBOL, long_today=1)))
    core.handle(book(1))
    (close,) = only(core.handle(target(-1, 1)), WriteIntent)
    assert close.order.offset == "CLOSETODAY"
    done = ev.OrderReport(
        order_id=close.order.order_id,
        symbol=SYMBOL,
        side=-1,
        offset="CLOSETODAY",
        volume=1,
        left=0,
        finished=True,
        error=False,
        exchange_order_id="x",
        message="",
        now_ns=3,
    )
    assert not only(core.handle(done), WriteIntent), "its trade is not here yet"
    fill = trade("t1", close.order.order_id, side=-1, offset=Offset.CLOSETODAY)
    (second,) = only(core.handle(fill), WriteIntent)
    assert second.order.offset == "OPEN" and not core.handle(fill)
    assert core.state.position(SYMBOL).net == 0


def test_refusals_name_the_reason() -> None:
    core = ready()
    assert "at most 2" in only(core.handle(target(3, 1)), Answer)[0].reason
    core.handle(target(0, 2))
    assert "written by session s" in only(core.handle(target(0, 1, "other")), Answer)[0].reason
    core.handle(ev.LinkChange("s", False, 5))
    assert only(core.handle(target(0, 2, "other")), Answer)[0].status == "accepted"
    wrong = ev.TargetWanted(session="other", revision=3, symbol="SHFE.au2506", volume=1, now_ns=5)
    assert "not traded" in only(core.handle(wrong), Answer)[0].reason


def test_rejections_in_a_row_stop_all_opening() -> None:
    core = ready(max_rejects=2)
    for revision in (1, 2):
        (submit,) = only(core.handle(target(1, revision)), WriteIntent)
        core.handle(report(submit.order.order_id, 1, True, error=True))
    assert core.state.trading_state is TradingState.REDUCING
    assert not only(core.handle(target(1, 9)), WriteIntent)
    core.handle(ev.StateWanted(TradingState.ACTIVE, "looked"))
    assert only(core.handle(target(1, 10)), WriteIntent)


def test_kill_cancels_and_stops_until_reset() -> None:
    core = ready()
    (submit,) = only(core.handle(target(1, 1)), WriteIntent)
    assert only(core.handle(ev.KillChange(True, "test", 4)), Cancel) == [Cancel(submit.order.order_id)]
    core.handle(report(submit.order.order_id, 1, True))
    assert not only(core.handle(target(1, 2)), WriteIntent)
    core.handle(ev.KillChange(False, "", 5))
    assert only(core.handle(target(1, 3)), WriteIntent)


def test_reducing_lets_positions_shrink_only() -> None:
    core = new_core()
    core.handle(snapshot(Holding(SYMBOL, long_his=1)))
    core.handle(book(1))
    core.handle(ev.StateWanted(TradingState.REDUCING, "end of day"))
    assert not only(core.handle(target(2, 1)), WriteIntent)
    (submit,) = only(core.handle(target(-1, 2)), WriteIntent)
    assert submit.order.offset == "CLOSE" and submit.order.volume == 1
    core.handle(report(submit.order.order_id, 0, True))
    assert not only(core.handle(trade("t", submit.order.order_id, side=-1, offset=Offset.CLOSE)), WriteIntent)
    assert "REDUCING" in only(core.handle(target(-1, 3)), Answer)[0].reason


def test_monitor_only_never_sends() -> None:
    core = ready(monitor_only=True)
    assert not only(core.handle(target(1, 1)), WriteIntent)
    core.handle(ev.StateWanted(TradingState.ACTIVE, "please"))
    assert not only(core.handle(target(1, 2)), WriteIntent)


def test_silence_about_an_order_asks_anew_and_unseen_means_unsent() -> None:
    core = ready(unknown_s=1.0)
    (submit,) = only(core.handle(target(1, 1, now=10)), WriteIntent)
    assert not only(core.handle(ev.Timer(10**9)), Resync)
    assert only(core.handle(ev.Timer(2 * 10**9)), Resync)
    assert not only(core.handle(ev.Timer(3 * 10**9)), Resync), "asked once"
    assert not only(core.handle(book(4)), WriteIntent), "its symbol is blocked"
    actions = core.handle(snapshot(now=3 * 10**9))
    assert only(actions, CloseIntent) == [CloseIntent(submit.order.order_id, "unsent", 1)]
    late = core.handle(report(submit.order.order_id, 1, False))
    assert Cancel(submit.order.order_id) in late, "it arrived after all"


def test_an_earlier_lifes_intents_are_settled_by_what_the_broker_says() -> None:
    def intent(number: int) -> Intent:
        return Intent(
            order_id=f"o{number}",
            number=number,
            symbol=SYMBOL,
            side=1,
            offset="OPEN",
            volume=1,
            price=70_000.0,
            tif="FAK",
        )

    config = CoreConfig(symbols={SYMBOL: SymbolSpec(SYMBOL, 10.0, 5, True)})
    core = Core(config, lambda number: f"p{number}", 9, {f"o{n}": intent(n) for n in (1, 2, 3)})
    core.handle(TERMS)
    core.handle(book(1))
    answer = snapshot(
        Holding(SYMBOL, long_today=1), orders=(report("o1", 0, True), report("o2", 1, False)),
        trades=(trade("t1", "o1"),), now=3 * 10**9,
    )  # fmt: skip
    actions = core.handle(answer)
    assert [(c.order_id, c.outcome) for c in only(actions, CloseIntent)] == [("o1", "filled"), ("o3", "unsent")]
    assert only(actions, Cancel) == [Cancel("o2")]
    assert core.state.position(SYMBOL).net == 1
    assert not core.handle(trade("t1", "o1")), "a fill of before the crash counts once"
    assert not only(core.handle(target(0, 1)), WriteIntent), "o2 may still fill"
    core.handle(report("o2", 1, True))
    (submit,) = only(core.handle(target(0, 2)), WriteIntent)
    assert submit.order.order_id == "p10" and submit.order.offset == "CLOSETODAY", "even ones sell"


def test_a_stranger_at_work_is_taken_back() -> None:
    core = ready()
    assert only(core.handle(report("stranger", 1, False)), Cancel) == [Cancel("stranger")]
    assert not only(core.handle(target(1, 1)), WriteIntent)


def test_closing_what_we_do_not_know_of_means_our_picture_is_wrong() -> None:
    core = ready()
    actions = core.handle(trade("t", "elsewhere", side=-1, offset=Offset.CLOSE))
    assert only(actions, Resync) and core.state.trading_state is TradingState.HALTED


def test_a_broken_link_halts_until_the_broker_was_asked() -> None:
    core = ready()
    core.handle(ev.LinkChange("broker", False, 2))
    assert not only(core.handle(target(1, 1)), WriteIntent)
    assert only(core.handle(ev.LinkChange("broker", True, 3)), Resync)
    assert not only(core.handle(book(4)), WriteIntent)
    assert only(core.handle(snapshot(now=5)), WriteIntent)


def test_a_new_trading_day_ages_the_position() -> None:
    core = new_core()
    core.handle(snapshot(Holding(SYMBOL, long_today=1)))
    core.handle(book(1))
    core.handle(ev.Terms(symbol=SYMBOL, trading_day="2025-01-09", sessions=TERMS.sessions, now_ns=2))
    core.handle(book(2, day="2025-01-09"))
    (submit,) = only(core.handle(target(0, 1)), WriteIntent)
    assert submit.order.offset == "CLOSE"


def test_the_rate_limit_says_so_once() -> None:
    core = ready()
    records = []
    for revision in range(1, 8):
        actions = core.handle(target(1, revision))
        records += only(actions, Record)
        for submit in only(actions, WriteIntent):
            core.handle(report(submit.order.order_id, 1, True))
    assert len(core.state.sent_ns) == 3
    assert [r.fields["reason"] for r in records if r.kind == "order-refused"] == [
        "3 orders in the last 60 s of market time, at most 3 allowed"
    ]


def test_an_empty_side_waits() -> None:
    core = new_core()
    core.handle(snapshot())
    core.handle(book(1, ask=math.nan))
    assert not only(core.handle(target(1, 1)), WriteIntent)
    assert only(core.handle(book(2)), WriteIntent)


def test_what_is_no_event_is_an_error() -> None:
    with pytest.raises(TypeError):
        ready().handle("tick")


def test_an_answer_over_a_new_line_ends_a_broken_one() -> None:
    core = ready()
    core.handle(ev.LinkChange("broker", False, 2))
    core.handle(snapshot(now=3))
    assert core.state.trading_state is TradingState.ACTIVE, "the report that the line is back may never come"


def test_a_broker_that_cannot_be_asked_is_asked_again_with_growing_pauses() -> None:
    core, second = ready(unknown_s=1.0), 10**9
    core.handle(target(1, 1, now=10))
    (asked,) = only(core.handle(ev.Timer(2 * second)), Resync)
    assert "unknown" in asked.reason
    core.handle(ev.AskFailed("nobody there", 2 * second))
    times, now = [], 2 * second
    while len(times) < 4:
        now += second // 10
        if only(core.handle(ev.Timer(now)), Resync):
            times.append(now - 2 * second)
            core.handle(ev.AskFailed("nobody there", now))
    gaps = [(b - a) / second for a, b in zip([0, *times], times, strict=False)]
    assert gaps == pytest.approx([1.0, 2.0, 4.0, 8.0], abs=0.11)
    assert "cannot be asked" in core.state.limits


def test_an_incomplete_list_proves_nothing() -> None:
    core = ready(unknown_s=1.0, settle_s=0.5)
    (submit,) = only(core.handle(target(1, 1, now=10)), WriteIntent)
    core.handle(ev.Timer(2 * 10**9))
    partial = ev.Snapshot(trading_day=DAY, holdings=(), orders=(), trades=(), now_ns=3 * 10**9, complete=False)
    assert not only(core.handle(partial), CloseIntent) and core.state.trading_state is TradingState.HALTED
    assert core.state.orders[submit.order.order_id].status is OrderStatus.UNKNOWN
    assert not only(core.handle(ev.Timer(3 * 10**9 + 1)), Resync), "not at once"
    assert only(core.handle(ev.Timer(4 * 10**9)), Resync)


def test_a_young_order_the_list_does_not_name_may_still_be_on_its_way() -> None:
    core = ready(unknown_s=1.0, settle_s=5.0)
    core.handle(target(1, 1, now=10))
    core.handle(ev.Timer(2 * 10**9))
    assert not only(core.handle(snapshot(now=2 * 10**9)), CloseIntent)
    assert only(core.handle(snapshot(now=6 * 10**9)), CloseIntent)[0].outcome == "unsent"


def test_a_loss_trips_the_switch_and_a_reset_accepts_it() -> None:
    core = new_core()
    core.handle(snapshot(Holding(SYMBOL, long_his=1)))
    core.handle(book(1))
    core.handle(target(1, 1))
    (marks,) = only(core.handle(ev.Equity(1_000_000.0, 2)), WriteMarks)
    assert (marks.trading_day, marks.opening, marks.peak) == (DAY, 1_000_000.0, 1_000_000.0)
    assert not only(core.handle(ev.Equity(900_001.0, 3)), TripKill)
    actions = core.handle(ev.Equity(900_000.0, 4))
    assert "100,000" in only(actions, TripKill)[0].reason and core.state.trading_state is TradingState.HALTED
    assert not only(core.handle(ev.Equity(800_000.0, 5)), TripKill), "tripped once"
    (marks,) = only(core.handle(ev.KillChange(False, "", 6)), WriteMarks)
    assert marks.opening == 800_000.0 and not only(core.handle(ev.Equity(700_001.0, 7)), TripKill)
    config = CoreConfig(symbols={SYMBOL: SymbolSpec(SYMBOL, 10.0, 5, True)})
    again = Core(config, lambda number: f"p{number}", marks=(DAY, 1_000_000.0, 1_100_000.0))
    again.handle(snapshot())
    assert only(again.handle(ev.Equity(950_000.0, 8)), TripKill), "a restart forgets no loss"


def test_flattening_closes_what_is_held_and_then_halts() -> None:
    core = new_core(on_kill="flatten")
    core.handle(snapshot(Holding(SYMBOL, long_today=1, long_his=1)))
    core.handle(book(1))
    core.handle(ev.KillChange(True, "test", 2))
    assert core.state.trading_state is TradingState.REDUCING
    legs = only(core.handle(book(3)), WriteIntent)
    assert [(leg.order.offset, leg.order.side) for leg in legs] == [("CLOSE", -1), ("CLOSETODAY", -1)]
    for i, leg in enumerate(legs):
        core.handle(report(leg.order.order_id, 0, True))
        core.handle(trade(f"t{i}", leg.order.order_id, side=-1, offset=leg.order.offset))
    assert core.state.trading_state is TradingState.HALTED and not only(core.handle(book(9)), WriteIntent)
    assert not only(core.handle(target(1, 1)), WriteIntent)


def test_silent_data_stops_opening_and_subscribes_anew_outside_breaks_only() -> None:
    core, second = ready(), 10**9
    assert not core.handle(ev.Timer(10 * second))
    (again,) = only(core.handle(ev.Timer(16 * second)), Resubscribe)
    assert SYMBOL in again.reason and core.state.trading_state is TradingState.REDUCING
    assert not only(core.handle(ev.Timer(17 * second)), Resubscribe)
    assert only(core.handle(ev.Timer(32 * second)), Resubscribe)
    core.handle(
        ev.Book(
            symbol=SYMBOL,
            trading_day=DAY,
            market_ns=40 * second,
            tick_id=99,
            bid=70_000.0,
            ask=70_010.0,
            now_ns=33 * second,
        )
    )
    assert core.state.trading_state is TradingState.ACTIVE
    end = TERMS.sessions[0][1] - second
    core.handle(
        ev.Book(
            symbol=SYMBOL, trading_day=DAY, market_ns=end, tick_id=100, bid=70_000.0, ask=70_010.0, now_ns=34 * second
        )
    )
    assert not core.handle(ev.Timer(900 * second)), "a break is silent"


@pytest.mark.parametrize(
    ("last_ns", "due"),
    [(40 * 10**9, True), (0, False), (TERMS.sessions[0][1] - 10**9, False), (2 * 10**15, False)],
    ids=["in a session", "nobody knows", "at its end", "after it"],
)
def test_ticks_that_never_begin_are_missed_too(last_ns: int, due: bool) -> None:
    """The data line may close between the subscription and the first tick; then no tick is there to grow old."""
    core, second = Core(ready().config, lambda number: f"o{number}"), 10**9
    core.handle(
        ev.Terms(
            symbol=SYMBOL,
            trading_day=DAY,
            sessions=TERMS.sessions,
            now_ns=5 * second,
            lower=60_000.0,
            upper=80_000.0,
            market_ns=last_ns,
        )
    )
    core.handle(snapshot(now=6 * second))
    assert not only(core.handle(ev.Timer(20 * second)), Resubscribe)
    again = only(core.handle(ev.Timer(21 * second)), Resubscribe)
    assert bool(again) is due
    assert core.state.trading_state is (TradingState.REDUCING if due else TradingState.ACTIVE)
    core.handle(
        ev.Book(
            symbol=SYMBOL,
            trading_day=DAY,
            market_ns=50 * second,
            tick_id=7,
            bid=70_000.0,
            ask=70_010.0,
            now_ns=22 * second,
        )
    )
    assert core.state.trading_state is TradingState.ACTIVE


def test_direct_orders_go_once_by_what_the_exchange_takes() -> None:
    core = ready()

    def order(revision: int, **changes) -> ev.OrderWanted:
        given = {"price": 70_000.0, "tif": "GFD", **changes}
        return ev.OrderWanted(
            session="d",
            revision=revision,
            symbol=SYMBOL,
            side=1,
            offset=given.pop("offset", "OPEN"),
            volume=1,
            now_ns=5,
            **given,
        )

    (first,) = only(core.handle(order(1)), WriteIntent)
    assert first.order.kind == "direct" and only(core.handle(order(1)), Answer)[0].status == "duplicate"
    for revision, changes, word in (
        (2, {"price_type": "ANY"}, "SHFE takes LIMIT"), (3, {"price": 70_003.0}, "multiple"),
        (4, {"price": 90_000.0}, "limits"), (5, {"offset": "CLOSE"}, "there to close"), (6, {"tif": "IOC"}, "IOC"),
        (7, {"price": 72_000.0}, "from the market"), (8, {"price": math.nan}, "wants a price"),
    ):  # fmt: skip
        actions = core.handle(order(revision, **changes))
        assert word in only(actions, Answer)[0].reason and not only(actions, WriteIntent)
    assert "written by direct" in only(core.handle(target(1, 9, "d")), Answer)[0].reason
    assert only(core.handle(ev.CancelWanted("d", 10, 6)), Cancel) == [Cancel(first.order.order_id)]
    assert only(core.handle(ev.CancelWanted("d", 11, 7)), Answer)[0].status == "refused"


def test_a_lot_that_a_report_tells_of_and_no_trade_counts_for_the_limit() -> None:
    core = new_core()
    core.handle(snapshot(Holding(SYMBOL, short_his=2)))
    core.handle(book(1))

    def order(revision: int, offset: str, volume: int, side: int) -> ev.OrderWanted:
        return ev.OrderWanted(
            session="d",
            revision=revision,
            symbol=SYMBOL,
            side=side,
            offset=offset,
            volume=volume,
            now_ns=5,
            price=70_000.0,
            tif="GFD",
        )

    (first,) = only(core.handle(order(1, "CLOSE", 2, 1)), WriteIntent)
    core.handle(report(first.order.order_id, 1, False))
    refused = core.handle(order(2, "OPEN", 3, 1))
    assert "+3" in only(refused, Answer)[0].reason, "two closing, whether told by trade or not, and three opening"
