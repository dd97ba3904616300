"""Deals with what strategies and people ask over the bus: hello, ready, target, direct order, cancel, command.

Each becomes an event for the core at once; what the core wants done about it is carried out by `action_executor`.
"""

from __future__ import annotations

import time

from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.link_state import LinkChange
from ghtrader_runtime.bus.message_seal import PROTOCOL_VERSION
from ghtrader_runtime.bus.messages import KILL_TRIP
from ghtrader_runtime.bus.sockets import Received
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import AnswerStatus
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.gateway.action_executor import ActionExecutor
from ghtrader_runtime.gateway.bus_sessions import BusSession, Refusal
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.state_publisher import StatePublisher
from ghtrader_runtime.gateway.traded_market import TradedMarket
from ghtrader_runtime.gateway.welcome import welcome

_AT_ONCE = 500
"""Messages between two looks at everything else; a few milliseconds."""
_WHY_NOT = {
    Refusal.TOKEN: "only who knows the account's token may trade",
    Refusal.VERSION: f"the gateway speaks version {PROTOCOL_VERSION} of the bus, this client another one",
    Refusal.NAME: "no session may trade under this name on this connection",
}


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
        """Deal with what waits on the bus, `_AT_ONCE` messages at most: whoever sends without end holds up neither
        ticks and timers nor the look at the kill switch. The next turn of the loop goes on at once."""
        bus, sessions = self._context.bus, self._context.sessions
        for received in bus.receive_some(_AT_ONCE):
            message, now_ns = received.message, time.monotonic_ns()
            if isinstance(message, msg.Hello):
                self._on_hello(received.identity, message, now_ns)
                continue
            if isinstance(message, msg.Command) and message.name != "heartbeat":
                self._on_command(received)
                continue
            client, change = sessions.heard(received, now_ns)
            if change is not None:
                self._note_links([change])
            if isinstance(client, Refusal):
                self._refuse(received, client)
                continue
            match message:
                case msg.Command():  # a heartbeat
                    pass
                case msg.Goodbye():
                    self._on_lost(client, f"left: {message.reason}")
                case msg.Target() if client.trusted:
                    self._on_target(message, now_ns)
                case msg.DirectOrder() | msg.CancelOrder() if client.trusted:
                    self._on_direct(message, now_ns)
                case msg.Ready() if client.trusted:
                    self._on_ready(message)
                case msg.Target() | msg.DirectOrder() | msg.CancelOrder() | msg.Ready():
                    self._refuse(received, Refusal.ONLOOKER)
                case _:
                    bus.malformed += 1

    def check_links(self, now_ns: int) -> None:
        """Time passed: tell which links are silent, and forget sessions that were not heard of for long."""
        sessions = self._context.sessions
        self._note_links(sessions.check(now_ns))
        for client in sessions.silent(now_ns):
            self._on_lost(client, "went silent")
        self._tell_refused(now_ns)

    def _refuse(self, received: Received, refusal: Refusal) -> None:
        """Count and tell what came from who may not. Who has not joined on this connection, was forgotten, or is on
        another connection than before, is answered so that it says hello again."""
        message = received.message
        wants_answer = isinstance(message, msg.Target | msg.DirectOrder | msg.CancelOrder)
        lost = refusal in (Refusal.STRANGER, Refusal.FORGED)
        self._note_refused(refusal, message.session, told=wants_answer or received.seal is not None or not lost)
        if lost and (wants_answer or received.seal is not None):
            self._acknowledge(received.identity, message, AnswerStatus.UNKNOWN, "say hello first")
        elif wants_answer and refusal is not Refusal.REPLAYED:
            reason = "only who knows the account's token may trade, under a name of its own"
            self._acknowledge(received.identity, message, AnswerStatus.REFUSED, reason)

    def _note_refused(self, refusal: Refusal, session: str, *, told: bool = True) -> None:
        self._context.refused.note(refusal, session, told=told)
        self._tell_refused(time.monotonic_ns())

    def _tell_refused(self, now_ns: int) -> None:
        if fields := self._context.refused.due(now_ns):
            self._context.journal.write("events", "refused-messages", fields)

    def _acknowledge(self, identity: bytes, message: msg.Message, status: AnswerStatus, reason: str) -> None:
        self._context.bus.send(identity, self._ack(message, status, reason))

    def _ack(self, message: msg.Message, status: AnswerStatus, reason: str) -> msg.Ack:
        return msg.Ack(
            session=self._context.session, revision=0, sent_ns=time.monotonic_ns(), answers=message.revision,
            status=status, reason=reason,
        )  # fmt: skip

    def _on_target(self, target: msg.Target, now_ns: int) -> None:
        context, executor = self._context, self._executor
        event = ev.TargetWanted(
            session=target.session,
            revision=target.revision,
            symbol=target.symbol,
            volume=target.volume,
            now_ns=now_ns,
            tick_id=target.tick_id,
            reason=target.reason,
        )
        actions = executor.core.handle(event)  # the switch is read where an order leaves
        decided_ns = time.monotonic_ns()
        context.counts.targets += 1
        context.sessions.last_target = target
        context.latency.marked(target.tick_id, target.marks_ns, now_ns)
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
        client = context.sessions.join(hello, identity, now_ns)
        if isinstance(client, Refusal):
            self._note_refused(client, hello.session)
            if client is not Refusal.FULL:  # there may be room when it asks again
                self._acknowledge(identity, hello, AnswerStatus.REFUSED, _WHY_NOT[client])
            return
        if not context.sessions.may_have_history(client, now_ns):
            return  # it will ask again
        for message in welcome(context, self._traded, self._executor.core.state, hello, client.gateway_nonce):
            context.bus.send(identity, message)
        if self._publisher.last is not None:
            context.bus.send(identity, self._publisher.last)

    def _on_ready(self, ready: msg.Ready) -> None:
        self._context.sessions.ready[ready.session] = ready.model
        fields = {"session": ready.session, "rows": ready.rows, "model": ready.model}
        self._context.journal.write("events", "ready", fields)
        self._publisher.publish()

    def _on_command(self, received: Received) -> None:
        commands, command = self._context.commands, received.message
        assert isinstance(command, msg.Command)
        if not commands.proves(received):
            if received.seal is not None:
                self._note_refused(Refusal.COMMAND, command.session)
            challenge = msg.Challenge(
                session=self._context.session,
                revision=0,
                sent_ns=time.monotonic_ns(),
                answers=command.revision,
                challenge=commands.challenge(received.identity),
                reason="only who knows the account's token may command",
            )
            self._context.bus.send(received.identity, challenge)
            return
        answer = commands.remembered(command.session, command.revision)
        if answer is None:
            status, reason = self._obey(command)
            answer = self._ack(command, status, reason)
            commands.obeyed(command.session, command.revision, answer)
        self._context.bus.send(received.identity, answer)

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

    def _on_lost(self, client: BusSession, reason: str) -> None:
        """A session is gone. What one that may trade has asked for is void; who only looked on leaves nothing."""
        context, session, trusted = self._context, client.session, client.trusted
        context.sessions.leave(client)
        if not trusted:
            return
        self._executor.step(ev.LinkChange(session, False, time.monotonic_ns()))
        if context.sessions.ready.pop(session, None) is None:
            return
        context.journal.write("events", "strategy-gone", {"session": session, "reason": reason})
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
