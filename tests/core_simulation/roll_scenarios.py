"""Plays scenarios in which the contract of the day changes, over and over: lost orders, crashes and late fills.

The simulation trades two contracts of which one is the day's; what is durable about that is the one name the core had
written. Besides everything else the exchange itself judges: no order opens a contract while another one is held or
worked.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, WriteBinding, WriteIntent
from ghtrader_runtime.core.orders import Intent, Order, TradingState
from ghtrader_runtime.core.trading_core import Core
from tests.core_simulation.auditor import Auditor
from tests.core_simulation.exchange import entropy, net_of
from tests.core_simulation.harness import MS, Crash, World
from tests.core_simulation.reference_model import HALTED, REDUCING
from tests.core_simulation.scenario import WEIGHTS, Step
from tests.core_simulation.scenario_config import CU, IF, Setup, setup_of
from tests.core_simulation.verdict import Broken, require

MAIN = "KQ.m@SHFE.cu"
_SPECS = {spec.symbol: spec for spec in (CU, IF)}
_WEIGHTS = {**WEIGHTS, "roll": 14, "unbind": 4, "zombie": 0, "stranger": 0, "stranger-fill": 0}


def script_of_rolls(seed: int, length: int = 260) -> list[Step]:
    """The steps of a seed."""
    rng = random.Random(seed + 77)
    kinds = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=length)
    return [Step(kind, rng.randint(1, 120), rng.getrandbits(24)) for kind in kinds]


class RollAuditor(Auditor):
    """Knows which contract is the day's, and when the others are known to be flat."""

    def restart(self, intents: dict[str, Intent], seen: dict[str, int], marks: tuple | None, now: int) -> None:
        super().restart(intents, seen, marks, now)
        self.specs = {spec.symbol: spec for spec in self.setup.specs}
        self.bound: str | None = None
        self.rolling = False

    def is_left(self, symbol: str) -> bool:
        return self.bound is not None and symbol != self.bound

    def to_close(self) -> bool:
        held = any(self.net(symbol) for symbol in self.specs if self.is_left(symbol))
        return held or any(self.is_left(order.symbol) for order in self.live.values())

    def state(self) -> TradingState:
        found = super().state()
        if found is HALTED or self.bound is None:
            return found
        if self.rolling:
            return REDUCING
        return found if self.bound else HALTED

    def told_Bound(self, bound: ev.Bound) -> None:
        if bound.symbol:
            self.specs[bound.symbol] = _SPECS[bound.symbol]
        if bound.symbol == self.bound:
            return
        self.bound, self.rolling = bound.symbol, True
        for symbol in [symbol for symbol in self.specs if self.is_left(symbol)]:
            self.targets.pop(symbol, None)
            self.writers.pop(symbol, None)
        if not self.setup.monitor_only:
            self.must_cancel = [
                o.order_id for o in self.live.values() if self.is_left(o.symbol) and not (o.over or o.cancel_ns)
            ]

    def is_silent(self) -> bool:
        books = self.books
        self.books = {symbol: book for symbol, book in books.items() if not self.is_left(symbol)}
        try:
            return super().is_silent()
        finally:
            self.books = books

    def claim(self, event: ev.TargetWanted | ev.OrderWanted, kind: str) -> bool:
        writers = dict(self.writers)
        claimed = super().claim(event, kind)
        if claimed and self.is_left(event.symbol):
            self.writers, self.must_answer = writers, "refused"
            return False
        return claimed

    @contextmanager
    def flat_wanted(self, symbol: str) -> Iterator[None]:
        """Of a contract that is left, nothing is wanted by whoever wrote it last."""
        known = self.targets.get(symbol)
        if self.is_left(symbol):
            self.targets[symbol] = ("roll", -1, 0)
        yield
        if self.is_left(symbol):
            self.targets.pop(symbol)
            if known is not None:
                self.targets[symbol] = known

    def plan(self, symbol: str) -> tuple[int, list[tuple[str, int]], tuple[float, ...]]:
        with self.flat_wanted(symbol):
            return super().plan(symbol)

    def on_step(self, order: Order, wrote: WriteIntent) -> None:
        with self.flat_wanted(order.symbol):
            super().on_step(order, wrote)

    def on_send(self, order: Order) -> None:
        waits = self.bound is not None and order.offset == "OPEN" and (self.rolling or self.is_left(order.symbol))
        require(not waits, "opened in the middle of a roll", order)
        super().on_send(order)

    def act(self, action: Action) -> None:
        if isinstance(action, WriteBinding):
            known = self.rolling and not self.to_close() and not self.unasked
            require(known and action.symbol == self.bound, "written as flat what is not", action)
            self.written = action.symbol
        super().act(action)

    def begin(self) -> None:
        super().begin()
        self.written = ""

    def after(self, core: object) -> None:
        if self.bound is not None and (self.rolling or self.to_close()):
            self.rolling = self.to_close() or self.unasked
            done = self.bound if not self.rolling else ""
            require(self.written == done, "a finished roll was not written, or an unfinished one was", self.written)
        super().after(core)


class RollWorld(World):
    """One scenario; `durable` is what a process finds at its start, `today` what the schedule says."""

    durable = ""
    today = CU.symbol

    def __init__(self, setup: Setup, core_class: type[Core] = Core, log: list[str] | None = None) -> None:
        self.whole = replace(setup, specs=(CU, IF), strangers=False, lots=(0, 0, 0, 0))
        super().__init__(self.whole, core_class, log)

    def start(self) -> None:
        worked = [intent.symbol for intent in self.intents.values()]
        names = dict.fromkeys((self.durable, self.today or self.durable or CU.symbol, *worked))
        self.setup = replace(self.whole, specs=tuple(_SPECS[name] for name in names if name))
        if not isinstance(self.auditor, RollAuditor):
            self.auditor = RollAuditor(self.setup)
            receive = self.exchange.receive

            def judge(order: Order, now: int, stranger: bool = False) -> list[ev.Event]:
                if order.offset == "OPEN":
                    held = [s for s, lots in self.exchange.lots.items() if s != order.symbol and net_of(lots)]
                    worked = [deal for deal in self.exchange.working.values() if deal.symbol != order.symbol]
                    require(not held and not worked, "two contracts at once, as the exchange saw it", (order, held))
                return receive(order, now, stranger)

            self.exchange.receive = judge  # type: ignore[method-assign]
        self.auditor.setup = self.setup
        super().start()

    def play(self, step: Step) -> None:
        if step.kind not in ("roll", "unbind"):
            super().play(step)
            return
        self.pass_time(step.wait_ms * MS)
        try:
            self.deliver()
            self.do_roll(step.dice) if step.kind == "roll" else self.do_unbind(step.dice)
            self.check_truth()
        except Crash:
            self.crash()

    def tell_terms(self) -> None:
        self.bind()
        super().tell_terms()

    def bind(self) -> None:
        spec = _SPECS[self.today or CU.symbol]
        reason = "" if self.today else "no schedule"
        self.step(
            ev.Bound(
                requested=MAIN,
                symbol=self.today,
                now_ns=self.now,
                price_tick=spec.price_tick,
                multiplier=spec.multiplier,
                needs_close_today=spec.needs_close_today,
                reason=reason,
            )
        )

    def do(self, action: Action) -> bool:
        if isinstance(action, WriteBinding):
            self.durable = action.symbol
            return False
        return super().do(action)

    def symbol_of(self, dice: int) -> str:
        known = [symbol for symbol in self.symbols if symbol in self.core.config.symbols]
        return known[dice % len(known)]

    def do_roll(self, dice: int) -> None:
        self.today = self.symbols[dice % 2]
        self.bind()
        if dice & 4:
            super().tell_terms()

    def do_unbind(self, dice: int) -> None:
        self.today = ""
        self.bind()

    def wanted_at_last(self, dice: int) -> dict[str, int]:
        self.today = self.symbols[dice % 2]
        self.bind()
        limit = self.setup.limits.max_position
        lots = entropy(dice, "last") % (2 * limit + 1) - limit
        return {symbol: lots if symbol == self.today else 0 for symbol in self.symbols}


def play_rolls(seed: int, steps: Sequence[Step], core_class: type[Core] = Core) -> tuple[int, str]:
    """Events of a scenario, and what broke in it."""
    world: World | None = None
    try:
        world = RollWorld(setup_of(seed), core_class)
        for step in steps:
            world.play(step)
        world.calm_down(seed)
    except Broken as exc:
        return world.events if world else 0, f"seed {seed}: {exc}"
    except Crash:
        return 0, f"seed {seed}: it died while it calmed down"
    return world.events, ""
