"""The gateway: the one process that owns a broker connection; the edge around `core`.

It waits, sends, writes and measures; what to do is decided in `core`. One thread does all of it, so that a target is
acted on the moment it arrives and nothing needs a lock. Order of things for every order: intent durable, kill switch
looked at, sent.
"""

from __future__ import annotations

import contextlib
import gc
import math
import signal
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.files import atomic_write_json
from ghtrader_base.settings import Settings
from ghtrader_market.calendar import load_calendar
from ghtrader_market.ticks import COLUMN_INDEX
from ghtrader_market.varieties import variety_of
from ghtrader_runtime import events as ev
from ghtrader_runtime import messages as msg
from ghtrader_runtime.accounts import AccountRef
from ghtrader_runtime.addresses import endpoints
from ghtrader_runtime.brokers.base import Broker, Pumped, Ticks
from ghtrader_runtime.bus import GatewayBus, new_session
from ghtrader_runtime.core import CoreConfig
from ghtrader_runtime.daybook import DayBook, DayWatch
from ghtrader_runtime.executors import SymbolSpec
from ghtrader_runtime.journal import Journal, read_lines
from ghtrader_runtime.killswitch import KillSwitch
from ghtrader_runtime.latency import TickToTarget
from ghtrader_runtime.ledger import Intent, Ledger, earlier_intents
from ghtrader_runtime.links import HEARTBEAT_S, LinkChange
from ghtrader_runtime.mind import MindRecorder, Start
from ghtrader_runtime.options import GatewayOptions, execution_style, risk_limits, run_folder
from ghtrader_runtime.peers import Peers, join_token
from ghtrader_runtime.reporting import (
    account_state,
    commission_of,
    fills_of_earlier_lives,
    mid_of,
    serve_metrics,
    summarise,
    welcome,
    write_state_file,
)
from ghtrader_runtime.summary import Tally

_PUMP_S = 0.1
_ANSWER_S = 0.002
_LOST_S = 30.0
_BID, _ASK = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"]


class Gateway:
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
        self._mark = math.nan
        self._stop = ""
        self._resync = ""
        self._connected = True
        self._terms_day = ""
        self.killed = False
        self._next_state_ns = 0

    # Life ------------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Open, trade until told to stop or the data ends, close; returns the summary it wrote."""
        with contextlib.ExitStack() as stack:
            self.ledger = Ledger(self._ledger_folder(stack), self.options.run_id)
            stack.callback(self.ledger.close)
            self.market = self.broker.open(self.options.symbol)
            stack.callback(self.broker.close)
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
            summary = summarise(self, ended, self._mark)
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
            self._mark = mid_of(row.values)

    def _build_core(self) -> None:
        o = self.options
        self.tally = Tally(self.market.multiplier)
        spec = SymbolSpec(o.symbol, self.market.price_tick, self.market.multiplier, self.variety.needs_close_today)
        config = CoreConfig(
            symbols={o.symbol: spec}, limits=risk_limits(o), style=execution_style(o), monitor_only=o.monitor_only,
            on_kill=o.on_kill, unknown_orders=o.unknown_orders,
        )  # fmt: skip
        known = self.ledger.state
        start = Start(
            config, known.ledger_id, known.epoch, known.next_number, earlier_intents(known.open),
            list(known.watermark.items()), known.marks, list(known.sent_ns), time.monotonic_ns(),
        )  # fmt: skip
        self.core, self.mind = start.core(), MindRecorder(self.journal, start)
        self.journal.write("events", "start", {
            "account": self.ref.name, "broker": self.ref.broker, "mode": o.mode, "symbol": o.symbol,
            "epoch": known.epoch, "open_intents": list(known.open), "session": self.session,
        })  # fmt: skip
        self._look_at_kill()
        self._tell_terms(self.day.name or str(self.market.trading_day))
        snapshot = self.broker.snapshot()
        for fields in fills_of_earlier_lives(self, snapshot):
            self._on_fill(fields)
        self._act(self._think(snapshot))
        held = {symbol: position.net for symbol, position in self.core.state.positions.items()}
        first = [line for line in read_lines(self.run_dir / "events.jsonl") if line["kind"] == "opening"]
        self.opening = first[0]["positions"] if first else held
        self.journal.write("events", "opening", {"positions": held})

    def _tell_terms(self, trading_day: str) -> None:
        self._terms_day = trading_day
        sessions = tuple(self.calendar.sessions(self.variety, date.fromisoformat(trading_day)))
        lower, upper = self.broker.price_limits()
        self._step(ev.Terms(self.options.symbol, trading_day, sessions, time.monotonic_ns(), lower, upper))

    def _catch_signals(self) -> None:
        def stop(number: int, _frame: Any) -> None:
            self._stop = self._stop or f"stopped by {signal.Signals(number).name}"

        with contextlib.suppress(ValueError):  # not the main thread: a test that calls stop itself
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)

    def stop(self, reason: str) -> None:
        """End the run at the next turn."""
        self._stop = self._stop or reason

    def _loop(self) -> str:
        while True:
            pumped = self._pump(_PUMP_S, self._may_advance())
            if pumped.ticks is not None:
                self._on_ticks(pumped.ticks)
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

    # What comes in ---------------------------------------------------------------------------------------------

    def _on_ticks(self, ticks: Ticks) -> None:
        symbol, ready = ticks.symbol, bool(self.ready)
        for row in ticks.rows:
            self.day.enter(row.datetime_ns)
            self.tick_revision += 1
            self.bus.publish(
                msg.Tick(
                    session=self.session, revision=self.tick_revision, sent_ns=ticks.now_ns, symbol=symbol,
                    trading_day=self.day.name, datetime_ns=row.datetime_ns, id=row.id, values=row.values.tobytes(),
                )
            )  # fmt: skip
            if ready:
                self.counts["ticks"] += 1
                self.latency.tick(row.id, ticks.now_ns)
            self.daybook.add(self.day.name, row.id, row.datetime_ns, row.values)
        if self.day.name != self._terms_day:
            self._tell_terms(self.day.name)
        for row in ticks.rows:
            bid, ask = float(row.values[_BID]), float(row.values[_ASK])
            self._step(ev.Book(symbol, self.day.name, row.datetime_ns, row.id, bid, ask, ticks.now_ns))
        if self.broker.lockstep:  # with every tick, so that a replay is the same twice
            self._step(ev.Equity(self.broker.balance(), ticks.now_ns))
        self._await_answers(ready)
        last = ticks.rows[-1]
        self.day.saw(last.datetime_ns, time.monotonic())
        self._mark = mid_of(last.values)
        self.tick_s = time.monotonic()

    def _await_answers(self, ready: bool) -> None:
        """Give the strategy a moment: its answer usually comes before the broker's own loop would be back to listen."""
        deadline = time.monotonic() + _ANSWER_S
        while ready and self.latency.undecided and (left := deadline - time.monotonic()) > 0:
            self.bus.wait(left)
            self._on_requests()

    def _on_reports(self, reports: list[Any]) -> None:
        while reports:  # an order placed because of a report may be reported at once
            for report in reports:
                if isinstance(report, ev.OrderReport):
                    self.latency.reported(report.order_id, report.now_ns)
                self._step(report)
            reports = self.broker.drain()

    def _on_requests(self) -> None:
        while (received := self.bus.receive()) is not None:
            identity, message = received
            now_ns = time.monotonic_ns()
            if isinstance(message, msg.Hello):
                self._on_hello(identity, message, now_ns)
                continue
            if isinstance(message, msg.Command) and message.name != "heartbeat":
                self._on_command(identity, message)
                continue
            peer, change = self.peers.heard(message.session, identity, now_ns)
            self._note_links([change] if change else [])
            match message:
                case _ if peer is None:
                    self._tell_stranger(identity, message)
                case msg.Target() if peer.trusted:
                    self._on_target(message, now_ns)
                case msg.DirectOrder() | msg.CancelOrder() if peer.trusted:
                    self._on_direct(message, now_ns)
                case msg.Ready() if peer.trusted:
                    self._on_ready(message)
                case msg.Goodbye():
                    self._on_lost(message.session, f"left: {message.reason}")
                case msg.Command():  # a heartbeat
                    pass
                case _:
                    self.bus.malformed += 1

    def _tell_stranger(self, identity: bytes, message: msg.AnyMessage) -> None:
        """Who has not joined, or was forgotten, is told so: a strategy says hello again."""
        if isinstance(message, msg.Target | msg.DirectOrder | msg.CancelOrder):
            reason = "say hello first"
            self.bus.send(identity, msg.Ack(**self._head(), answers=message.revision, status="unknown", reason=reason))

    def _head(self) -> dict[str, Any]:
        return {"session": self.session, "revision": 0, "sent_ns": time.monotonic_ns()}

    def _on_target(self, target: msg.Target, now_ns: int) -> None:
        self.counts["targets"] += 1
        self.last_target = target
        self.latency.marked(target.tick_id, target.marks_ns)
        self._look_at_kill()
        event = ev.TargetWanted(
            target.session, target.revision, target.symbol, target.volume, now_ns, target.tick_id, target.reason
        )
        sent = self._act(self._think(event))
        self.latency.answered(target.tick_id, sent, time.monotonic_ns())
        self._note_departures()
        if self.broker.lockstep or sent:
            self._on_reports(self.broker.drain())

    def _on_direct(self, wanted: msg.DirectOrder | msg.CancelOrder, now_ns: int) -> None:
        self._look_at_kill()
        if isinstance(wanted, msg.CancelOrder):
            event: ev.Event = ev.CancelWanted(wanted.session, wanted.revision, now_ns, wanted.order_id)
        else:
            event = ev.OrderWanted(
                wanted.session, wanted.revision, wanted.symbol, wanted.side, wanted.offset, wanted.volume, now_ns,
                wanted.price, wanted.price_type, wanted.tif,
            )  # fmt: skip
        self._step(event)
        self._note_departures()
        self._on_reports(self.broker.drain())

    def _on_hello(self, identity: bytes, hello: msg.Hello, now_ns: int) -> None:
        peer, change = self.peers.join(hello.session, identity, hello.token, now_ns)
        self._note_links([change] if change else [])
        if peer is None or not self.peers.may_have_history(now_ns):
            return  # it will ask again
        if hello.purpose == "trade" and not peer.trusted:
            reason = "only who shows the account's token may trade"
            self.bus.send(identity, msg.Ack(**self._head(), answers=hello.revision, status="refused", reason=reason))
            return
        for message in welcome(self, hello):
            self.bus.send(identity, message)
        if self.last_state is not None:
            self.bus.send(identity, self.last_state)

    def _on_ready(self, ready: msg.Ready) -> None:
        self.ready[ready.session] = ready.model
        self.journal.write("events", "ready", {"session": ready.session, "rows": ready.rows, "model": ready.model})
        self._publish_state("")

    def _on_command(self, identity: bytes, command: msg.Command) -> None:
        answer = self.peers.remembered(command.session, command.revision)
        if answer is None:
            status, reason = "refused", "only who shows the account's token may command"
            if self.peers.shows(command.token):
                status, reason = self._obey(command)
            answer = msg.Ack(**self._head(), answers=command.revision, status=status, reason=reason)
            self.peers.remember(command.session, command.revision, answer)
        self.bus.send(identity, answer)

    def _obey(self, command: msg.Command) -> tuple[str, str]:
        if command.name == "kill":
            self._look_at_kill()
        elif command.name == "state":
            try:
                wanted = ev.TradingState(command.value)
            except ValueError:
                return "refused", f"no trading state {command.value!r}"
            self._step(ev.StateWanted(wanted, command.reason))
        elif command.name == "stop":
            self.stop(command.reason or "stopped by command")
        else:
            return "refused", f"no command {command.name!r}"
        return "accepted", ""

    def _on_lost(self, session: str, reason: str) -> None:
        known = self.ready.pop(session, None)
        self.peers.leave(session)
        if known is not None:
            self.journal.write("events", "strategy-gone", {"session": session, "reason": reason})
            self._step(ev.LinkChange(session, False, time.monotonic_ns()))
            if not self.ready:
                self.latency.abandon()
            if self.broker.lockstep:
                self.stop(f"the strategy {reason}")

    def _on_time(self) -> None:
        now_ns = time.monotonic_ns()
        self._look_at_kill()
        self._step(ev.Timer(now_ns))
        self._note_links(self.peers.check(now_ns))
        for session in [s for s in self.ready if (peer := self.peers.get(s)) and peer.link.silent_s(now_ns) > _LOST_S]:
            self._on_lost(session, "was not heard of any more")
        if now_ns >= self._next_state_ns:
            self._publish_state("")
        if self.options.replay is None and self.ready:
            self._stop = self._stop or self.day.over(time.monotonic(), self.options.idle_end_s)

    def _note_links(self, changes: list[LinkChange]) -> None:
        """Every change is told; one of a strategy's link is the core's business too."""
        for change in changes:
            self.journal.write("events", "link", {
                "link": change.name, "before": str(change.before), "after": str(change.after), "reason": change.reason,
            })  # fmt: skip
            if change.name in self.ready and not change.usable:
                self._step(ev.LinkChange(change.name, False, change.now_ns))
        if changes:
            self._publish_state("")

    def _look_at_kill(self) -> None:
        state = self.kill.read()
        if state.tripped != self.killed:
            self.killed = state.tripped
            self._act(self._think(ev.KillChange(state.tripped, state.reason, time.monotonic_ns())))
            if hasattr(self, "bus"):
                self._publish_state("")

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

    # What goes out ---------------------------------------------------------------------------------------------

    def _step(self, event: ev.Event) -> list[str]:
        return self._act(self._think(event))

    def _think(self, event: ev.Event) -> list[ev.Action]:
        actions = self.core.handle(event)
        self.mind.add(event, actions)
        return actions

    def _act(self, actions: list[ev.Action]) -> list[str]:
        """Carry actions out in order; returns the ids of the orders sent."""
        sent: list[str] = []
        for action in actions:
            match action:
                case ev.WriteIntent():
                    self._write_intent(action)
                case ev.SendOrder():
                    sent += self._send_order(action.order)
                case ev.Answer():
                    self._answer(action)
                case ev.Record():
                    self._record(action)
                case ev.CloseIntent():
                    self.ledger.close_intent(action.order_id, action.outcome, action.left)
                case ev.Cancel():
                    self.journal.write("orders", "cancel", {"id": action.order_id})
                    if self._connected:
                        self.broker.cancel(action.order_id)
                case ev.WriteMarks():
                    self.ledger.write_marks(action.trading_day, action.opening, action.peak)
                case ev.TripKill():
                    self.kill.trip(action.reason, by="risk")
                    self.killed = True
                case ev.Resync() | ev.Resubscribe():
                    self._resync = action.reason
        return sent

    def _write_intent(self, wanted: ev.WriteIntent) -> None:
        if self.options.monitor_only:
            raise FailedError("an order was about to leave in monitor-only mode", "this is a fault in the gateway")
        order = wanted.order
        number = int(order.order_id.rsplit("-", 1)[1])
        before = time.monotonic_ns()
        self.ledger.intend(
            Intent(
                order.order_id, number, order.symbol, order.side, order.offset, order.volume, order.price, order.tif,
                wanted.target_session, wanted.target_revision, wanted.market_ns, order.price_type,
            )
        )  # fmt: skip
        self.latency.intent_written(time.monotonic_ns() - before)

    def _send_order(self, order: ev.Order) -> list[str]:
        intent = self.ledger.state.open.get(order.order_id)
        if self.options.monitor_only or intent is None:
            raise FailedError("an order was about to leave without its intent", "this is a fault in the gateway")
        if self.kill.read().tripped and not self.core.state.killed:  # somebody tripped it while the intent was written
            self._look_at_kill()
        if order.cancel_ns or order.over:  # taken back before it was sent
            report = ev.OrderReport(
                order.order_id, order.symbol, order.side, order.offset, order.volume, order.volume, True, False, "",
                "not sent: the kill switch was tripped", time.monotonic_ns(), order.price,
            )  # fmt: skip
            self._act(self._think(report))
            return []
        self.broker.submit(order)
        self.counts["orders"] += 1
        self.journal.write("orders", "sent", {
            "id": order.order_id, "symbol": order.symbol, "side": order.side, "offset": order.offset,
            "volume": order.volume, "price": order.price, "price_type": order.price_type, "tif": order.tif,
            "market_ns": intent.market_ns, "target": [intent.target_session, intent.target_revision],
        })  # fmt: skip
        return [order.order_id]

    def _answer(self, answer: ev.Answer) -> None:
        self.counts["duplicates"] += answer.status == "duplicate"
        self.counts["refused"] += answer.status == "refused"
        peer = self.peers.get(answer.session)
        if peer is not None:
            self.bus.send(peer.identity, msg.Ack(
                session=self.session, revision=self.tick_revision, sent_ns=time.monotonic_ns(),
                answers=answer.revision, status=answer.status, reason=answer.reason, order_id=answer.order_id,
            ))  # fmt: skip

    def _record(self, record: ev.Record) -> None:
        if record.kind == "fill":
            if any(fill["trade"] == record.fields["trade"] for fill in self.fills[-200:]):
                return  # an earlier life of this run has told it
            self._on_fill(record.fields)
        stream = {"fill": "fills", "order-closed": "orders"}.get(record.kind, "events")
        self.journal.write(stream, record.kind, record.fields)

    def _on_fill(self, fields: dict[str, Any]) -> None:
        if not math.isfinite(fields["commission"]):
            fields["commission"] = commission_of(self, fields)
        self.fills.append(fields)
        self.tally.add(fields)

    def _note_departures(self) -> None:
        for order_id, at_ns in self.broker.departures():
            self.latency.order_left(order_id, at_ns)

    def _publish_state(self, ended: str) -> None:
        self._next_state_ns = time.monotonic_ns() + int(HEARTBEAT_S * 1e9)
        self._state_revision += 1
        if not self.broker.lockstep and self._connected:
            self._step(ev.Equity(self.broker.balance(), time.monotonic_ns()))
        self.ledger.sync()
        self.mind.flush()
        state = self.last_state = account_state(self, self._state_revision, ended, self._mark)
        self.bus.publish(state)
        write_state_file(self, ended)
        if state.revision % 10 == 1 or ended:
            self.journal.write("account", "state", {
                "trading_state": state.trading_state, "positions": state.positions, "balance": state.balance,
                "working": state.working, "tick_revision": state.tick_revision,
            })  # fmt: skip
