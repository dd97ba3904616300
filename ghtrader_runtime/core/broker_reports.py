"""Updates the core's state from the broker's reports, one by one: orders and trades.

An explicit report is authoritative; a missing report means nothing by itself. What the broker's complete list proves
is dealt with in `reconciliation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ghtrader_base.errors import RefusedError
from ghtrader_base.trading_enums import TimeInForce, UnknownOrders
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, CloseIntent, Record, Resync
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.order_entry import OrderEntry
from ghtrader_runtime.core.orders import Order, OrderKind, OrderOutcome, OrderStatus, TradingState
from ghtrader_runtime.core.position_updates import after_trade
from ghtrader_runtime.core.state import CoreConfig, CoreState, Retry

_LONGEST_PAUSE_S = 60
"""Seconds (ours) between two closing orders of a contract whose orders are all rejected."""


def ask_broker(state: CoreState, reason: str) -> list[Action]:
    """Ask the broker what there is, unless that is on its way or there is no line to ask on."""
    if state.resync_asked or BlockReason.BROKER in state.blocks or state.now_ns < state.resync_at_ns:
        return []
    state.resync_asked = True
    return [Resync(reason)]


class BrokerReports:
    """Handles what the broker reports of single orders and trades.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
    orders : OrderEntry
    advance : callable
        Takes a symbol's next step towards its target.
    """

    def __init__(
        self, config: CoreConfig, state: CoreState, orders: OrderEntry, advance: Callable[[str], list[Action]]
    ) -> None:
        self.config, self.state, self._orders, self._advance = config, state, orders, advance

    # Orders ----------------------------------------------------------------------------------------------------

    def on_order(self, report: ev.OrderReport) -> list[Action]:
        """What the broker says of one order."""
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
            actions += self.end(order, report.error, report.message)
            if not order.live and order.filled:  # unfilled, it is tried again with the next tick, not in a tight loop
                actions += self._advance(order.symbol)
        elif report.exchange_order_id:
            order.heard = True
            if order.status in (OrderStatus.SENT, OrderStatus.UNKNOWN):
                order.status = OrderStatus.CANCELLING if order.cancel_ns else OrderStatus.WORKING
        return actions

    def _adopt(self, report: ev.OrderReport) -> list[Action]:
        order = Order(
            order_id=report.order_id,
            symbol=report.symbol,
            side=report.side,
            offset=report.offset,
            volume=report.volume,
            price=report.price,
            tif=TimeInForce.GFD,
            left=report.left,
            status=OrderStatus.WORKING,
            kind=OrderKind.STRANGER,
            sent_ns=self.state.now_ns,
            sent_market_ns=self.state.market_ns,
            closed=True,
            heard=True,
            traded=self.state.traded.get(report.order_id, 0),
        )
        self.state.track(order)
        record = Record("order-adopted", {"id": report.order_id, "policy": self.config.unknown_orders})
        return [record, *(self.end(order, report.error, "") if report.finished else self.take_back(order))]

    def take_back(self, order: Order) -> list[Action]:
        """Nobody knows what this order was for: cancel it, or let it work, as the policy says."""
        return [] if self.config.unknown_orders == UnknownOrders.ADOPT else self._orders.cancel(order)

    def _arrived_late(self, order: Order, finished: bool) -> list[Action]:
        """What was taken for never sent is there after all."""
        order.status, order.over, order.cancel_ns, order.heard = OrderStatus.WORKING, False, 0, True
        self.state.track(order)
        record = Record("order-arrived-late", {"id": order.order_id})
        return [record] if finished else [record, *self._orders.cancel(order)]

    def end(self, order: Order, error: bool, message: str) -> list[Action]:
        """The broker says an order can fill no more."""
        first = not order.over
        order.over, order.error = True, error
        if first:
            order.over_ns = self.state.now_ns
        actions = self.close_intent(order, message)
        if order.traded < order.volume - order.left:
            order.status = OrderStatus.SETTLING
        else:
            self.retire(order)
        return [*actions, *self._count_reject(order, message)] if first else actions

    def retire(self, order: Order, unsent: bool = False) -> None:
        """Give an order its final status; UNSENT where it never reached the broker."""
        if unsent:
            order.status = OrderStatus.UNSENT
        elif order.error:
            order.status = OrderStatus.REJECTED
        else:
            order.status = OrderStatus.FILLED if order.left == 0 else OrderStatus.CANCELLED
        order.over = True
        self.state.retire(order)

    def close_intent(self, order: Order, message: str = "", outcome: OrderOutcome | None = None) -> list[Action]:
        """Close an order's intent, once; the outcome follows from the order where none is given."""
        if order.closed:
            return []
        order.closed = True
        if outcome is None:
            ended = OrderOutcome.FILLED if order.left == 0 else OrderOutcome.CANCELLED
            outcome = OrderOutcome.REJECTED if order.error else ended
        fields = {"id": order.order_id, "outcome": outcome, "left": order.left, "message": message}
        return [CloseIntent(order.order_id, outcome, order.left), Record("order-closed", fields)]

    def _count_reject(self, order: Order, message: str) -> list[Action]:
        if order.kind == OrderKind.STRANGER:
            return []
        state = self.state
        if not order.error:
            state.rejects = 0
            state.retries.pop(order.symbol, None)
            return []
        state.rejects += 1
        if BlockReason.REJECTS in state.blocks:  # a closing order: tried again, but not with every tick
            rejections = state.retries[order.symbol].rejections + 1 if order.symbol in state.retries else 1
            pause_s = min(2 ** (rejections - 1), _LONGEST_PAUSE_S)
            state.retries[order.symbol] = Retry(rejections, state.now_ns + pause_s * 1_000_000_000)
        if state.rejects < self.config.max_rejects:
            return []
        reason = f"{state.rejects} orders in a row were rejected, the last with: {message}"
        state.block(BlockReason.REJECTS, TradingState.REDUCING, reason)
        return [Record("reducing", {"reason": reason})]

    # Trades ----------------------------------------------------------------------------------------------------

    def on_trade(self, trade: ev.TradeReport) -> list[Action]:
        """A trade; told again, it counts once."""
        if self.state.saw_trade(trade):
            return []
        actions = self._count_trade(trade)
        try:
            after = after_trade(self.state.position(trade.symbol), trade)
        except RefusedError as exc:  # lots we did not know of: our picture is wrong, ask
            self.state.block(BlockReason.RECONCILE, TradingState.HALTED, exc.message)
            return [*actions, Record("fill", self.fill_fields(trade)), *ask_broker(self.state, exc.message)]
        self.state.positions[trade.symbol] = after
        return [*actions, Record("fill", self.fill_fields(trade)), *self._advance(trade.symbol)]

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
            self.retire(order)
        elif order.traded >= order.volume:  # nothing is left to fill, whether its own report comes or not
            order.left = 0
            actions += self.end(order, False, "filled by its trades")
        return actions

    def fill_fields(self, trade: ev.TradeReport) -> dict[str, Any]:
        """A trade as the journal tells it, with what is held after it (lots, signed)."""
        return {
            "trade": trade.trade_id, "order": trade.order_id, "symbol": trade.symbol, "side": trade.side,
            "offset": trade.offset, "volume": trade.volume, "price": trade.price, "market_ns": trade.market_ns,
            "commission": trade.commission, "net": self.state.position(trade.symbol).net,
        }  # fmt: skip
