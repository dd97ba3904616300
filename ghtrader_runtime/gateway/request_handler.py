"""Deals with what strategies and people ask over the bus: hello, ready, target, direct order, cancel, command.

Each becomes an event for the core at once; what the core wants done about it is carried out by `action_executor`.
"""

from __future__ import annotations

import time
from typing import Any

from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.link_state import LinkChange
from ghtrader_runtime.bus.messages import KILL_TRIP
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import AnswerStatus
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.gateway.action_executor import ActionExecutor
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.state_publisher import StatePublisher
from ghtrader_runtime.gateway.traded_market import TradedMarket
from ghtrader_runtime.gateway.welcome import welcome

_LOST_S = 30.0


class RequestHandler:
    """Requests of sessions, and the links they come over.

    Parameters
    ----------
    context : GatewayContext
    traded : TradedMarket
        What a joining session is told.
    executor : ActionExecutor
    publisher : StatePublisher
    """

    def __init__(
        self, context: GatewayContext, traded: TradedMarket, executor: ActionExecutor, publisher: StatePublisher
    ) -> None:
        self._context, self._traded = context, traded
        self._executor, self._publisher = executor, publisher

    def answer_waiting(self) -> None:
        """Deal with everything that waits on the bus."""
        bus, sessions = self._context.bus, self._context.sessions
        while (received := bus.receive()) is not None:
            identity, message = received
            now_ns = time.monotonic_ns()
            if isinstance(message, msg.Hello):
                self._on_hello(identity, message, now_ns)
                continue
            if isinstance(message, msg.Command) and message.name != "heartbeat":
                self._on_command(identity, message)
                continue
            client, change = sessions.heard(message.session, identity, now_ns)
            self._note_links([change] if change else [])
            match message:
                case _ if client is None:
                    self._answer_unknown(identity, message)
                case msg.Target() if client.trusted:
                    self._on_target(message, now_ns)
                case msg.DirectOrder() | msg.CancelOrder() if client.trusted:
                    self._on_direct(message, now_ns)
                case msg.Ready() if client.trusted:
                    self._on_ready(message)
                case msg.Goodbye():
                    self._on_lost(message.session, f"left: {message.reason}")
                case msg.Command():  # a heartbeat
                    pass
                case _:
                    bus.malformed += 1

    def check_links(self, now_ns: int) -> None:
        """Time passed: tell which links are silent, and forget strategies that were not heard of for long."""
        sessions = self._context.sessions
        self._note_links(sessions.check(now_ns))
        for session in list(sessions.ready):
            if (client := sessions.get(session)) and client.link.silent_s(now_ns) > _LOST_S:
                self._on_lost(session, "went silent")

    def _answer_unknown(self, identity: bytes, message: msg.AnyMessage) -> None:
        """Who has not joined, or was forgotten, is told so: a strategy says hello again."""
        if isinstance(message, msg.Target | msg.DirectOrder | msg.CancelOrder):
            reason = "say hello first"
            ack = msg.Ack(**self._head(), answers=message.revision, status=AnswerStatus.UNKNOWN, reason=reason)
            self._context.bus.send(identity, ack)

    def _head(self) -> dict[str, Any]:
        return {"session": self._context.session, "revision": 0, "sent_ns": time.monotonic_ns()}

    def _on_target(self, target: msg.Target, now_ns: int) -> None:
        context, executor = self._context, self._executor
        context.counts.targets += 1
        context.sessions.last_target = target
        context.latency.marked(target.tick_id, target.marks_ns, now_ns)  # the switch is read where an order leaves
        event = ev.TargetWanted(
            session=target.session,
            revision=target.revision,
            symbol=target.symbol,
            volume=target.volume,
            now_ns=now_ns,
            tick_id=target.tick_id,
            reason=target.reason,
        )
        actions = executor.core.handle(event)
        decided_ns = time.monotonic_ns()
        executor.decisions.add(event, actions)
        sent = executor.carry_out(actions)
        context.latency.answered(target.tick_id, sent, decided_ns)
        executor.note_submitted()
        if context.broker.lockstep or sent:
            executor.on_reports(context.broker.drain())

    def _on_direct(self, wanted: msg.DirectOrder | msg.CancelOrder, now_ns: int) -> None:
        executor = self._executor
        executor.read_kill_switch()
        if isinstance(wanted, msg.CancelOrder):
            event: ev.Event = ev.CancelWanted(wanted.session, wanted.revision, now_ns, wanted.order_id)
        else:
            event = ev.OrderWanted(
                session=wanted.session,
                revision=wanted.revision,
                symbol=wanted.symbol,
                side=wanted.side,
                offset=wanted.offset,
                volume=wanted.volume,
                now_ns=now_ns,
                price=wanted.price,
                price_type=wanted.price_type,
                tif=wanted.tif,
            )
        executor.step(event)
        executor.note_submitted()
        executor.on_reports(self._context.broker.drain())

    def _on_hello(self, identity: bytes, hello: msg.Hello, now_ns: int) -> None:
        context = self._context
        client, change = context.sessions.join(hello.session, identity, hello.token, now_ns)
        self._note_links([change] if change else [])
        if client is None or not context.sessions.may_have_history(now_ns):
            return  # it will ask again
        if hello.purpose == "trade" and not client.trusted:
            reason = "only who shows the account's token may trade"
            ack = msg.Ack(**self._head(), answers=hello.revision, status=AnswerStatus.REFUSED, reason=reason)
            context.bus.send(identity, ack)
            return
        for message in welcome(context, self._traded, self._executor.core.state, hello):
            context.bus.send(identity, message)
        if self._publisher.last is not None:
            context.bus.send(identity, self._publisher.last)

    def _on_ready(self, ready: msg.Ready) -> None:
        self._context.sessions.ready[ready.session] = ready.model
        fields = {"session": ready.session, "rows": ready.rows, "model": ready.model}
        self._context.journal.write("events", "ready", fields)
        self._publisher.publish()

    def _on_command(self, identity: bytes, command: msg.Command) -> None:
        sessions = self._context.sessions
        answer = sessions.remembered(command.session, command.revision)
        if answer is None:
            status, reason = AnswerStatus.REFUSED, "only who shows the account's token may command"
            if sessions.shows(command.token):
                status, reason = self._obey(command)
            answer = msg.Ack(**self._head(), answers=command.revision, status=status, reason=reason)
            sessions.remember(command.session, command.revision, answer)
        self._context.bus.send(identity, answer)

    def _obey(self, command: msg.Command) -> tuple[AnswerStatus, str]:
        if command.name == "kill":
            self._executor.read_kill_switch()
            if command.value == KILL_TRIP and not self._executor.killed:  # no disk took it
                self._executor.trip(command.reason.strip() or "by command", by="command")
        elif command.name == "state":
            try:
                wanted = TradingState(command.value)
            except ValueError:
                return AnswerStatus.REFUSED, f"no trading state {command.value!r}"
            self._executor.step(ev.StateWanted(wanted, command.reason))
        elif command.name == "stop":
            self._context.end.request(command.reason or "stopped by command")
        else:
            return AnswerStatus.REFUSED, f"no command {command.name!r}"
        return AnswerStatus.ACCEPTED, ""

    def _on_lost(self, session: str, reason: str) -> None:
        context = self._context
        known = context.sessions.ready.pop(session, None)
        context.sessions.leave(session)
        if known is not None:
            context.journal.write("events", "strategy-gone", {"session": session, "reason": reason})
            self._executor.step(ev.LinkChange(session, False, time.monotonic_ns()))
            if not context.sessions.ready:
                context.latency.abandon()
            if context.broker.lockstep:
                context.end.request(f"the strategy {reason}")

    def _note_links(self, changes: list[LinkChange]) -> None:
        """Every change is told; the core decides about one of a strategy's link."""
        for change in changes:
            self._context.journal.write("events", "link", {
                "link": change.name, "before": str(change.before), "after": str(change.after), "reason": change.reason,
            })  # fmt: skip
            if change.name in self._context.sessions.ready and not change.usable:
                self._executor.step(ev.LinkChange(change.name, False, change.now_ns))
        if changes:
            self._publisher.publish_soon()
