"""Runs the trading core: takes events, decides, returns actions. No clock, no socket, no file.

It knows what is wanted, what is held and what is on its way, and decides what to send. The edge (`gateway`) carries
the actions out in order; `WriteIntent` must be durable before the `SendOrder` behind it is done, `TripKill` before all
that follows. So the whole of it can be simulated with lost, late and repeated reports and a crash between any two
actions, and a journal of events replays to the same decisions.

`Core` holds one `CoreState` and the parts that work on it, and passes each event to the part that handles it:
`market_data`, `strategy_requests`, `target_steps` (what to send), `pre_trade_check`, `order_entry` (places and
cancels), `broker_reports`, `reconciliation`, `account_risk` (losses, the kill switch), `contract_roll` and
`order_prediction`. No part knows `Core`.

Rules it keeps: nothing is sent before the broker was asked what there is; one order step a symbol at a time; one
writer a symbol, by targets or by direct orders; an order whose fate is unknown stops all sending until the broker's
list tells; a fill counts once; what the broker says beats what we believe, and a missing report never means flat; a
contract that is not the day's any more is closed before the next one opens (`contract_roll`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.account_risk import AccountRisk
from ghtrader_runtime.core.actions import Action, Record
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.broker_reports import BrokerReports
from ghtrader_runtime.core.market_data_watch import MarketData
from ghtrader_runtime.core.order_entry import OrderEntry
from ghtrader_runtime.core.order_prediction import OrderPrediction
from ghtrader_runtime.core.orders import Intent, Order, OrderKind, OrderStatus, TradingState
from ghtrader_runtime.core.pre_trade_check import PreTradeCheck
from ghtrader_runtime.core.reconciliation import Reconciliation
from ghtrader_runtime.core.request_watermark import Watermark
from ghtrader_runtime.core.roll_execution import ContractRoll
from ghtrader_runtime.core.state import AT_WORK, CoreConfig, CoreState, Marks
from ghtrader_runtime.core.strategy_requests import StrategyRequests
from ghtrader_runtime.core.target_steps import TargetSteps

__all__ = ["Core", "CoreConfig", "CoreState"]
_RATE_MEMORY = 100_000


class Core:
    """Steps the state.

    Parameters
    ----------
    config : CoreConfig
    order_id : callable
        Number of an intent to its client order id (the ledger's rule).
    next_number : int
        Number of the first intent.
    open_intents : dict
        Intents of an earlier process run that were never closed: UNKNOWN until the broker's list tells. `sent_ns` of an
        intent is when it was sent, on the clock of `now_ns` (0: long ago).
    watermark : iterable of (session, revision)
        Highest revision acted on for each strategy session.
    marks : tuple of (trading day, opening, peak), optional
        The equity marks that were made durable last.
    sent_ns : iterable of int
        Market times of orders sent in an earlier process run that may still count for the rate.
    now_ns : int
        Monotonic clock at the start.
    other_marks : iterable of (trading day, opening, peak)
        Durable marks of other trading days: each counts once its day is there.
    """

    def __init__(
        self,
        config: CoreConfig,
        order_id: Callable[[int], str],
        next_number: int = 1,
        open_intents: Mapping[str, Intent] | None = None,
        watermark: Iterable[tuple[str, int]] = (),
        marks: tuple[str, float, float] | None = None,
        sent_ns: Iterable[int] = (),
        now_ns: int = 0,
        other_marks: Iterable[tuple[str, float, float]] = (),
    ) -> None:
        self.config = replace(config, symbols=dict(config.symbols))
        self.state = CoreState(next_number=next_number, now_ns=now_ns, watermark=Watermark.of(watermark, now_ns))
        self.state.sent_ns = deque(sent_ns, maxlen=min(config.limits.rate_orders, _RATE_MEMORY))
        if marks is not None:
            self.state.marks = Marks(marks[0], marks[1], marks[2], written=marks[2])
        self.state.later_marks = {day: Marks(day, first, peak, written=peak) for day, first, peak in other_marks}
        self.state.block(BlockReason.RECONCILE, TradingState.HALTED, "the broker has not been asked yet")
        self.state.resync_asked = True  # the edge asks at its start
        if config.monitor_only:
            self.state.block(BlockReason.MONITOR, TradingState.HALTED, "monitor only: nothing is ever sent")
        for intent in (open_intents or {}).values():
            self.state.track(
                Order(
                    order_id=intent.order_id,
                    symbol=intent.symbol,
                    side=intent.side,
                    offset=intent.offset,
                    volume=intent.volume,
                    price=intent.price,
                    tif=intent.tif,
                    left=intent.volume,
                    status=OrderStatus.UNKNOWN,
                    kind=OrderKind.EARLIER,
                    sent_ns=intent.sent_ns,
                )
            )
        self._build_parts(order_id)

    def _build_parts(self, order_id: Callable[[int], str]) -> None:
        config, state = self.config, self.state
        style = replace(config.style, max_order=min(config.style.max_order, config.limits.max_order))
        orders = self._orders = OrderEntry(config, state, order_id)
        roll = self._roll = ContractRoll(config, state, orders)
        check = PreTradeCheck(config, state, roll.waits_for_roll)
        advance = TargetSteps(config, state, style, orders, check, roll.is_left).advance
        market = self._market = MarketData(config, state, advance, roll.is_left)
        requests = self._requests = StrategyRequests(config, state, orders, check, advance)
        reports = BrokerReports(config, state, orders, advance)
        reconciliation = self._reconciliation = Reconciliation(config, state, reports, advance)
        risk = self._risk = AccountRisk(config, state, orders)
        self._prediction = OrderPrediction(config, state, style, order_id, check, roll.is_left)
        self._handlers: dict[type, Callable[[Any], list[Action]]] = {
            ev.Terms: market.on_terms, ev.Bound: roll.on_bound, ev.Book: market.on_book,
            ev.FeedChecked: market.on_feed_checked, ev.ClockChecked: self._on_clock,
            ev.TargetWanted: requests.on_target, ev.OrderWanted: requests.on_order_wanted,
            ev.CancelWanted: requests.on_cancel_wanted,
            ev.OrderReport: reports.on_order, ev.TradeReport: reports.on_trade, ev.Timer: self._on_timer,
            ev.Equity: risk.on_equity, ev.LinkChange: self._on_link, ev.KillChange: risk.on_kill,
            ev.StateWanted: self._on_state, ev.Snapshot: reconciliation.on_snapshot,
            ev.AskFailed: reconciliation.on_ask_failed,
        }  # fmt: skip

    def handle(self, event: ev.Event) -> list[Action]:
        """What has to be done about one event, in order; `TypeError` for what is no event."""
        handler = self._handlers.get(type(event))
        if handler is None:
            raise TypeError(f"no event: {event!r}")
        state = self.state
        state.revision += 1
        if event.now_ns > state.now_ns:
            state.now_ns = event.now_ns
        actions = handler(event)
        if state.killed:
            self._risk.set_kill_block()
        if state.bound is not None:
            actions += self._roll.watch()
        if state.blocks:  # each is REDUCING or HALTED
            actions += self._call_in()
        return actions

    def likely(self, symbol: str, targets: Iterable[int]) -> list[Intent]:
        """Intents that one of `targets` (lots, signed) would bring about at once; see `OrderPrediction.likely`."""
        return self._prediction.likely(symbol, targets)

    def _on_timer(self, timer: ev.Timer) -> list[Action]:
        return [*self._market.watch(), *self._reconciliation.watch()]

    def _on_link(self, change: ev.LinkChange) -> list[Action]:
        if change.who == "broker":
            return self._reconciliation.on_broker_link(change.up)
        if change.who == "data":
            return self._market.on_link(change.up)
        if change.who == "ledger":  # no intent can be made durable: no order may leave
            if change.up:
                self.state.unblock(BlockReason.LEDGER)
            else:
                self.state.block(BlockReason.LEDGER, TradingState.HALTED, change.reason)
            return [Record("ledger", {"up": change.up, "reason": change.reason})]
        return [] if change.up else self._requests.release(change.who)

    def _on_clock(self, checked: ev.ClockChecked) -> list[Action]:
        if checked.reason:
            self.state.block(BlockReason.CLOCK, TradingState.REDUCING, checked.reason)
        else:
            self.state.unblock(BlockReason.CLOCK)
        return [Record("clock", {"reason": checked.reason})]

    def _on_state(self, wanted: ev.StateWanted) -> list[Action]:
        self.state.unblock(BlockReason.OPERATOR)
        if wanted.state is TradingState.ACTIVE:
            self.state.unblock(BlockReason.REJECTS)
            self.state.rejects = 0
            self.state.retries.clear()
        else:
            self.state.block(BlockReason.OPERATOR, wanted.state, wanted.reason)
        return [Record("state-set", {"state": str(wanted.state), "reason": wanted.reason})]

    def _call_in(self) -> list[Action]:
        """Cancel what may no longer work: everything where HALTED, what opens where REDUCING."""
        state = self.state
        orders = state.every_live_order()
        if not orders or BlockReason.BROKER in state.blocks:
            return []
        actions: list[Action] = []
        for order in orders:
            if order.status in AT_WORK and (state.trading_state is TradingState.HALTED or order.offset == Offset.OPEN):
                actions += self._orders.cancel(order)
        return actions
