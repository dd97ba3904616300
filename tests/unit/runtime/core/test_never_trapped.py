"""No state and no rule traps a position: what only brings it nearer to zero leaves, whatever else stands.

What may hold it up is listed in `docs/concepts/order_safety.md`, and each is tried here: a person's word that says so,
a position that is not known, no market that could take the order, no record of it that would survive a crash.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Answer, Cancel, WriteIntent
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec, towards_flat
from ghtrader_runtime.core.orders import Holding, Intent, TradingState
from ghtrader_runtime.core.request_watermark import MAX_SESSIONS
from ghtrader_runtime.core.risk_rules import Proposed, RiskLimits, first_reason
from ghtrader_runtime.core.trading_core import Core, CoreConfig
from tests.support.core_events import CU, DAY, book, trade

SECOND = 10**9
NOW = 100 * SECOND
TIGHT = RiskLimits(
    max_position=1, max_order=1, rate_orders=1, max_open_orders=1, max_notional=1.0, price_collar=1e-9, data_age_s=3.0
)
LIMITING = (
    "reducing by hand", "market line down", "market silent", "rejections", "flattening", "holding limit",
    "rate used up", "orders of others", "tight limits", "sessions full", "hours unknown", "wide spread",
    "wrong clock",
)  # fmt: skip
HOLDING_UP = {
    "halted by hand": "by hand", "monitor": "monitor", "killed and held": "tripped", "not asked": "asked",
    "killed and flattens": "tripped", "trading line down": "link is down", "disk": "no space",
    "outside its hours": "hours",
}  # fmt: skip


@dataclass
class Case:
    """A core with a position, and what stands against trading; `now` is the clock of all that is told."""

    holding: Holding
    names: frozenset[str]
    now: int = NOW
    core: Core = field(init=False)

    def __post_init__(self) -> None:
        names = self.names
        limits = TIGHT if "tight limits" in names else RiskLimits(max_position=20, data_age_s=3.0)
        spec = SymbolSpec(CU, 10.0, 5, True, no_open_from="2020-01-02" if "holding limit" in names else "")
        config = CoreConfig(
            symbols={CU: spec},
            limits=limits,
            style=ExecutionStyle(slip_ticks=3),
            monitor_only="monitor" in names,
            on_kill="flatten" if names & {"flattening", "killed and flattens"} else "hold",
            unknown_orders="adopt",
        )
        sessions = [(f"other{i}", 1) for i in range(MAX_SESSIONS)] if "sessions full" in names else []
        sent = [NOW] * limits.rate_orders if "rate used up" in names else []
        refused = {f"r{i}": rejected(f"r{i}") for i in range(3 if "rejections" in names else 0)}
        self.core = Core(config, lambda number: f"o{number}", 1, refused, sessions, sent_ns=sent, now_ns=NOW)
        hours = ((0, NOW - 1),) if "outside its hours" in names else ((0, 10**15),)
        day = "2025-01-07" if "hours unknown" in names else DAY
        self.tell(ev.Terms(symbol=CU, trading_day=day, sessions=hours, now_ns=NOW, lower=60_000.0, upper=80_000.0))
        for order_id in refused:
            self.tell(report(order_id))
        if "not asked" not in names:
            self.tell(self.list_of_broker())
        self.tick()
        self.happen()

    def list_of_broker(self) -> ev.Snapshot:
        others = tuple(self.other(f"x{i}") for i in range(25 if "orders of others" in self.names else 0))
        return ev.Snapshot(trading_day=DAY, holdings=(self.holding,), orders=others, trades=(), now_ns=self.now)

    def tell(self, event: ev.Event) -> list[Action]:
        actions = self.core.handle(event)
        for cancel in (action for action in actions if isinstance(action, Cancel)):
            self.core.handle(msgspec.structs.replace(self.other(cancel.order_id), finished=True, now_ns=self.now))
        return actions

    @staticmethod
    def other(order_id: str) -> ev.OrderReport:
        """An order of somebody else at the same account, at work."""
        return msgspec.structs.replace(
            report(order_id), symbol="SHFE.au2506", offset="CLOSE", error=False, finished=False
        )

    def tick(self) -> list[Action]:
        ask = 75_000.0 if "wide spread" in self.names else 70_010.0
        return self.tell(book(self.now, ask=ask, now=self.now))

    def happen(self) -> None:
        """What limits trading comes about."""
        names = self.names
        if "reducing by hand" in names:
            self.tell(ev.StateWanted(TradingState.REDUCING, "by hand", self.now))
        if "halted by hand" in names:
            self.tell(ev.StateWanted(TradingState.HALTED, "by hand", self.now))
        if "market line down" in names:
            self.tell(ev.LinkChange("data", False, self.now))
        if "wrong clock" in names:
            self.tell(ev.ClockChecked(reason="a minute ahead", now_ns=self.now))
        if "trading line down" in names:
            self.tell(ev.LinkChange("broker", False, self.now))
        if "disk" in names:
            self.tell(ev.LinkChange("ledger", False, self.now, "no space is left"))
        if names & {"flattening", "killed and flattens", "killed and held"}:
            self.tell(ev.KillChange(True, "a test", self.now))
        if "market silent" in names:
            self.now += 60 * SECOND
            self.tell(ev.Timer(self.now))


def rejected(order_id: str) -> Intent:
    return Intent(order_id=order_id, number=0, symbol=CU, side=1, offset="OPEN", volume=1, price=70_000.0, tif="FAK")


def report(order_id: str, message: str = "insufficient margin", now: int = 2) -> ev.OrderReport:
    return ev.OrderReport(
        order_id=order_id, symbol=CU, side=1, offset="OPEN", volume=1, left=1, finished=True, error=True,
        exchange_order_id="x", message=message, now_ns=now,
    )  # fmt: skip


def orders(actions: list[Action]) -> list:
    return [action.order for action in actions if isinstance(action, WriteIntent)]


def answer(actions: list[Action]) -> Answer:
    (only,) = [action for action in actions if isinstance(action, Answer)]
    return only


HOLDINGS = st.builds(
    Holding, st.just(CU), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)
).filter(lambda held: held.long_today + held.long_his != held.short_today + held.short_his)


def net_of(held: Holding) -> int:
    return held.long_today + held.long_his - held.short_today - held.short_his


@settings(max_examples=200, deadline=None)
@given(HOLDINGS, st.frozensets(st.sampled_from(LIMITING)), st.data())
def test_a_target_nearer_to_zero_is_served_whatever_stands(held: Holding, names: frozenset[str], data) -> None:
    case, net = Case(held, names), net_of(held)
    nearer = data.draw(st.integers(0, abs(net) - 1), "target") * (1 if net > 0 else -1)
    actions = case.tell(ev.TargetWanted(session="s", revision=1, symbol=CU, volume=nearer, now_ns=case.now))
    if "flattening" in names:
        nearer = 0
    assert answer(actions).status == "accepted"
    sent = orders(actions)
    assert sent, answer(actions)
    assert all(order.offset != "OPEN" and order.side * net < 0 for order in sent)
    assert sum(order.volume for order in sent) == abs(net - nearer), "all lots at once, in as many orders as it takes"


@settings(max_examples=200, deadline=None)
@given(HOLDINGS, st.frozensets(st.sampled_from(LIMITING).filter(lambda name: name != "flattening")), st.data())
def test_a_direct_order_nearer_to_zero_leaves_whatever_stands(held: Holding, names: frozenset[str], data) -> None:
    case, net = Case(held, names), net_of(held)
    today, his = (held.long_today, held.long_his) if net > 0 else (held.short_today, held.short_his)
    there = {"CLOSETODAY": min(today, abs(net)), "CLOSE": min(his, abs(net))}
    offset = data.draw(st.sampled_from([name for name, lots in there.items() if lots]), "offset")
    volume = data.draw(st.integers(1, there[offset]), "lots")
    price = 10.0 * data.draw(st.integers(6000, 8000), "price in ticks")
    wanted = ev.OrderWanted(
        session="s", revision=1, symbol=CU, side=-1 if net > 0 else 1, offset=offset, volume=volume, now_ns=case.now,
        price=price, price_type="LIMIT", tif=data.draw(st.sampled_from(["FAK", "FOK", "GFD"]), "tif"),
    )  # fmt: skip
    actions = case.tell(wanted)
    assert answer(actions).status == "accepted", answer(actions).reason
    (order,) = orders(actions)
    assert (order.offset, order.volume, order.price) == (offset, volume, price)


@pytest.mark.parametrize(("name", "direct"), [(name, direct) for name in HOLDING_UP for direct in (False, True)
    if direct or name != "killed and flattens"])  # which closes by itself, and takes no order beside that
def test_what_may_hold_it_up_says_so(name: str, direct: bool) -> None:
    case = Case(Holding(CU, long_his=2), frozenset({name}))
    request: ev.Event = ev.TargetWanted(session="s", revision=1, symbol=CU, volume=0, now_ns=case.now)
    if direct:
        request = ev.OrderWanted(
            session="s", revision=1, symbol=CU, side=-1, offset="CLOSE", volume=1, now_ns=case.now, price=70_000.0,
            price_type="LIMIT", tif="FAK",
        )  # fmt: skip
    actions = case.tell(request)
    assert not orders(actions)
    said = answer(actions).reason or str(case.core.state.last_refusal)
    assert HOLDING_UP[name] in said


def test_an_empty_side_of_the_book_is_no_market_to_a_target() -> None:
    case = Case(Holding(CU, long_his=1), frozenset())
    case.tell(book(NOW + 1, bid=math.nan, now=NOW))
    assert not orders(case.tell(ev.TargetWanted(session="s", revision=1, symbol=CU, volume=0, now_ns=NOW)))
    assert orders(case.tell(book(NOW + 2, now=NOW)))


def test_a_contract_that_is_left_is_closed_under_every_limit() -> None:
    case = Case(Holding(CU, long_his=2, long_today=1), frozenset(LIMITING) - {"flattening", "market silent"})
    bound = ev.Bound(
        requested="KQ.m@SHFE.cu", symbol="SHFE.cu2503", now_ns=NOW, price_tick=10.0, multiplier=5,
        needs_close_today=True, no_open_from="", reason="",
    )  # fmt: skip
    case.tell(bound)
    sent = orders(case.tell(book(NOW + 1, now=NOW)))
    assert [(order.offset, order.volume) for order in sent] == [("CLOSE", 1), ("CLOSE", 1), ("CLOSETODAY", 1)]


# Rejections --------------------------------------------------------------------------------------------------------


def one_lot_and_three_rejections() -> Core:
    config = CoreConfig(symbols={CU: SymbolSpec(CU, 10.0, 5, True)}, limits=RiskLimits(max_position=2))
    core = Core(config, lambda number: f"o{number}")
    core.handle(ev.Terms(symbol=CU, trading_day=DAY, sessions=((0, 10**15),), now_ns=0, lower=6e4, upper=8e4))
    core.handle(ev.Snapshot(trading_day=DAY, holdings=(Holding(CU, long_today=1),), orders=(), trades=(), now_ns=1))
    core.handle(book(1))
    for revision in (1, 2, 3):
        (order,) = orders(core.handle(target(2, revision)))
        core.handle(report(order.order_id))
    return core


def target(volume: int, revision: int, now: int = 2) -> ev.TargetWanted:
    return ev.TargetWanted(session="s", revision=revision, symbol=CU, volume=volume, now_ns=now)


def test_after_three_margin_refusals_the_close_leaves() -> None:
    core = one_lot_and_three_rejections()
    assert core.state.trading_state is TradingState.REDUCING
    assert "3 orders in a row were rejected, the last with: insufficient margin" in core.state.limits
    assert not orders(core.handle(target(2, 4))), "nothing is opened"
    (close,) = orders(core.handle(target(0, 5)))
    assert (close.offset, close.volume, close.side) == (Offset.CLOSETODAY, 1, -1)
    core.handle(trade("t", close.order_id, side=-1, offset=Offset.CLOSETODAY))
    assert not orders(core.handle(target(1, 6))), "flat, and still only reducing"
    core.handle(ev.StateWanted(TradingState.ACTIVE, "looked"))
    assert orders(core.handle(target(1, 7)))


def test_a_close_that_is_rejected_is_tried_again_with_growing_pauses_and_never_given_up() -> None:
    core, now, pauses = one_lot_and_three_rejections(), NOW, []
    sent = orders(core.handle(target(0, 4, now)))
    for tick in range(2, 4000):
        if sent:
            pauses.append(now)
            refusal = report(sent[0].order_id, "no connection", now)
            core.handle(msgspec.structs.replace(refusal, side=-1, offset="CLOSETODAY"))
        now += SECOND // 4
        sent = orders(core.handle(book(tick, now=now)))
    waited = [(after - before) / SECOND for before, after in zip(pauses, pauses[1:], strict=False)]
    assert waited[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0] and set(waited[7:]) == {60.0}
    direct = ev.OrderWanted(
        session="s", revision=9, symbol=CU, side=-1, offset="CLOSETODAY", volume=1, now_ns=now, price=70_000.0,
        price_type="LIMIT", tif="FAK",
    )  # fmt: skip
    core.handle(ev.LinkChange("s", False, now))
    assert orders(core.handle(msgspec.structs.replace(direct, session="hand"))), "a person need not wait"


# The rules alone ---------------------------------------------------------------------------------------------------

NUMBERS = st.integers(-30, 30)
RULES = st.builds(
    RiskLimits, max_position=st.integers(1, 10), max_order=st.integers(1, 10), rate_orders=st.integers(1, 5),
    rate_window_s=st.sampled_from([1e-6, 60.0]), max_open_orders=st.integers(1, 5),
    max_notional=st.sampled_from([1.0, 1e6, 1e9]), price_collar=st.sampled_from([1e-6, 0.02]),
    data_age_s=st.sampled_from([0.0, 15.0]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(RULES, st.sampled_from([1, -1]), NUMBERS, st.integers(0, 20), st.integers(1, 40), st.data())
def test_no_order_rule_refuses_what_only_reduces(
    limits: RiskLimits, side: int, net: int, out: int, volume: int, data
) -> None:
    sessions = data.draw(st.sampled_from([None, ((0, 2000),)]))
    proposed = Proposed(
        symbol=CU, side=side, volume=volume, offset=data.draw(st.sampled_from(["CLOSE", "CLOSETODAY"])),
        price=data.draw(st.sampled_from([math.nan, 60_000.0, 70_000.0, 80_000.0])), net=net, working=side * out,
        market_ns=1000, sent_ns=deque([1000] * data.draw(st.integers(0, 6))), open_orders=data.draw(st.integers(0, 9)),
        reference=data.draw(st.sampled_from([math.nan, 65_000.0, 70_000.0])), multiplier=5, price_tick=10.0,
        lower=60_000.0, upper=80_000.0, sessions=sessions, data_age_s=99.0, trading_day=DAY,
        no_open_from=data.draw(st.sampled_from(["", "2020-01-02"])),
    )  # fmt: skip
    after = net + side * (out + volume)
    assert proposed.reduces == (net * side < 0 and (towards_flat(after, net) == after))
    if proposed.reduces:
        assert first_reason(limits.rules(), proposed) == ""
        assert "multiple" in first_reason(limits.rules(), msgspec.structs.replace(proposed, price=70_050.07))
        assert "limits" in first_reason(limits.rules(), msgspec.structs.replace(proposed, price=80_010.0))
        closed = msgspec.structs.replace(proposed, sessions=((0, 500),))
        assert "outside" in first_reason(limits.rules(), closed)
        assert not msgspec.structs.replace(proposed, offset="OPEN").reduces
