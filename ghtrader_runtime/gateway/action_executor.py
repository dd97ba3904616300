"""Carries the core's actions out in order, records fills and publishes the state.

For every order: intent durable, kill switch looked at, sent. What comes in is handled in `request_handler`, the run of
the process in `gateway`.

Failpoints: ``gateway.intent->send``, ``gateway.submit->socket``, ``gateway.fill->journal``, ``gateway.kill->act``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ghtrader_base.errors import FailedError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.settings import Settings
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import Variety
from ghtrader_runtime.accounts.account import AccountRef
from ghtrader_runtime.accounts.durable_writes import Durable
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.order_ledger import Intent, Ledger
from ghtrader_runtime.brokers.base import Broker, Market
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.link_state import HEARTBEAT_S
from ghtrader_runtime.bus.sockets import GatewayBus
from ghtrader_runtime.config import GatewayOptions
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import (
    Action,
    Answer,
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
from ghtrader_runtime.core.engine import Core
from ghtrader_runtime.core.orders import Order
from ghtrader_runtime.gateway.contract_binding import Binding, write_bound
from ghtrader_runtime.gateway.day_ticks import DayBook, DayWatch
from ghtrader_runtime.gateway.sessions import Peers
from ghtrader_runtime.gateway.state_publisher import account_state, commission_of, write_state_file
from ghtrader_runtime.runlog.decision_log import MindRecorder
from ghtrader_runtime.runlog.journal import Journal
from ghtrader_runtime.runlog.latency import TickToTarget
from ghtrader_runtime.runlog.run_totals import Tally


class GatewayActions:
    """What all of a gateway shares, and its way out."""

    settings: Settings
    options: GatewayOptions
    ref: AccountRef
    broker: Broker
    run_dir: Path
    session: str
    calendar: TradingCalendar
    variety: Variety
    market: Market
    binding: Binding
    marks: dict[str, float]
    days_traded: set[str]
    rolls: int
    core: Core
    mind: MindRecorder
    ledger: Ledger
    durable: Durable
    kill: KillSwitch
    journal: Journal
    bus: GatewayBus
    peers: Peers
    latency: TickToTarget
    daybook: DayBook
    day: DayWatch
    tally: Tally
    fills: list[dict[str, Any]]
    counts: dict[str, int]
    ready: dict[str, str]
    opening: Mapping[str, int]
    killed: bool
    metrics_url: str
    last_target: msg.Target | None
    last_state: msg.AccountState | None
    tick_revision: int
    tick_s: float
    _state_revision: int
    _next_state_ns: int
    _published_ns: int = 0
    _seen_ahead: tuple[Any, ...] = ()
    _foreseen: Sequence[Intent] = ()
    _stop: str
    _resync: str
    _connected: bool
    _terms_day: str

    def _look_at_kill(self) -> None:
        state = self.durable.kill_state()
        if state.tripped != self.killed:
            self.killed = state.tripped
            self._act(self._think(ev.KillChange(state.tripped, state.reason, time.monotonic_ns())))
            if hasattr(self, "bus"):
                self._publish_state("")

    def _step(self, event: ev.Event) -> list[str]:
        return self._act(self._think(event))

    def _think(self, event: ev.Event) -> list[Action]:
        actions = self.core.handle(event)
        self.mind.add(event, actions)
        return actions

    def _act(self, actions: list[Action]) -> list[str]:
        """Carry actions out in order; returns the ids of the orders sent."""
        sent: list[str] = []
        for action in actions:
            match action:
                case WriteIntent():
                    self._write_intent(action)
                case CloseIntent(order_id, outcome, left):
                    self.durable.attempt(partial(self.ledger.close_intent, order_id, outcome, left), owed=True)
                case WriteMarks(day, opening, peak):
                    self.durable.attempt(partial(self.ledger.write_marks, day, opening, peak), owed=True)
                case SendOrder():
                    sent += self._send_order(action.order)
                case Answer():
                    self._answer(action)
                case Record():
                    self._record(action)
                case Cancel():
                    self.journal.write("orders", "cancel", {"id": action.order_id})
                    if self._connected:
                        self.broker.cancel(action.order_id)
                case WriteBinding():
                    self._write_bound(action)
                case TripKill():
                    self.durable.trip(action.reason)
                    failpoint("gateway.kill->act")
                    self.killed = True
                case Resync() | Resubscribe():
                    self._resync = action.reason
        return sent

    def _write_bound(self, bound: WriteBinding) -> None:
        if not self.options.monitor_only:
            write = partial(write_bound, self.ref.state_dir, bound.requested, bound.symbol)
            self.durable.attempt(write, owed=True)

    def _write_intent(self, wanted: WriteIntent) -> None:
        if self.options.monitor_only:
            raise FailedError("an order was about to leave in monitor-only mode", "this is a fault in the gateway")
        order = wanted.order
        number = int(order.order_id.rsplit("-", 1)[1])
        before = time.monotonic_ns()
        intent = Intent(
            order.order_id, number, order.symbol, order.side, order.offset, order.volume, order.price, order.tif,
            wanted.target_session, wanted.target_revision, wanted.market_ns, order.price_type,
        )  # fmt: skip
        self.durable.attempt(partial(self.ledger.intend, intent))
        self.latency.intent_written(time.monotonic_ns() - before)
        failpoint("gateway.intent->send")

    def _send_order(self, order: Order) -> list[str]:
        intent = self.ledger.state.open.get(order.order_id)
        if self.kill.read().tripped and not self.core.state.killed:  # somebody tripped it while the intent was written
            self._look_at_kill()
        if order.cancel_ns or order.over:  # cancelled before it was sent
            report = ev.OrderReport(
                order.order_id, order.symbol, order.side, order.offset, order.volume, order.volume, True, False, "",
                f"not sent: {self.core.state.limits}", time.monotonic_ns(), order.price,
            )  # fmt: skip
            self._act(self._think(report))
            return []
        if self.options.monitor_only or intent is None:
            raise FailedError("an order was about to leave without its intent", "this is a fault in the gateway")
        self.broker.submit(order)
        failpoint("gateway.submit->socket")
        self.counts["orders"] += 1
        self.journal.write("orders", "sent", {
            "id": order.order_id, "symbol": order.symbol, "side": order.side, "offset": order.offset,
            "volume": order.volume, "price": order.price, "price_type": order.price_type, "tif": order.tif,
            "market_ns": intent.market_ns, "target": [intent.target_session, intent.target_revision],
        })  # fmt: skip
        return [order.order_id]

    def _answer(self, answer: Answer) -> None:
        self.counts["duplicates"] += answer.status == "duplicate"
        self.counts["refused"] += answer.status == "refused"
        peer = self.peers.get(answer.session)
        if peer is not None:
            self.bus.send(peer.identity, msg.Ack(
                session=self.session, revision=self.tick_revision, sent_ns=time.monotonic_ns(),
                answers=answer.revision, status=answer.status, reason=answer.reason, order_id=answer.order_id,
            ))  # fmt: skip

    def _record(self, record: Record) -> None:
        if record.kind == "fill":
            if any(fill["trade"] == record.fields["trade"] for fill in self.fills[-200:]):
                return  # an earlier process of this run has told it
            failpoint("gateway.fill->journal")
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
        self._published_ns = time.monotonic_ns()
        self._next_state_ns = self._published_ns + int(HEARTBEAT_S * 1e9)
        self._state_revision += 1
        if not self.broker.lockstep and self._connected:
            self._step(ev.Equity(self.broker.balance(), time.monotonic_ns()))
        self.durable.attempt(self.ledger.sync)
        self.mind.flush()
        state = self.last_state = account_state(self, self._state_revision, ended)
        self.bus.publish(state)
        write_state_file(self, ended)
        if state.revision % 10 == 1 or ended:
            self.journal.write("account", "state", {
                "trading_state": state.trading_state, "positions": state.positions, "balance": state.balance,
                "working": state.working, "tick_revision": state.tick_revision,
            })  # fmt: skip
