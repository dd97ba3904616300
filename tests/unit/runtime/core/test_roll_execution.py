"""The core at a roll: what is left is closed first, nothing opens before, and a late order of it is closed too."""

from __future__ import annotations

import pytest

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Answer, Cancel, Resubscribe, SendOrder, WriteBinding
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec
from ghtrader_runtime.core.orders import Holding, Order, TradingState
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.core.trading_core import Core, CoreConfig

OLD, NEW, MAIN = "SHFE.cu2504", "SHFE.cu2505", "KQ.m@SHFE.cu"
DAYS = ("2025-03-06", "2025-03-07")
SPEC = SymbolSpec(OLD, 10.0, 5, True)
NS = 10**9


class Desk:
    """A core that trades OLD on the first day."""

    def __init__(self, held: int = 0, symbols: tuple[str, ...] = (OLD,), bound: str = OLD, **changes) -> None:
        specs = {symbol: SymbolSpec(symbol, 10.0, 5, True) for symbol in symbols}
        self.core = Core(
            CoreConfig(
                symbols=specs,
                limits=RiskLimits(max_position=2, max_order=5, rate_orders=100),
                style=ExecutionStyle(slip_ticks=1),
                **changes,
            ),
            lambda number: f"o{number}",
        )
        self.now = 0
        self.revision = 0
        self.terms(0)
        self.bind(bound)
        self.snapshot(held)

    def __call__(self, event: ev.Event) -> list[Action]:
        return self.core.handle(event)

    @property
    def state(self) -> TradingState:
        return self.core.state.trading_state

    def terms(self, day: int) -> None:
        for symbol in (OLD, NEW):
            self(
                ev.Terms(
                    symbol=symbol,
                    trading_day=DAYS[day],
                    sessions=((day * 10**6, (day + 1) * 10**6),),
                    now_ns=self.now,
                    lower=60_000.0,
                    upper=80_000.0,
                )
            )

    def bind(self, symbol: str, reason: str = "") -> list[Action]:
        return self(
            ev.Bound(
                requested=MAIN,
                symbol=symbol,
                now_ns=self.now,
                price_tick=10.0,
                multiplier=5,
                needs_close_today=True,
                reason=reason,
            )
        )

    def snapshot(self, held: int = 0, symbol: str = OLD) -> list[Action]:
        return self(
            ev.Snapshot(
                trading_day=DAYS[0], holdings=(Holding(symbol, long_his=held),), orders=(), trades=(), now_ns=self.now
            )
        )

    def tick(self, symbol: str, day: int = 0) -> list[Order]:
        self.now += 1
        actions = self(
            ev.Book(
                symbol=symbol,
                trading_day=DAYS[day],
                market_ns=day * 10**6 + self.now,
                tick_id=self.now,
                bid=70_000.0,
                ask=70_010.0,
                now_ns=self.now,
            )
        )
        return [action.order for action in actions if isinstance(action, SendOrder)]

    def want(self, symbol: str, volume: int, session: str = "s") -> tuple[Answer, list[Order]]:
        self.revision += 1
        actions = self(
            ev.TargetWanted(session=session, revision=self.revision, symbol=symbol, volume=volume, now_ns=self.now)
        )
        (answer,) = [action for action in actions if isinstance(action, Answer)]
        return answer, [action.order for action in actions if isinstance(action, SendOrder)]

    def filled(self, order: Order) -> list[Action]:
        self.now += 1
        done = ev.OrderReport(
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            offset=order.offset,
            volume=order.volume,
            left=0,
            finished=True,
            error=False,
            exchange_order_id="x",
            message="",
            now_ns=self.now,
        )
        trade = ev.TradeReport(
            trade_id=f"t{order.order_id}",
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            offset=order.offset,
            volume=order.volume,
            price=order.price,
            market_ns=self.now,
            now_ns=self.now,
        )
        return [*self(trade), *self(done)]


def writes(actions: list[Action]) -> list[str]:
    return [action.symbol for action in actions if isinstance(action, WriteBinding)]


def test_the_first_binding_is_durable_once_the_broker_was_asked() -> None:
    desk = Desk(symbols=())
    assert desk.state is TradingState.ACTIVE and not desk.bind(OLD)
    fresh = Core(CoreConfig(symbols={}), lambda number: f"o{number}")
    assert not writes(
        fresh.handle(
            ev.Bound(requested=MAIN, symbol=OLD, now_ns=0, price_tick=10.0, multiplier=5, needs_close_today=True)
        )
    )
    assert writes(fresh.handle(ev.Snapshot(trading_day=DAYS[0], holdings=(), orders=(), trades=(), now_ns=1))) == [OLD]


def test_the_old_contract_is_closed_before_the_new_one_opens() -> None:
    desk = Desk(held=1)
    desk.tick(OLD)
    desk.want(OLD, 1)
    desk.terms(1)
    assert not writes(desk.bind(NEW)) and desk.state is TradingState.REDUCING
    assert "SHFE.cu2504: +1 held" in desk.core.state.limits
    answer, sent = desk.want(NEW, 1)
    assert answer.status == "accepted" and not sent and not desk.tick(NEW, 1), "nothing opens"
    answer, sent = desk.want(OLD, 1)
    assert (
        answer.status == "refused" and "is left: the contract of the day is SHFE.cu2505" in answer.reason and not sent
    )
    (order,) = desk.tick(OLD, 1)
    assert (order.symbol, order.side, order.offset, order.volume) == (OLD, -1, "CLOSE", 1)
    assert not desk.tick(NEW, 1) and not desk.tick(OLD, 1)
    assert writes(desk.filled(order)) == [NEW] and desk.state is TradingState.ACTIVE
    (order,) = desk.tick(NEW, 1)
    assert (order.symbol, order.side, order.offset) == (NEW, 1, "OPEN")
    desk.filled(order)
    assert desk.core.state.position(NEW).net == 1 and not desk.tick(OLD, 1)


@pytest.mark.parametrize("kind", ["target", "direct"])
def test_what_works_in_the_old_contract_is_cancelled(kind: str) -> None:
    desk = Desk()
    desk.tick(OLD)
    if kind == "target":
        order = desk.want(OLD, 1)[1][0]
    else:
        actions = desk(
            ev.OrderWanted(
                session="s",
                revision=0,
                symbol=OLD,
                side=1,
                offset="OPEN",
                volume=1,
                now_ns=desk.now,
                price=70_000.0,
                price_type="LIMIT",
                tif="GFD",
            )
        )
        order = next(action.order for action in actions if isinstance(action, SendOrder))
    actions = desk.bind(NEW)
    assert [action.order_id for action in actions if isinstance(action, Cancel)] == [order.order_id]
    desk.want(NEW, 1)
    assert not desk.tick(NEW)
    desk(
        ev.OrderReport(
            order_id=order.order_id,
            symbol=OLD,
            side=1,
            offset="OPEN",
            volume=1,
            left=1,
            finished=True,
            error=False,
            exchange_order_id="x",
            message="",
            now_ns=desk.now,
        )
    )
    assert [order.symbol for order in desk.tick(NEW)] == [NEW]


def test_a_cancel_that_came_too_late_is_closed_before_the_new_one_opens() -> None:
    desk = Desk()
    desk.tick(OLD)
    order = desk.want(OLD, 1)[1][0]
    desk.terms(1)
    desk.bind(NEW)
    desk.want(NEW, -1)
    assert not writes(desk.filled(order)) and not desk.tick(NEW, 1)
    (closing,) = desk.tick(OLD, 1)
    assert (closing.offset, closing.side) == ("CLOSETODAY", -1)
    assert writes(desk.filled(closing)) == [NEW] and [o.side for o in desk.tick(NEW, 1)] == [-1]


def test_an_order_of_the_old_contract_that_arrives_after_the_roll_is_closed_too() -> None:
    desk = Desk()
    desk.tick(OLD)
    desk.bind(NEW)
    assert desk.state is TradingState.ACTIVE
    trade = ev.TradeReport(
        trade_id="late",
        order_id="o99",
        symbol=OLD,
        side=1,
        offset="OPEN",
        volume=1,
        price=70_000.0,
        market_ns=desk.now,
        now_ns=desk.now,
    )
    desk(trade)
    assert desk.state is TradingState.REDUCING or desk.core.state.live_orders(OLD)
    desk.want(NEW, 1)
    assert not desk.tick(NEW)
    orders = desk.core.state.live_orders(OLD) or desk.tick(OLD)
    assert [order.symbol for order in orders] == [OLD]
    assert writes(desk.filled(orders[0])) == [NEW]
    assert [order.symbol for order in desk.tick(NEW)] == [NEW]


def test_a_later_life_leaves_what_it_finds() -> None:
    desk = Desk(held=2, symbols=(OLD,), bound=NEW)
    assert desk.state is TradingState.REDUCING
    desk.want(NEW, 2)
    assert not desk.tick(NEW)
    (order,) = desk.tick(OLD)
    assert (order.symbol, order.offset, order.volume) == (OLD, "CLOSE", 2)
    assert writes(desk.filled(order)) == [NEW]


def test_before_the_broker_was_asked_nothing_counts_as_flat() -> None:
    desk = Desk(symbols=(OLD,), bound=NEW)
    desk(ev.LinkChange("broker", False, desk.now))
    assert not writes(desk.bind("")) and not writes(desk.bind(NEW))
    desk(ev.LinkChange("broker", True, desk.now))
    assert "not known yet" in desk.core.state.limits
    assert writes(desk.snapshot()) == [NEW]


def test_no_schedule_closes_and_halts_until_there_is_one() -> None:
    desk = Desk(held=1)
    desk.tick(OLD)
    desk.want(OLD, 1)
    assert not writes(desk.bind("", "the roll schedule is too old"))
    (order,) = desk.tick(OLD)
    assert order.offset == "CLOSE" and not writes(desk.filled(order))
    assert desk.state is TradingState.HALTED and "too old" in desk.core.state.limits
    assert desk.want(OLD, 1)[0].status == "refused" and not desk.tick(OLD)
    assert writes(desk.bind(OLD)) == [OLD] and desk.state is TradingState.ACTIVE
    assert len(desk.want(OLD, 1)[1]) == 1


def test_a_killed_account_holds_or_flattens_as_it_was_told() -> None:
    for policy, sends in (("hold", 0), ("flatten", 1)):
        desk = Desk(held=1, on_kill=policy)
        desk.tick(OLD)
        desk(ev.KillChange(True, "a test", desk.now))
        desk.bind(NEW)
        assert len([o for o in (*desk.core.state.live_orders(OLD), *desk.tick(OLD))][:1]) == sends
        assert not desk.tick(NEW) and not desk.want(NEW, 1)[1]


def test_silence_of_what_is_left_is_no_alarm() -> None:
    desk = Desk()
    for symbol in (OLD, NEW):
        desk(
            ev.Terms(
                symbol=symbol,
                trading_day=DAYS[0],
                sessions=((0, 10**15),),
                now_ns=desk.now,
                lower=60_000.0,
                upper=80_000.0,
            )
        )
    desk.tick(OLD)
    assert [a for a in desk(ev.Timer(desk.now + 1000 * NS)) if isinstance(a, Resubscribe)], "before it was left"
    desk.tick(OLD)
    desk.bind(NEW)
    desk.tick(NEW)
    desk.now += 2000 * NS
    desk(
        ev.Book(symbol=NEW, trading_day=DAYS[0], market_ns=900_000, tick_id=desk.now, bid=1.0, ask=2.0, now_ns=desk.now)
    )
    assert not [a for a in desk(ev.Timer(desk.now + NS)) if isinstance(a, Resubscribe)]
    assert desk.state is TradingState.ACTIVE


def test_nothing_is_foreseen_of_a_contract_that_is_left() -> None:
    desk = Desk()
    desk.tick(OLD)
    desk.want(OLD, 0)
    assert [one.symbol for one in desk.core.likely(OLD, (1, -1))] == [OLD, OLD]
    desk.bind(NEW)
    desk.tick(NEW)
    assert desk.state is TradingState.ACTIVE
    assert desk.core.likely(OLD, (1, -1)) == []
