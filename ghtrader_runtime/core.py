"""The gateway's mind: events in, actions out. No clock, no socket, no file.

It knows what is wanted, what is held and what is on its way, and decides what to send. The edge (`gateway`) carries
the actions out in order; `Submit` means: make the intent durable, then send. So the whole of it can be simulated
with lost, late and repeated reports, and a journal of events replays to the same decisions.

Rules it keeps: nothing is sent before the broker was asked what there is; one order step a symbol at a time; one
writer a symbol; an order whose fate is unknown blocks its symbol until a fresh login tells; a fill counts once; what
the broker says beats what we believe, and a missing report never means flat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ghtrader_base.errors import RefusedError
from ghtrader_market.positions import roll_day
from ghtrader_runtime import events as ev
from ghtrader_runtime.core_state import CoreConfig, CoreState, WantedPosition
from ghtrader_runtime.events import Action, Order, OrderStatus, TradingState
from ghtrader_runtime.executors import Place, plan_target
from ghtrader_runtime.ledger import MAX_SESSIONS, Intent
from ghtrader_runtime.positions_of import after_trade, held
from ghtrader_runtime.risk import Proposed, first_reason

__all__ = ["Core", "CoreConfig", "CoreState"]
KEEP_ORDERS = 1000
"""Finished orders remembered, so that a late or repeated report still finds its order."""


class Core:
    """Steps the state.

    Parameters
    ----------
    config : CoreConfig
    order_id : callable
        Number of an intent to its client order id (the ledger's rule).
    open_intents : dict
        Intents of an earlier life that were never closed: settled by the first `Snapshot`.
    watermark : dict
        Highest revision acted on for each strategy session.
    """

    def __init__(
        self,
        config: CoreConfig,
        order_id: Callable[[int], str],
        next_number: int = 1,
        open_intents: Mapping[str, Intent] | None = None,
        watermark: Mapping[str, int] | None = None,
    ) -> None:
        self.config = config
        self._order_id = order_id
        self._rules = config.limits.rules()
        self._unknown_ns = int(config.unknown_s * 1e9)
        self.state = CoreState(next_number=next_number, watermark=dict(watermark or {}))
        self.state.blocks["reconcile"] = (TradingState.HALTED, "the broker has not been asked yet")
        if config.monitor_only:
            self.state.blocks["monitor"] = (TradingState.HALTED, "monitor only: nothing is ever sent")
        for intent in (open_intents or {}).values():
            self.state.orders[intent.order_id] = Order(
                intent.order_id, intent.symbol, intent.side, intent.offset, intent.volume, intent.price, intent.tif,
                left=intent.volume, status=OrderStatus.UNKNOWN,
            )  # fmt: skip

    def handle(self, event: ev.Event) -> list[Action]:
        """What has to be done about one event, in order."""
        self.state.revision += 1
        match event:
            case ev.Book():
                return self._on_book(event)
            case ev.TargetWanted():
                return self._on_target(event)
            case ev.OrderReport():
                return self._on_order(event)
            case ev.TradeReport():
                return self._on_trade(event)
            case ev.Timer():
                return self._on_timer(event)
            case ev.LinkChange():
                return self._on_link(event)
            case ev.KillChange():
                return self._on_kill(event)
            case ev.StateWanted():
                return self._on_state(event)
            case ev.Snapshot():
                return self._on_snapshot(event)
        raise TypeError(f"no event: {event!r}")

    # What comes from the market and the strategy ---------------------------------------------------------------

    def _on_book(self, book: ev.Book) -> list[Action]:
        state = self.state
        state.books[book.symbol] = book
        if book.trading_day > state.trading_day:
            if state.trading_day:
                state.positions = {symbol: roll_day(position) for symbol, position in state.positions.items()}
            state.trading_day = book.trading_day
        return self._advance(book.symbol)

    def _on_target(self, event: ev.TargetWanted) -> list[Action]:
        state = self.state
        if event.revision <= state.watermark.get(event.session, -1):
            return [ev.Answer(event.session, event.revision, "duplicate")]
        self._note_target(event.session, event.revision)
        if event.symbol not in self.config.symbols:
            return self._refuse(event, f"{event.symbol} is not traded here")
        writer = state.writers.setdefault(event.symbol, event.session)
        if writer != event.session:
            return self._refuse(event, f"{event.symbol} is written by session {writer}")
        if abs(event.volume) > self.config.limits.max_position:
            limit = self.config.limits.max_position
            return self._refuse(event, f"target {event.volume:+d} of {event.symbol}, at most {limit} allowed")
        state.targets[event.symbol] = WantedPosition(event.session, event.revision, event.volume)
        actions = self._advance(event.symbol)
        return [*actions, ev.Answer(event.session, event.revision, "accepted", self._limits())]

    def _limits(self) -> str:
        state = self.state.trading_state
        if state is TradingState.ACTIVE:
            return ""
        return f"{state}: " + "; ".join(reason for _, reason in self.state.blocks.values())

    def _refuse(self, event: ev.TargetWanted, reason: str) -> list[Action]:
        fields = {"session": event.session, "revision": event.revision, "volume": event.volume, "reason": reason}
        return [ev.Record("target-refused", fields), ev.Answer(event.session, event.revision, "refused", reason)]

    def _note_target(self, session: str, revision: int) -> None:
        self.state.watermark.pop(session, None)
        self.state.watermark[session] = revision
        while len(self.state.watermark) > MAX_SESSIONS:
            self.state.watermark.pop(next(iter(self.state.watermark)))

    # What comes from the broker --------------------------------------------------------------------------------

    def _on_order(self, report: ev.OrderReport) -> list[Action]:
        order = self.state.orders.get(report.order_id)
        actions: list[Action] = []
        if order is None:
            if report.finished:
                return []
            order = self._adopt(report)
            actions += [ev.Record("order-adopted", {"id": report.order_id}), ev.Cancel(report.order_id)]
        if order.unsent and not report.finished:  # it did arrive, after all: take it back
            order.unsent, order.closed, order.status, order.cancel_ns = False, False, OrderStatus.WORKING, report.now_ns
            actions += [ev.Record("order-arrived-late", {"id": order.order_id}), ev.Cancel(order.order_id)]
        if order.status is OrderStatus.FINISHED and not report.finished:
            return actions  # a late report of a time before the end
        order.left = min(order.left, report.left)
        if report.finished:
            order.status, order.finished_ns = OrderStatus.FINISHED, report.now_ns
            order.error = report.error
            actions += self._close(order, report.message)
            actions += self._count_reject(order, report.message)
            if order.filled:
                actions += self._advance(order.symbol)
        elif report.exchange_order_id:
            order.status = OrderStatus.WORKING
        return actions

    def _adopt(self, report: ev.OrderReport) -> Order:
        order = Order(
            report.order_id, report.symbol, report.side, report.offset, report.volume, report.price, "GFD",
            left=report.left, status=OrderStatus.WORKING, sent_ns=report.now_ns, cancel_ns=report.now_ns,
        )  # fmt: skip
        self.state.orders[order.order_id] = order
        return order

    def _close(self, order: Order, message: str = "") -> list[Action]:
        if order.closed:
            return []
        order.closed = True
        outcome = "rejected" if order.error else "filled" if order.left == 0 else "cancelled"
        self._forget()
        fields = {"id": order.order_id, "outcome": outcome, "left": order.left, "message": message}
        return [ev.CloseIntent(order.order_id, outcome, order.left), ev.Record("order-closed", fields)]

    def _count_reject(self, order: Order, message: str) -> list[Action]:
        if not order.error:
            self.state.rejects = 0
            return []
        self.state.rejects += 1
        if self.state.rejects < self.config.max_rejects:
            return []
        reason = f"{self.state.rejects} orders in a row were rejected, the last with: {message}"
        self.state.blocks["rejects"] = (TradingState.HALTED, reason)
        return [ev.Record("halted", {"reason": reason})]

    def _forget(self) -> None:
        orders = self.state.orders
        if len(orders) > KEEP_ORDERS:
            done = [key for key, order in orders.items() if order.closed and not order.live]
            for key in done[: len(orders) - KEEP_ORDERS]:
                del orders[key]

    def _on_trade(self, trade: ev.TradeReport) -> list[Action]:
        state = self.state
        if trade.trade_id in state.seen_trades:
            return []
        state.seen_trades.add(trade.trade_id)
        order = state.orders.get(trade.order_id)
        if order is not None:
            order.traded += trade.volume
        spec = self.config.symbols.get(trade.symbol)
        try:
            before = state.position(trade.symbol)
            state.positions[trade.symbol] = after_trade(before, trade, spec is None or spec.needs_close_today)
        except RefusedError as exc:  # lots we did not know of: our picture is wrong, ask
            state.blocks["reconcile"] = (TradingState.HALTED, exc.message)
            return [ev.Record("fill", self._fill_fields(trade)), ev.Resync(exc.message)]
        return [ev.Record("fill", self._fill_fields(trade)), *self._advance(trade.symbol)]

    def _fill_fields(self, trade: ev.TradeReport) -> dict[str, Any]:
        return {
            "trade": trade.trade_id, "order": trade.order_id, "symbol": trade.symbol, "side": trade.side,
            "offset": trade.offset, "volume": trade.volume, "price": trade.price, "market_ns": trade.market_ns,
            "commission": trade.commission, "net": self.state.position(trade.symbol).net,
        }  # fmt: skip

    def _on_snapshot(self, snapshot: ev.Snapshot) -> list[Action]:
        state = self.state
        actions: list[Action] = []
        state.trading_day = max(state.trading_day, snapshot.trading_day)
        state.positions = {holding.symbol: held(holding) for holding in snapshot.holdings}
        traded: dict[str, int] = {}
        for trade in snapshot.trades:
            traded[trade.order_id] = traded.get(trade.order_id, 0) + trade.volume
            if trade.trade_id not in state.seen_trades and trade.order_id in state.orders:
                kind = "fill" if state.reconciled else "fill-of-earlier-run"
                actions.append(ev.Record(kind, self._fill_fields(trade)))
        state.seen_trades |= {trade.trade_id for trade in snapshot.trades}
        state.reconciled = True
        reported = {report.order_id: report for report in snapshot.orders}
        for order in list(state.orders.values()):
            report = reported.pop(order.order_id, None)
            order.traded = traded.get(order.order_id, 0)
            if report is not None:
                actions += self._settle(order, report)
            elif not order.closed and snapshot.fresh:
                order.status, order.left = OrderStatus.FINISHED, order.volume - order.traded
                order.closed = order.unsent = True
                actions.append(ev.CloseIntent(order.order_id, "unsent", order.left))
                actions.append(ev.Record("order-unsent", {"id": order.order_id}))
        for report in reported.values():
            if not report.finished:
                self._adopt(report)
                actions += [ev.Record("order-adopted", {"id": report.order_id}), ev.Cancel(report.order_id)]
        state.blocks.pop("reconcile", None)
        state.resync_asked = False
        positions = {symbol: position.net for symbol, position in state.positions.items()}
        actions.append(ev.Record("reconciled", {"positions": positions, "trading_day": snapshot.trading_day}))
        for symbol in self.config.symbols:
            actions += self._advance(symbol)
        return actions

    def _settle(self, order: Order, report: ev.OrderReport) -> list[Action]:
        order.left = report.left
        if report.finished:
            order.status, order.error, order.finished_ns = OrderStatus.FINISHED, report.error, report.now_ns
            return self._close(order, report.message)
        # It works from an earlier life or through a broken link: nobody knows what it was for, take it back.
        order.status, order.sent_ns, order.cancel_ns = OrderStatus.WORKING, report.now_ns, report.now_ns
        return [ev.Record("order-taken-back", {"id": order.order_id}), ev.Cancel(order.order_id)]

    # What comes from elsewhere ---------------------------------------------------------------------------------

    def _on_timer(self, timer: ev.Timer) -> list[Action]:
        actions: list[Action] = []
        lost = []
        for order in self.state.orders.values():
            since = self._silent_since(order)
            if since and timer.now_ns - since > self._unknown_ns:
                if order.status is not OrderStatus.FINISHED:
                    order.status = OrderStatus.UNKNOWN
                lost.append(order.order_id)
        if lost and not self.state.resync_asked:
            self.state.resync_asked = True
            self.state.blocks["reconcile"] = (TradingState.HALTED, f"the fate of {', '.join(lost)} is unknown")
            actions += [ev.Record("order-unknown", {"ids": lost}), ev.Resync("the fate of an order is unknown")]
        return actions

    @staticmethod
    def _silent_since(order: Order) -> int:
        """Since when a word about an order is due (monotonic ns); 0 where none is."""
        if not order.live:
            return 0
        if order.status is OrderStatus.FINISHED:
            return order.finished_ns  # its trade reports are missing
        if order.status is OrderStatus.SENT or order.tif == "FAK":
            return order.cancel_ns or order.sent_ns
        return order.cancel_ns

    def _on_link(self, change: ev.LinkChange) -> list[Action]:
        state = self.state
        if change.who != "broker":
            actions: list[Action] = []
            for symbol in [symbol for symbol, writer in state.writers.items() if writer == change.who]:
                if not change.up:
                    del state.writers[symbol]
                    state.targets.pop(symbol, None)
                    actions += self._cancel_all(symbol, change.now_ns)
            return actions
        if change.up:
            state.blocks.pop("broker", None)
            return [ev.Record("broker-link", {"up": True}), ev.Resync("the trading link is back")]
        state.blocks["broker"] = (TradingState.HALTED, "the trading link is down")
        state.blocks["reconcile"] = (TradingState.HALTED, "the broker has not been asked since the link broke")
        return [ev.Record("broker-link", {"up": False})]

    def _on_kill(self, change: ev.KillChange) -> list[Action]:
        if not change.tripped:
            self.state.blocks.pop("kill", None)
            return [ev.Record("kill-reset", {})]
        self.state.blocks["kill"] = (TradingState.HALTED, f"the kill switch is tripped: {change.reason}")
        actions: list[Action] = [ev.Record("killed", {"reason": change.reason})]
        for symbol in {order.symbol for order in self.state.orders.values() if order.live}:
            actions += self._cancel_all(symbol, change.now_ns)
        return actions

    def _on_state(self, wanted: ev.StateWanted) -> list[Action]:
        self.state.blocks.pop("operator", None)
        if wanted.state is TradingState.ACTIVE:
            self.state.blocks.pop("rejects", None)
            self.state.rejects = 0
        else:
            self.state.blocks["operator"] = (wanted.state, wanted.reason)
        return [ev.Record("state-set", {"state": str(wanted.state), "reason": wanted.reason})]

    # What follows ----------------------------------------------------------------------------------------------

    def _cancel_all(self, symbol: str, now_ns: int) -> list[Action]:
        actions: list[Action] = []
        for order in self.state.live_orders(symbol):
            if order.status in (OrderStatus.SENT, OrderStatus.WORKING) and not order.cancel_ns:
                order.cancel_ns = now_ns
                actions.append(ev.Cancel(order.order_id))
        return actions

    def _advance(self, symbol: str) -> list[Action]:
        """The next step of a symbol towards its target, where there is one and nothing forbids it."""
        state = self.state
        wanted, book, spec = state.targets.get(symbol), state.books.get(symbol), self.config.symbols.get(symbol)
        if wanted is None or book is None or spec is None or state.trading_state is TradingState.HALTED:
            return []
        working = state.live_orders(symbol)
        step = plan_target(wanted.volume, state.position(symbol), working, book, spec, self.config.style)
        actions: list[Action] = []
        for order_id in step.cancel:
            state.orders[order_id].cancel_ns = book.now_ns
            actions.append(ev.Cancel(order_id))
        for place in step.place:
            actions += self._send(symbol, place, wanted, book)
        return actions

    def _send(self, symbol: str, place: Place, wanted: WantedPosition, book: ev.Book) -> list[Action]:
        state = self.state
        reason = self._forbidden(symbol, place, book)
        if reason:
            if state.last_refusal.get(symbol) == reason:  # said once, not with every tick
                return []
            state.last_refusal[symbol] = reason
            return [ev.Record("order-refused", {"symbol": symbol, "reason": reason})]
        state.last_refusal.pop(symbol, None)
        order = Order(
            self._order_id(state.next_number), symbol, place.side, place.offset, place.volume, place.price, place.tif,
            left=place.volume, sent_ns=book.now_ns, sent_market_ns=book.market_ns,
        )  # fmt: skip
        state.next_number += 1
        state.orders[order.order_id] = order
        state.sent_ns.append(book.market_ns)
        return [ev.Submit(order, wanted.session, wanted.revision, book.market_ns)]

    def _forbidden(self, symbol: str, place: Place, book: ev.Book) -> str:
        state = self.state
        if state.trading_state is TradingState.REDUCING and place.offset == "OPEN":
            return "REDUCING: only closing orders"
        out = [order for order in state.live_orders(symbol) if order.side == place.side]
        working = sum(order.side * (order.volume - order.filled) for order in out)
        net = state.position(symbol).net
        proposed = Proposed(symbol, place.side, place.volume, net, working, book.market_ns, state.sent_ns)
        return first_reason(self._rules, proposed)
