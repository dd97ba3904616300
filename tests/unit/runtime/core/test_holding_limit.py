"""From the last day a natural person may hold a contract, the core only closes it."""

from __future__ import annotations

import pytest

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Answer, Cancel, Record, SendOrder
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec
from ghtrader_runtime.core.orders import Holding, TradingState
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.core.trading_core import Core, CoreConfig

CU, NEXT = "SHFE.cu2502", "SHFE.cu2503"
BEFORE, LAST, AFTER = "2025-01-24", "2025-01-27", "2025-02-05"


def spec(symbol: str = CU, no_open_from: str = LAST) -> SymbolSpec:
    return SymbolSpec(symbol, 10.0, 5, True, no_open_from)


def terms(day: str, symbol: str = CU) -> ev.Terms:
    return ev.Terms(symbol=symbol, trading_day=day, sessions=((0, 10**15),), now_ns=0, lower=60_000.0, upper=80_000.0)


def book(n: int, day: str, symbol: str = CU) -> ev.Book:
    return ev.Book(symbol=symbol, trading_day=day, market_ns=n, tick_id=n, bid=70_000.0, ask=70_010.0, now_ns=n)


def core_on(day: str, *holdings: Holding, style: ExecutionStyle | None = None, told: SymbolSpec | None = None) -> Core:
    limits = RiskLimits(max_position=3, max_order=5, rate_orders=100)
    config = CoreConfig(symbols={CU: told or spec()}, limits=limits, style=style or ExecutionStyle())
    core = Core(config, lambda number: f"o{number}")
    core.handle(terms(day))
    core.handle(ev.Snapshot(trading_day=day, holdings=holdings, orders=(), trades=(), now_ns=1))
    core.handle(book(1, day))
    return core


def target(core: Core, volume: int, revision: int = 1, symbol: str = CU) -> list[Action]:
    return core.handle(ev.TargetWanted(session="s", revision=revision, symbol=symbol, volume=volume, now_ns=2))


def sent(actions: list[Action]) -> list[tuple[str, int, int]]:
    return [(a.order.offset, a.order.side, a.order.volume) for a in actions if isinstance(a, SendOrder)]


def test_the_day_before_it_opens() -> None:
    core = core_on(BEFORE)
    assert core.state.trading_state is TradingState.ACTIVE
    assert sent(target(core, 2)) == [("OPEN", 1, 2)]


@pytest.mark.parametrize("day", [LAST, AFTER])
def test_from_that_day_on_nothing_is_opened(day: str) -> None:
    core = core_on(day)
    assert core.state.blocks[BlockReason.HOLDING][0] is core.state.trading_state is TradingState.REDUCING
    actions = target(core, 2)
    assert sent(actions) == []
    (answer,) = (action for action in actions if isinstance(action, Answer))
    assert "a natural person may hold" in answer.reason and LAST in answer.reason


@pytest.mark.parametrize("wanted", [0, 1, -2])
def test_what_is_held_is_closed_and_never_turned(wanted: int) -> None:
    core = core_on(AFTER, Holding(CU, long_his=2))
    assert sent(target(core, wanted)) == [("CLOSE", -1, min(2, 2 - wanted))]


def test_a_direct_order_closes_and_does_not_open() -> None:
    core = core_on(LAST, Holding(CU, long_his=1))

    def order(revision: int, side: int, offset: str) -> list[Action]:
        wanted = ev.OrderWanted(
            session="s", revision=revision, symbol=CU, side=side, offset=offset, volume=1, now_ns=2, price=70_000.0
        )
        return core.handle(wanted)

    (refused,) = (action for action in order(1, 1, "OPEN") if isinstance(action, Answer))
    assert refused.status == "refused" and LAST in refused.reason
    assert sent(order(2, -1, "CLOSE")) == [("CLOSE", -1, 1)]


def test_the_rule_refuses_by_itself_where_the_limit_is_told_after_the_terms() -> None:
    core = core_on(LAST, told=spec(no_open_from=""))
    core.handle(ev.Bound(requested=CU, symbol=CU, now_ns=2, price_tick=10.0, multiplier=5, no_open_from=LAST))
    assert core.state.trading_state is TradingState.ACTIVE
    actions = target(core, 1)
    assert sent(actions) == []
    (record,) = (action for action in actions if isinstance(action, Record))
    assert record.kind == "order-refused" and "it is only closed" in record.fields["reason"]


def test_a_resting_opening_order_is_cancelled_when_the_day_begins() -> None:
    core = core_on(BEFORE, style=ExecutionStyle(tif="GFD", peg="join"))
    assert sent(target(core, 1)) == [("OPEN", 1, 1)]
    assert any(isinstance(action, Cancel) for action in core.handle(terms(LAST)))


def test_another_contract_of_the_day_opens_again() -> None:
    core = core_on(LAST)
    bound = ev.Bound(
        requested="KQ.m@SHFE.cu", symbol=NEXT, now_ns=3, price_tick=10.0, multiplier=5, needs_close_today=True,
        no_open_from="2025-02-28",
    )  # fmt: skip
    core.handle(bound)
    for symbol in (CU, NEXT):
        core.handle(terms(LAST, symbol))
    core.handle(ev.Snapshot(trading_day=LAST, holdings=(), orders=(), trades=(), now_ns=4))
    core.handle(book(2, LAST, NEXT))
    assert core.config.symbols[NEXT] == spec(NEXT, "2025-02-28")
    assert BlockReason.HOLDING not in core.state.blocks and core.state.trading_state is TradingState.ACTIVE
    assert sent(target(core, 1, symbol=NEXT)) == [("OPEN", 1, 1)]


def test_a_contract_without_such_a_day_is_never_limited() -> None:
    core = core_on("2099-12-31", told=spec(no_open_from=""))
    assert core.state.trading_state is TradingState.ACTIVE and sent(target(core, 1)) == [("OPEN", 1, 1)]
