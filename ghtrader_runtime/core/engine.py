"""Runs the trading core: takes events, decides, returns actions. No clock, no socket, no file.

It knows what is wanted, what is held and what is on its way, and decides what to send. The edge (`gateway`) carries
the actions out in order; `WriteIntent` must be durable before the `SendOrder` behind it is done, `TripKill` before all
that follows. So the whole of it can be simulated with lost, late and repeated reports and a crash between any two
actions, and a journal of events replays to the same decisions. What the broker says is dealt
with in `broker_reports`, what strategies ask for in `strategy_requests`.

Rules it keeps: nothing is sent before the broker was asked what there is; one order step a symbol at a time; one
writer a symbol, by targets or by direct orders; an order whose fate is unknown stops all sending until the broker's
list tells; a fill counts once; what the broker says beats what we believe, and a missing report never means flat; a
contract that is not the day's any more is closed before the next one opens (`contract_roll`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ghtrader_market.accounting.positions import roll_day
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Record, Resubscribe, SendOrder, TripKill, WriteIntent, WriteMarks
from ghtrader_runtime.core.broker_reports import BrokerReports
from ghtrader_runtime.core.contract_roll import ContractRolls
from ghtrader_runtime.core.dedupe import Watermark
from ghtrader_runtime.core.execution import Place, plan_target, towards_flat
from ghtrader_runtime.core.order_prediction import Foresight
from ghtrader_runtime.core.orders import Intent, Order, OrderStatus, TradingState
from ghtrader_runtime.core.risk import Proposed, first_breach, first_reason
from ghtrader_runtime.core.state import CoreConfig, CoreState, Marks, WantedPosition, order_number
from ghtrader_runtime.core.strategy_requests import SessionRequests

__all__ = ["Core", "CoreConfig", "CoreState"]
_BREAK_NS = 10_000_000_000
"""A tick so close to a session's end (market time) may be its last."""
_RATE_MEMORY = 100_000
_PEAK_STEP = 0.05
"""The peak is written again once it rose by this part of the drawdown limit."""


class Core(BrokerReports, SessionRequests, ContractRolls, Foresight):
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
        The day's equity marks that were made durable.
    sent_ns : iterable of int
        Market times of orders sent in an earlier process run that may still count for the rate.
    now_ns : int
        Monotonic clock at the start.
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
    ) -> None:
        self.config = replace(config, symbols=dict(config.symbols))
        self._order_id = order_id
        self._style = replace(config.style, max_order=min(config.style.max_order, config.limits.max_order))
        self._rules = config.limits.rules()
        self._account_rules = config.limits.account_rules()
        self._unknown_ns = int(config.unknown_s * 1e9)
        self._stale_ns = int(config.limits.data_age_s * 1e9)
        self.state = CoreState(next_number=next_number, now_ns=now_ns, watermark=Watermark.of(watermark, now_ns))
        self.state.sent_ns = deque(sent_ns, maxlen=min(config.limits.rate_orders, _RATE_MEMORY))
        if marks is not None:
            self.state.marks = Marks(marks[0], marks[1], marks[2], written=marks[2])
        self.state.block("reconcile", TradingState.HALTED, "the broker has not been asked yet")
        self.state.resync_asked = True  # the edge asks at its start
        if config.monitor_only:
            self.state.block("monitor", TradingState.HALTED, "monitor only: nothing is ever sent")
        for intent in (open_intents or {}).values():
            self.state.track(
                Order(
                    intent.order_id, intent.symbol, intent.side, intent.offset, intent.volume, intent.price,
                    intent.tif, left=intent.volume, status=OrderStatus.UNKNOWN, kind="earlier", sent_ns=intent.sent_ns,
                )
            )  # fmt: skip
        self._handlers: dict[type, Callable[[Any], list[Action]]] = {
            ev.Terms: self._on_terms, ev.Bound: self._on_bound, ev.Book: self._on_book,
            ev.TargetWanted: self._on_target, ev.OrderWanted: self._on_order_wanted,
            ev.CancelWanted: self._on_cancel_wanted,
            ev.OrderReport: self._on_order, ev.TradeReport: self._on_trade, ev.Timer: self._on_timer,
            ev.Equity: self._on_equity, ev.LinkChange: self._on_link, ev.KillChange: self._on_kill,
            ev.StateWanted: self._on_state, ev.Snapshot: self._on_snapshot, ev.AskFailed: self._on_ask_failed,
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
            self._set_kill_block()
        if state.bound is not None:
            actions += self._watch_roll()
        if state.trading_state is not TradingState.ACTIVE:
            actions += self._call_in()
        return actions

    # What comes from the market --------------------------------------------------------------------------------

    def _on_terms(self, terms: ev.Terms) -> list[Action]:
        self.state.terms[terms.symbol] = terms
        self._enter_day(terms.trading_day)
        return []

    def _on_book(self, book: ev.Book) -> list[Action]:
        state = self.state
        last = state.books.get(book.symbol)
        if last is not None and (book.trading_day, book.tick_id) <= (last.trading_day, last.tick_id):
            return []  # repeated or out of order: the newer one is known
        state.books[book.symbol] = book
        state.market_ns = max(state.market_ns, book.market_ns)
        self._enter_day(book.trading_day)
        if "data" in state.blocks and not self._silent()[0]:
            state.unblock("data")
            state.resubscribe_at_ns = state.resubscribe_tries = 0
        return self._advance(book.symbol)

    def _enter_day(self, trading_day: str) -> None:
        state = self.state
        if trading_day <= state.trading_day:
            return
        if state.trading_day:
            state.positions = {symbol: roll_day(position) for symbol, position in state.positions.items()}
        state.trading_day = trading_day

    def _silent(self) -> tuple[str, int]:
        """The first symbol that should have ticked by now and how long ago it did, or was subscribed; empty, 0."""
        state = self.state
        for symbol, terms in state.terms.items():
            if not self._stale_ns or self._is_left(symbol):
                continue
            last = state.books.get(symbol) or terms
            due = last.market_ns and any(first <= last.market_ns < end - _BREAK_NS for first, end in terms.sessions)
            if due and state.now_ns - last.now_ns > self._stale_ns:
                return symbol, state.now_ns - last.now_ns
        return "", 0

    def _watch_data(self) -> list[Action]:
        state = self.state
        symbol, age_ns = self._silent()
        if not symbol:
            return []
        age = age_ns / 1e9
        state.block("data", TradingState.REDUCING, f"{symbol}: no tick for {age:.0f} s")
        if state.now_ns < state.resubscribe_at_ns:
            return []
        state.resubscribe_at_ns = state.now_ns + self._stale_ns * min(2**state.resubscribe_tries, 16)
        state.resubscribe_tries += 1
        return [Record("data-stale", {"symbol": symbol, "age_s": age}), Resubscribe(f"{symbol} went silent")]

    # What comes from elsewhere ---------------------------------------------------------------------------------

    def _on_timer(self, timer: ev.Timer) -> list[Action]:
        state = self.state
        actions = self._watch_data()
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
            state.block("reconcile", TradingState.HALTED, why)
        if "reconcile" in state.blocks:
            actions += self._ask(state.blocks["reconcile"][1])
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
            case OrderStatus.WORKING if order.tif != "GFD":
                return order.sent_ns
        return -1

    def _on_equity(self, equity: ev.Equity) -> list[Action]:
        state, marks = self.state, self.state.marks
        if not math.isfinite(equity.balance) or state.trading_day < marks.trading_day or not state.trading_day:
            return []
        marks.last = equity.balance
        actions: list[Action] = []
        if state.trading_day != marks.trading_day:
            actions += self._mark_day()
        marks.peak = max(marks.peak, equity.balance)
        if self.config.limits.drawdown and marks.peak - marks.written >= _PEAK_STEP * self.config.limits.drawdown:
            actions += self._write_marks()
        reason = first_breach(self._account_rules, marks.opening, marks.peak, equity.balance)
        if reason and not state.killed and not self.config.monitor_only:
            actions += [TripKill(reason), *self._trip(reason)]
        return actions

    def _mark_day(self) -> list[Action]:
        """The day's marks start where equity stands now."""
        marks = self.state.marks
        marks.trading_day, marks.opening, marks.peak = self.state.trading_day, marks.last, marks.last
        return self._write_marks()

    def _write_marks(self) -> list[Action]:
        marks = self.state.marks
        marks.written = marks.peak
        return [WriteMarks(marks.trading_day, marks.opening, marks.peak)]

    def _on_link(self, change: ev.LinkChange) -> list[Action]:
        state = self.state
        if change.who == "broker":
            return self._on_broker_link(change.up)
        if change.who == "data":
            if change.up:
                state.unblock("data-link")
            else:
                state.block("data-link", TradingState.REDUCING, "the market data link is down")
            return [Record("data-link", {"up": change.up})]
        if change.who == "ledger":  # no intent can be made durable: no order may leave
            if change.up:
                state.unblock("ledger")
            else:
                state.block("ledger", TradingState.HALTED, change.reason)
            return [Record("ledger", {"up": change.up, "reason": change.reason})]
        actions: list[Action] = []
        if not change.up:
            for symbol in [symbol for symbol, writer in state.writers.items() if writer.session == change.who]:
                del state.writers[symbol]
                state.targets.pop(symbol, None)
                for order in state.live_orders(symbol):
                    if order.status in (OrderStatus.SENT, OrderStatus.WORKING):
                        actions += self._cancel(order)
        return actions

    def _on_broker_link(self, up: bool) -> list[Action]:
        state = self.state
        if up:
            state.unblock("broker")
            state.resync_at_ns = 0
            return [Record("broker-link", {"up": True}), *self._ask("the trading link is back")]
        state.block("broker", TradingState.HALTED, "the trading link is down")
        state.block("reconcile", TradingState.HALTED, "the broker has not been asked since the link broke")
        return [Record("broker-link", {"up": False})]

    def _on_kill(self, change: ev.KillChange) -> list[Action]:
        if change.tripped:
            return [] if self.state.killed else self._trip(change.reason)
        if not self.state.killed:
            return []
        self.state.killed = False
        self.state.unblock("kill")
        # Who resets the switch has accepted the loss so far: it counts anew from here.
        again = self._mark_day() if math.isfinite(self.state.marks.last) else []
        return [Record("kill-reset", {}), *again]

    def _trip(self, reason: str) -> list[Action]:
        self.state.killed = True
        self.state.block("kill", TradingState.HALTED, f"the kill switch is tripped: {reason}")
        actions: list[Action] = [Record("killed", {"reason": reason})]
        for order in self.state.every_live_order():
            if not order.over and not order.cancel_ns:
                actions += self._cancel(order)
        return actions

    def _set_kill_block(self) -> None:
        """Flattening, closing orders may leave while something is held; else nothing."""
        state = self.state
        held = any(state.position(symbol).net for symbol in self.config.symbols)
        flattens = held and self.config.on_kill == "flatten"
        wanted = TradingState.REDUCING if flattens else TradingState.HALTED
        if state.blocks["kill"][0] is not wanted:
            state.block("kill", wanted, state.blocks["kill"][1])

    def _on_state(self, wanted: ev.StateWanted) -> list[Action]:
        self.state.unblock("operator")
        if wanted.state is TradingState.ACTIVE:
            self.state.unblock("rejects")
            self.state.rejects = 0
        else:
            self.state.block("operator", wanted.state, wanted.reason)
        return [Record("state-set", {"state": str(wanted.state), "reason": wanted.reason})]

    # What follows ----------------------------------------------------------------------------------------------

    def _call_in(self) -> list[Action]:
        """Cancel what may no longer work: everything where HALTED, what opens where REDUCING."""
        state = self.state
        if "broker" in state.blocks:
            return []
        actions: list[Action] = []
        for order in state.every_live_order():
            at_work = order.status in (OrderStatus.SENT, OrderStatus.WORKING)
            if at_work and (state.trading_state is TradingState.HALTED or order.offset == "OPEN"):
                actions += self._cancel(order)
        return actions

    def _advance(self, symbol: str) -> list[Action]:
        """The next step of a symbol towards its target, where there is one and nothing forbids it."""
        state = self.state
        wanted, book, spec = state.targets.get(symbol), state.books.get(symbol), self.config.symbols.get(symbol)
        if state.trading_state is TradingState.HALTED or book is None or spec is None:
            return []
        if state.killed or self._is_left(symbol):
            wanted = WantedPosition("kill" if state.killed else "roll", -1, 0)
        if wanted is None:
            return []
        position, working = state.position(symbol), state.live_orders(symbol)
        target = wanted.volume
        if state.trading_state is TradingState.REDUCING:
            target = towards_flat(target, position.net)
        if not working and target == position.net:
            state.chases[symbol] = 0
            return []
        terms = state.terms.get(symbol)
        lower, upper = (terms.lower, terms.upper) if terms is not None else (math.nan, math.nan)
        chases = state.chases.get(symbol, 0)
        step = plan_target(target, position, working, book, spec, self._style, chases, lower, upper)
        actions: list[Action] = []
        if step.cancel:
            state.chases[symbol] = chases + 1
            for order_id in step.cancel:
                actions += self._cancel(state.orders[order_id])
        for place in step.place:
            reason = self._forbidden(symbol, place, book)
            if reason:
                return [*actions, *self._say_once(symbol, reason)]
            state.last_refusal.pop(symbol, None)
            actions += self._place(symbol, place, wanted.session, wanted.revision, book, "target")
        return actions

    def _say_once(self, symbol: str, reason: str) -> list[Action]:
        if self.state.last_refusal.get(symbol) == reason:  # not with every tick
            return []
        self.state.last_refusal[symbol] = reason
        return [Record("order-refused", {"symbol": symbol, "reason": reason})]

    def _place(
        self, symbol: str, place: Place, session: str, revision: int, book: ev.Book, kind: str
    ) -> list[WriteIntent | SendOrder]:
        state = self.state
        number = order_number(state.next_number, place.side)
        order = Order(
            self._order_id(number), symbol, place.side, place.offset, place.volume, place.price, place.tif,
            left=place.volume, price_type=place.price_type, kind=kind, session=session, sent_ns=state.now_ns,
            sent_market_ns=book.market_ns,
        )  # fmt: skip
        state.next_number = number + 1
        state.track(order)
        state.sent_ns.append(state.market_ns)
        return [WriteIntent(order, session, revision, state.market_ns), SendOrder(order)]

    def _forbidden(self, symbol: str, place: Place, book: ev.Book) -> str:
        state = self.state
        if reason := self._waits_for_roll(symbol, place):
            return reason
        spec, terms = self.config.symbols[symbol], state.terms.get(symbol)
        known = terms is not None and terms.trading_day == state.trading_day
        out = [order for order in state.live_orders(symbol) if order.side == place.side]
        quotes = [quote for quote in (book.bid, book.ask) if not math.isnan(quote)]
        proposed = Proposed(
            symbol, place.side, place.volume, place.offset, place.price, state.position(symbol).net,
            sum(order.side * order.pending for order in out), book.market_ns, state.sent_ns,
            sum(map(len, state.live.values())), sum(quotes) / len(quotes) if quotes else math.nan, spec.multiplier,
            spec.price_tick, terms.lower if known else math.nan, terms.upper if known else math.nan,
            terms.sessions if known else None, (state.now_ns - book.now_ns) / 1e9,
        )  # fmt: skip
        return first_reason(self._rules, proposed)
