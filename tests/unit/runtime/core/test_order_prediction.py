"""Looking one order ahead: what is foreseen is what is then sent, and looking changes nothing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import WriteIntent
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec
from ghtrader_runtime.core.orders import Holding, Intent, Order, TradingState
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.core.state import order_number
from ghtrader_runtime.core.trading_core import Core, CoreConfig
from tests.support.core_events import CU, DAY, book

SYMBOL = CU


def a_core(style: ExecutionStyle | None = None, *holdings: Holding, **risk: Any) -> Core:
    allowed = {"max_position": 3, "rate_orders": 1000, **risk}
    config = CoreConfig(
        symbols={SYMBOL: SymbolSpec(SYMBOL, 10.0, 5, True)},
        limits=RiskLimits(**allowed),
        style=style or ExecutionStyle(),
    )
    core = Core(config, lambda number: f"o{number}")
    core.handle(
        ev.Terms(symbol=SYMBOL, trading_day=DAY, sessions=((0, 10**15),), now_ns=0, lower=60_000.0, upper=80_000.0)
    )
    core.handle(ev.Snapshot(trading_day=DAY, holdings=holdings, orders=(), trades=(), now_ns=1))
    core.handle(book(1))
    return core


def wants(core: Core, volume: int, revision: int) -> list[Intent]:
    """Send a target; the intents that came of it, without what only the target knows."""
    actions = core.handle(
        ev.TargetWanted(session="s", revision=revision, symbol=SYMBOL, volume=volume, now_ns=core.state.now_ns + 1)
    )
    return [
        Intent(
            order_id=a.order.order_id,
            number=int(a.order.order_id[1:]),
            symbol=SYMBOL,
            side=a.order.side,
            offset=a.order.offset,
            volume=a.order.volume,
            price=a.order.price,
            tif=a.order.tif,
            market_ns=a.market_ns,
            price_type=a.order.price_type,
        )
        for a in actions
        if isinstance(a, WriteIntent)
    ]


def fill(core: Core, intent: Intent, now: int) -> None:
    """All of it, at its price."""
    done = ev.OrderReport(
        order_id=intent.order_id,
        symbol=SYMBOL,
        side=intent.side,
        offset=intent.offset,
        volume=intent.volume,
        left=0,
        finished=True,
        error=False,
        exchange_order_id="x",
        message="",
        now_ns=now,
        price=intent.price,
    )
    core.handle(done)
    core.handle(
        ev.TradeReport(
            trade_id=f"t{intent.order_id}",
            order_id=intent.order_id,
            symbol=SYMBOL,
            side=intent.side,
            offset=intent.offset,
            volume=intent.volume,
            price=intent.price,
            market_ns=now,
            now_ns=now,
        )
    )


@given(next_number=st.integers(1, 10**6), side=st.sampled_from([1, -1]))
def test_numbers_only_grow_and_say_the_side(next_number: int, side: int) -> None:
    number = order_number(next_number, side)
    assert next_number <= number <= next_number + 1 and number % 2 == (side > 0)
    assert order_number(next_number, -side) != number


@limits(max_examples=60, deadline=None)
@given(
    moves=st.lists(st.tuples(st.integers(-2, 2), st.integers(-3, 3)), min_size=1, max_size=12),
    style=st.sampled_from([ExecutionStyle(), ExecutionStyle(slip_ticks=0, tif="FOK"), ExecutionStyle(max_order=1)]),
)
def test_what_is_foreseen_is_what_is_sent(moves: list[tuple[int, int]], style: ExecutionStyle) -> None:
    core, now, hits = a_core(style), 10, 0
    assert not core.likely(SYMBOL, (1, -1)), "nobody has written a target yet"
    wants(core, 0, 1)
    for revision, (volume, step) in enumerate(moves, 2):
        now += 10
        core.handle(book(now, 70_000.0 + 10 * step, 70_010.0 + 10 * step))
        lots, net = abs(core.state.targets[SYMBOL].volume) or 1, core.state.positions[SYMBOL].net
        before = pickle.dumps(copy.deepcopy(core.state))
        foreseen = core.likely(SYMBOL, (0, lots, -lots))
        assert pickle.dumps(copy.deepcopy(core.state)) == before, "looking changed something"
        assert len({one.number for one in foreseen}) == len(foreseen)
        sent = wants(core, volume, revision)
        if sent and (volume == 0 or abs(volume) == lots or net * volume < 0):
            assert sent[0] in foreseen
            hits += 1
        for intent in sent:
            fill(core, intent, now + 5)
        while core.state.positions[SYMBOL].net != volume:  # the opening leg after the closing one
            (left,) = [o for o in core.state.live_orders(SYMBOL)][:1]
            fill(core, intent_of(left), now + 6)
    assert hits or all(volume == 0 for volume, _ in moves[:1]) or abs(moves[0][0]) > 1


def intent_of(order: Order) -> Intent:
    return Intent(
        order_id=order.order_id,
        number=int(order.order_id[1:]),
        symbol=SYMBOL,
        side=order.side,
        offset=order.offset,
        volume=order.volume,
        price=order.price,
        tif=order.tif,
    )


def test_from_flat_either_side_and_from_a_position_its_closing() -> None:
    core = a_core()
    wants(core, 0, 1)
    buy, sell = core.likely(SYMBOL, (1, -1))
    assert (buy.order_id, buy.side, buy.price) == ("o1", 1, 70_020.0)
    assert (sell.order_id, sell.side, sell.price) == ("o2", -1, 69_990.0)
    assert wants(core, -1, 2) == [sell]
    assert not core.likely(SYMBOL, (0, 1)), "an order is out"
    fill(core, sell, 20)
    (close,) = core.likely(SYMBOL, (0, 1))
    assert (close.order_id, close.side, close.offset) == ("o3", 1, "CLOSETODAY")
    assert wants(core, 1, 3) == [close]


@pytest.mark.parametrize("ask", [79_990.0, 80_000.0])
def test_the_days_limits_are_foreseen(ask: float) -> None:
    core = a_core()
    wants(core, 0, 1)
    core.handle(book(9, ask - 10.0, ask))
    (buy,) = core.likely(SYMBOL, (1,))
    assert buy.price == 80_000.0 and wants(core, 1, 2) == [buy]


def test_of_two_targets_on_one_side_the_first_counts() -> None:
    core = a_core()
    wants(core, 0, 1)
    two, sell = core.likely(SYMBOL, (2, 3, -1))
    assert (two.volume, two.number, sell.volume, sell.number) == (2, 1, 1, 2)
    assert core.likely(SYMBOL, ()) == []


def test_both_legs_of_a_closing_are_foreseen() -> None:
    core = a_core(None, Holding(SYMBOL, long_today=1, long_his=1))
    wants(core, 2, 1)
    foreseen = core.likely(SYMBOL, (0,))
    assert [one.offset for one in foreseen] == [one.offset for one in wants(core, 0, 2)]
    assert [one.number for one in foreseen] == [2, 4]


@pytest.mark.parametrize("why", ["halted", "reducing", "killed", "a rule", "no offer", "another symbol", "direct"])
def test_what_may_not_be_sent_is_not_foreseen(why: str) -> None:
    core = a_core(max_notional=1.0) if why == "a rule" else a_core()
    if why == "direct":  # such a request counts once for ever: its intent is always waited for
        core.handle(
            ev.OrderWanted(
                session="s",
                revision=1,
                symbol=SYMBOL,
                side=1,
                offset="OPEN",
                volume=1,
                now_ns=5,
                price=70_010.0,
                price_type="LIMIT",
                tif="FAK",
            )
        )
        (order,) = core.state.live_orders(SYMBOL)
        fill(core, intent_of(order), 20)
    else:
        wants(core, 0, 1)
    if why in ("halted", "reducing"):
        core.handle(ev.StateWanted(TradingState(why.upper()), "test"))
    elif why == "killed":
        core.handle(ev.KillChange(True, "test", 5))
    elif why == "no offer":
        core.handle(book(9, float("nan"), float("nan")))
    assert core.likely("SHFE.au2502" if why == "another symbol" else SYMBOL, (1, -1, 0)) == []


def test_intents_are_plain_data() -> None:
    core = a_core()
    wants(core, 0, 1)
    for intent in core.likely(SYMBOL, (1, -1)):
        assert msgspec.json.decode(msgspec.json.encode(intent), type=Intent) == intent
