"""What small faults of the core once changed unseen: lists, days, sessions, partial fills, fat fingers, rates.

The faults themselves stand in `tests/core_simulation/mutants.py` (`SMALL_FAULTS`).
"""

from __future__ import annotations

from typing import Any

import pytest

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Answer, AnswerStatus, Cancel, SendOrder
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec
from ghtrader_runtime.core.orders import Holding, OrderStatus
from ghtrader_runtime.core.request_watermark import MAX_SESSIONS, TTL_NS
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.core.trading_core import Core, CoreConfig
from tests.support.core_events import CU, DAY, book, trade

NEXT, S = "SHFE.cu2503", 1_000_000_000
LONG_AGO, LATER = "2025-01-07", "2025-01-09"


def snapshot(**given: Any) -> ev.Snapshot:
    return ev.Snapshot(**({"trading_day": DAY, "holdings": (), "orders": (), "trades": (), "now_ns": 1} | given))


def begun(first: ev.Snapshot | None = None, style: ExecutionStyle | None = None, **given: Any) -> Core:
    """A core of two contracts that has the broker's list and the first contract's terms and book."""
    limits = RiskLimits(**({"max_position": 5, "max_order": 5, "data_age_s": 0.0} | given.pop("limits", {})))
    symbols = {symbol: SymbolSpec(symbol, 10.0, 5, True) for symbol in (CU, NEXT)}
    config = CoreConfig(symbols=symbols, limits=limits, style=style or ExecutionStyle())
    core = Core(config, lambda number: f"o-{number}", **given)
    for symbol in (CU, NEXT):
        core.handle(ev.Terms(symbol=symbol, trading_day=DAY, sessions=((0, 10**15),), now_ns=1))
    core.handle(first or snapshot(now_ns=max(1, given.get("now_ns", 0))))
    core.handle(book(1, now=max(1, given.get("now_ns", 0))))
    return core


def book_of(symbol: str, tick: int, market_ns: int, day: str = DAY) -> ev.Book:
    return ev.Book(
        symbol=symbol, trading_day=day, market_ns=market_ns, tick_id=tick, bid=70_000.0, ask=70_010.0, now_ns=market_ns
    )


def wanted(core: Core, volume: int, *, session: str = "s", revision: int = 1, now_ns: int = 2) -> list[Action]:
    return core.handle(
        ev.TargetWanted(session=session, revision=revision, symbol=CU, volume=volume, now_ns=now_ns)
    )


def by_hand(core: Core, price: float, revision: int, symbol: str = CU, tif: str = "FAK") -> list[Action]:
    return core.handle(
        ev.OrderWanted(
            session="by hand", revision=revision, symbol=symbol, side=1, offset="OPEN", volume=1,
            now_ns=core.state.now_ns, price=price, tif=tif,
        )
    )  # fmt: skip


def sent(actions: list[Action]) -> int:
    return sum(isinstance(action, SendOrder) for action in actions)


def test_trades_of_a_complete_list_move_no_position_again() -> None:
    """A complete list that names no position of a symbol says that it is flat, trades of the day or not."""
    both = (trade("t1", "elsewhere", volume=2), trade("t2", "elsewhere", volume=1, side=-1))
    core = begun(snapshot(trades=both))
    assert core.state.position(CU).net == 0
    core.handle(both[0])
    assert core.state.position(CU).net == 0, "told again by itself it counts once"
    named = begun(snapshot(trades=both, holdings=(Holding(CU, 1, 0, 0, 0),)))
    assert named.state.position(CU).net == 1
    partial = begun(snapshot(trades=both[:1], complete=False))
    assert partial.state.position(CU).net == 2, "a list that is not complete has not counted it"
    partly_named = begun(snapshot(trades=both[:1], holdings=(Holding(CU, 2, 0, 0, 0),), complete=False))
    assert partly_named.state.position(CU).net == 2


@pytest.mark.parametrize("day", [LONG_AGO, DAY])
def test_only_a_later_day_makes_todays_lots_yesterdays(day: str) -> None:
    core = begun()
    core.handle(trade("t1", "elsewhere", volume=2))
    core.handle(book_of(NEXT, 90, 90, day))
    core.handle(ev.Terms(symbol=NEXT, trading_day=day, sessions=((0, 10**15),), now_ns=91))
    assert core.state.trading_day == DAY
    assert (core.state.position(CU).long_today, core.state.position(CU).long_his) == (2, 0)
    core.handle(book_of(NEXT, 91, 92, LATER))
    assert core.state.trading_day == LATER
    assert (core.state.position(CU).long_today, core.state.position(CU).long_his) == (0, 2)


def test_sessions_of_an_earlier_life_are_not_silent_since_boot() -> None:
    start = 10 * TTL_NS
    core = begun(watermark=[(f"s{number}", 5) for number in range(MAX_SESSIONS)], now_ns=start)

    def status(session: str, revision: int, now_ns: int) -> AnswerStatus:
        actions = wanted(core, 0, session=session, revision=revision, now_ns=now_ns)
        (answer,) = [action for action in actions if isinstance(action, Answer)]
        return answer.status

    assert status("new", 1, start + 1) is AnswerStatus.REFUSED, "nobody is pushed out"
    assert status("s0", 5, start + 2) is AnswerStatus.DUPLICATE
    assert status("new", 1, start + TTL_NS - 1) is AnswerStatus.REFUSED
    assert status("new", 1, start + TTL_NS + 3) is AnswerStatus.ACCEPTED, "an hour after the start they are"


@pytest.mark.parametrize("trade_first", [True, False])
@pytest.mark.parametrize("volume", [2, 3, 5])
def test_a_resting_order_stays_after_each_partial_fill(trade_first: bool, volume: int) -> None:
    core = begun(style=ExecutionStyle(tif="GFD", reprice_s=1e6, max_order=5))
    assert sent(wanted(core, volume)) == 1
    (order,) = core.state.live_orders(CU)

    def report(left: int) -> ev.OrderReport:
        return ev.OrderReport(
            order_id=order.order_id, symbol=CU, side=1, offset="OPEN", volume=volume, left=left, finished=left == 0,
            error=False, exchange_order_id="x", message="", now_ns=4,
        )  # fmt: skip

    ticks = iter(range(10, 1000))

    def nothing_is_cancelled(event: ev.Event) -> None:
        for actions in (core.handle(event), core.handle(book(next(ticks))), wanted(core, volume, revision=next(ticks))):
            assert not [action for action in actions if isinstance(action, Cancel | SendOrder)]

    nothing_is_cancelled(report(volume))
    assert order.status is OrderStatus.WORKING
    for filled in range(1, volume + 1):
        told = [trade(f"t{filled}", order.order_id), report(volume - filled)]
        for event in told if trade_first else reversed(told):
            nothing_is_cancelled(event)
    assert core.state.position(CU).net == volume


@pytest.mark.parametrize("price", [73_600.0, 73_500.0, 66_550.0, 66_500.0])
def test_a_fat_finger_is_judged_by_the_market_and_not_by_its_own_price(price: float) -> None:
    core = begun(limits={"price_collar": 0.05})  # 3,500.25 from 70,005: between 66,504.75 and 73,505.25
    assert sent(by_hand(core, price, 1, tif="GFD")) == (66_505.0 <= price <= 73_505.0)


def test_the_rate_counts_at_the_time_of_the_market_and_not_of_a_books() -> None:
    core = begun(limits={"rate_orders": 1, "rate_window_s": 60.0})
    core.handle(book_of(NEXT, 1, 100 * S))
    assert sent(by_hand(core, 70_010.0, 1)) == 1, "by a book of nearly two minutes ago"
    assert list(core.state.sent_ns) == [100 * S]
    core.handle(book_of(NEXT, 2, 130 * S))
    assert sent(by_hand(core, 70_010.0, 2, NEXT)) == 0, "one within the last minute"
    core.handle(book_of(NEXT, 3, 161 * S))
    assert sent(by_hand(core, 70_010.0, 3, NEXT)) == 1
