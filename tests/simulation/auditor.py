"""What the core was told and what it may do about it, worked out a second time and in another way.

The auditor keeps its own picture of orders, lots, writers, kill state and links from the same events, and judges every
action and the core's state after every event. It shares data shapes with the runtime, and no rule.
"""

from __future__ import annotations

import math
from collections import deque

from ghtrader_runtime import events as ev
from ghtrader_runtime.events import TradingState
from tests.simulation.exchange import age, book_trade, net_of
from tests.simulation.setup import Setup

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED
BREAK_NS = 10_000_000_000
_NOTHING = [0, 0, 0, 0]


class Broken(AssertionError):
    """An invariant does not hold; `name` says which."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


def require(holds: bool, name: str, text: object = "") -> None:
    """Raise `Broken` where an invariant does not hold."""
    if not holds:
        raise Broken(name, str(text))


class Seen:
    """An order as far as anybody told."""

    __slots__ = (
        "order_id", "symbol", "side", "offset", "volume", "price", "tif", "left", "traded", "kind", "session",
        "sent_ns", "market_ns", "cancel_ns", "heard", "over", "over_ns", "error", "unknown", "unsent", "closed",
    )  # fmt: skip

    def __init__(self, order: ev.Order | ev.OrderReport | ev.Intent, kind: str, sent_ns: int) -> None:
        self.order_id, self.symbol, self.side, self.offset = order.order_id, order.symbol, order.side, order.offset
        self.volume, self.price, self.kind, self.sent_ns = order.volume, order.price, kind, sent_ns
        self.left, self.traded, self.session = self.volume, 0, ""
        self.tif = getattr(order, "tif", "GFD")
        self.market_ns = self.cancel_ns = self.over_ns = 0
        self.heard = self.over = self.error = self.unknown = self.unsent = self.closed = False

    @property
    def pending(self) -> int:
        """Lots that are not in the position yet and may come into it."""
        return (self.volume - self.left if self.over else self.volume) - self.traded

    @property
    def live(self) -> bool:
        if self.unsent:
            return False
        return not (self.over and self.traded >= self.volume - self.left)


class Auditor:
    """Judges one life of a core after the other; `restart` begins the next."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.specs = {spec.symbol: spec for spec in setup.specs}
        self.durable: set[str] = set()
        self.sent: set[str] = set()
        self.sends: deque[int] = deque(maxlen=1000)
        self.number = 0
        self.pending: ev.WriteIntent | None = None

    def restart(self, intents: dict[str, ev.Intent], seen: dict[str, int], marks: tuple | None, now: int) -> None:
        """A new process: all it knows is what was durable."""
        if self.pending is not None:  # its intent is durable, and counts, although it never left
            self.sends.append(self.market)
            self.pending = None
        self.now, self.market = now, 0
        self.orders = {key: Seen(intent, "earlier", intent.sent_ns) for key, intent in intents.items()}
        for order in self.orders.values():
            order.unknown = True
        self.live: dict[str, Seen] = dict(self.orders)
        self.open_intents = set(intents)
        self.lots: dict[str, list[int]] = {}
        self.trades: set[str] = set()
        self.sums: dict[str, int] = {}
        self.books: dict[str, ev.Book] = {}
        self.terms: dict[str, ev.Terms] = {}
        self.day = ""
        self.seen = dict(seen)
        self.writers: dict[str, tuple[str, str]] = {}
        self.targets: dict[str, tuple[str, int, int]] = {}
        self.killed = self.link_down = self.data_down = False
        self.unasked, self.asked, self.ask_at, self.tries = True, True, 0, 0
        self.silent = False
        self.subscribe_at = self.subscribe_tries = self.told_events = 0
        self.rejects = 0
        self.rejected_out = False
        self.operator: TradingState | None = None
        self.opening = self.peak = self.balance = math.nan
        self.mark_day = ""
        self.marked = math.nan
        if marks is not None:
            self.mark_day, self.opening, self.peak = marks
            self.marked = self.peak
        self.expected: dict[str, tuple] = {}

    # The picture -----------------------------------------------------------------------------------------------

    def state(self) -> TradingState:
        """What may be sent now, as told."""
        if self.setup.monitor_only or self.operator is HALTED or self.link_down or self.rejected_out or self.unasked:
            return HALTED
        if self.killed and not self.flattening():
            return HALTED
        if self.killed or self.operator is REDUCING or self.data_down or self.silent:
            return REDUCING
        return ACTIVE

    def flattening(self) -> bool:
        return self.setup.on_kill == "flatten" and any(self.net(symbol) for symbol in self.specs)

    def net(self, symbol: str) -> int:
        lots = self.lots.get(symbol)
        return net_of(lots) if lots else 0

    def is_silent(self) -> bool:
        limit = self.setup.limits.data_age_s * 1e9
        for symbol, book in self.books.items():
            if not limit or self.now - book.now_ns <= limit:
                continue
            sessions = self.terms[symbol].sessions if symbol in self.terms else ()
            if any(a <= book.market_ns < b - BREAK_NS for a, b in sessions):
                return True
        return False

    def settled(self, order: Seen) -> None:
        """Drop an order from the live ones once it is over."""
        if not order.live:
            self.live.pop(order.order_id, None)

    # Events ----------------------------------------------------------------------------------------------------

    def told(self, event: ev.Event) -> None:
        """Take in an event before the core does."""
        self.now = max(self.now, event.now_ns)
        self.request: tuple | None = None
        self.must_cancel: list[str] = []
        self.must_answer = ""
        self.fresh_book = ""
        self.trip_due = False
        self.resync_due: bool | None = None
        self.subscribe_due = False
        self.told_events += 1
        self.before_live = list(self.live)
        getattr(self, "told_" + type(event).__name__)(event)

    def enter_day(self, day: str) -> None:
        if day > self.day:
            if self.day:
                for lots in self.lots.values():
                    age(lots)
            self.day = day

    def told_Terms(self, terms: ev.Terms) -> None:
        self.terms[terms.symbol] = terms
        self.enter_day(terms.trading_day)

    def told_Book(self, book: ev.Book) -> None:
        last = self.books.get(book.symbol)
        if last is not None and (last.trading_day, last.tick_id) >= (book.trading_day, book.tick_id):
            return
        self.books[book.symbol] = book
        self.market = max(self.market, book.market_ns)
        self.enter_day(book.trading_day)
        self.fresh_book = book.symbol
        if self.silent:
            self.silent = self.is_silent()
            if not self.silent:
                self.subscribe_at = self.subscribe_tries = 0

    def claim(self, event: ev.TargetWanted | ev.OrderWanted, kind: str) -> bool:
        self.request = (event.session, event.revision)
        if event.revision <= self.seen.get(event.session, -1):
            self.must_answer = "duplicate"
            return False
        self.seen[event.session] = event.revision
        self.must_answer = "refused"
        if event.symbol not in self.specs:
            return False
        return self.writers.setdefault(event.symbol, (event.session, kind)) == (event.session, kind)

    def told_TargetWanted(self, event: ev.TargetWanted) -> None:
        if self.claim(event, "target") and abs(event.volume) <= self.setup.limits.max_position:
            self.must_answer = "accepted"
            self.targets[event.symbol] = (event.session, event.revision, event.volume)
            self.fresh_book = event.symbol

    def told_OrderWanted(self, event: ev.OrderWanted) -> None:
        if self.claim(event, "direct"):
            self.must_answer = "either"
            self.wanted = event
            self.direct_ok = self.may_direct(event)

    def told_CancelWanted(self, event: ev.CancelWanted) -> None:
        self.request = (event.session, event.revision)
        if event.revision <= self.seen.get(event.session, -1):
            self.must_answer = "duplicate"
            return
        self.seen[event.session] = event.revision
        self.must_answer = "either"
        if not self.setup.monitor_only:
            self.must_cancel = [
                o.order_id for o in self.live.values()
                if o.kind == "direct" and o.session == event.session and not (o.cancel_ns or o.over)
                and event.order_id in ("", o.order_id)
            ]  # fmt: skip

    def told_OrderReport(self, report: ev.OrderReport) -> None:
        order = self.orders.get(report.order_id)
        if order is None:
            if not report.finished or report.volume - report.left > self.sums.get(report.order_id, 0):
                self.stranger(report)
            return
        if order.unsent:  # it was there all the time
            order.unsent, order.over, order.heard, order.unknown = False, False, True, False
            order.cancel_ns = 0
            self.live[order.order_id] = order
            if not report.finished and not self.setup.monitor_only:
                self.must_cancel = [order.order_id]
        elif not order.live or (order.over and not report.finished):
            return
        order.left = min(order.left, report.left)
        if report.finished:
            self.end(order, report.error)
        elif report.exchange_order_id:
            order.heard, order.unknown = True, False

    def stranger(self, report: ev.OrderReport) -> None:
        order = Seen(report, "stranger", self.now)
        order.left, order.heard, order.market_ns, order.closed = report.left, True, self.market, True
        order.traded = self.sums.get(report.order_id, 0)
        self.orders[order.order_id] = self.live[order.order_id] = order
        if report.finished:
            self.end(order, report.error)
        elif self.setup.unknown_orders == "cancel" and not self.setup.monitor_only:
            self.must_cancel.append(order.order_id)

    def end(self, order: Seen, error: bool) -> None:
        first = not order.over
        order.over, order.unknown = True, False
        if first:
            order.over_ns, order.error = self.now, error
            if order.kind != "stranger":
                self.rejects = self.rejects + 1 if error else 0
                if self.rejects >= self.setup.max_rejects:
                    self.rejected_out = True
        self.expect_closing(order)
        self.settled(order)

    def expect_closing(self, order: Seen, outcome: str = "") -> None:
        if order.order_id in self.open_intents and not order.closed:
            order.closed = True
            outcome = outcome or ("rejected" if order.error else "filled" if order.left == 0 else "cancelled")
            self.expected[order.order_id] = (outcome, order.left)

    def told_TradeReport(self, trade: ev.TradeReport) -> None:
        if trade.trade_id in self.trades:
            return
        self.trades.add(trade.trade_id)
        self.sums[trade.order_id] = self.sums.get(trade.order_id, 0) + trade.volume
        order = self.orders.get(trade.order_id)
        if order is not None:
            if order.unsent:
                order.unsent, order.over, order.heard, order.unknown = False, False, True, False
                order.cancel_ns = 0
                self.live[order.order_id] = order
                if order.traded + trade.volume < order.volume and not self.setup.monitor_only:
                    self.must_cancel = [order.order_id]
            was_live = order.live
            order.traded += trade.volume
            if was_live and not order.over and order.traded >= order.volume:
                order.left = 0
                self.end(order, False)
            self.settled(order)
        lots = self.lots.setdefault(trade.symbol, [0, 0, 0, 0])
        if not book_trade(lots, trade.side, trade.offset, trade.volume, trade.symbol.startswith("SHFE")):
            self.unasked = True

    def told_Timer(self, timer: ev.Timer) -> None:
        if self.is_silent():
            self.silent = True
            self.subscribe_due = self.now >= self.subscribe_at
            if self.subscribe_due:
                wait = int(self.setup.limits.data_age_s * 1e9) * min(2**self.subscribe_tries, 16)
                self.subscribe_at = self.now + wait
                self.subscribe_tries += 1
        wait = self.setup.unknown_s * 1e9
        for order in self.live.values():
            if order.over:
                since = order.over_ns
            elif order.unknown:
                since = None
            elif order.cancel_ns:
                since = order.cancel_ns
            elif not order.heard or order.tif != "GFD":
                since = order.sent_ns
            else:
                since = None
            if since is not None and self.now - since > wait:
                order.unknown = order.unknown or not order.over
                self.unasked = True
        self.resync_due = self.unasked and not self.asked and not self.link_down and self.now >= self.ask_at

    def told_Equity(self, equity: ev.Equity) -> None:
        if not math.isfinite(equity.balance) or not self.day or self.day < self.mark_day:
            return
        self.balance = equity.balance
        if self.day > self.mark_day:
            self.mark_day, self.opening, self.peak = self.day, equity.balance, equity.balance
        self.peak = max(self.peak, equity.balance)
        limits = self.setup.limits
        lost = limits.daily_loss and self.opening - equity.balance >= limits.daily_loss
        fell = limits.drawdown and self.peak - equity.balance >= limits.drawdown
        if (lost or fell) and not self.killed and not self.setup.monitor_only:
            self.trip_due = True
            self.kill()

    def kill(self) -> None:
        self.killed = True
        if not self.setup.monitor_only:
            self.must_cancel = [o.order_id for o in self.live.values() if not o.over and not o.cancel_ns]

    def told_KillChange(self, change: ev.KillChange) -> None:
        if change.tripped and not self.killed:
            self.kill()
        elif self.killed and not change.tripped:
            self.killed = False
            if math.isfinite(self.balance):
                self.mark_day, self.opening, self.peak = self.day, self.balance, self.balance

    def told_StateWanted(self, wanted: ev.StateWanted) -> None:
        self.operator = None if wanted.state is ACTIVE else wanted.state
        if wanted.state is ACTIVE:
            self.rejects, self.rejected_out = 0, False

    def told_LinkChange(self, change: ev.LinkChange) -> None:
        if change.who == "data":
            self.data_down = not change.up
        elif change.who == "broker":
            self.link_down = not change.up
            self.unasked = self.unasked or self.link_down
            if change.up:
                self.ask_at = 0
                self.resync_due = not self.asked
        elif not change.up:
            for symbol in [s for s, (session, _) in self.writers.items() if session == change.who]:
                del self.writers[symbol]
                self.targets.pop(symbol, None)
                if not self.setup.monitor_only:
                    self.must_cancel += [
                        o.order_id for o in self.live.values()
                        if o.symbol == symbol and not (o.over or o.unknown or o.cancel_ns)
                    ]  # fmt: skip

    def told_AskFailed(self, failed: ev.AskFailed) -> None:
        self.unasked, self.asked = True, False
        self.ask_at = self.now + min(2**self.tries, 60) * 10**9
        self.tries += 1

    def told_Snapshot(self, snapshot: ev.Snapshot) -> None:
        self.enter_day(snapshot.trading_day)
        named = {h.symbol: [h.long_today, h.long_his, h.short_today, h.short_his] for h in snapshot.holdings}
        if snapshot.complete:
            self.lots = named
        else:
            self.lots.update(named)
        sums: dict[str, int] = {}
        for trade in snapshot.trades:
            sums[trade.order_id] = sums.get(trade.order_id, 0) + trade.volume
            if snapshot.complete or trade.symbol in named:
                if trade.trade_id not in self.trades:
                    self.trades.add(trade.trade_id)
                    self.sums[trade.order_id] = self.sums.get(trade.order_id, 0) + trade.volume
            else:
                self.told_TradeReport(trade)
        reports = {report.order_id: report for report in snapshot.orders}
        young = False
        for order in [order for order in self.orders.values() if order.order_id in self.live]:
            order.traded = max(order.traded, sums.get(order.order_id, 0))
            report = reports.pop(order.order_id, None)
            if report is not None:
                order.left = min(order.left, report.left)
                if snapshot.complete:
                    order.traded = max(order.traded, order.volume - order.left)
                if report.finished or order.over:
                    self.end(order, report.error)
                else:
                    order.heard, order.unknown, order.cancel_ns = True, False, 0
                    if self.setup.unknown_orders == "cancel" and not self.setup.monitor_only:
                        self.must_cancel.append(order.order_id)
            elif order.over:
                if snapshot.complete:
                    order.traded = max(order.traded, order.volume - order.left)
                    self.live.pop(order.order_id)
            elif snapshot.complete and self.now - order.sent_ns >= self.setup.settle_s * 1e9:
                order.left = min(order.left, order.volume - order.traded)
                known = order.heard or order.traded > 0
                order.over, order.unsent = True, not known
                order.traded = max(order.traded, order.volume - order.left)
                self.expect_closing(order, "cancelled" if known else "unsent")
                self.live.pop(order.order_id)
            else:
                order.unknown = young = True
        for report in reports.values():
            if not report.finished:
                self.told_OrderReport(report)
        self.asked, self.tries = False, 0
        self.link_down = False
        self.unasked = young or any(o.unknown for o in self.live.values()) or not snapshot.complete
        self.ask_at = self.now + int(self.setup.settle_s * 1e9) if self.unasked else 0

    # What may be sent ------------------------------------------------------------------------------------------

    def out(self, symbol: str, side: int) -> int:
        """Lots of a side that may still fill."""
        return sum(o.pending for o in self.live.values() if o.symbol == symbol and o.side == side)

    def why_not(self, symbol: str, side: int, offset: str, volume: int, price: float) -> str:
        """The risk rule an order breaks, or an empty string."""
        limits, book, spec, terms = self.setup.limits, self.books[symbol], self.specs[symbol], self.terms.get(symbol)
        after = self.net(symbol) + side * (self.out(symbol, side) + volume)
        if abs(after) > limits.max_position and not (offset != "OPEN" and abs(after) < abs(self.net(symbol))):
            return "position"
        if volume < 1 or volume > limits.max_order:
            return "size"
        if math.isnan(book.bid):
            mid = book.ask
        elif math.isnan(book.ask):
            mid = book.bid
        else:
            mid = (book.bid + book.ask) / 2
        if terms is None or terms.trading_day != self.day:
            return "terms"
        if not math.isnan(price):
            if abs(price / spec.price_tick - round(price / spec.price_tick)) > 1e-4 or price <= 0:
                return "grid"
            if price > terms.upper or price < terms.lower:
                return "limit price"
            if not abs(price - mid) <= limits.price_collar * mid:
                return "collar"
        worth = volume * spec.multiplier * (mid if math.isnan(price) else max(mid, price))
        if not worth <= limits.max_notional:
            return "notional"
        if not any(a <= book.market_ns < b for a, b in terms.sessions):
            return "session"
        if offset == "OPEN" and limits.data_age_s and self.now - book.now_ns > limits.data_age_s * 1e9:
            return "age"
        if len(self.live) >= limits.max_open_orders:
            return "open orders"
        recent = [ns for ns in self.sends if ns > book.market_ns - int(limits.rate_window_s * 1e9)]
        return "rate" if len(recent) >= limits.rate_orders else ""

    def plan(self, symbol: str) -> tuple[int, list[tuple[str, int]], tuple[float, ...]]:
        """Side, legs of the next step, and the prices it may carry; no legs where nothing is to be sent."""
        book, terms, style = self.books.get(symbol), self.terms.get(symbol), self.setup.style
        target = 0 if self.killed else self.targets[symbol][2] if symbol in self.targets else None
        state, net = self.state(), self.net(symbol)
        if book is None or target is None or state is HALTED:
            return 0, [], ()
        if state is REDUCING:
            target = sorted((0, target, net))[1] if target * net > 0 else 0
            target = net if abs(target) > abs(net) else target
        if target == net or any(o.symbol == symbol for o in self.live.values()):
            return 0, [], ()
        side = 1 if target > net else -1
        best, own, tick = (book.ask, book.bid, 1) if side > 0 else (book.bid, book.ask, -1)
        cross = math.nan
        if not math.isnan(best):
            cross = best + tick * style.slip_ticks * self.specs[symbol].price_tick
            if terms is not None:
                cross = min(max(cross, terms.lower), terms.upper)
        joins = style.tif == "GFD" and style.peg == "join" and not math.isnan(own)
        if joins and style.max_chases > 0:
            prices: tuple[float, ...] = (own, cross)
        else:
            prices = (cross,)
        if all(map(math.isnan, prices)):
            return 0, [], ()
        wanted, legs = abs(target - net), []
        lots = self.lots.get(symbol, [0, 0, 0, 0])
        today, his = (lots[2], lots[3]) if side > 0 else (lots[0], lots[1])
        shse = self.specs[symbol].needs_close_today
        for offset, there in (("CLOSE", his if shse else his + today), ("CLOSETODAY", today if shse else 0)):
            take = min(there, wanted)
            if take:
                legs.append((offset, take))
                wanted -= take
        if not legs:
            legs = [("OPEN", wanted)]
        most = min(style.max_order, self.setup.limits.max_order)
        cut = [(o, min(most, v - d)) for o, v in legs for d in range(0, v, most)]
        return side, cut, prices

    def may_direct(self, w: ev.OrderWanted) -> bool:
        """Whether a direct order has to be carried out."""
        symbol, state = w.symbol, self.state()
        if state is HALTED or self.killed or symbol not in self.books:
            return False
        lots = self.lots.get(symbol, [0, 0, 0, 0])
        today, his = (lots[2], lots[3]) if w.side > 0 else (lots[0], lots[1])
        shfe = self.specs[symbol].needs_close_today
        if w.price_type != "LIMIT" and (shfe or w.tif == "GFD" or (w.price_type != "ANY" and w.tif == "FOK")):
            return False
        if w.price_type == "LIMIT" and math.isnan(w.price):
            return False
        if w.offset != "OPEN":
            if w.offset == "CLOSETODAY" and not shfe:
                return False
            there = today if w.offset == "CLOSETODAY" else his if shfe else his + today
            out = [o for o in self.live.values() if (o.symbol, o.side, o.offset) == (symbol, w.side, w.offset)]
            if w.volume > there - sum(o.pending for o in out):
                return False
        if state is REDUCING:
            room = -w.side * self.net(symbol) - self.out(symbol, w.side)
            if w.offset == "OPEN" or w.volume > room:
                return False
        return not self.why_not(symbol, w.side, w.offset, w.volume, w.price)

    # Judging ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Before the actions of an event: what each symbol has to do."""
        self.plans = {self.fresh_book: self.plan(self.fresh_book)} if self.fresh_book else {}
        self.stepped: dict[str, int] = {}
        self.pending = None
        self.answers: list[ev.Answer] = []
        self.resyncs = self.resubscribes = self.trips = 0
        self.direct_sent = 0

    def act(self, action: ev.Action) -> None:
        """Judge one action, in order."""
        match action:
            case ev.WriteIntent():
                require(self.pending is None, "an intent that is not sent", action.order.order_id)
                require(action.order.order_id not in self.durable, "an order id twice", action.order.order_id)
                self.pending = action
                self.durable.add(action.order.order_id)
            case ev.SendOrder():
                self.on_send(action.order)
            case ev.Cancel():
                self.on_cancel(action.order_id)
            case ev.CloseIntent():
                expected = self.expected.pop(action.order_id, None)
                require(
                    expected == (action.outcome, action.left), "an order closed as it did not end", (action, expected)
                )
                self.open_intents.discard(action.order_id)
            case ev.Answer():
                self.answers.append(action)
            case ev.Resync():
                require(not self.asked and not self.link_down, "asked twice, or on a dead line", action)
                self.resyncs += 1
                self.asked = True
            case ev.Resubscribe():
                require(self.silent, "subscribed anew without a reason", action)
                self.resubscribes += 1
            case ev.TripKill():
                require(self.trip_due, "the switch tripped without a reason", action)
                self.trips += 1
            case ev.WriteMarks():
                fits = (action.trading_day, action.opening) == (self.mark_day, self.opening)
                require(fits and action.peak <= self.peak, "wrong marks", (action, self.opening, self.peak))
                self.marked = action.peak

    def on_send(self, order: ev.Order) -> None:
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

    def on_direct(self, order: ev.Order, wrote: ev.WriteIntent) -> None:
        w = self.wanted
        asked = (w.session, w.revision, w.symbol, w.side, w.offset, w.volume, w.tif, w.price_type, repr(w.price))
        did = (wrote.target_session, wrote.target_revision, order.symbol, order.side, order.offset, order.volume,
               order.tif, order.price_type, repr(order.price))  # fmt: skip
        require(asked == did and self.must_answer == "either", "another order than was wanted", (asked, did))
        self.direct_sent += 1
        require(self.direct_sent == 1, "two orders for one", order)

    def on_step(self, order: ev.Order, wrote: ev.WriteIntent) -> None:
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
        require(self.pending is None, "an intent that is not sent")
        require(self.trips == self.trip_due, "the switch did not trip")
        require(self.resubscribes == self.subscribe_due, "subscribed anew at the wrong time", self.resubscribes)
        require(self.resync_due in (None, self.resyncs == 1), "asked at the wrong time", self.resyncs)
        if math.isfinite(self.peak):
            kept = self.peak - self.marked <= (0.05 * self.setup.limits.drawdown or math.inf)
            require(kept, "a crash would forget the day's marks", (self.peak, self.marked))
        require(state.revision == self.told_events, "a revision was left out", state.revision)
        self.check_answer()
        for order_id in self.must_cancel:
            order = self.live.get(order_id)
            require(order is None or order.cancel_ns > 0, "not taken back", order_id)
        expected = self.state()
        require(
            state.trading_state is expected, "the trading state is wrong", (state.trading_state, expected, state.blocks)
        )
        require(not self.expected, "an order ended and its intent stays open", self.expected)
        for symbol, lots in self.lots.items():
            p = state.positions.get(symbol)
            held = _NOTHING if p is None else [p.long_today, p.long_his, p.short_today, p.short_his]
            if held != lots:
                raise Broken("the books do not balance", str((symbol, held, lots)))
        count = 0
        for orders in state.live.values():
            for key, order in orders.items():
                seen = self.live.get(key)
                require(seen is not None, "an order that is over counts as live", key)
                if order.left != seen.left or order.traded != seen.traded:
                    raise Broken("an order's lots are wrong", str(order))
                count += 1
        if count != len(self.live):
            raise Broken("a live order was forgotten", str([*self.live]))
        if self.live and expected is not ACTIVE and not self.link_down and not self.setup.monitor_only:
            for order in self.live.values():
                idle = order.cancel_ns or order.over or order.unknown
                calls = expected is HALTED or order.offset == "OPEN"
                require(bool(idle) or not calls, f"left at work although {expected}", order.order_id)
        if self.fresh_book:
            self.check_progress(self.fresh_book)

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

    def check_progress(self, symbol: str) -> None:
        """After a new tick or target, what can be done is done."""
        side, legs, prices = self.plans[symbol]
        step = self.stepped.get(symbol, 0)
        if step < len(legs):
            offset, volume = legs[step]
            reasons = [self.why_not(symbol, side, offset, volume, p) for p in prices if not math.isnan(p)]
            require(not reasons or any(reasons), "it does nothing though it could", (symbol, side, legs))
        book, style = self.books.get(symbol), self.setup.style
        if (
            book is None
            or self.state() is HALTED
            or symbol not in self.targets
            or self.killed
            or self.setup.monitor_only
        ):
            return
        for order in self.live.values():
            if order.symbol == symbol and order.tif == "GFD" and order.heard and not (order.over or order.unknown):
                old = book.market_ns - order.market_ns >= style.reprice_s * 1e9
                require(not old or order.cancel_ns > 0, "a stale order is left to rest", order.order_id)
