"""Runs the gateway: the one process that owns a broker connection and carries out what `core` decides.

Opening, the loop, what is due with time and the end are here. What comes in is handled in `request_handler`, what goes
out in `action_executor`; what to do is decided in `core`. One thread does all of it, so that a target is acted on the
moment it arrives and nothing needs a lock.
"""

from __future__ import annotations

import contextlib
import gc
import math
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.errors import GhtraderError
from ghtrader_base.files import atomic_write_json
from ghtrader_base.settings import Settings
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_runtime.accounts.account import AccountRef
from ghtrader_runtime.accounts.bus_token import join_token
from ghtrader_runtime.accounts.durable_writes import Durable
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.order_ledger import Ledger, earlier_intents
from ghtrader_runtime.brokers.base import Broker, Pumped
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.sockets import GatewayBus, new_session
from ghtrader_runtime.config import GatewayOptions, execution_style, risk_limits, run_folder
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.engine import CoreConfig
from ghtrader_runtime.gateway.contract_binding import Binder
from ghtrader_runtime.gateway.day_ticks import DayBook, DayWatch
from ghtrader_runtime.gateway.request_handler import GatewayInbox
from ghtrader_runtime.gateway.sessions import Peers
from ghtrader_runtime.gateway.state_publisher import (
    fills_of_earlier_lives,
    mid_of,
    serve_metrics,
    summarise,
    write_state_file,
)
from ghtrader_runtime.runlog.decision_log import MindRecorder, Start
from ghtrader_runtime.runlog.journal import Journal, read_lines
from ghtrader_runtime.runlog.latency import TickToTarget
from ghtrader_runtime.runlog.run_totals import Tally

_PUMP_S = 0.1
_LOST_S = 30.0


class Gateway(GatewayInbox):
    """One run of a gateway. Hold the account's locks before building it.

    Parameters
    ----------
    settings, options, ref
        Where, what, and for which account.
    broker : Broker
        Not opened yet.
    """

    def __init__(self, settings: Settings, options: GatewayOptions, ref: AccountRef, broker: Broker) -> None:
        self.settings, self.options, self.ref, self.broker = settings, options, ref, broker
        self.run_dir = run_folder(settings, options.run_id)
        self.session = new_session("gateway")
        self.calendar = load_calendar(settings)
        self.variety = variety_of(options.symbol)
        age = settings.schedule_max_age_days
        self.binder = Binder(settings.data, options.symbol, self.calendar, age, options.monitor_only)
        self.kill = KillSwitch(ref.state_dir)
        self.latency = TickToTarget()
        self.daybook = DayBook()
        self.fills: list[dict[str, Any]] = []
        self.counts = {"ticks": 0, "targets": 0, "orders": 0, "duplicates": 0, "refused": 0}
        self.peers = Peers("")
        self.last_target: msg.Target | None = None
        self.last_state: msg.AccountState | None = None
        self.tick_s = math.nan
        self.metrics_url = ""
        self.ready: dict[str, str] = {}
        self.tick_revision = 0
        self._state_revision = 0
        self.day = DayWatch(self.calendar, self.variety)
        self.marks: dict[str, float] = {}
        self.days_traded: set[str] = set()
        self.rolls = 0
        self._stop = ""
        self._resync = ""
        self._connected = True
        self._terms_day = ""
        self.killed = False
        self._next_state_ns = 0

    def run(self) -> dict[str, Any]:
        """Open, trade until told to stop or the data ends, close; returns the summary it wrote."""
        with contextlib.ExitStack() as stack:
            self.ledger = Ledger(self._ledger_folder(stack), self.options.run_id)
            stack.callback(self.ledger.close)
            self.durable = Durable(self.ledger, self.kill, self._step)
            stack.callback(self.broker.close)
            self._connect_first()
            self.journal = Journal(self.run_dir)
            stack.callback(self.journal.close)
            self._load_history()
            self.peers = Peers(join_token(self.ref.state_dir))
            self.bus = GatewayBus(endpoints(self.settings, self.ref.state_dir))
            stack.callback(self.bus.close)
            self.metrics_url = serve_metrics(self, stack)
            self._build_core()
            write_state_file(self)
            self.broker.attach(self.bus.wake_fd, self._on_requests)
            self._catch_signals()
            gc.collect()
            gc.freeze()  # a full collection would walk all of TqSdk and pandas in the middle of a tick
            ended = self._loop()
            self._wind_down(ended)
            self.mind.flush()
            summary = summarise(self, ended)
            atomic_write_json(self.run_dir / "summary.json", summary)
            np.savez(self.run_dir / "latency.npz", **self.latency.arrays())
        return summary

    def _ledger_folder(self, stack: contextlib.ExitStack) -> Path:
        """The account's; a gateway that only monitors starts without it, so that a damaged one does not blind it."""
        if self.options.monitor_only:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ghtrader-")))
        return self.ref.state_dir

    def _load_history(self) -> None:
        for row in self.broker.history():
            self.day.enter(row.datetime_ns)
            self.daybook.add(self.day.name, row.id, row.datetime_ns, row.values)
            self.marks[self.binding.contract] = mid_of(row.values)

    def _build_core(self) -> None:
        o = self.options
        self.tally = Tally(self.market.multiplier)
        config = CoreConfig(
            symbols=self._specs(), limits=risk_limits(o), style=execution_style(o), monitor_only=o.monitor_only,
            on_kill=o.on_kill, unknown_orders=o.unknown_orders,
        )  # fmt: skip
        known = self.ledger.state
        start = Start(
            config, known.ledger_id, known.epoch, known.next_number, earlier_intents(known.open),
            list(known.watermark.items()), known.marks, list(known.sent_ns), time.monotonic_ns(),
        )  # fmt: skip
        self.core, self.mind = start.core(), MindRecorder(self.journal, start)
        self.journal.write("events", "start", {
            "account": self.ref.name, "broker": self.ref.broker, "mode": o.mode, "symbol": self.binding.contract,
            "requested": o.symbol, "schedule_hash": self.binding.schedule_hash, "schedule_age": self.binding.age,
            "epoch": known.epoch, "open_intents": list(known.open), "session": self.session,
        })  # fmt: skip
        self._look_at_kill()
        self._bind_core()
        self._tell_terms(self.day.name or str(self.market.trading_day))
        snapshot = self.broker.snapshot()
        for fields in fills_of_earlier_lives(self, snapshot):
            self._on_fill(fields)
        self._act(self._think(snapshot))
        held = {symbol: position.net for symbol, position in self.core.state.positions.items()}
        first = [line for line in read_lines(self.run_dir / "events.jsonl") if line["kind"] == "opening"]
        self.opening = first[0]["positions"] if first else held
        self.journal.write("events", "opening", {"positions": held})

    def _catch_signals(self) -> None:
        def stop(number: int, _frame: Any) -> None:
            self._stop = self._stop or f"stopped by {signal.Signals(number).name}"

        with contextlib.suppress(ValueError):  # not the main thread: a test that calls stop itself
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)

    def _loop(self) -> str:
        while True:
            pumped = self._pump(_PUMP_S, self._may_advance())
            if pumped.ticks is not None:
                self._on_ticks(pumped.ticks)
            for ticks in pumped.aside:
                self._on_aside(ticks)
            self._on_reports(pumped.reports)
            self._on_requests()
            self._note_departures()
            self._on_time()
            if self._resync:
                self._ask_again()
            if self._stop:
                return self._stop
            if pumped.ended and (self.latency.unanswered == 0 or not self.ready):
                return pumped.ended

    def _pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        if self._connected:
            return self.broker.pump(timeout_s, may_advance)
        self.bus.wait(timeout_s)
        return Pumped()

    def _may_advance(self) -> bool:
        return bool(self.ready) and (not self.broker.lockstep or self.latency.unanswered == 0)

    def _wind_down(self, ended: str) -> None:
        state = self.core.state
        for order in state.every_live_order():
            if not order.over and self._connected and not self.options.monitor_only:
                self.broker.cancel(order.order_id)
        deadline = time.monotonic() + 3.0
        self._publish_state(ended)
        while time.monotonic() < deadline:
            working = any(not order.over for order in state.every_live_order())
            if not working and not self.ready:
                break
            pumped = self._pump(0.05, False)
            state.targets.clear()
            self._on_reports(pumped.reports)
            self._on_requests()
        self._note_departures()
        self._publish_state(ended)

    def _on_time(self) -> None:
        now_ns = time.monotonic_ns()
        self.durable.look()
        self._look_at_kill()
        self._step(ev.Timer(now_ns))
        self._note_links(self.peers.check(now_ns))
        for session in [s for s in self.ready if (peer := self.peers.get(s)) and peer.link.silent_s(now_ns) > _LOST_S]:
            self._on_lost(session, "went silent")
        if now_ns >= self._next_state_ns:
            self._publish_state("")
        if self.options.replay is None and self.ready:
            self._stop = self._stop or self.day.over(time.monotonic(), self.options.idle_end_s, self._goes_on())

    def _ask_again(self) -> None:
        reason, self._resync = self._resync, ""
        self.journal.write("events", "resync", {"reason": reason})
        try:
            answer: ev.Event = self.broker.reopen()
            self._connected = True
        except GhtraderError as exc:  # the core asks again, with back-off
            self._connected = False
            answer = ev.AskFailed(exc.message, time.monotonic_ns())
        self._step(answer)
