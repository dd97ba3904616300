"""Runs the strategy: tick -> factors -> model -> policy -> target, for every tick.

The same runner for replay, paper, sim and live; only what feeds the gateway differs. It starts cold with each trading
day, is warmed with the day so far when it joins late, and answers every tick, also with "as before".

Its messages to and from the gateway, and where its factors begin, are in `gateway_client`.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any

from ghtrader_base.settings import Settings
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.bundle import Bundle
from ghtrader_runtime.accounts.account import AccountRef
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.link_state import Link
from ghtrader_runtime.bus.pending_requests import Outbox
from ghtrader_runtime.bus.sockets import ClientBus, new_session
from ghtrader_runtime.config import StrategyOptions
from ghtrader_runtime.runlog.journal import FactorJournal, Journal, read_lines
from ghtrader_runtime.strategy.champion_watcher import Succession
from ghtrader_runtime.strategy.gateway_client import StrategyLink
from ghtrader_runtime.strategy.shutdown import Departure, is_flat

_GATEWAY_LOST_S = 120.0
"""Silence after which a strategy leaves; a supervised gateway that crashed is back, and logged in, well before."""


class Strategy(StrategyLink):
    """One run of a strategy. Hold the strategy's lock before building it."""

    def __init__(self, settings: Settings, options: StrategyOptions, ref: AccountRef, bundle: Bundle) -> None:
        self.settings, self.options, self.bundle = settings, options, bundle
        self.session = new_session("strategy")
        self.calendar = load_calendar(settings)
        self._state_dir = ref.state_dir
        self.bus = ClientBus(endpoints(settings, ref.state_dir))
        self.link = Link("gateway")
        self.outbox = Outbox()
        self._journal: Journal | None = None
        self.answered = 0
        self.refused: dict[str, int] = {}
        self.ended = ""
        self._revision = 0
        self._asked = 0
        self._models = 1
        self._seen = 0
        self._last_id = -1
        self.gaps = 0
        self._pending: deque[msg.Tick] = deque()
        self._departure = Departure()
        self._welcome: msg.Welcome | None = None
        self._welcomed_ns = 0
        self.contract = self._first_contract = ""
        self._left: list[str] = []
        self._factor_journal: FactorJournal | None = None
        self._gateway_session = ""
        self._stop = ""
        self._next_beat = 0.0
        self._late = False

    def _catch_signals(self) -> None:
        def stop(number: int, _frame: Any) -> None:
            self._stop = self._stop or signal.Signals(number).name

        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)

    def run(self) -> dict[str, Any]:
        """Join, answer every tick until the gateway ends or we are told to stop."""
        self._catch_signals()
        try:
            welcome = self._join()
            if welcome is None:
                return self._result()
            journal = self._journal = Journal(Path(welcome.run_dir) / "strategy")
            self._prepare(welcome, journal)
            self._take_history(welcome.rows, answer="none")
            if welcome.more:
                self._catch_up(answer="none")
            gc.collect()
            gc.freeze()  # no full collection in the middle of a tick
            self._say_ready(welcome.rows)
            self._trade()
            journal.write("events", "end", {"reason": self.ended, "answered": self.answered, "refused": self.refused})
            self.bus.send(msg.Goodbye(**self._head(), reason=self.ended))
            return self._result()
        finally:
            if self._journal is not None:
                if self._factor_journal is not None:
                    self._factor_journal.flush()
                self._journal.close()
            self.bus.close()

    def _say_ready(self, rows: int) -> None:
        head = self._head()
        self.bus.send(msg.Ready(**head, symbol=self.contract, rows=rows, model=self.bundle.bundle_id))

    def _result(self) -> dict[str, Any]:
        return {"ended": self.ended, "answered": self.answered, "refused": self.refused, "model": self.bundle.bundle_id}

    def _prepare(self, welcome: msg.Welcome, journal: Journal) -> None:
        o = self.options
        first = [line for line in read_lines(journal.folder / "events.jsonl") if line["kind"] == "start"]
        self._first_contract = first[0]["symbol"] if first else welcome.symbol  # of the run, not of this process of it
        self._begin(welcome, welcome.position)
        way = o.succession if o.model == "champion" else "keep"
        series = variety_of(o.symbol).continuous_symbol
        self._succession = Succession(
            self.settings.models, series, o.horizon, way, self.bundle.bundle_id, welcome.max_position
        )
        journal.write("events", "start", {
            "session": self.session, "model": self.bundle.bundle_id, "symbol": self.contract, "requested": o.symbol,
            "position": welcome.position, "factor_spec": self.bundle.factor_spec_hash, "history": welcome.rows,
        })  # fmt: skip

    def _on_ack(self, ack: msg.Ack) -> None:
        self.outbox.answered(ack.answers)
        self._departure.on_ack(ack)
        if ack.status == "refused":
            self.refused[ack.reason] = self.refused.get(ack.reason, 0) + 1
        elif ack.status == "unknown":
            self._rejoin("it does not know us")

    def _trade(self) -> None:
        while not self.ended:
            message = self._pending.popleft() if self._pending else self._receive(0.2)
            if isinstance(message, msg.Tick | msg.AccountState) and message.session != self._gateway_session:
                self._rejoin("a new gateway answers")  # what came is in what it tells us now
            elif isinstance(message, msg.Tick):
                self._on_tick(message)
            elif isinstance(message, msg.AccountState):
                self._on_state(message)
            elif isinstance(message, msg.Rolled):
                self._roll()
            elif isinstance(message, msg.Ack):
                self._on_ack(message)
            if message is None and self.link.silent_s(time.monotonic_ns()) > _GATEWAY_LOST_S:
                self.ended = "the gateway is silent"
            if self._stop:
                self._leave()

    def _on_tick(self, tick: msg.Tick) -> None:
        if tick.symbol != self.contract:
            if tick.revision > self._seen:
                self._roll()
            return
        if tick.id <= self._last_id and tick.trading_day == self.signal.day:
            self._seen = max(self._seen, tick.revision)
            return
        if tick.revision > self._seen + 1:
            self._seen = tick.revision
            self._repair()
            return
        self._seen = tick.revision
        if tick.trading_day != self.signal.day and (successor := self._succession.due(new_day=True, flat=False)):
            # Nothing of the new day was seen yet: it starts cold, as every day does.
            self._hand_over(successor, self._welcome)
        got_ns = time.monotonic_ns()
        decision = self._take(tick.id, tick.trading_day, tick.datetime_ns, tick.array())
        self._send_target(tick.id, tick.datetime_ns, decision, got_ns)
        self._keep(tick.id, tick.trading_day, tick.datetime_ns, decision, live=True)

    def _repair(self) -> None:
        """Ticks were lost on the way: degraded until they are here and answered."""
        self.gaps += 1
        self._note(self.link.trouble("gap", "ticks were lost on the way", time.monotonic_ns()))
        self._catch_up(answer="all")
        self._note(self.link.mended("gap", time.monotonic_ns()))

    def _rejoin(self, why: str) -> None:
        """Another gateway answers now, or ours forgot us: what was missed is made good, and the last tick answered."""
        self._note(self.link.trouble("rejoin", why, time.monotonic_ns()))
        self.outbox.clear()
        self._seen = 0
        self._catch_up(answer="last")
        if not self.ended:
            self._say_ready(0)
        self._note(self.link.mended("rejoin", time.monotonic_ns()))

    def _roll(self) -> None:
        """The day has another contract: it is asked for, and its day so far warms new factors."""
        self._catch_up(answer="none")
        if not self.ended:
            self._say_ready(0)
            self._want(self.signal.target, self._last_id, 0, "rolled")  # for every tick it has not answered

    def _on_state(self, state: msg.AccountState) -> None:
        self._look_for_a_champion(state)
        if state.ended:
            self.ended = state.ended
        elif state.contract != self.contract and state.sent_ns > self._welcomed_ns:
            self._roll()
        elif state.tick_revision > self._seen and not self._pending:  # the last ticks were lost, no later one tells
            self._seen = state.tick_revision
            self._repair()
        elif self._departure.may_go(state, (self.contract, *self._left)):
            self.ended = f"stopped by {self._stop}"

    def _look_for_a_champion(self, state: msg.AccountState) -> None:
        if self._succession.look(time.monotonic()):
            self._tell("champion-waits", {"model": self._succession.waiting.bundle_id})
        elif self._succession.refused:
            self._tell("champion-refused", {"reason": self._succession.refused})
            self._succession.refused = ""
        flat = is_flat(state, (self.contract,)) and not (self.signal.target or self._pending or len(self.outbox))
        if not self._stop and (successor := self._succession.due(new_day=False, flat=flat)):
            self._hand_over(successor, self._welcome)
            self._last_id = -1  # the day so far warms it
            self._catch_up(answer="none")
            if not self.ended:
                self._say_ready(0)
                self._want(self.signal.target, self._last_id, 0, "taken over")  # for every tick it has not answered

    def _leave(self) -> None:
        """Told to stop: want a flat position, go on answering ticks, and go once the gateway says it is flat."""
        now = time.monotonic()
        if not self._departure.begun:
            self._departure.begin(now)
            self.signal.stop_trading = True
            if not self.options.flatten_on_stop:
                self.ended = f"stopped by {self._stop}"
                return
        if self._departure.too_late(now):
            self.ended = f"stopped by {self._stop}, the position was not flat in time"
        elif self._departure.asks(now):
            self._want(0, -1, 0, "leaving")
            self._departure.asked(self._revision)
