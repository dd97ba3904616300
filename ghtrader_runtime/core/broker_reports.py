"""Updates the core's state from the broker: order reports, trade reports, and its list of all there is.

Three rules govern it. An explicit report is authoritative. A missing report means nothing by itself. An order whose
fate is not known is UNKNOWN, and blocks all sending, until the broker's complete list, taken long enough after the
send, proves one or the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ghtrader_base.errors import RefusedError
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Cancel, CloseIntent, Record, Resync
from ghtrader_runtime.core.orders import Order, OrderStatus, TradingState
from ghtrader_runtime.core.position_updates import after_trade, held, wants_close_today
from ghtrader_runtime.core.state import CoreConfig, CoreState


class BrokerReports:
    """The part of the core that handles what the broker reports."""

    config: CoreConfig
    state: CoreState

    def _advance(self, symbol: str) -> list[Action]:
        raise NotImplementedError

    def _enter_day(self, trading_day: str) -> None:
        raise NotImplementedError

    def _cancel(self, order: Order) -> list[Action]:
        """Cancel an order; monitor-only sends nothing at all."""
        if self.config.monitor_only:
            return []
        order.cancel_ns = self.state.now_ns
        if order.status in (OrderStatus.SENT, OrderStatus.WORKING):
            order.status = OrderStatus.CANCELLING
        return [Cancel(order.order_id)]

    # Orders ----------------------------------------------------------------------------------------------------

    def _on_order(self, report: ev.OrderReport) -> list[Action]:
        order = self.state.orders.get(report.order_id)
        actions: list[Action] = []
        if order is None:
            missing = report.volume - report.left > self.state.traded.get(report.order_id, 0)
            return self._adopt(report) if missing or not report.finished else []
        if order.status is OrderStatus.UNSENT:
            actions += self._arrived_late(order, report.finished)
        elif not order.live or (order.over and not report.finished):
            return []  # a repeated report, or one of a time before the end
        order.left = min(order.left, report.left)
        if report.finished:
            actions += self._end(order, report.error, report.message)
            if not order.live and order.filled:  # unfilled, it is tried again with the next tick, not in a tight loop
                actions += self._advance(order.symbol)
        elif report.exchange_order_id:
            order.heard = True
            if order.status in (OrderStatus.SENT, OrderStatus.UNKNOWN):
                order.status = OrderStatus.CANCELLING if order.cancel_ns else OrderStatus.WORKING
        return actions

    def _adopt(self, report: ev.OrderReport) -> list[Action]:
        order = Order(
            report.order_id, report.symbol, report.side, report.offset, report.volume, report.price, "GFD",
            left=report.left, status=OrderStatus.WORKING, kind="stranger", sent_ns=self.state.now_ns,
            sent_market_ns=self.state.market_ns, closed=True, heard=True,
            traded=self.state.traded.get(report.order_id, 0),
        )  # fmt: skip
        self.state.track(order)
        record = Record("order-adopted", {"id": report.order_id, "policy": self.config.unknown_orders})
        return [record, *(self._end(order, report.error, "") if report.finished else self._take_back(order))]

    def _take_back(self, order: Order) -> list[Action]:
        """Nobody knows what this order was for: cancel it, or let it work, as the policy says."""
        return [] if self.config.unknown_orders == "adopt" else self._cancel(order)

    def _arrived_late(self, order: Order, finished: bool) -> list[Action]:
        """What was taken for never sent is there after all."""
        order.status, order.over, order.cancel_ns, order.heard = OrderStatus.WORKING, False, 0, True
        self.state.track(order)
        record = Record("order-arrived-late", {"id": order.order_id})
        return [record] if finished else [record, *self._cancel(order)]

    def _end(self, order: Order, error: bool, message: str) -> list[Action]:
        """The broker says an order can fill no more."""
        first = not order.over
        order.over, order.error = True, error
        if first:
            order.over_ns = self.state.now_ns
        actions = self._close(order, message)
        if order.traded < order.volume - order.left:
            order.status = OrderStatus.SETTLING
        else:
            self._retire(order)
        return [*actions, *self._count_reject(order, message)] if first else actions

    def _retire(self, order: Order, unsent: bool = False) -> None:
        if unsent:
            order.status = OrderStatus.UNSENT
        elif order.error:
            order.status = OrderStatus.REJECTED
        else:
            order.status = OrderStatus.FILLED if order.left == 0 else OrderStatus.CANCELLED
        order.over = True
        self.state.retire(order)

    def _close(self, order: Order, message: str = "", outcome: str = "") -> list[Action]:
        if order.closed:
            return []
        order.closed = True
        outcome = outcome or ("rejected" if order.error else "filled" if order.left == 0 else "cancelled")
        fields = {"id": order.order_id, "outcome": outcome, "left": order.left, "message": message}
        return [CloseIntent(order.order_id, outcome, order.left), Record("order-closed", fields)]

    def _count_reject(self, order: Order, message: str) -> list[Action]:
        if order.kind == "stranger":
            return []
        if not order.error:
            self.state.rejects = 0
            return []
        self.state.rejects += 1
        if self.state.rejects < self.config.max_rejects:
            return []
        reason = f"{self.state.rejects} orders in a row were rejected, the last with: {message}"
        self.state.block("rejects", TradingState.HALTED, reason)
        return [Record("halted", {"reason": reason})]

    # Trades ----------------------------------------------------------------------------------------------------

    def _on_trade(self, trade: ev.TradeReport) -> list[Action]:
        if self.state.saw_trade(trade):
            return []
        actions = self._count_trade(trade)
        try:
            before = self.state.position(trade.symbol)
            after = after_trade(before, trade, wants_close_today(trade.symbol, self.config.symbols))
        except RefusedError as exc:  # lots we did not know of: our picture is wrong, ask
            self.state.block("reconcile", TradingState.HALTED, exc.message)
            return [*actions, Record("fill", self._fill_fields(trade)), *self._ask(exc.message)]
        self.state.positions[trade.symbol] = after
        return [*actions, Record("fill", self._fill_fields(trade)), *self._advance(trade.symbol)]

    def _count_trade(self, trade: ev.TradeReport) -> list[Action]:
        order = self.state.orders.get(trade.order_id)
        if order is None:
            return []
        actions: list[Action] = []
        if order.status is OrderStatus.UNSENT:
            actions += self._arrived_late(order, order.traded + trade.volume >= order.volume)
        order.traded += trade.volume
        if not order.live:
            return actions
        if order.over and order.traded >= order.volume - order.left:
            self._retire(order)
        elif order.traded >= order.volume:  # nothing is left to fill, whether its own report comes or not
            order.left = 0
            actions += self._end(order, False, "filled by its trades")
        return actions

    def _fill_fields(self, trade: ev.TradeReport) -> dict[str, Any]:
        return {
            "trade": trade.trade_id, "order": trade.order_id, "symbol": trade.symbol, "side": trade.side,
            "offset": trade.offset, "volume": trade.volume, "price": trade.price, "market_ns": trade.market_ns,
            "commission": trade.commission, "net": self.state.position(trade.symbol).net,
        }  # fmt: skip

    # The broker's list of all there is -------------------------------------------------------------------------

    def _ask(self, reason: str) -> list[Action]:
        """Ask the broker what there is, unless that is on its way or there is no line to ask on."""
        state = self.state
        if state.resync_asked or "broker" in state.blocks or state.now_ns < state.resync_at_ns:
            return []
        state.resync_asked = True
        return [Resync(reason)]

    def _on_ask_failed(self, failed: ev.AskFailed) -> list[Action]:
        state = self.state
        state.resync_asked = False
        state.resync_at_ns = state.now_ns + min(2 ** min(state.resync_tries, 6), 60) * 1_000_000_000
        state.resync_tries += 1
        state.block("reconcile", TradingState.HALTED, f"the broker cannot be asked: {failed.reason}")
        return [Record("ask-failed", {"reason": failed.reason, "tries": state.resync_tries})]

    def _on_snapshot(self, snapshot: ev.Snapshot) -> list[Action]:
        state = self.state
        state.block("reconcile", TradingState.HALTED, "the broker's list is being read")  # nothing leaves half-way
        self._enter_day(snapshot.trading_day)
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
                actions += self._on_order(report)
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
                actions += self._on_trade(trade)
            elif not state.saw_trade(trade) and trade.order_id in state.orders:
                kind = "fill" if state.reconciled else "fill-of-earlier-run"
                actions.append(Record(kind, self._fill_fields(trade)))
        return actions, traded

    def _settle(self, order: Order, report: ev.OrderReport, complete: bool) -> list[Action]:
        """The list names an order of ours."""
        order.left = min(order.left, report.left)
        if complete:  # its trades are in the positions, told one by one or not
            order.traded = max(order.traded, order.volume - order.left)
        if report.finished or order.over:
            return self._end(order, report.error, report.message)
        order.status, order.heard, order.cancel_ns = OrderStatus.WORKING, True, 0
        taken = self._take_back(order)
        return [Record("order-taken-back", {"id": order.order_id}), *taken] if taken else []

    def _not_named(self, order: Order, complete: bool) -> list[Action]:
        """The list does not name an order of ours: over, never sent, or still unknown."""
        if order.over:
            if complete:
                self._retire(order)
            return []
        old_enough = self.state.now_ns - order.sent_ns >= self._settle_ns
        if not (complete and old_enough):
            order.status = OrderStatus.UNKNOWN
            return []
        known = order.heard or order.traded > 0
        order.left = min(order.left, order.volume - order.traded)
        actions = self._close(order, "the broker does not list it", "cancelled" if known else "unsent")
        self._retire(order, unsent=not known)
        return [*actions, Record("order-gone" if known else "order-unsent", {"id": order.order_id})]

    def _reconciled(self, snapshot: ev.Snapshot) -> list[Action]:
        state = self.state
        state.resync_asked, state.resync_tries = False, 0
        state.unblock("broker")  # an answer came over a line, so there is one
        unknown = [order.order_id for order in state.every_live_order() if order.status is OrderStatus.UNKNOWN]
        if unknown or not snapshot.complete:
            what = f"the fate of {', '.join(unknown)} is unknown" if unknown else "the broker's list was not complete"
            state.block("reconcile", TradingState.HALTED, what)
            state.resync_at_ns = state.now_ns + self._settle_ns
            return [Record("not-reconciled", {"reason": what})]
        state.reconciled = True
        state.resync_at_ns = 0
        state.unblock("reconcile")
        positions = {symbol: position.net for symbol, position in state.positions.items()}
        return [Record("reconciled", {"positions": positions, "trading_day": snapshot.trading_day})]

    @property
    def _settle_ns(self) -> int:
        return int(self.config.settle_s * 1e9)
