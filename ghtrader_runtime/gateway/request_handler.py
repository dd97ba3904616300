"""Turns what comes into a gateway into events for the core: ticks and reports of the broker, requests of clients.

What the core wants done about them is carried out in `action_executor`.

Failpoint: ``gateway.report->core``.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from ghtrader_base.failpoints import failpoint
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_runtime.brokers.base import Ticks
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.link_state import LinkChange
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.gateway.state_publisher import mid_of, welcome
from ghtrader_runtime.gateway.trading_day import GatewayDays

_ANSWER_S = 0.002
_SOONEST_NS = 50_000_000
_BID, _ASK = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"]


class GatewayInbox(GatewayDays):
    """Handles what comes into a gateway."""

    def _on_ticks(self, ticks: Ticks) -> None:
        """Ticks of the contract that is traded; where a day's first one brings a roll, it is not that any more."""
        rows = ticks.rows
        while rows:
            self._enter(rows[0].datetime_ns)
            if self._stop:
                return
            count = sum(self.day.covers(row.datetime_ns) for row in rows) if len(rows) > 1 else 1
            part, rows = Ticks(ticks.symbol, rows[:count], ticks.now_ns), rows[count:]
            if ticks.symbol == self.binding.contract:
                self._play(part)
            else:
                self._on_aside(part)

    def _on_aside(self, ticks: Ticks) -> None:
        """The last tick of an expiring contract: what it can be closed at."""
        row = ticks.rows[-1]
        day = str(self.calendar.trading_day_of(row.datetime_ns))
        bid, ask = float(row.values[_BID]), float(row.values[_ASK])
        self.marks[ticks.symbol] = mid_of(row.values)
        self._step(ev.Book(ticks.symbol, day, row.datetime_ns, row.id, bid, ask, ticks.now_ns))

    def _play(self, ticks: Ticks) -> None:
        symbol, ready = ticks.symbol, bool(self.ready)
        for row in ticks.rows:
            self.tick_revision += 1
            self.bus.publish(
                msg.Tick(
                    session=self.session, revision=self.tick_revision, sent_ns=ticks.now_ns, symbol=symbol,
                    trading_day=self.day.name, datetime_ns=row.datetime_ns, id=row.id, values=row.values.tobytes(),
                )
            )  # fmt: skip
            if ready:
                self.days_traded.add(self.day.name)
                self.counts["ticks"] += 1
                self.latency.tick(row.id, ticks.now_ns)
            self.daybook.add(self.day.name, row.id, row.datetime_ns, row.values)
        for row in ticks.rows:
            bid, ask = float(row.values[_BID]), float(row.values[_ASK])
            self._step(ev.Book(symbol, self.day.name, row.datetime_ns, row.id, bid, ask, ticks.now_ns))
        if self.broker.lockstep:  # with every tick, so that a replay is the same twice
            self._step(ev.Equity(self.broker.balance(), ticks.now_ns))
        elif ready and self.latency.undecided:
            self._look_ahead(symbol, bid, ask, now=True)
        self._await_answers(ready)
        self._look_ahead(symbol, bid, ask, now=False)
        last = ticks.rows[-1]
        self.day.saw(last.datetime_ns, time.monotonic())
        self.marks[symbol] = mid_of(last.values)
        self.tick_s = time.monotonic()

    def _look_ahead(self, symbol: str, bid: float, ask: float, now: bool) -> None:
        """Pre-write the orders that the strategy's next target may well bring: at leisure after a tick, and
        `now`, while the strategy thinks, where the next one has moved the prices."""
        if self.options.monitor_only or self.broker.lockstep:
            return
        target, state = self.last_target, self.core.state
        near = target.near if target is not None and target.symbol == symbol else ()
        if now and not near:
            return
        working = bool(state.live.get(symbol))
        seen = symbol, bid, ask, near, state.next_number, state.positions.get(symbol), working
        if seen != self._seen_ahead:
            self._seen_ahead = seen
            self._foreseen = self.core.likely(symbol, near)
            self.durable.attempt(partial(self.ledger.prepare, self._foreseen))
        if now and self._foreseen:
            self.ledger.rehearse(self._foreseen[0])
            self.kill.read()

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
                failpoint("gateway.report->core")
                self._step(report)
                if isinstance(report, ev.LinkChange):  # told at once, not with the next heartbeat
                    self._publish_state("")
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
        """Tell an unknown client (not joined, or forgotten) so: a strategy says hello again."""
        if isinstance(message, msg.Target | msg.DirectOrder | msg.CancelOrder):
            reason = "say hello first"
            self.bus.send(identity, msg.Ack(**self._head(), answers=message.revision, status="unknown", reason=reason))

    def _head(self) -> dict[str, Any]:
        return {"session": self.session, "revision": 0, "sent_ns": time.monotonic_ns()}

    def _on_target(self, target: msg.Target, now_ns: int) -> None:
        self.counts["targets"] += 1
        self.last_target = target
        self.latency.marked(target.tick_id, target.marks_ns, now_ns)  # the switch is looked at where an order leaves
        event = ev.TargetWanted(
            target.session, target.revision, target.symbol, target.volume, now_ns, target.tick_id, target.reason
        )
        actions = self.core.handle(event)
        decided_ns = time.monotonic_ns()
        self.mind.add(event, actions)
        sent = self._act(actions)
        self.latency.answered(target.tick_id, sent, decided_ns)
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
                wanted = TradingState(command.value)
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

    def _note_links(self, changes: list[LinkChange]) -> None:
        """Every change is told; one of a strategy's link becomes an event of the core too."""
        for change in changes:
            self.journal.write("events", "link", {
                "link": change.name, "before": str(change.before), "after": str(change.after), "reason": change.reason,
            })  # fmt: skip
            if change.name in self.ready and not change.usable:
                self._step(ev.LinkChange(change.name, False, change.now_ns))
        if changes:
            self._publish_soon()

    def _publish_soon(self) -> None:
        """At once, or a moment after the last time: who makes links come and go by the thousand floods nobody."""
        due = self._published_ns + _SOONEST_NS
        if time.monotonic_ns() >= due:
            self._publish_state("")
        else:
            self._next_state_ns = min(self._next_state_ns, due)

    def stop(self, reason: str) -> None:
        """End the run at the next turn."""
        self._stop = self._stop or reason
