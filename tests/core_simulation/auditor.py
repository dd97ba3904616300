"""Judges every action of a core, and its state after every event, by a reference model of its own."""

from __future__ import annotations

import math

from ghtrader_runtime.core.actions import (
    Action,
    Answer,
    Cancel,
    CloseIntent,
    Record,
    Resubscribe,
    Resync,
    SendOrder,
    TripKill,
    WriteIntent,
    WriteMarks,
)
from ghtrader_runtime.core.orders import Order, TradingState
from ghtrader_runtime.core.state import CoreState
from tests.core_simulation.expected_requests import Requests
from tests.core_simulation.reference_model import ACTIVE, HALTED, REDUCING, Seen
from tests.core_simulation.verdict import Broken, require

_NOTHING = [0, 0, 0, 0]


class Auditor(Requests):
    """Judges one process run of a core after the other; `restart` begins the next."""

    def begin(self) -> None:
        """Before the actions of an event: what each symbol has to do."""
        self.plans = {self.fresh_book: self.plan(self.fresh_book)} if self.fresh_book else {}
        self.stepped: dict[str, int] = {}
        self.pending = None
        self.answers: list[Answer] = []
        self.resyncs = self.resubscribes = self.trips = 0
        self.direct_sent = 0

    def act(self, action: Action) -> None:
        """Judge one action, in order."""
        kind = type(action)
        if kind is Answer:
            self.answers.append(action)
        if kind is Answer or kind is Record:
            return
        match action:
            case WriteIntent():
                require(self.pending is None, "an intent that is not sent", action.order.order_id)
                require(action.order.order_id not in self.durable, "an order id twice", action.order.order_id)
                self.pending = action
                self.durable.add(action.order.order_id)
            case SendOrder():
                self.on_send(action.order)
            case Cancel():
                self.on_cancel(action.order_id)
            case CloseIntent():
                expected = self.expected.pop(action.order_id, None)
                require(
                    expected == (action.outcome, action.left), "an order closed as it did not end", (action, expected)
                )
                self.open_intents.discard(action.order_id)
            case Resync():
                require(not self.asked and not self.link_down, "asked twice, or on a dead line", action)
                self.resyncs += 1
                self.asked = True
            case Resubscribe():
                require(self.silent, "subscribed anew without a reason", action)
                self.resubscribes += 1
            case TripKill():
                require(self.trip_due, "the switch tripped without a reason", action)
                self.trips += 1
            case WriteMarks():
                fits = (action.trading_day, action.opening) == (self.mark_day, self.opening)
                require(fits and action.peak <= self.peak, "wrong marks", (action, self.opening, self.peak))
                self.marked = action.peak

    def on_send(self, order: Order) -> None:
        """Everything an order has to be."""
        wrote, self.pending = self.pending, None
        require(wrote is not None and wrote.order == order, "sent without its durable intent", order)
        assert wrote is not None
        require(order.order_id not in self.sent, "sent twice", order.order_id)
        self.sent.add(order.order_id)
        number = int(order.order_id.rsplit("-", 1)[1])
        require(number > self.number, "intents out of order", (order.order_id, self.number))
        self.number = number
        state = self.state()
        require(not self.setup.monitor_only, "sent although monitoring only", order)
        require(not self.killed or (state is REDUCING and order.offset != "OPEN"), "sent although killed", order)
        require(state is not HALTED, "sent although halted", order)
        net = self.net(order.symbol)
        if state is REDUCING:
            room = -order.side * net - self.out(order.symbol, order.side)
            require(order.offset != "OPEN" and order.volume <= room, "REDUCING and not reduced", (order, net))
        reason = self.why_not(order.symbol, order.side, order.offset, order.volume, order.price)
        require(not reason, "a limit broken: " + reason, order)
        if order.kind == "direct":
            self.on_direct(order, wrote)
        else:
            self.on_step(order, wrote)
        seen = Seen(order, order.kind, self.now)
        seen.session, seen.market_ns = wrote.target_session, self.books[order.symbol].market_ns
        self.orders[order.order_id] = self.live[order.order_id] = seen
        self.open_intents.add(order.order_id)
        self.sends.append(self.market)
        require(wrote.market_ns == self.market, "an intent with the wrong time", wrote)

    def on_direct(self, order: Order, wrote: WriteIntent) -> None:
        w = self.wanted
        asked = (w.session, w.revision, w.symbol, w.side, w.offset, w.volume, w.tif, w.price_type, repr(w.price))
        did = (wrote.target_session, wrote.target_revision, order.symbol, order.side, order.offset, order.volume,
               order.tif, order.price_type, repr(order.price))  # fmt: skip
        require(asked == did and self.must_answer == "either", "another order than was wanted", (asked, did))
        self.direct_sent += 1
        require(self.direct_sent == 1, "two orders for one", order)

    def on_step(self, order: Order, wrote: WriteIntent) -> None:
        symbol = order.symbol
        step = self.stepped.get(symbol, 0)
        if step == 0:
            self.plans[symbol] = self.plan(symbol)
        side, legs, prices = self.plans[symbol]
        require(step < len(legs), "an order nobody wanted, or two steps at once", (order, legs))
        self.stepped[symbol] = step + 1
        require((order.side, order.offset, order.volume) == (side, *legs[step]), "not the next step", (order, legs))
        near = any(abs(order.price - price) < 1e-6 for price in prices)
        require(near and order.tif == self.setup.style.tif, "a wrong price or time in force", (order, prices))
        writer = ("kill", -1) if self.killed else self.targets[symbol][:2]
        require((wrote.target_session, wrote.target_revision) == writer, "not the writer's order", (wrote, writer))

    def on_cancel(self, order_id: str) -> None:
        require(not self.setup.monitor_only, "a cancel although monitoring only", order_id)
        order = self.live.get(order_id)
        require(order is not None and not order.over, "cancelled what is not at work", order_id)
        assert order is not None
        require(not order.cancel_ns, "cancelled twice", order_id)
        order.cancel_ns = self.now

    def after(self, core: object) -> None:
        """Judge the core once all actions are done."""
        state = core.state  # type: ignore[attr-defined]
        if self.pending is not None:
            raise Broken("an intent that is not sent", "")
        if self.trips != self.trip_due:
            raise Broken("the switch did not trip", "")
        if self.resubscribes != self.subscribe_due:
            raise Broken("subscribed anew at the wrong time", str(self.resubscribes))
        if self.resync_due is not None and self.resync_due != (self.resyncs == 1):
            raise Broken("asked at the wrong time", str(self.resyncs))
        if math.isfinite(self.peak) and not self.peak - self.marked <= (0.05 * self.setup.limits.drawdown or math.inf):
            raise Broken("a crash would forget the day's marks", str((self.peak, self.marked)))
        if state.revision != self.told_events:
            raise Broken("a revision was left out", str(state.revision))
        if self.request is not None or self.answers:
            self.check_answer()
        for order_id in self.must_cancel:
            order = self.live.get(order_id)
            require(order is None or order.cancel_ns > 0, "not taken back", order_id)
        expected = self.state()
        if state.trading_state is not expected:
            raise Broken("the trading state is wrong", str((state.trading_state, expected, state.blocks)))
        if self.expected:
            raise Broken("an order ended and its intent stays open", str(self.expected))
        for symbol, lots in self.lots.items():
            p = state.positions.get(symbol)
            held = _NOTHING if p is None else [p.long_today, p.long_his, p.short_today, p.short_his]
            if held != lots:
                raise Broken("the books do not balance", str((symbol, held, lots)))
        if self.live or any(state.live.values()):
            self.check_orders(state)
        if self.live and expected is not ACTIVE and not self.link_down and not self.setup.monitor_only:
            for order in self.live.values():
                idle = order.cancel_ns or order.over or order.unknown
                calls = expected is HALTED or order.offset == "OPEN"
                require(bool(idle) or not calls, f"left at work although {expected}", order.order_id)
        if self.fresh_book:
            self.check_progress(self.fresh_book, expected)

    def check_orders(self, state: CoreState) -> None:
        """The core has the same orders alive, with the same lots."""
        count = 0
        for orders in state.live.values():
            for key, order in orders.items():
                seen = self.live.get(key)
                if seen is None:
                    raise Broken("an order that is over counts as live", key)
                if order.left != seen.left or order.traded != seen.traded:
                    raise Broken("an order's lots are wrong", str(order))
                count += 1
        if count != len(self.live):
            raise Broken("a live order was forgotten", str([*self.live]))

    def check_answer(self) -> None:
        if self.request is None:
            require(not self.answers, "an answer nobody asked for", self.answers)
            return
        require(len(self.answers) == 1, "not one answer", self.answers)
        answer = self.answers[0]
        require((answer.session, answer.revision) == self.request, "the wrong answer", answer)
        if self.must_answer != "either":
            require(answer.status == self.must_answer, "the wrong answer", (answer, self.must_answer))
            require(answer.status == "accepted" or not self.stepped, "acted on what it refused", answer)
        elif hasattr(self, "wanted") and self.request == (self.wanted.session, self.wanted.revision):
            require(self.direct_ok == (answer.status == "accepted"), "a direct order misjudged", (answer, self.wanted))
            require(self.direct_sent == self.direct_ok, "answered and not done", answer)

    def check_progress(self, symbol: str, state: TradingState) -> None:
        """After a new tick or target, what can be done is done."""
        side, legs, prices = self.plans[symbol]
        step = self.stepped.get(symbol, 0) if legs else 0
        if step < len(legs):
            offset, volume = legs[step]
            reasons = ["no price" if math.isnan(p) else self.why_not(symbol, side, offset, volume, p) for p in prices]
            require(not reasons or any(reasons), "it does nothing though it could", (symbol, side, legs))
        if not self.live or state is HALTED or self.killed or self.setup.monitor_only or symbol not in self.targets:
            return
        book, style = self.books.get(symbol), self.setup.style
        if book is None:
            return
        for order in self.live.values():
            if order.symbol == symbol and order.tif == "GFD" and order.heard and not (order.over or order.unknown):
                old = book.market_ns - order.market_ns >= style.reprice_s * 1e9
                require(not old or order.cancel_ns > 0, "a stale order is left to rest", order.order_id)
