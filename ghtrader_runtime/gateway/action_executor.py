"""Carries out what the trading core wants done, in order; notes fills and what became of orders.

For every order: intent durable, kill switch read, sent. What comes in is passed to the core by `tick_relay` and
`request_handler`; the life of the process is `gateway`.

Failpoints: ``gateway.report->core``, ``gateway.intent->send``, ``gateway.submit->socket``, ``gateway.fill->journal``,
``gateway.kill->act``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ghtrader_base.errors import FailedError, UnwritableError
from ghtrader_base.failpoints import failpoint
from ghtrader_market.accounting.carried_position import CarriedPosition
from ghtrader_market.accounting.fees import fill_fee, rates_at
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.pnl import RunTotals
from ghtrader_market.accounting.positions import Position, closed_today
from ghtrader_runtime.accounts.disk_outage import DurableWrites
from ghtrader_runtime.accounts.kill_switch import BY_FILE
from ghtrader_runtime.accounts.order_ledger import Intent
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import (
    Action,
    Answer,
    AnswerStatus,
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
from ghtrader_runtime.core.orders import Order
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.contract_binding import write_bound
from ghtrader_runtime.gateway.traded_market import TradedMarket
from ghtrader_runtime.runlog.decision_log import DecisionLog, Start
from ghtrader_runtime.runlog.fill_lines import read_fill


class ActionExecutor:
    """The trading core of a gateway and everything it does to the world.

    Parameters
    ----------
    context : GatewayContext
    traded : TradedMarket
        Read for fees and tick numbers.
    start : Start
        What the core starts from.
    publish : callable
        Tells the account's state on the bus at once.
    """

    def __init__(
        self, context: GatewayContext, traded: TradedMarket, start: Start, publish: Callable[[], None]
    ) -> None:
        self._context, self._traded, self._publish = context, traded, publish
        self.core, self.decisions = start.core(), DecisionLog(context.journal, start)
        self.durable = DurableWrites(context.ledger, context.kill, self.step)
        self.killed = False
        self.fills: list[Fill] = []
        self.totals = RunTotals(traded.market.multiplier)
        self.opening: Mapping[str, int] = {}
        self.opening_marks: dict[str, float] = {}
        self._before = "", Position()

    def step(self, event: ev.Event) -> list[str]:
        """Let the core decide about an event and carry it out; returns the ids of the orders sent."""
        return self.carry_out(self.decide(event))

    def decide(self, event: ev.Event) -> list[Action]:
        """What the core wants done about an event; kept in the decision log."""
        if isinstance(event, ev.TradeReport):
            self._before = event.trade_id, self.core.state.positions.get(event.symbol, Position())
        actions = self.core.handle(event)
        self.decisions.add(event, actions)
        return actions

    def read_kill_switch(self) -> None:
        """Tell the core where somebody tripped or reset the switch."""
        state = self.durable.kill_state()
        if state.tripped != self.killed:
            self.killed = state.tripped
            self.step(ev.KillChange(state.tripped, state.reason, time.monotonic_ns()))
            self._publish()
        if self._context.options.monitor_only:
            return
        if state.by == BY_FILE:  # a file that was spoilt stays a trip once it is whole again
            self.durable.trip(state.reason, by="gateway")
        self.durable.note_kill_line()

    def trip(self, reason: str, by: str) -> None:
        """Halt at once: the core is told and cancels what works, then the disk is."""
        if not self.killed:
            self.killed = True
            self.step(ev.KillChange(True, reason, time.monotonic_ns()))
        self.durable.trip(reason, by)
        self._publish()

    def on_reports(self, reports: list[Any]) -> None:
        """Reports of the broker, and those that follow from what the core does about them."""
        while reports:  # an order placed because of a report may be reported at once
            for report in reports:
                if isinstance(report, ev.OrderReport):
                    self._context.latency.reported(report.order_id, report.now_ns)
                failpoint("gateway.report->core")
                self.step(report)
                if isinstance(report, ev.LinkChange):  # told at once, not with the next heartbeat
                    self._publish()
            reports = self._context.broker.drain()

    def note_submitted(self) -> None:
        """Note when orders were handed to the network."""
        for order_id, at_ns in self._context.broker.departures():
            self._context.latency.order_left(order_id, at_ns)

    def open_with(self, positions: Mapping[str, int], carried: CarriedPosition | None) -> None:
        """Note what the run begins with, before its first fill is counted: net lots by contract.

        What was carried into a recorded day earns and counts as a loss from its mark on; other lots count no PnL.
        """
        self.opening = positions
        for symbol, lots in positions.items():
            if carried is None or symbol != carried.contract:
                self.totals.hold(symbol, lots)
        if carried is not None:
            self.opening_marks[carried.contract] = carried.mark
            self.totals.carry_in(carried.contract, carried.net, carried.mark)

    def add_fill(self, fill: Fill, of_today: int | None = None) -> Fill:
        """Count a fill and return it; its fee by the variety table where the broker does not say.

        Parameters
        ----------
        fill : Fill
        of_today : int or None
            How many of the lots it closed were opened on its trading day; None where nobody knows.
        """
        if not math.isfinite(fill.fee):
            variety = self._context.variety
            if fill.market_ns > 0:
                rates = rates_at(variety, self._context.calendar, fill.symbol, fill.market_ns)
            else:
                rates = variety.fees(fill.symbol, self._traded.date)
            fill = replace(fill, fee=fill_fee(rates, fill, of_today, variety.multiplier))
        self.fills.append(fill)
        self.totals.add(fill)
        return fill

    def carry_out(self, actions: list[Action]) -> list[str]:
        """Carry actions out in order; returns the ids of the orders sent."""
        ledger, sent = self._context.ledger, []
        for action in actions:
            match action:
                case WriteIntent():
                    self._write_intent(action)
                case CloseIntent(order_id, outcome, left):
                    self.durable.attempt(partial(ledger.close_intent, order_id, outcome, left), keep=True)
                case WriteMarks() if self._context.options.replay is not None:
                    pass  # a recorded day's equity is no limit of a later run
                case WriteMarks(day, opening, peak):
                    self.durable.attempt(partial(ledger.write_marks, day, opening, peak), keep=True)
                case SendOrder():
                    sent += self._send_order(action.order)
                case Answer():
                    self._answer(action)
                case Record():
                    self._record(action)
                case Cancel():
                    self._context.journal.write("orders", "cancel", {"id": action.order_id})
                    self._context.connection.cancel(action.order_id)
                case WriteBinding():
                    self._write_binding(action)
                case TripKill():
                    self.killed = True
                    self.durable.trip(action.reason)
                    failpoint("gateway.kill->act")
                case Resync():
                    self._context.connection.request_reopen(action.reason)
                case Resubscribe():
                    self._context.connection.request_check(action.reason)
        return sent

    def _write_binding(self, bound: WriteBinding) -> None:
        if not self._context.options.monitor_only:
            write = partial(write_bound, self._context.ref.state_dir, bound.requested, bound.symbol)
            self.durable.attempt(partial(self._do_bound, write), keep=True)

    def _do_bound(self, write: Callable[[], object]) -> None:
        """A disk that does not come back from a flush counts as one that refuses: nobody waits for it."""
        if not self._context.bound_disk.do(write):
            raise UnwritableError("the bound contract cannot be written: the disk does not answer", "make room")

    def _write_intent(self, wanted: WriteIntent) -> None:
        if self._context.options.monitor_only:
            raise FailedError("an order was about to leave in monitor-only mode", "this is a fault in the gateway")
        order = wanted.order
        number = int(order.order_id.rsplit("-", 1)[1])
        before = time.monotonic_ns()
        intent = Intent(
            order_id=order.order_id,
            number=number,
            symbol=order.symbol,
            side=order.side,
            offset=order.offset,
            volume=order.volume,
            price=order.price,
            tif=order.tif,
            target_session=wanted.target_session,
            target_revision=wanted.target_revision,
            market_ns=wanted.market_ns,
            price_type=order.price_type,
        )
        self.durable.attempt(partial(self._context.ledger.intend, intent))
        self._context.latency.intent_written(time.monotonic_ns() - before)
        failpoint("gateway.intent->send")

    def _send_order(self, order: Order) -> list[str]:
        context = self._context
        intent = context.ledger.state.open.get(order.order_id)
        if context.kill.read().tripped and not self.core.state.killed:  # tripped while the intent was written
            self.read_kill_switch()
        if order.cancel_ns or order.over:  # cancelled before it was sent
            report = ev.OrderReport(
                order_id=order.order_id,
                symbol=order.symbol,
                side=order.side,
                offset=order.offset,
                volume=order.volume,
                left=order.volume,
                finished=True,
                error=False,
                exchange_order_id="",
                message=f"not sent: {self.core.state.limits}",
                now_ns=time.monotonic_ns(),
                price=order.price,
            )
            self.step(report)
            return []
        if context.options.monitor_only or intent is None:
            raise FailedError("an order was about to leave without its intent", "this is a fault in the gateway")
        context.broker.submit(order)
        failpoint("gateway.submit->socket")
        context.counts.orders += 1
        context.journal.write("orders", "sent", {
            "id": order.order_id, "symbol": order.symbol, "side": order.side, "offset": order.offset,
            "volume": order.volume, "price": order.price, "price_type": order.price_type, "tif": order.tif,
            "market_ns": intent.market_ns, "target": [intent.target_session, intent.target_revision],
        })  # fmt: skip
        return [order.order_id]

    def _answer(self, answer: Answer) -> None:
        context = self._context
        context.counts.duplicates += answer.status == AnswerStatus.DUPLICATE
        context.counts.refused += answer.status == AnswerStatus.REFUSED
        client = context.sessions.get(answer.session)
        if client is not None:
            context.bus.send(client.identity, msg.Ack(
                session=context.session, revision=self._traded.tick_revision, sent_ns=time.monotonic_ns(),
                answers=answer.revision, status=answer.status, reason=answer.reason, order_id=answer.order_id,
            ))  # fmt: skip

    def _record(self, record: Record) -> None:
        fields = record.fields
        if record.kind == "fill":
            if any(fill.trade_id == fields["trade"] for fill in self.fills[-200:]):
                return  # an earlier process of this run has told it
            failpoint("gateway.fill->journal")
            trade_id, before = self._before
            after = self.core.state.position(fields["symbol"])
            known = trade_id == fields["trade"] and after != before  # else it was not booked: what we believed is wrong
            fill = self.add_fill(read_fill(fields), closed_today(before, after) if known else None)
            fields = fields | {"commission": fill.fee}
        self._context.counts.refused += record.kind == "order-refused"
        stream = {"fill": "fills", "order-closed": "orders"}.get(record.kind, "events")
        self._context.journal.write(stream, record.kind, fields)
