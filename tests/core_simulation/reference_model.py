"""Models what the core was told, a second time and in another way: orders, lots, links, kill state, marks, silence.

The model follows from the events alone; what may be sent because of it is decided in `expected_requests`, the judging
is `auditor`'s. It shares data shapes with the runtime, and no rule.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import WriteIntent
from ghtrader_runtime.core.orders import Intent, Order, TradingState
from tests.core_simulation.exchange import age, book_trade, net_of
from tests.core_simulation.scenario_config import Setup

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED


class Seen:
    """An order as far as anybody told."""

    __slots__ = (
        "order_id", "symbol", "side", "offset", "volume", "price", "tif", "left", "traded", "kind", "session",
        "sent_ns", "market_ns", "cancel_ns", "heard", "over", "over_ns", "error", "unknown", "unsent", "closed",
    )  # fmt: skip

    def __init__(self, order: Order | ev.OrderReport | Intent, kind: str, sent_ns: int) -> None:
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


class Picture:
    """What one process run of a core was told after the other; `restart` begins the next."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        told = [name for name in dir(type(self)) if name.startswith("told_")]
        self._hears: dict[type, Callable[..., None]] = {getattr(ev, name[5:]): getattr(self, name) for name in told}
        self.specs = {spec.symbol: spec for spec in setup.specs}
        self.durable: set[str] = set()
        self.sent: set[str] = set()
        self.sends: deque[int] = deque(maxlen=1000)
        self.number = 0
        self.pending: WriteIntent | None = None

    def restart(self, intents: dict[str, Intent], seen: dict[str, int], marks: tuple | None, now: int) -> None:
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
        self.refused_since: dict[str, int] = {}
        self.patient_until: dict[str, int] = {}
        self.operator: TradingState | None = None
        self.opening = self.peak = self.balance = math.nan
        self.mark_day = ""
        self.marked = math.nan
        if marks is not None:
            self.mark_day, self.opening, self.peak = marks
            self.marked = self.peak
        self.expected: dict[str, tuple] = {}

    def state(self) -> TradingState:
        """What may be sent now, as told."""
        if self.setup.monitor_only or self.operator is HALTED or self.link_down or self.unasked:
            return HALTED
        if self.killed and not self.flattening():
            return HALTED
        if self.killed or self.rejected_out or self.operator is REDUCING or self.data_down or self.silent:
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
            clock = book.market_ns + self.now - book.now_ns
            if any(a <= clock < b and clock - max(a, book.market_ns) > limit for a, b in sessions):
                return True
        return False

    def settled(self, order: Seen) -> None:
        """Drop an order from the live ones once it is over."""
        if not order.live:
            self.live.pop(order.order_id, None)

    def told(self, event: ev.Event) -> None:
        """Take in an event before the core does."""
        if event.now_ns > self.now:
            self.now = event.now_ns
        self.request: tuple | None = None
        self.must_cancel: list[str] = []
        self.must_answer = ""
        self.fresh_book = ""
        self.trip_due = False
        self.resync_due: bool | None = None
        self.subscribe_due = False
        self.told_events += 1
        self._hears[type(event)](event)

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
        if book.market_ns > self.market:
            self.market = book.market_ns
        self.enter_day(book.trading_day)
        self.fresh_book = book.symbol
        if self.silent:
            self.silent = self.is_silent()
            if not self.silent:
                self.subscribe_at = self.subscribe_tries = 0

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
                self.be_patient(order.symbol, error)
                if self.rejects >= self.setup.max_rejects:
                    self.rejected_out = True
        self.expect_closing(order)
        self.settled(order)

    def be_patient(self, symbol: str, error: bool) -> None:
        """Where rejections stand against trading, the next closing order of a symbol waits longer each time."""
        if not error:
            self.refused_since.pop(symbol, None)
            self.patient_until.pop(symbol, None)
        elif self.rejected_out:
            times = self.refused_since[symbol] = self.refused_since.get(symbol, 0) + 1
            self.patient_until[symbol] = self.now + (1, 2, 4, 8, 16, 32, 60)[min(times, 7) - 1] * 10**9

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
        if not math.isfinite(equity.balance) or not self.day:
            return
        self.balance = equity.balance
        if self.day != self.mark_day:
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
            self.refused_since.clear()
            self.patient_until.clear()

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
