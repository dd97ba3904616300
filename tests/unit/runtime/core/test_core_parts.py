"""Each part of the core, built alone over a state: what it does, and what it asks of the others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from ghtrader_market.accounting.fill import Offset
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.account_risk import AccountRisk
from ghtrader_runtime.core.actions import (
    Action,
    Answer,
    Cancel,
    CloseIntent,
    Record,
    Resubscribe,
    Resync,
    SendOrder,
    TripKill,
    WriteBinding,
    WriteIntent,
    WriteMarks,
)
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.broker_reports import BrokerReports, ask_broker
from ghtrader_runtime.core.market_data_watch import MarketData
from ghtrader_runtime.core.order_entry import OrderEntry
from ghtrader_runtime.core.order_planning import ExecutionStyle, Place, SymbolSpec
from ghtrader_runtime.core.order_prediction import OrderPrediction
from ghtrader_runtime.core.orders import Holding, Order, OrderStatus, TradingState
from ghtrader_runtime.core.pre_trade_check import PreTradeCheck
from ghtrader_runtime.core.reconciliation import Reconciliation
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.core.roll_execution import ContractRoll
from ghtrader_runtime.core.state import CoreConfig, CoreState
from ghtrader_runtime.core.strategy_requests import StrategyRequests
from ghtrader_runtime.core.target_steps import TargetSteps
from tests.support.core_events import CU, DAY, book, trade

NEXT, S = "SHFE.cu2503", 1_000_000_000
BUY = Place(side=1, offset="OPEN", volume=2, price=70_010.0, tif="FAK")


def ready() -> CoreState:
    """In session, with a book."""
    return CoreState(
        trading_day=DAY,
        books={CU: book()},
        terms={CU: ev.Terms(symbol=CU, trading_day=DAY, sessions=((0, 10**15),), now_ns=0)},
    )


def config(**given: Any) -> CoreConfig:
    return CoreConfig(symbols={CU: SymbolSpec(CU, 10.0, 5, True)}, limits=RiskLimits(max_position=3), **given)


def entry(state: CoreState, **given: Any) -> OrderEntry:
    return OrderEntry(config(**given), state, lambda number: f"o{number}")


def kinds(actions: list[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


class Asked:
    """Stands where another part is called: keeps what it was asked."""

    def __init__(self) -> None:
        self.symbols: list[str] = []

    def __call__(self, symbol: str) -> list[Action]:
        self.symbols.append(symbol)
        return []


def never_left(symbol: str) -> bool:
    return False


def no_roll(symbol: str, place: Place) -> str:
    return ""


def test_order_entry_writes_the_intent_first_and_numbers_sides_apart() -> None:
    state = CoreState(now_ns=5)
    orders = entry(state)
    first = orders.place(CU, BUY, "s", 1, book(), "target")
    second = orders.place(
        CU, Place(side=-1, offset="CLOSE", volume=1, price=70_000.0, tif="FAK"), "s", 2, book(), "direct"
    )
    third = orders.place(
        CU, Place(side=-1, offset="CLOSE", volume=1, price=70_000.0, tif="FAK"), "s", 3, book(), "direct"
    )
    assert kinds(first) == ["WriteIntent", "SendOrder"] and isinstance(first[0], WriteIntent)
    assert [sent[0].order.order_id for sent in (first, second, third)] == ["o1", "o2", "o4"], "odd buys, even sells"
    assert list(state.live[CU]) == ["o1", "o2", "o4"] and len(state.sent_ns) == 3
    assert orders.cancel(state.orders["o1"]) == [Cancel("o1")]
    assert state.orders["o1"].status is OrderStatus.CANCELLING and state.orders["o1"].cancel_ns == 5


def test_order_entry_sends_no_cancel_where_it_only_watches() -> None:
    state = CoreState(now_ns=5)
    order = Order(order_id="e1", symbol=CU, side=1, offset="OPEN", volume=1, price=70_000.0, tif="GFD", left=1)
    assert entry(state, monitor_only=True).cancel(order) == [] and order.status is OrderStatus.SENT


def test_pre_trade_check_asks_the_roll_and_the_limits() -> None:
    state = ready()
    assert PreTradeCheck(config(), state, no_roll).forbidden(CU, BUY, book()) == ""
    without_terms = CoreState(trading_day=DAY)
    assert "hours are not known" in PreTradeCheck(config(), without_terms, no_roll).forbidden(CU, BUY, book())
    assert PreTradeCheck(config(), state, lambda symbol, place: "a roll").forbidden(CU, BUY, book()) == "a roll"
    assert "4" in PreTradeCheck(config(), state, no_roll).forbidden(
        CU, Place(side=1, offset="OPEN", volume=4, price=70_010.0, tif="FAK"), book()
    )


def test_target_steps_send_one_step_and_tell_a_refusal_once() -> None:
    state = ready()
    orders, waits = entry(state), [""]
    check = PreTradeCheck(config(), state, lambda symbol, place: waits[0])
    steps = TargetSteps(config(), state, ExecutionStyle(), orders, check, never_left)
    assert steps.advance(CU) == [], "no target"
    requests = StrategyRequests(config(), state, orders, check, steps.advance)
    waits[0] = "not yet"
    said = requests.on_target(ev.TargetWanted(session="s", revision=1, symbol=CU, volume=2, now_ns=1))
    assert kinds(said) == ["Record", "Answer"] and steps.advance(CU) == [], "refused, and said once"
    waits[0] = ""
    assert kinds(steps.advance(CU)) == ["WriteIntent", "SendOrder"] and steps.advance(CU) == [], "one step at a time"


def test_target_steps_flatten_what_is_left_and_open_nothing_while_reducing() -> None:
    state = ready()
    check, left = PreTradeCheck(config(), state, no_roll), [False]
    steps = TargetSteps(config(), state, ExecutionStyle(), entry(state), check, lambda symbol: left[0])
    state.block(BlockReason.DATA, TradingState.REDUCING, "silent")
    StrategyRequests(config(), state, entry(state), check, steps.advance).on_target(
        ev.TargetWanted(session="s", revision=1, symbol=CU, volume=2, now_ns=1)
    )
    assert not state.orders
    BrokerReports(config(), state, entry(state), Asked()).on_trade(trade("t1", "x"))
    left[0] = True
    sent = steps.advance(CU)
    assert isinstance(sent[1], SendOrder) and (sent[1].order.side, sent[1].order.volume) == (-1, 1)


def test_market_data_drops_old_books_and_limits_trading_in_silence() -> None:
    state, advance = CoreState(), Asked()
    market = MarketData(config(), state, advance, never_left)
    market.on_terms(ev.Terms(symbol=CU, trading_day=DAY, sessions=((0, 10**15),), now_ns=0))
    market.on_book(book(2))
    market.on_book(book(2))
    market.on_book(book(1))
    assert advance.symbols == [CU] and state.trading_day == DAY
    assert market.watch() == []
    state.now_ns = 17 * S
    assert kinds(market.watch()) == ["Record", "Resubscribe"] and market.watch() == []
    assert state.blocks[BlockReason.DATA][0] is state.trading_state is TradingState.REDUCING
    market.on_book(book(3, now=17 * S))
    assert not state.blocks
    market.on_link(False)
    assert list(state.blocks) == [BlockReason.DATA_LINK] == ["data-link"]
    market.on_link(True)
    assert not state.blocks


def alarms(last: str, until: str, answers: Callable[[int], bool] = lambda second: False) -> list[int]:
    """Seconds after the last tick of a copper day at which the feed was looked at, up to a time of that day;
    `answers` whether the service then says that it has no newer tick."""
    midnight = np.datetime64("2025-02-11T00:00:00").astype("datetime64[s]").astype(int) - 8 * 3600

    def moment(text: str) -> int:
        hours, minutes, seconds = map(int, text.split(":"))
        return int(midnight + 3600 * hours + 60 * minutes + seconds) * S

    state, found = CoreState(), []
    market = MarketData(config(), state, Asked(), never_left)
    sessions = tuple(bundled_calendar().sessions("cu", date(2025, 2, 11)))
    market.on_terms(ev.Terms(symbol=CU, trading_day="2025-02-11", sessions=sessions, now_ns=0))
    market.on_book(
        ev.Book(
            symbol=CU, trading_day="2025-02-11", market_ns=moment(last), tick_id=1, bid=1.0, ask=2.0, now_ns=0,
        )
    )  # fmt: skip
    for second in range((moment(until) - moment(last)) // S):
        state.now_ns = second * S
        if any(isinstance(action, Resubscribe) for action in market.watch()):
            found.append(second)
            if answers(second):
                market.on_feed_checked(ev.FeedChecked(symbol=CU, now_ns=state.now_ns))
                assert not state.blocks, "the book at hand is the newest there is"
    return found


def test_a_break_is_no_silence() -> None:
    assert len(alarms("11:29:40", "13:30:00")) <= 1, "33 before"
    assert alarms("11:29:50", "13:30:15") == [] == alarms("10:14:50", "10:30:15")
    assert alarms("00:59:50", "09:00:15") == [] == alarms("14:59:50", "17:59:59")
    assert alarms("11:29:50", "13:31:00") == [7226, 7241], "dead in the afternoon: due since 13:30"
    assert alarms("10:00:00", "10:01:00") == [16, 31]


def test_a_market_locked_at_its_limit_is_no_dead_feed() -> None:
    """The service says that there is no newer tick: nobody logs in again, and looks become rarer."""
    looks = alarms("09:30:00", "10:15:00", lambda second: True)
    assert looks[:5] == [16, 46, 106, 226, 466] and len(looks) <= 15
    dead = alarms("09:30:00", "10:00:00", lambda second: second < 600)
    assert [second for second in dead if second >= 600][0] <= 600 + 240, "a feed that dies meanwhile is found"


@pytest.mark.parametrize("begins", ["before the day", "the evening before", "a gateway that runs on"])
def test_a_feed_that_is_dead_from_a_days_first_moment_is_named_and_nothing_opens(begins: str) -> None:
    calendar = bundled_calendar()
    monday, tuesday = (tuple(calendar.sessions("cu", date(2025, 2, day))) for day in (10, 11))
    opens = tuesday[0][0]
    state = CoreState()
    market = MarketData(config(), state, Asked(), never_left)
    if begins == "before the day":  # started in the break before the session, the day is known
        begun_ns = opens - 300 * S
        terms = {"trading_day": "2025-02-11", "sessions": tuesday, "market_ns": begun_ns}
    else:
        begun_ns = opens - 300 * S if begins == "the evening before" else monday[-1][1]
        terms = {"trading_day": "2025-02-10", "sessions": monday, "next_sessions": tuesday, "market_ns": begun_ns}
    market.on_terms(ev.Terms(symbol=CU, now_ns=0, **terms))
    if begins == "a gateway that runs on":
        market.on_book(replace(book(1), trading_day="2025-02-10", market_ns=begun_ns))
    state.now_ns = opens - begun_ns + 15 * S
    assert market.watch() == [] and not state.blocks
    state.now_ns += S
    assert kinds(market.watch()) == ["Record", "Resubscribe"]
    level, why = state.blocks[BlockReason.DATA]
    assert level is TradingState.REDUCING and why == f"{CU}: the session began 16 s ago without a tick"
    market.on_feed_checked(ev.FeedChecked(symbol=CU, now_ns=state.now_ns))
    assert BlockReason.DATA in state.blocks, "the service has none either: the day has not opened"
    looks = 0
    for _ in range(1800):
        state.now_ns += S
        looks += any(isinstance(action, Resubscribe) for action in market.watch())
    assert 7 <= looks <= 12, "ever more rarely, four minutes apart at most"
    market.on_book(replace(book(2), trading_day="2025-02-11", market_ns=opens + 1816 * S, now_ns=state.now_ns))
    assert not state.blocks


def test_market_data_forgives_the_silence_of_a_contract_that_is_left() -> None:
    state = CoreState()
    market = MarketData(config(), state, Asked(), lambda symbol: True)
    market.on_terms(ev.Terms(symbol=CU, trading_day=DAY, sessions=((0, 10**15),), now_ns=0))
    market.on_book(book())
    state.now_ns = 100 * S
    assert not any(isinstance(action, Resubscribe) for action in market.watch()) and not state.blocks


def test_strategy_requests_keep_a_symbol_for_its_writer_until_it_is_released() -> None:
    state, advance = ready(), Asked()
    check = PreTradeCheck(config(), state, no_roll)
    requests = StrategyRequests(config(), state, entry(state), check, advance)

    def status(actions: list[Action]) -> str:
        answers = [action.status for action in actions if isinstance(action, Answer)]
        assert len(answers) == 1
        return answers[0]

    order = ev.OrderWanted(
        session="a", revision=1, symbol=CU, side=1, offset="OPEN", volume=1, now_ns=1, price=70_010.0
    )
    assert status(requests.on_order_wanted(order)) == "accepted"
    assert status(requests.on_order_wanted(order)) == "duplicate"
    assert (
        status(requests.on_target(ev.TargetWanted(session="a", revision=2, symbol=CU, volume=1, now_ns=1))) == "refused"
    ), "direct orders, not targets"
    assert (
        status(requests.on_target(ev.TargetWanted(session="b", revision=1, symbol=CU, volume=1, now_ns=1))) == "refused"
    ), "another session's"
    assert requests.release("a") == [Cancel("o1")] and not state.writers
    assert status(
        requests.on_target(ev.TargetWanted(session="b", revision=2, symbol=CU, volume=1, now_ns=1))
    ) == "accepted" and advance.symbols == [CU]
    assert requests.release("b") == [] and not state.targets, "its order is being cancelled already"


def test_broker_reports_count_a_trade_once_and_ask_where_lots_are_unknown() -> None:
    state, advance = CoreState(trading_day=DAY), Asked()
    orders = entry(state)
    reports = BrokerReports(config(), state, orders, advance)
    orders.place(CU, BUY, "s", 1, book(), "target")
    assert kinds(reports.on_trade(trade("t1", "o1", volume=2))) == ["CloseIntent", "Record", "Record"]
    assert reports.on_trade(trade("t1", "o1", volume=2)) == []
    assert state.position(CU).net == 2 and advance.symbols == [CU]
    assert state.orders["o1"].status is OrderStatus.FILLED and not state.live_orders(CU)
    asked = reports.on_trade(trade("t2", "x", volume=3, side=-1, offset=Offset.CLOSETODAY))
    assert isinstance(asked[-1], Resync) and BlockReason.RECONCILE in state.blocks
    assert ask_broker(state, "again") == [], "it was asked already"


def test_reconciliation_believes_only_a_complete_list_taken_late_enough() -> None:
    state, advance = CoreState(trading_day=DAY), Asked()
    orders = entry(state)
    reports = BrokerReports(config(), state, orders, advance)
    reconciliation = Reconciliation(config(), state, reports, advance)
    orders.place(CU, BUY, "s", 1, book(), "target")
    state.now_ns = 6 * S
    assert kinds(reconciliation.watch()) == ["Record", "Resync"]
    assert state.orders["o1"].status is OrderStatus.UNKNOWN and state.trading_state is TradingState.HALTED
    holdings = (Holding(CU, long_his=1),)
    reconciliation.on_snapshot(
        ev.Snapshot(trading_day=DAY, holdings=holdings, orders=(), trades=(), now_ns=6 * S, complete=False)
    )
    assert state.orders["o1"].status is OrderStatus.UNKNOWN and BlockReason.RECONCILE in state.blocks
    actions = reconciliation.on_snapshot(
        ev.Snapshot(trading_day=DAY, holdings=holdings, orders=(), trades=(), now_ns=6 * S)
    )
    assert CloseIntent("o1", "unsent", 2) in actions and state.orders["o1"].status is OrderStatus.UNSENT
    assert not state.blocks and state.reconciled and state.position(CU).net == 1 and set(advance.symbols) == {CU}


def test_reconciliation_asks_when_the_line_is_back_and_pauses_where_it_cannot() -> None:
    state = CoreState()
    reconciliation = Reconciliation(config(), state, BrokerReports(config(), state, entry(state), Asked()), Asked())
    reconciliation.on_broker_link(False)
    assert set(state.blocks) == {BlockReason.BROKER, BlockReason.RECONCILE} and reconciliation.watch() == []
    assert isinstance(reconciliation.on_broker_link(True)[-1], Resync)
    reconciliation.on_ask_failed(ev.AskFailed("busy", 0))
    assert reconciliation.watch() == []
    state.now_ns = S
    assert kinds(reconciliation.watch()) == ["Resync"]


def test_account_risk_trips_on_a_loss_and_is_reset() -> None:
    state = CoreState(trading_day=DAY)
    risk, orders = AccountRisk(config(), state, entry(state)), entry(state)
    orders.place(CU, BUY, "s", 1, book(), "target")
    state.orders["o1"].status = OrderStatus.WORKING
    state.now_ns = 1
    assert risk.on_equity(ev.Equity(1_000_000.0, 1)) == [WriteMarks(DAY, 1_000_000.0, 1_000_000.0)]
    actions = risk.on_equity(ev.Equity(900_000.0, 2))
    assert isinstance(actions[0], TripKill) and actions[-1] == Cancel("o1") and state.killed
    assert risk.on_kill(ev.KillChange(True, "by hand", 3)) == [], "tripped already"
    risk.on_kill(ev.KillChange(False, "", 4))
    assert not state.killed and not state.blocks and state.marks.opening == 900_000.0


def test_account_risk_lets_closing_orders_pass_while_a_kill_flattens() -> None:
    state = CoreState(trading_day=DAY)
    risk = AccountRisk(config(on_kill="flatten"), state, entry(state))
    BrokerReports(config(), state, entry(state), Asked()).on_trade(trade("t1", "x"))
    risk.on_kill(ev.KillChange(True, "by hand", 3))
    risk.set_kill_block()
    assert state.trading_state is TradingState.REDUCING
    state.positions.clear()
    risk.set_kill_block()
    assert state.trading_state is TradingState.HALTED


def test_contract_roll_writes_the_new_contract_once_the_old_one_is_flat() -> None:
    state, told = CoreState(trading_day=DAY), config()
    orders = OrderEntry(told, state, lambda number: f"o{number}")
    roll = ContractRoll(told, state, orders)
    opening = Place(side=1, offset="OPEN", volume=1, price=70_010.0, tif="FAK")
    assert roll.waits_for_roll(CU, opening) == "" and not roll.is_left(CU), "no contract of the day: all may open"
    orders.place(CU, BUY, "s", 1, book(), "target")
    state.now_ns = 1
    assert kinds(
        roll.on_bound(
            ev.Bound(requested="main", symbol=NEXT, now_ns=1, price_tick=10.0, multiplier=5, needs_close_today=True)
        )
    ) == ["Record", "Cancel"]
    assert roll.is_left(CU) and roll.waits_for_roll(CU, opening) and roll.waits_for_roll(NEXT, opening)
    assert roll.watch() == [] and state.blocks[BlockReason.ROLL][0] is TradingState.REDUCING
    order = state.orders["o1"]
    order.status = OrderStatus.CANCELLED
    state.retire(order)
    assert roll.watch() == [WriteBinding("main", NEXT), Record("rolled", {"contract": NEXT})]
    assert not state.blocks and roll.waits_for_roll(NEXT, opening) == "" and roll.watch() == []


def test_order_prediction_changes_nothing() -> None:
    state = ready()
    check, style = PreTradeCheck(config(), state, no_roll), ExecutionStyle()
    steps = TargetSteps(config(), state, style, entry(state), check, never_left)
    requests = StrategyRequests(config(), state, entry(state), check, steps.advance)
    prediction = OrderPrediction(config(), state, style, lambda number: f"o{number}", check, never_left)
    requests.on_target(ev.TargetWanted(session="s", revision=1, symbol=CU, volume=0, now_ns=1))
    before = copy.deepcopy(state)
    likely = prediction.likely(CU, (1, -1))
    assert [(one.order_id, one.side) for one in likely] == [("o1", 1), ("o2", -1)] and state == before
    sent = requests.on_target(ev.TargetWanted(session="s", revision=2, symbol=CU, volume=1, now_ns=1))
    assert [action.order.order_id for action in sent if isinstance(action, SendOrder)] == ["o1"]


def test_every_block_reason_says_what_it_blocks() -> None:
    lines = {line.strip() for line in (BlockReason.__doc__ or "").splitlines()}
    assert {reason.name for reason in BlockReason} <= lines
    assert {str(reason) for reason in BlockReason} == {
        "reconcile", "broker", "ledger", "rejects", "monitor", "kill", "operator", "data", "data-link", "roll",
        "holding", "clock",
    }  # fmt: skip
