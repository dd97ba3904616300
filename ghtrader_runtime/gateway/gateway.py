"""Runs the gateway: the one process that owns a broker connection; the edge around the trading core.

Here is its life: opening, the loop, what is due with time, the end. Ticks are passed on by `tick_relay`, requests are
dealt with in `request_handler`, trading days begin in `trading_day`, what the core wants done is carried out by
`action_executor`, the state is told by `state_publisher`; what to do is decided in `core`. One thread does all of it,
so that a target is acted on the moment it arrives and nothing needs a lock.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import GhtraderError, in_words
from ghtrader_base.private_files import private_opener
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode, SimKind
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.service_clock import read_service_clock
from ghtrader_runtime.accounts.account import AccountRef
from ghtrader_runtime.accounts.bus_token import join_token
from ghtrader_runtime.accounts.disk_thread import DiskThread
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.order_ledger import Ledger, LedgerState, earlier_intents
from ghtrader_runtime.brokers.base import Broker, Pumped
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.sockets import GatewayBus, new_session
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.trading_core import CoreConfig
from ghtrader_runtime.gateway.action_executor import ActionExecutor
from ghtrader_runtime.gateway.broker_connection import BrokerConnection
from ghtrader_runtime.gateway.bus_sessions import BusSessions
from ghtrader_runtime.gateway.clock_watch import ClockWatch
from ghtrader_runtime.gateway.command_gate import CommandGate
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.contract_binding import ContractResolver
from ghtrader_runtime.gateway.prometheus import serve_metrics
from ghtrader_runtime.gateway.request_handler import RequestHandler
from ghtrader_runtime.gateway.run_summary import earlier_fills, summarise
from ghtrader_runtime.gateway.state_publisher import StatePublisher
from ghtrader_runtime.gateway.tick_relay import TickRelay
from ghtrader_runtime.gateway.traded_market import TradedMarket
from ghtrader_runtime.gateway.trading_day_clock import TradingDayClock
from ghtrader_runtime.gateway.trading_day_start import TradingDay, connect, note_cold_start, symbol_specs
from ghtrader_runtime.run_options import GatewayOptions, execution_style, risk_limits, run_folder
from ghtrader_runtime.runlog.decision_log import Start
from ghtrader_runtime.runlog.journal import Journal, read_lines
from ghtrader_runtime.runlog.latency import TickToTarget
from ghtrader_runtime.runlog.summary import RunSummary, summary_room, write_summary

log = logging.getLogger(__name__)

_PUMP_S = 0.1
_WIND_DOWN_S = 3.0
"""How long the end of a run waits for the broker and for strategies."""


def run(settings: Settings, options: GatewayOptions, ref: AccountRef, broker: Broker) -> RunSummary:
    """Open, trade until told to stop or the data ends, close; returns the summary it wrote.

    Hold the account's locks before.

    Parameters
    ----------
    settings, options, ref
        Where, what, and for which account.
    broker : Broker
        Not opened yet.
    """
    with contextlib.ExitStack() as stack:
        gateway = _open(settings, options, ref, broker, stack)
        room = summary_room(gateway.context.run_dir)
        stack.callback(room.release)
        log.info("open: account %s at %s, %s", ref.name, ref.broker, gateway.traded.binding.contract)
        broker.attach(gateway.context.bus.wake_fd, gateway.requests.answer_waiting)
        _catch_signals(gateway.context)
        gc.collect()
        gc.freeze()  # a full collection would walk all of TqSdk and pandas in the middle of a tick
        ended = gateway.loop()
        log.info("ending: %s", ended)
        gateway.wind_down(ended)
        gateway.executor.decisions.flush()
        summary = summarise(gateway.context, gateway.traded, gateway.executor, ended)
        keep_latencies(gateway.context)
        write_summary(gateway.context.run_dir, summary, room)
    return summary


def keep_latencies(context: GatewayContext) -> None:
    """Write the run's latencies; where they cannot be, that is said, and the summary is still to come."""
    path = context.run_dir / "latency.npz"
    try:
        with disk_errors(path), open(path, "wb", opener=private_opener) as file:
            np.savez(file, **context.latency.arrays())
    except (OSError, GhtraderError) as exc:
        log.warning("the latencies of the run are not kept: %s", in_words(exc))
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The open parts of a gateway, and its loop."""

    context: GatewayContext
    traded: TradedMarket
    executor: ActionExecutor
    publisher: StatePublisher
    trading_day: TradingDay
    requests: RequestHandler
    relay: TickRelay
    clock: ClockWatch | None
    """Where a real account is traded."""

    def loop(self) -> str:
        """Trade; why it ended."""
        context = self.context
        while True:
            pumped = self.turn(0.0 if context.bus.more_waits else _PUMP_S, self._may_advance())
            if context.end.reason:
                return context.end.reason
            if pumped.ended and (context.latency.unanswered == 0 or not context.sessions.ready):
                return pumped.ended

    def turn(self, timeout_s: float, may_advance: bool) -> Pumped:
        """Wait for what comes, and deal with all of it once; `may_advance` lets a recorded day play its next tick."""
        context = self.context
        pumped = context.connection.pump(timeout_s, may_advance, context.bus.wait)
        first = pumped.reports if context.broker.lockstep and pumped.ticks is not None else []
        if pumped.ticks is not None:
            self.relay.on_ticks(pumped.ticks, first)
        for ticks in pumped.expiring:
            self.relay.on_expiring(ticks)
        if not first or context.end.reason:
            self.executor.on_reports(pumped.reports)
        self.requests.answer_waiting()
        self.executor.note_submitted()
        self._on_time()
        self._reopen_if_asked()
        return pumped

    def wind_down(self, ended: str) -> None:
        """Cancel what works and wait a moment for the broker to say so and for strategies to leave."""
        context, state = self.context, self.executor.core.state
        for order in state.every_live_order():
            if not order.over and not context.options.monitor_only:
                context.connection.cancel(order.order_id)
        deadline = time.monotonic() + _WIND_DOWN_S
        self.publisher.publish(ended)
        while time.monotonic() < deadline:
            working = any(not order.over for order in state.every_live_order())
            if not working and not context.sessions.ready:
                break
            pumped = context.connection.pump(0.05, False, context.bus.wait)
            state.targets.clear()
            self.executor.on_reports(pumped.reports)
            self.requests.answer_waiting()
        self.executor.note_submitted()
        self.publisher.publish(ended)

    def _may_advance(self) -> bool:
        context = self.context
        return bool(context.sessions.ready) and (not context.broker.lockstep or context.latency.unanswered == 0)

    def _on_time(self) -> None:
        now_ns = time.monotonic_ns()
        self.executor.durable.look()
        self.executor.read_kill_switch()
        self.executor.step(ev.Timer(now_ns))
        self._look_at_clock(now_ns)
        self.requests.check_links(now_ns)
        self.publisher.publish_if_due(now_ns)
        self.trading_day.end_when_over(time.monotonic())

    def _look_at_clock(self, now_ns: int) -> None:
        if self.clock is None or not self.clock.look():
            return
        if self.clock.state.warning:
            log.warning(self.clock.state.warning)
        self.executor.step(ev.ClockChecked(reason=self.clock.too_far_off, now_ns=now_ns))

    def _reopen_if_asked(self) -> None:
        if self.context.connection.look_at_feed():
            symbol = self.traded.binding.contract
            self.executor.step(ev.FeedChecked(symbol=symbol, now_ns=time.monotonic_ns()))
        if reason := self.context.connection.take_reopen_reason():
            self.context.journal.write("events", "resync", {"reason": reason})
            if self.clock is not None:
                self.clock.ask_now()
            self.executor.step(self.context.connection.reopen())


def _open(
    settings: Settings, options: GatewayOptions, ref: AccountRef, broker: Broker, stack: contextlib.ExitStack
) -> Gateway:
    """Connect, and bring a new core to where the account stands."""
    calendar, variety = load_calendar(settings), variety_of(options.symbol)
    binder = ContractResolver(
        settings.data, options.symbol, calendar, settings.schedule_max_age_days, options.monitor_only
    )
    kill = KillSwitch(ref.state_dir, DiskThread("kill-switch"))
    kill_line = None if options.monitor_only else kill.begin()
    ledger = Ledger(_ledger_folder(options, ref, stack), options.run_id, kill_line)
    stack.callback(ledger.close)
    stack.callback(broker.close)
    market, binding = connect(broker, binder)
    run_dir = run_folder(settings, options.run_id)
    journal = Journal(run_dir)
    stack.callback(journal.close)
    held = options.replay.held if options.replay is not None else None
    marks = {held.contract: held.mark} if held is not None else {}
    traded = TradedMarket(market=market, binding=binding, day=TradingDayClock(calendar, variety), marks=marks)
    for row in broker.history():
        traded.day.enter(row.datetime_ns)
        traded.keep(row)
        traded.mark(binding.contract, row.values)
    note_cold_start(broker, traded, journal)
    token = join_token(ref.state_dir)
    bus = GatewayBus(endpoints(settings, ref.state_dir))
    stack.callback(bus.close)
    context = GatewayContext(
        settings=settings, options=options, ref=ref, session=new_session("gateway"), run_dir=run_dir,
        calendar=calendar, variety=variety, broker=broker, connection=BrokerConnection(broker), bus=bus,
        sessions=BusSessions(token), commands=CommandGate(token), ledger=ledger, kill=kill, journal=journal,
        latency=TickToTarget(),
    )  # fmt: skip
    stack.callback(context.bound_disk.stop)
    gateway = _assemble(context, traded, binder)
    gateway.publisher.metrics_url = serve_metrics(context, lambda: gateway.publisher.last, stack)
    _start_core(gateway)
    gateway.publisher.write_file()
    return gateway


def _ledger_folder(options: GatewayOptions, ref: AccountRef, stack: contextlib.ExitStack) -> Path:
    """The account's; a gateway that only monitors starts without it, so that a damaged one does not blind it."""
    if options.monitor_only:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ghtrader-")))
    return ref.state_dir


def kept_marks(
    options: GatewayOptions, known: LedgerState
) -> tuple[tuple[str, float, float] | None, list[tuple[str, float, float]]]:
    """Equity marks of earlier processes: those written last, and of other days; none where the account died with them.

    A paper account begins anew with each process: what an earlier one, of another moment of the market, rose to is no
    peak of it.
    """
    dies = options.mode == RunMode.PAPER or (options.mode == RunMode.SIM and options.sim == SimKind.TQSIM)
    return (None, []) if dies else (known.marks, known.other_marks)


def _assemble(context: GatewayContext, traded: TradedMarket, binder: ContractResolver) -> Gateway:
    options, known = context.options, context.ledger.state
    config = CoreConfig(
        symbols=symbol_specs(context, traded, binder), limits=risk_limits(options), style=execution_style(options),
        monitor_only=options.monitor_only, on_kill=options.on_kill, unknown_orders=options.unknown_orders,
    )  # fmt: skip
    recorded = options.replay is not None  # plays again what was played before: earlier runs are no part of its day
    marks, other_marks = kept_marks(options, known)
    start = Start(
        config=config,
        ledger_id=known.ledger_id,
        epoch=known.epoch,
        next_number=known.next_number,
        open_intents=earlier_intents(known.open),
        watermark=list(known.watermark.items()),
        marks=marks,
        sent_ns=[] if recorded else list(known.sent_ns),
        now_ns=time.monotonic_ns(),
        other_marks=other_marks,
    )

    def publish() -> None:
        publisher.publish()

    executor = ActionExecutor(context, traded, start, publish)
    publisher = StatePublisher(context, traded, executor)
    trading_day = TradingDay(context, traded, executor, binder, publish)
    requests = RequestHandler(context, traded, executor, publisher)
    relay = TickRelay(context, traded, executor, trading_day, requests.answer_waiting)
    real = options.mode == RunMode.LIVE and not options.monitor_only
    clock = ClockWatch(lambda: read_service_clock(context.settings)) if real else None
    return Gateway(
        context=context, traded=traded, executor=executor, publisher=publisher, trading_day=trading_day,
        requests=requests, relay=relay, clock=clock,
    )  # fmt: skip


def _start_core(gateway: Gateway) -> None:
    """Tell a new core the switch, the day, what the broker has, and the fills this run had before."""
    context, executor, binding = gateway.context, gateway.executor, gateway.traded.binding
    known = context.ledger.state
    context.journal.write("events", "start", {
        "account": context.ref.name, "broker": context.ref.broker, "mode": context.options.mode,
        "symbol": binding.contract, "requested": context.options.symbol, "schedule_hash": binding.schedule_hash,
        "schedule_age": binding.age, "epoch": known.epoch, "open_intents": list(known.open),
        "session": context.session,
    })  # fmt: skip
    executor.read_kill_switch()
    gateway.trading_day.begin_run()
    snapshot = context.broker.snapshot()
    carried = context.options.replay.held if context.options.replay is not None else None
    first = [line for line in read_lines(context.run_dir / "events.jsonl") if line["kind"] == "opening"]
    if first:
        executor.open_with(first[0]["positions"], carried)
    for fill in earlier_fills(context, snapshot):
        executor.add_fill(fill)
    executor.step(snapshot)
    held = {symbol: position.net for symbol, position in executor.core.state.positions.items()}
    if not first:
        executor.open_with(held, carried)
    context.journal.write("events", "opening", {"positions": held})
    if carried is not None:
        executor.step(ev.Equity(context.broker.balance(), time.monotonic_ns()))


def _catch_signals(context: GatewayContext) -> None:
    def stop(number: int, _frame: Any) -> None:
        context.end.request(f"stopped by {signal.Signals(number).name}")

    with contextlib.suppress(ValueError):  # not the main thread: an in-process backtest ends by itself
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
