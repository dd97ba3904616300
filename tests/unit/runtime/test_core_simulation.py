"""The core against a simulated broker that loses, delays, repeats and reorders, and a process that crashes.

After every event the invariants are checked; a failing seed replays exactly.
"""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import pytest

from ghtrader_base.errors import RefusedError
from ghtrader_market.positions import Position
from ghtrader_runtime import events as ev
from ghtrader_runtime.core import Core, CoreConfig
from ghtrader_runtime.events import TradingState
from ghtrader_runtime.executors import ExecutionStyle, SymbolSpec
from ghtrader_runtime.ledger import Intent, LedgerState
from ghtrader_runtime.positions_of import after_trade
from ghtrader_runtime.risk import RiskLimits

SYMBOL = "SHFE.cu2502"
SPEC = SymbolSpec(SYMBOL, 10.0, 5, True)
LIMIT = 2
MS = 1_000_000


class Exchange:
    """The truth: orders by id, trades, position. Says nothing by itself; reports go through `World`'s bad wire."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.orders: dict[str, ev.OrderReport] = {}
        self.trades: list[ev.TradeReport] = []
        self.position = Position()
        self.received: list[str] = []

    def receive(self, order: ev.Order, now: int) -> list:
        assert order.order_id not in self.received, f"{order.order_id} was sent twice"
        self.received.append(order.order_id)
        report = ev.OrderReport(order.order_id, SYMBOL, order.side, order.offset, order.volume, order.volume, False,
                                False, f"x{len(self.received)}", "", now, order.price)  # fmt: skip
        if self.rng.random() < 0.05 or not self._covered(order):
            self.orders[order.order_id] = replace(report, finished=True, error=True, exchange_order_id="")
            return [self.orders[order.order_id]]
        self.orders[order.order_id] = report
        out: list = [report]
        while self.rng.random() < 0.6 and self.orders[order.order_id].left:
            out += self.fill(order.order_id, now)
        if order.tif == "FAK":
            out += self.finish(order.order_id, now)
        return out

    def _covered(self, order: ev.Order) -> bool:
        p = self.position
        if order.offset == "OPEN":
            return True
        have = {(1, "CLOSE"): p.short_his, (1, "CLOSETODAY"): p.short_today,
                (-1, "CLOSE"): p.long_his, (-1, "CLOSETODAY"): p.long_today}[(order.side, order.offset)]  # fmt: skip
        frozen = sum(o.left for o in self.orders.values()
                     if not o.finished and (o.side, o.offset) == (order.side, order.offset))  # fmt: skip
        return order.volume + frozen <= have

    def fill(self, order_id: str, now: int) -> list:
        order = self.orders[order_id]
        lots = self.rng.randint(1, order.left)
        trade_id = f"t{len(self.trades)}"
        trade = ev.TradeReport(trade_id, order_id, SYMBOL, order.side, order.offset, lots, 100.0, now, now)
        try:
            self.position = after_trade(self.position, trade, True)
        except RefusedError as exc:
            raise AssertionError(exc.message) from exc
        assert abs(self.position.net) <= LIMIT, f"the exchange saw a position of {self.position.net}"
        self.trades.append(trade)
        left = order.left - lots
        self.orders[order_id] = replace(order, left=left, finished=left == 0)
        return [trade, self.orders[order_id]]

    def finish(self, order_id: str, now: int) -> list:
        order = self.orders.get(order_id)
        if order is None or order.finished:
            return []
        self.orders[order_id] = replace(order, finished=True)
        return [self.orders[order_id]]

    def snapshot(self, now: int) -> ev.Snapshot:
        p = self.position
        holding = ev.Holding(SYMBOL, p.long_today, p.long_his, p.short_today, p.short_his)
        return ev.Snapshot("2025-01-08", (holding,), tuple(self.orders.values()), tuple(self.trades), now)


class World:
    """Core, ledger, exchange, a bad wire between them, and a clock."""

    def __init__(self, seed: int, tif: str = "FAK", faults: bool = True, core_class: type[Core] = Core) -> None:
        self.rng = random.Random(seed)
        self.faults = faults
        self.tif = tif
        self.core_class = core_class
        self.exchange = Exchange(self.rng)
        self.durable: list[dict] = []
        self.volatile: list[dict] = []
        self.intended: set[str] = set()
        self.wire: list[tuple[int, int, object]] = []
        self.outgoing: list[tuple[int, ev.Order]] = []
        self.now = 1
        self.serial = 0
        self.killed = False
        self.session = "s0"
        self.revision = 0
        self.price = 1000.0
        self.answers: dict[str, int] = {}
        self.start()

    # The edge, as gateway does it ------------------------------------------------------------------------------

    def ledger(self) -> LedgerState:
        state = LedgerState()
        for record in self.durable + self.volatile:
            state.apply(record)
        return state

    def start(self) -> None:
        state = self.ledger()
        self.durable.append({"t": "epoch", "ledger": "L", "epoch": state.epoch + 1})
        state = self.ledger()
        config = CoreConfig({SYMBOL: SPEC}, RiskLimits(LIMIT, 10, 10_000, 60.0),
                            ExecutionStyle(1, self.tif, 2.0), unknown_s=0.5, max_rejects=10_000)  # fmt: skip
        self.core = self.core_class(config, state.order_id, state.next_number, state.open, state.watermark)
        if self.killed:
            self.step(ev.KillChange(True, "still tripped", self.now))
        self.relogin()

    def relogin(self) -> None:
        """A new login: what was on its way either made it before or is lost; old reports are gone."""
        for _, order in self.outgoing:
            if self.rng.random() < 0.5:
                self.exchange.receive(order, self.now)
        self.outgoing.clear()
        self.wire.clear()
        self.step(self.exchange.snapshot(self.now))

    def crash(self) -> None:
        kept = self.rng.randint(0, len(self.volatile))  # what was not fsynced may be lost from the end
        self.durable += self.volatile[:kept]
        self.volatile.clear()
        self.session, self.revision = f"s{self.now}", 0
        self.start()

    def step(self, event: object) -> None:
        resync = False
        for action in self.core.handle(event):
            match action:
                case ev.Submit():
                    self.check_submit(action)
                    order = action.order
                    self.durable += self.volatile
                    self.volatile.clear()
                    number = int(order.order_id.rsplit("-", 1)[1])
                    intent = Intent(order.order_id, number, SYMBOL, order.side, order.offset, order.volume,
                                    order.price, order.tif, action.target_session, action.target_revision)  # fmt: skip
                    self.durable.append({"t": "intent", "intent": asdict(intent)})
                    self.intended.add(order.order_id)
                    if self.faults and self.rng.random() < 0.01:
                        return self.crash()  # after the intent, before the send
                    self.outgoing.append((self.now + self.delay(), order))
                    if self.faults and self.rng.random() < 0.01:
                        return self.crash()
                case ev.Cancel():
                    if not self.faults or self.rng.random() < 0.9:
                        self.send(self.exchange.finish(action.order_id, self.now))
                case ev.CloseIntent():
                    self.volatile.append({"t": "closed", "id": action.order_id, "out": action.outcome})
                case ev.Resync():
                    resync = True
                case ev.Answer():
                    self.answers[action.status] = self.answers.get(action.status, 0) + 1
        self.check()
        if resync:
            self.relogin()
        return None

    def delay(self) -> int:
        return self.rng.randint(1, 40) * MS if self.faults else 0

    def send(self, reports: list) -> None:
        for report in reports:
            if self.faults and self.rng.random() < 0.03:
                continue  # lost
            copies = 2 if self.faults and self.rng.random() < 0.05 else 1
            for _ in range(copies):
                self.serial += 1
                self.wire.append((self.now + self.delay(), self.serial, report))

    # Invariants ------------------------------------------------------------------------------------------------

    def check_submit(self, submit: ev.Submit) -> None:
        state = self.core.state
        assert not self.killed, "sent although killed"
        assert state.trading_state is not TradingState.HALTED, "sent although halted"
        if state.trading_state is TradingState.REDUCING:
            assert submit.order.offset != "OPEN", "opened although reducing"
        assert submit.target_session == state.writers[SYMBOL], "a second writer"
        assert "reconcile" not in state.blocks, "sent before the broker was asked"
        others = [o for o in state.orders.values() if o.live and o is not submit.order]
        one_step = [o.sent_ns == submit.order.sent_ns and o.offset != submit.order.offset for o in others]
        assert all(one_step), "two steps at once"

    def check(self) -> None:
        state = self.core.state
        for order in state.orders.values():
            if order.live and not order.closed:
                assert order.order_id in self.intended, "a live order without an intent"

    # Life ------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        self.now += self.rng.randint(1, 30) * MS
        self.deliver()
        roll = self.rng.random()
        if roll < 0.35:
            self.tick()
        elif roll < 0.65:
            self.target(self.rng.randint(-LIMIT - 1, LIMIT + 1))
        elif roll < 0.75:
            self.step(ev.Timer(self.now))
        elif roll < 0.80:
            alive = [o.order_id for o in self.exchange.orders.values() if not o.finished]
            if alive:
                self.send(self.exchange.fill(self.rng.choice(alive), self.now))
        elif self.faults and roll < 0.82:
            self.killed = not self.killed
            self.step(ev.KillChange(self.killed, "test", self.now))
        elif self.faults and roll < 0.84:
            states = (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED)
            self.step(ev.StateWanted(self.rng.choice(states), "test"))
        elif self.faults and roll < 0.86:
            self.step(ev.LinkChange("broker", False, self.now))
            self.step(ev.LinkChange("broker", True, self.now))
        elif self.faults and roll < 0.87:
            self.step(ev.LinkChange(self.session, False, self.now))
        elif self.faults and roll < 0.875:
            self.crash()
        elif self.faults and roll < 0.89 and self.revision:  # a target comes twice
            self.step(ev.TargetWanted(self.session, self.revision, SYMBOL, self.rng.randint(-1, 1), self.now))

    def tick(self) -> None:
        self.price += self.rng.choice((-10.0, 0.0, 10.0))
        bid, ask = self.price, self.price + 10.0
        if self.faults and self.rng.random() < 0.05:
            ask = float("nan")
        self.step(ev.Book(SYMBOL, "2025-01-08", self.now, self.now, bid, ask, self.now))

    def target(self, volume: int) -> None:
        self.revision += 1
        self.step(ev.TargetWanted(self.session, self.revision, SYMBOL, volume, self.now))

    def deliver(self) -> None:
        due = [item for item in self.outgoing if item[0] <= self.now]
        self.outgoing = [item for item in self.outgoing if item[0] > self.now]
        for _, order in due:
            self.send(self.exchange.receive(order, self.now))
        while ready := sorted(item for item in self.wire if item[0] <= self.now):
            for item in ready:
                if item in self.wire:  # a crash or new login on the way empties the wire
                    self.wire.remove(item)
                    self.step(item[2])

    def calm_down(self, volume: int) -> None:
        """No more faults: what is wanted must become true."""
        self.faults, self.killed = False, False
        self.step(ev.KillChange(False, "", self.now))
        self.step(ev.StateWanted(TradingState.ACTIVE, ""))
        for _ in range(400):
            self.now += 50 * MS
            self.deliver()
            self.tick()
            self.step(ev.Timer(self.now))
            self.target(volume)
            for order in list(self.exchange.orders.values()):
                if not order.finished:
                    self.send(self.exchange.fill(order.order_id, self.now))


def run(seed: int, turns: int = 250, core_class: type[Core] = Core) -> World:
    """One seeded story."""
    world = World(seed, "FAK" if seed % 3 else "GFD", core_class=core_class)
    for _ in range(turns):
        world.turn()
    wanted = world.rng.randint(-LIMIT, LIMIT)
    world.calm_down(wanted)
    assert world.exchange.position.net == wanted, f"wanted {wanted}, the exchange has {world.exchange.position.net}"
    assert world.core.state.position(SYMBOL) is not None
    believed, truth = world.core.state.position(SYMBOL), world.exchange.position
    lots = ("long_today", "long_his", "short_today", "short_his")
    assert [getattr(believed, n) for n in lots] == [getattr(truth, n) for n in lots]
    return world


@pytest.mark.parametrize("block", range(8))
def test_no_fault_breaks_an_invariant(block: int) -> None:
    sent = 0
    for seed in range(block * 25, block * 25 + 25):
        try:
            sent += len(run(seed).exchange.received)
        except AssertionError as exc:
            raise AssertionError(f"seed {seed}: {exc}") from exc
    assert sent > 200, "the stories are too quiet to prove anything"


def test_a_seed_replays_exactly() -> None:
    first, second = run(7), run(7)
    assert first.exchange.received == second.exchange.received
    assert first.exchange.trades == second.exchange.trades


class _TradesCountTwice(Core):
    def _on_trade(self, trade):
        self.state.seen_trades.discard(trade.trade_id)
        return super()._on_trade(trade)


class _ForgetsKill(Core):
    def _on_kill(self, change):
        return []


class _RepeatsNumbers(Core):
    def _send(self, symbol, place, wanted, book):
        actions = super()._send(symbol, place, wanted, book)
        self.state.next_number = max(self.state.next_number - 1, 1)
        return actions


class _NeverSettles(Core):
    def _settle(self, order, report):
        return []


class _ForgetsHoldings(Core):
    def _on_snapshot(self, snapshot):
        return super()._on_snapshot(replace(snapshot, holdings=()))


class _IgnoresReducing(Core):
    def _forbidden(self, symbol, place, book):
        return ""


class _NeverResyncs(Core):
    def _on_timer(self, timer):
        return []


class _DuplicateTargets(Core):
    def _note_target(self, session, revision):
        pass


class _MissingReportMeansFlat(Core):
    def _on_order(self, report):
        for order in self.state.orders.values():
            if report.finished and order.order_id == report.order_id:
                order.traded = report.volume - report.left
        return super()._on_order(report)


FAULTS = [_TradesCountTwice, _ForgetsKill, _RepeatsNumbers, _NeverSettles, _ForgetsHoldings, _IgnoresReducing,
          _NeverResyncs, _MissingReportMeansFlat]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_simulation_bites(fault: type[Core]) -> None:
    """A core with one deliberate fault is found within a few stories."""
    for seed in range(200):
        try:
            run(seed, core_class=fault)
        except (AssertionError, KeyError):
            return
    pytest.fail(f"{fault.__name__} was not found")


def test_duplicate_targets_are_answered_as_such() -> None:
    assert sum(run(seed).answers.get("duplicate", 0) for seed in range(10)) > 0
    assert sum(run(seed, core_class=_DuplicateTargets).answers.get("duplicate", 0) for seed in range(3)) == 0
