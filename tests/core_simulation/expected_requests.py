"""Computes what may be sent: the answer to each request, the next step towards a target, the limits of an order."""

from __future__ import annotations

import math

from ghtrader_runtime.core import events as ev
from tests.core_simulation.reference_model import HALTED, REDUCING, Picture

NO_PLAN: tuple[int, list[tuple[str, int]], tuple[float, ...]] = (0, [], ())


class Requests(Picture):
    """A reference model that knows what follows from it."""

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
        net = self.net(event.symbol)
        smaller = abs(event.volume) < abs(net) and event.volume * net >= 0
        if self.claim(event, "target") and (abs(event.volume) <= self.setup.limits.max_position or smaller):
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

    def out(self, symbol: str, side: int) -> int:
        """Lots of a side that may still fill."""
        return sum(o.pending for o in self.live.values() if o.symbol == symbol and o.side == side)

    def why_not(self, symbol: str, side: int, offset: str, volume: int, price: float) -> str:
        """The risk rule an order breaks, or an empty string."""
        limits, book, spec, terms = self.setup.limits, self.books[symbol], self.specs[symbol], self.terms.get(symbol)
        net = self.net(symbol)
        after = net + side * (self.out(symbol, side) + volume)
        leaves = offset != "OPEN" and volume > 0 and side * net < 0 and after * net >= 0  # nothing may hold it up
        if abs(after) > limits.max_position and not (offset != "OPEN" and abs(after) < abs(net)):
            return "position"
        if volume < 1 or (volume > limits.max_order and not leaves):
            return "size"
        if math.isnan(book.bid):
            mid = book.ask
        elif math.isnan(book.ask):
            mid = book.bid
        else:
            mid = (book.bid + book.ask) / 2
        if terms is None or terms.trading_day != self.day:
            if not leaves:
                return "terms"
            terms = None
        if not math.isnan(price):
            if abs(price / spec.price_tick - round(price / spec.price_tick)) > 1e-4 or price <= 0:
                return "grid"
            if terms is not None and (price > terms.upper or price < terms.lower):
                return "limit price"
            if not leaves and not abs(price - mid) <= limits.price_collar * mid:
                return "collar"
        worth = volume * spec.multiplier * (mid if math.isnan(price) else max(mid, price))
        if not leaves and not worth <= limits.max_notional:
            return "notional"
        if terms is not None and not any(a <= book.market_ns < b for a, b in terms.sessions):
            return "session"
        if offset == "OPEN" and limits.data_age_s and self.now - book.now_ns > limits.data_age_s * 1e9:
            return "age"
        if leaves:
            return ""
        if len(self.live) >= limits.max_open_orders:
            return "open orders"
        if len(self.sends) < limits.rate_orders:
            return ""
        recent = [ns for ns in self.sends if ns > book.market_ns - int(limits.rate_window_s * 1e9)]
        return "rate" if len(recent) >= limits.rate_orders else ""

    def plan(self, symbol: str) -> tuple[int, list[tuple[str, int]], tuple[float, ...]]:
        """Side, legs of the next step, and the prices it may carry; no legs where nothing is to be sent."""
        wanted_by, book = self.targets.get(symbol), self.books.get(symbol)
        if book is None or (wanted_by is None and not self.killed):
            return NO_PLAN
        target = 0 if self.killed or wanted_by is None else wanted_by[2]
        net, terms, style = self.net(symbol), self.terms.get(symbol), self.setup.style
        for order in self.live.values():
            if order.symbol == symbol:
                return NO_PLAN
        state = self.state()
        if state is HALTED:
            return NO_PLAN
        if state is REDUCING:
            target = sorted((0, target, net))[1] if target * net > 0 else 0
            target = net if abs(target) > abs(net) else target
        if target == net or self.now < self.patient_until.get(symbol, 0):
            return NO_PLAN
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
            return NO_PLAN
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
