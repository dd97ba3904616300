"""Runs core, ledger, wire, exchange and clock of one scenario.

It carries actions out as `gateway` does, and may crash anywhere.
"""

from __future__ import annotations

import msgspec

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import (
    Action,
    Cancel,
    CloseIntent,
    Record,
    Resubscribe,
    Resync,
    SendOrder,
    TripKill,
    WriteBinding,
    WriteIntent,
    WriteMarks,
)
from ghtrader_runtime.core.orders import Intent, Order, TradingState
from ghtrader_runtime.core.trading_core import Core
from tests.core_simulation.auditor import Auditor
from tests.core_simulation.exchange import Exchange, entropy, net_of
from tests.core_simulation.scenario import WEIGHTS, Step
from tests.core_simulation.scenario_config import START_PRICE, Setup
from tests.core_simulation.verdict import Broken, require

MS = 1_000_000
DAY_NS = 86_400 * 10**9
FIRST_NS = 1_736_000_000 * 10**9
_DAYS = [f"2025-01-{day:02d}" for day in range(1, 101)]
LATER_MARKS = ("2099-01-01", 1.0, 1e12)
"""What an old ledger may hold: marks of a day that has not begun, which count for nothing."""
_HAPPENS = {kind: "do_" + kind.replace("-", "_") for kind in WEIGHTS}
_DONE = {
    WriteIntent, SendOrder, Cancel, CloseIntent, WriteMarks, TripKill, Resync, Resubscribe,
    WriteBinding,
}  # fmt: skip
"""Actions with an effect outside; answers and records have none here."""
_STATES = (TradingState.REDUCING, TradingState.HALTED, TradingState.REDUCING)


class Crash(Exception):
    """The process died."""


class World:
    """One scenario.

    Attributes
    ----------
    events : int
        Events the core was given.
    log : list of str, or None
        What happened, in words, where asked for.
    """

    def __init__(self, setup: Setup, core_class: type[Core] = Core, log: list[str] | None = None) -> None:
        self.setup, self.core_class, self.log = setup, core_class, log
        self.symbols = [spec.symbol for spec in setup.specs]
        self.ticks = {spec.symbol: spec.price_tick for spec in setup.specs}
        self.exchange = Exchange(
            {s.symbol: s.needs_close_today for s in setup.specs}, setup.seed, reject_rate=setup.reject_rate
        )
        self.exchange.lots = {symbol: list(setup.lots) for symbol in self.symbols}
        self.opened = abs(net_of(list(setup.lots)))
        self.auditor = Auditor(setup)
        self.now, self.offset = 10**9, 0
        self.events = self.serial = self.epoch = 0
        self.tick_id = 0
        self.ask_later = False
        self.price = dict(START_PRICE)
        self.balance = 1_000_000.0
        self.faults = True
        self.link_up = True
        self.kill_file = ""
        self.intents: dict[str, Intent] = {}
        self.closing: list[str] = []
        self.watermark: dict[str, int] = {}
        self.pending_marks: tuple | None = None
        self.marks: tuple | None = LATER_MARKS if setup.seed % 8 == 3 else None
        self.sent_market: list[int] = []
        self.outgoing: list[tuple[int, int, Order]] = []
        self.wire: list[tuple[int, int, ev.Event]] = []
        self.sessions = {symbol: [f"s{i}", 0] for i, symbol in enumerate(self.symbols)}
        self.last_request: ev.Event | None = None
        self.ask_fails = self.crash_in = 0
        self.partial = 0
        self.want: dict[str, int] = {}
        self.lost: list[Order] = []
        self.newest_trade: dict[str, int] = {}
        self.overtaken: set[str] = set()
        self.start()

    # The edge --------------------------------------------------------------------------------------------------

    @property
    def day(self) -> str:
        return _DAYS[self.exchange.day]

    @property
    def market(self) -> int:
        return FIRST_NS + self.exchange.day * DAY_NS + self.offset

    def start(self) -> None:
        """A process begins with what is durable, and asks."""
        self.epoch += 1
        epoch = self.epoch
        self.crash_in = 0
        self.serial += 1
        self.auditor.number = 0
        self.auditor.restart(self.intents, self.watermark, self.marks, self.now)
        self.core = self.core_class(
            self.setup.config(), lambda number: f"e{epoch}-{number}", 1, dict(self.intents),
            list(self.watermark.items()),
            self.marks, self.sent_market[-500:], self.now,
        )  # fmt: skip
        self.ask_later = False
        try:
            if self.kill_file:
                self.step(ev.KillChange(True, self.kill_file, self.now))
            self.tell_terms()
            self.relogin()
        except Crash:
            self.start()

    def tell_terms(self) -> None:
        start = FIRST_NS + self.exchange.day * DAY_NS
        sessions = ((start, start + 600 * 10**9), (start + 700 * 10**9, start + 4000 * 10**9))
        for symbol in self.symbols:
            steps, tick = round(START_PRICE[symbol] / self.ticks[symbol]), self.ticks[symbol]
            width = int(steps * self.setup.terms_width)
            low, high = round((steps - width) * tick, 6), round((steps + width) * tick, 6)
            self.step(
                ev.Terms(symbol=symbol, trading_day=self.day, sessions=sessions, now_ns=self.now, lower=low, upper=high)
            )

    def step(self, event: ev.Event) -> None:
        """One event through the core, its actions done, everything judged."""
        auditor = self.auditor
        self.events += 1
        if isinstance(event, ev.TradeReport):
            self.note_trade(event)
        if self.log is not None:
            self.log.append(f"{(self.now - 10**9) / 1e6:9.0f} ms  {describe(event)}")
        auditor.told(event)
        auditor.begin()
        ask = False
        for action in self.core.handle(event):
            if self.log is not None and not isinstance(action, Record):
                self.log.append(f"               -> {describe(action)}")
            auditor.act(action)
            if type(action) in _DONE:
                ask = self.do(action) or ask
            if self.crash_in:
                self.crash_in -= 1
                if self.crash_in == 0:
                    self.die()
        auditor.after(self.core)
        if ask:
            if self.faults and entropy(self.setup.seed, "ask", self.now) % 2:
                self.ask_later = True
            else:
                self.relogin()

    def note_trade(self, trade: ev.TradeReport) -> None:
        """Whether a later trade of the contract was told before this one."""
        number = int(trade.trade_id[1:])
        newest = self.newest_trade.get(trade.symbol, -1)
        self.newest_trade[trade.symbol] = max(number, newest)
        if number < newest:
            self.overtaken.add(trade.symbol)

    def do(self, action: Action) -> bool:
        """Carry an action out; whether the broker is to be asked."""
        match action:
            case WriteIntent():
                self.sync()
                order = action.order
                intent = Intent(
                    order_id=order.order_id,
                    number=0,
                    symbol=order.symbol,
                    side=order.side,
                    offset=order.offset,
                    volume=order.volume,
                    price=order.price,
                    tif=order.tif,
                    target_session=action.target_session,
                    target_revision=action.target_revision,
                    market_ns=action.market_ns,
                    price_type=order.price_type,
                    wall_ns=0,
                    sent_ns=self.now,
                )
                self.intents[order.order_id] = intent
                self.sent_market.append(action.market_ns)
                known = self.watermark.get(action.target_session, -1)
                self.watermark[action.target_session] = max(known, action.target_revision)
            case SendOrder():
                self.serial += 1
                self.outgoing.append((self.now + self.delay(action.order.order_id), self.serial, action.order))
            case Cancel():
                fate = entropy(self.setup.seed, "cancel", action.order_id, self.now) % 1000
                lost = not self.link_up or (self.faults and fate < self.setup.lose)
                if not lost and all(order.order_id != action.order_id for _, _, order in self.outgoing):
                    self.tell(self.exchange.finish(action.order_id, self.now))
            case CloseIntent():
                self.closing.append(action.order_id)
            case WriteMarks():
                self.sync()
                self.marks = (action.trading_day, action.opening, action.peak)
            case TripKill():
                self.kill_file = action.reason
            case Resync() | Resubscribe():
                return True
        return False

    def sync(self) -> None:
        """The ledger commits what it held back."""
        for order_id in self.closing:
            self.intents.pop(order_id, None)
        self.closing.clear()

    def die(self) -> None:
        self.closing.clear()
        raise Crash

    def crash(self) -> None:
        """The process is gone; what it sent may still arrive."""
        if self.log is not None:
            self.log.append(f"{(self.now - 10**9) / 1e6:9.0f} ms  kill -9")
        self.closing.clear()
        self.wire.clear()
        for symbol in self.symbols:  # what was pre-written may have been sent, for all the next run knows
            if entropy(self.setup.seed, "ahead", symbol, self.now) % 2:
                continue
            wanted = self.core.state.targets.get(symbol)
            lots = max(1, abs(wanted.volume)) if wanted is not None else 1
            for intent in self.core.likely(symbol, (0, lots, -lots)):
                self.intents.setdefault(intent.order_id, msgspec.structs.replace(intent, sent_ns=self.now))
        for session in self.sessions.values():
            if entropy(self.setup.seed, "session", self.now) % 2:
                session[0], session[1] = f"{session[0]}'", 0
        self.start()

    def relogin(self) -> None:
        """A new connection: old reports are gone, orders on their way arrive, are lost, or arrive a little later."""
        self.wire.clear()
        if not self.link_up or self.ask_fails > 0:
            self.ask_fails -= self.ask_fails > 0
            self.step(ev.AskFailed("no answer", self.now))
            return
        kept = []
        for due, serial, order in self.outgoing:
            fate = entropy(self.setup.seed, "travel", order.order_id) % 3
            latest = order.sent_ns + int(self.setup.settle_s * 0.9e9)
            if fate == 0 or self.now >= latest:
                self.exchange.receive(order, self.now)
            elif fate == 1:
                kept.append((min(due, latest), serial, order))
            else:
                self.lost.append(order)
        self.outgoing = kept
        missing, self.partial = self.partial, 0
        self.step(self.exchange.snapshot(self.day, self.now, missing))

    def delay(self, key: object) -> int:
        return (1 + entropy(self.setup.seed, "delay", key) % self.setup.delay_ms) * MS if self.faults else 0

    def tell(self, reports: list) -> None:
        """Reports on their way, each with its fate."""
        for report in reports:
            if not self.link_up:
                continue
            self.serial += 1
            name = (
                report.trade_id
                if isinstance(report, ev.TradeReport)
                else f"{report.order_id}/{report.left}/{report.finished}"
            )
            fate = entropy(self.setup.seed, "fate", name) % 1000
            if self.faults and fate < self.setup.lose:
                continue
            self.wire.append((self.now + self.delay(name), self.serial, report))
            if self.faults and fate >= 1000 - self.setup.repeat:
                self.wire.append((self.now + 3 * self.delay(name), self.serial, report))

    def deliver(self) -> None:
        """What is due by now arrives, oldest first."""
        if self.ask_later:
            self.ask_later = False
            self.relogin()
        if self.outgoing:
            due = sorted((item for item in self.outgoing if item[0] <= self.now), key=lambda item: item[:2])
            self.outgoing = [item for item in self.outgoing if item[0] > self.now]
            for _, _, order in due:
                if self.link_up:
                    self.tell(self.exchange.receive(order, self.now))
        while self.wire:
            first = min(self.wire, key=lambda item: item[:2])
            if first[0] > self.now:
                return
            self.wire.remove(first)
            self.step(first[2])

    # What happens ----------------------------------------------------------------------------------------------

    def play(self, step: Step) -> None:
        """One step of the script."""
        self.now += step.wait_ms * MS
        self.offset += step.wait_ms * MS
        try:
            self.deliver()
            getattr(self, _HAPPENS[step.kind])(step.dice)
            self.check_truth()
        except Crash:
            self.crash()

    def pass_time(self, ns: int) -> None:
        self.now += ns
        self.offset += ns

    def symbol_of(self, dice: int) -> str:
        return self.symbols[dice % len(self.symbols)]

    def direct(self, symbol: str) -> bool:
        return self.setup.direct and symbol == self.symbols[-1]

    def do_tick(self, dice: int, empty: bool = False) -> None:
        symbol = self.symbol_of(dice)
        tick = self.ticks[symbol]
        price = self.price[symbol] = self.price[symbol] + tick * ((dice >> 4) % 5 - 2)
        bid = round(price, 6)
        ask = round(bid + tick * (1 + (dice >> 8) % 2), 6)
        if empty:
            bid, ask = (float("nan"), ask) if dice & 256 else (bid, float("nan"))
            if dice & 512:
                bid = ask = float("nan")
        self.tick_id += 1
        self.step(
            ev.Book(
                symbol=symbol,
                trading_day=self.day,
                market_ns=self.market,
                tick_id=self.tick_id,
                bid=bid,
                ask=ask,
                now_ns=self.now,
            )
        )

    def do_nan_tick(self, dice: int) -> None:
        self.do_tick(dice, empty=True)

    def do_old_tick(self, dice: int) -> None:
        symbol = self.symbol_of(dice)
        old = max(self.tick_id - 2, 0)
        self.step(
            ev.Book(
                symbol=symbol,
                trading_day=self.day,
                market_ns=self.market - 10**9,
                tick_id=old,
                bid=10.0,
                ask=20.0,
                now_ns=self.now,
            )
        )

    def do_target(self, dice: int) -> None:
        symbol = self.symbol_of(dice)
        if self.direct(symbol) and dice & 0xF00:
            return self.do_order(dice)
        limit = self.setup.limits.max_position
        session = self.sessions[symbol]
        session[1] += 1
        volume = (dice >> 8) % (2 * limit + 2) - limit
        self.last_request = ev.TargetWanted(
            session=session[0], revision=session[1], symbol=symbol, volume=volume, now_ns=self.now
        )
        self.step(self.last_request)
        return None

    def do_repeat(self, dice: int) -> None:
        last = self.last_request
        if isinstance(last, ev.TargetWanted):
            self.step(
                ev.TargetWanted(
                    session=last.session,
                    revision=last.revision,
                    symbol=last.symbol,
                    volume=(dice % 5) - 2,
                    now_ns=self.now,
                )
            )
        elif isinstance(last, ev.OrderWanted):
            self.step(last)

    def do_intruder(self, dice: int) -> None:
        symbol = self.symbol_of(dice)
        other = "SHFE.au2506" if dice & 0x3000 == 0 else symbol
        self.step(
            ev.TargetWanted(session="intruder", revision=1 + (dice >> 4) % 50, symbol=other, volume=1, now_ns=self.now)
        )

    def do_order(self, dice: int, odd: bool = False) -> None:
        symbol = self.symbol_of(dice)
        if not self.direct(symbol) and dice & 0x700:
            return
        side = 1 if dice & 16 else -1
        offset = ("OPEN", "OPEN", "CLOSE", "CLOSETODAY")[(dice >> 5) % 4]
        spec = self.core.config.symbols[symbol]
        price = round(self.price[symbol] + spec.price_tick * ((dice >> 7) % 7 - 3), 6)
        kind, tif = "LIMIT", ("FAK", "FOK", "GFD", "GFD")[(dice >> 10) % 4]
        volume = 1 + (dice >> 12) % 3
        if odd:
            kind = ("LIMIT", "ANY", "BEST", "FIVELEVEL")[(dice >> 14) % 4]
            price = (price + 0.07, price * 1.2, price * 0.5, float("nan"), price * 1.03, -price)[(dice >> 16) % 6]
            volume = (0, 1, 1, 20, 1000, -1)[(dice >> 19) % 6]
        session = self.sessions[symbol]
        session[1] += 1
        self.last_request = ev.OrderWanted(
            session=session[0],
            revision=session[1],
            symbol=symbol,
            side=side,
            offset=offset,
            volume=volume,
            now_ns=self.now,
            price=price,
            price_type=kind,
            tif=tif,
        )
        self.step(self.last_request)

    def do_odd_order(self, dice: int) -> None:
        self.do_order(dice, odd=True)

    def do_cancel(self, dice: int) -> None:
        session = self.sessions[self.symbols[-1]]
        session[1] += 1
        mine = [key for key, order in self.auditor.live.items() if order.kind == "direct"]
        order_id = mine[dice % len(mine)] if mine and dice & 32 else ""
        self.step(ev.CancelWanted(session[0], session[1], self.now, order_id))

    def do_timer(self, dice: int) -> None:
        self.step(ev.Timer(self.now))

    def do_fill(self, dice: int, stranger: bool = False) -> None:
        deals = [deal for deal in self.exchange.working.values() if deal.stranger is stranger]
        if deals:
            deal = deals[dice % len(deals)]
            self.tell(self.exchange.fill(deal, 1 + (dice >> 8) % deal.volume, self.now))

    def do_stranger_fill(self, dice: int) -> None:
        self.do_fill(dice, stranger=True)

    def do_stranger(self, dice: int) -> None:
        if not self.setup.strangers:
            return
        deals = [deal for deal in self.exchange.working.values() if deal.stranger]
        if deals and dice & 3 == 0:
            self.tell(self.exchange.finish(deals[0].order_id, self.now))
            return
        symbol = self.symbol_of(dice)
        offset = ("OPEN", "OPEN", "CLOSE", "CLOSETODAY")[(dice >> 5) % 4]
        if offset == "CLOSETODAY" and not self.exchange.close_today[symbol]:
            offset = "CLOSE"  # the one word that exchange knows
        tif = "GFD" if dice & 128 else "FAK"
        order = Order(
            order_id=f"stranger{len(self.exchange.received)}",
            symbol=symbol,
            side=1 if dice & 16 else -1,
            offset=offset,
            volume=1 + (dice >> 9) % 2,
            price=self.price[symbol],
            tif=tif,
            left=1,
        )
        self.tell(self.exchange.receive(order, self.now, stranger=True))

    def do_expire(self, dice: int) -> None:
        deals = list(self.exchange.working)
        if deals:
            self.tell(self.exchange.finish(deals[dice % len(deals)], self.now))

    def do_kill(self, dice: int) -> None:
        self.kill_file = "a test"
        self.step(ev.KillChange(True, "a test", self.now))

    def do_reset(self, dice: int) -> None:
        self.kill_file = ""
        self.step(ev.KillChange(False, "", self.now))

    def do_state(self, dice: int) -> None:
        self.step(ev.StateWanted(_STATES[dice % 3], "a test", self.now))

    def do_active(self, dice: int) -> None:
        self.step(ev.StateWanted(TradingState.ACTIVE, "a test", self.now))

    def do_down(self, dice: int) -> None:
        self.link_up = False
        self.wire.clear()
        if dice & 1:
            self.outgoing.clear()
        self.step(ev.LinkChange("broker", False, self.now))

    def do_up(self, dice: int) -> None:
        if not self.link_up:
            self.link_up = True
            self.step(ev.LinkChange("broker", True, self.now))

    def do_data_down(self, dice: int) -> None:
        self.step(ev.LinkChange("data", False, self.now))

    def do_data_up(self, dice: int) -> None:
        self.step(ev.LinkChange("data", True, self.now))

    def do_silence(self, dice: int) -> None:
        for _ in range(2 + dice % 3):
            self.pass_time(1700 * MS)
            self.deliver()
            self.step(ev.Timer(self.now))

    def do_pause(self, dice: int) -> None:
        self.pass_time((300 + dice % 3000) * MS)
        self.deliver()

    def do_crash(self, dice: int) -> None:
        if dice & 1:
            raise Crash
        self.crash_in = 1 + dice % 7

    def do_leave(self, dice: int) -> None:
        symbol = self.symbol_of(dice)
        session = self.sessions[symbol]
        self.step(ev.LinkChange(session[0], False, self.now))
        if dice & 16:
            session[0], session[1] = f"{session[0]}+", 0

    def do_money(self, dice: int) -> None:
        self.balance += ((dice >> 3) % 21 - 10) * (4000.0 if dice & 3 == 0 else 200.0)
        self.step(ev.Equity(float("nan") if dice & 0xFF000 == 0 else self.balance, self.now))

    def do_day(self, dice: int) -> None:
        self.exchange.next_day()
        self.offset = 0
        self.outgoing.clear()
        self.lost.clear()
        self.wire.clear()
        self.tell_terms()

    def do_ask_fails(self, dice: int) -> None:
        self.ask_fails = 1 + dice % 2

    def do_partial(self, dice: int) -> None:
        self.partial = dice | 1

    def do_rejects(self, dice: int) -> None:
        self.exchange.reject_next = 1 + dice % 3

    def do_break(self, dice: int) -> None:
        start = (590, 640, 695)[dice % 3] * 10**9
        if self.offset < start:
            self.offset = start

    def do_zombie(self, dice: int) -> None:
        """An order that every rule of the wire says is lost arrives after all; its lots may be one too many."""
        if self.lost and self.link_up:
            order = self.lost.pop()
            self.opened = max(self.opened, self.setup.limits.max_position) + order.volume
            self.tell(self.exchange.receive(order, self.now))

    def do_sync(self, dice: int) -> None:
        self.sync()

    # The truth -------------------------------------------------------------------------------------------------

    def check_truth(self) -> None:
        """What the exchange itself saw."""
        exchange = self.exchange
        require(not exchange.twice, "the exchange received an order twice", exchange.twice)
        beyond = exchange.furthest > self.setup.limits.max_position and exchange.furthest > self.opened
        if beyond and not self.setup.strangers:
            raise Broken("the exchange saw a position beyond the limit", str(self.exchange.lots))

    def calm_down(self, dice: int) -> None:
        """No more faults: what is wanted comes true, the books agree, and then it is quiet."""
        self.faults, self.crash_in, self.ask_fails, self.partial = False, 0, 0, 0
        self.exchange.reject_next = self.exchange.reject_rate = 0
        for deal in list(self.exchange.working.values()):
            if deal.stranger:
                self.tell(self.exchange.finish(deal.order_id, self.now))
        self.offset = max(self.offset, 710 * 10**9)
        self.do_up(0)
        self.let_arrive()  # a rejection on its way would stand against trading after the person has looked
        self.kill_file = ""
        for event in (
            ev.KillChange(False, "", self.now), ev.StateWanted(TradingState.ACTIVE, "", self.now),
            ev.LinkChange("data", True, self.now),
        ):  # fmt: skip
            self.step(event)
        for symbol in self.symbols:
            session = self.sessions[symbol]
            for writer, _ in list(self.auditor.writers.values()):
                self.step(ev.LinkChange(writer, False, self.now))
            session[0] = f"{session[0]}calm"
            session[1] = 0
            self.price[symbol] = START_PRICE[symbol]
        wanted = self.wanted_at_last(dice)
        quiet = 0
        turn = 0
        while quiet <= 5 and turn < 150:
            turn += 1
            self.pass_time(2500 * MS)
            self.deliver()
            before = len(self.exchange.received)
            for i, symbol in enumerate(self.symbols):
                session = self.sessions[symbol]
                session[1] += 1
                self.do_tick(i + 32)
                self.step(
                    ev.TargetWanted(
                        session=session[0], revision=session[1], symbol=symbol, volume=wanted[symbol], now_ns=self.now
                    )
                )
            self.deliver()
            self.step(ev.Timer(self.now))
            for deal in list(self.exchange.working.values()):
                self.tell(self.exchange.fill(deal, deal.left, self.now))
            self.deliver()
            there = all(net_of(self.exchange.lots[symbol]) == wanted[symbol] for symbol in self.symbols)
            known = not self.auditor.unasked and not self.auditor.live  # what is asked for may take a minute to come
            quiet = quiet + 1 if there and known and len(self.exchange.received) == before else 0
        self.finish(wanted, turn)

    def let_arrive(self) -> None:
        """What is on its way arrives: orders, reports, and the broker's list, which tells of rejections too."""
        for _ in range(200):
            if not (self.outgoing or self.wire or self.ask_later or self.auditor.unasked):
                return
            self.pass_time(500 * MS)
            self.deliver()
            self.step(ev.Timer(self.now))

    def wanted_at_last(self, dice: int) -> dict[str, int]:
        """Lots of each contract that must have come true when it is quiet."""
        limit = self.setup.limits.max_position
        return {symbol: entropy(dice, symbol) % (2 * limit + 1) - limit for symbol in self.symbols}

    def finish(self, wanted: dict[str, int], turns: int) -> None:
        """At the end all books say the same."""
        if self.setup.monitor_only:
            require(all(key.startswith("stranger") for key in self.exchange.received), "monitoring only sent something")
            return
        limits = self.setup.limits
        cheap = limits.max_notional >= 20_000_000.0 and limits.price_collar > 0.001
        for symbol, lots in self.exchange.lots.items():
            p = self.core.state.position(symbol)
            have, differ = [p.long_today, p.long_his, p.short_today, p.short_his], "the books differ at the end"
            if symbol in self.overtaken and not self.exchange.close_today[symbol]:
                # Which lots a CLOSE took goes by the order of the trades, and the wire told another one. Nothing that
                # is sent there depends on it, and the broker's next list sets it right.
                require([sum(have[:2]), sum(have[2:])] == [sum(lots[:2]), sum(lots[2:])], differ, (symbol, have, lots))
            else:
                require(have == lots, differ, (symbol, have, lots))
            if cheap and limits.rate_orders > 10:
                require(net_of(lots) == wanted[symbol], "the target was never reached", (symbol, wanted, lots, turns))
        require(not self.auditor.live, "orders alive at the end", list(self.auditor.live))
        self.sync()
        require(not self.intents, "intents open at the end", list(self.intents))
        working = [deal.order_id for deal in self.exchange.working.values() if not deal.stranger]
        require(not working, "the exchange has orders nobody knows of", working)


def describe(one: object) -> str:
    """An event or action in a line."""
    fields = ", ".join(f"{name}={getattr(one, name)!r}" for name in one.__struct_fields__ if name != "now_ns")  # type: ignore[attr-defined]
    return f"{type(one).__name__}({fields})"
