"""Reconciles what the broker's own list says with what we believed, after a crash or a lost line.

Three rules govern it. What the list says is authoritative. What a list that is not complete does not name means
nothing. An order whose fate is not known is UNKNOWN, and blocks all sending, until a complete list, taken long enough
after the send, proves one or the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ghtrader_base.trading_enums import TimeInForce
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Record
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.broker_reports import BrokerReports, ask_broker
from ghtrader_runtime.core.orders import Order, OrderOutcome, OrderStatus, TradingState
from ghtrader_runtime.core.position_updates import held
from ghtrader_runtime.core.state import CoreConfig, CoreState


class Reconciliation:
    """Handles the broker's list of all there is.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
    reports : BrokerReports
        Handles the single orders and trades of the list.
    advance : callable
        Takes a symbol's next step towards its target.
    """

    def __init__(
        self, config: CoreConfig, state: CoreState, reports: BrokerReports, advance: Callable[[str], list[Action]]
    ) -> None:
        self.config, self.state, self._reports, self._advance = config, state, reports, advance
        self._unknown_ns = int(config.unknown_s * 1e9)

    def watch(self) -> list[Action]:
        """Find orders about which a report is overdue; ask the broker where anything is not known."""
        state = self.state
        actions: list[Action] = []
        lost = []
        for orders in state.live.values():
            for order in orders.values():
                since = self._silent_since(order)
                if since >= 0 and state.now_ns - since > self._unknown_ns:
                    if order.status is not OrderStatus.SETTLING:
                        order.status = OrderStatus.UNKNOWN
                    lost.append(order.order_id)
        if lost:
            why = f"the fate of {', '.join(lost)} is unknown"
            if not state.resync_asked:
                actions.append(Record("order-unknown", {"ids": lost}))
            state.block(BlockReason.RECONCILE, TradingState.HALTED, why)
        if BlockReason.RECONCILE in state.blocks:
            actions += ask_broker(state, state.blocks[BlockReason.RECONCILE][1])
        return actions

    @staticmethod
    def _silent_since(order: Order) -> int:
        """Since when a report about an order is due (monotonic ns); negative where none is."""
        match order.status:
            case OrderStatus.SENT:
                return order.sent_ns
            case OrderStatus.CANCELLING:
                return order.cancel_ns
            case OrderStatus.SETTLING:
                return order.over_ns  # its trade reports are missing
            case OrderStatus.WORKING if order.tif != TimeInForce.GFD:
                return order.sent_ns
        return -1

    def on_broker_link(self, up: bool) -> list[Action]:
        """The trading line broke or is back."""
        state = self.state
        if up:
            state.unblock(BlockReason.BROKER)
            state.resync_at_ns = 0
            return [Record("broker-link", {"up": True}), *ask_broker(state, "the trading link is back")]
        state.block(BlockReason.BROKER, TradingState.HALTED, "the trading link is down")
        state.block(BlockReason.RECONCILE, TradingState.HALTED, "the broker has not been asked since the link broke")
        return [Record("broker-link", {"up": False})]

    def on_ask_failed(self, failed: ev.AskFailed) -> list[Action]:
        """The broker could not be asked: it is asked again, after a growing pause."""
        state = self.state
        state.resync_asked = False
        state.resync_at_ns = state.now_ns + min(2 ** min(state.resync_tries, 6), 60) * 1_000_000_000
        state.resync_tries += 1
        state.block(BlockReason.RECONCILE, TradingState.HALTED, f"the broker cannot be asked: {failed.reason}")
        return [Record("ask-failed", {"reason": failed.reason, "tries": state.resync_tries})]

    def on_snapshot(self, snapshot: ev.Snapshot) -> list[Action]:
        """The broker's list came."""
        state = self.state
        # Nothing leaves half-way.
        state.block(BlockReason.RECONCILE, TradingState.HALTED, "the broker's list is being read")
        state.enter_day(snapshot.trading_day)
        holdings = {holding.symbol: held(holding) for holding in snapshot.holdings}
        state.positions = holdings if snapshot.complete else {**state.positions, **holdings}
        actions, traded = self._trades_of(snapshot, holdings)
        reported = {report.order_id: report for report in snapshot.orders}
        for order in [order for order in state.orders.values() if order.live]:  # in the order they were sent
            order.traded = max(order.traded, traded.get(order.order_id, 0))
            report = reported.pop(order.order_id, None)
            if report is not None:
                actions += self._settle(order, report, snapshot.complete)
            else:
                actions += self._not_named(order, snapshot.complete)
        for report in reported.values():
            if not report.finished:
                actions += self._reports.on_order(report)
        actions += self._reconciled(snapshot)
        for symbol in self.config.symbols:
            actions += self._advance(symbol)
        return actions

    def _trades_of(self, snapshot: ev.Snapshot, holdings: Iterable[str]) -> tuple[list[Action], dict[str, int]]:
        """Note the trades of the list; positions it names contain them already."""
        state = self.state
        actions: list[Action] = []
        traded: dict[str, int] = {}
        for trade in snapshot.trades:
            traded[trade.order_id] = traded.get(trade.order_id, 0) + trade.volume
            if not snapshot.complete and trade.symbol not in holdings:
                actions += self._reports.on_trade(trade)
            elif not state.saw_trade(trade) and trade.order_id in state.orders:
                kind = "fill" if state.reconciled else "fill-of-earlier-run"
                actions.append(Record(kind, self._reports.fill_fields(trade)))
        return actions, traded

    def _settle(self, order: Order, report: ev.OrderReport, complete: bool) -> list[Action]:
        """The list names an order of ours."""
        order.left = min(order.left, report.left)
        if complete:  # its trades are in the positions, told one by one or not
            order.traded = max(order.traded, order.volume - order.left)
        if report.finished or order.over:
            return self._reports.end(order, report.error, report.message)
        order.status, order.heard, order.cancel_ns = OrderStatus.WORKING, True, 0
        taken = self._reports.take_back(order)
        return [Record("order-taken-back", {"id": order.order_id}), *taken] if taken else []

    def _not_named(self, order: Order, complete: bool) -> list[Action]:
        """The list does not name an order of ours: over, never sent, or still unknown."""
        if order.over:
            if complete:
                self._reports.retire(order)
            return []
        old_enough = self.state.now_ns - order.sent_ns >= self._settle_ns
        if not (complete and old_enough):
            order.status = OrderStatus.UNKNOWN
            return []
        known = order.heard or order.traded > 0
        order.left = min(order.left, order.volume - order.traded)
        outcome = OrderOutcome.CANCELLED if known else OrderOutcome.UNSENT
        actions = self._reports.close_intent(order, "the broker does not list it", outcome)
        self._reports.retire(order, unsent=not known)
        return [*actions, Record("order-gone" if known else "order-unsent", {"id": order.order_id})]

    def _reconciled(self, snapshot: ev.Snapshot) -> list[Action]:
        state = self.state
        state.resync_asked, state.resync_tries = False, 0
        state.unblock(BlockReason.BROKER)  # an answer came over a line, so there is one
        unknown = [order.order_id for order in state.every_live_order() if order.status is OrderStatus.UNKNOWN]
        if unknown or not snapshot.complete:
            what = f"the fate of {', '.join(unknown)} is unknown" if unknown else "the broker's list was not complete"
            state.block(BlockReason.RECONCILE, TradingState.HALTED, what)
            state.resync_at_ns = state.now_ns + self._settle_ns
            return [Record("not-reconciled", {"reason": what})]
        state.reconciled = True
        state.resync_at_ns = 0
        state.unblock(BlockReason.RECONCILE)
        positions = {symbol: position.net for symbol, position in state.positions.items()}
        return [Record("reconciled", {"positions": positions, "trading_day": snapshot.trading_day})]

    @property
    def _settle_ns(self) -> int:
        return int(self.config.settle_s * 1e9)
