"""Sessions of the bus: who is let in, what a connection may do, that a name gives nobody a right; all is bounded."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ghtrader_runtime.accounts.bus_token import join_token, read_token
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.link_state import LinkState
from ghtrader_runtime.bus.message_seal import PROTOCOL_VERSION, ClientCredentials, Sealer, command_key
from ghtrader_runtime.bus.sockets import Received
from ghtrader_runtime.gateway.bus_sessions import (
    FORGOTTEN_S,
    HISTORIES_A_SECOND,
    MAX_CLIENTS,
    BusSession,
    BusSessions,
    Refusal,
    is_session_name,
)
from ghtrader_runtime.gateway.command_gate import KEEP_ANSWERS, CommandGate
from ghtrader_runtime.gateway.refused_messages import RefusedMessages

S = 1_000_000_000
TOKEN, NAME, OTHER = "t" * 48, "strategy-1-abcdef", "strategy-2-abcdef"
HEAD = {"revision": 1, "sent_ns": 0}


def received(identity: bytes, message: msg.Message, sealer: Sealer | None = None) -> Received:
    body = msg.encode(message)
    return Received(identity, message, body, sealer.seal(body) if sealer else None)


def heartbeat(session: str, revision: int = 1) -> msg.Command:
    return msg.Command(session=session, revision=revision, sent_ns=0, name="heartbeat")


class Client:
    """A client on one connection after another."""

    def __init__(self, session: str = NAME, token: str = TOKEN) -> None:
        self.session, self.token, self.credentials = session, token, ClientCredentials(session)

    def hello(self, **changes: Any) -> msg.Hello:
        fields = {
            "session": self.session,
            "symbol": "S",
            "purpose": "trade",
            "proof": self.credentials.proof(self.token),
        }
        return msg.Hello(**HEAD, **(fields | changes))

    def join(self, sessions: BusSessions, identity: bytes, now_ns: int = S) -> BusSession | Refusal:
        """Says hello and takes what the welcome brings; sends nothing more."""
        found = sessions.join(self.hello(), identity, now_ns)
        if isinstance(found, BusSession):
            self.credentials.welcomed(found.gateway_nonce)
        return found

    def sealed(self, identity: bytes, message: msg.Message | None = None) -> Received:
        return received(identity, message or heartbeat(self.session), self.credentials.sealer)


def watch(session: str, **changes: Any) -> msg.Hello:
    return msg.Hello(**HEAD, session=session, symbol="S", purpose="watch", **changes)


def test_the_token_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    assert read_token(tmp_path) == ""
    token = join_token(tmp_path)
    assert join_token(tmp_path) == token == read_token(tmp_path) and len(token) >= 32
    assert stat.S_IMODE((tmp_path / "bus-token").stat().st_mode) == 0o600
    (tmp_path / "bus-token").write_text("")
    assert len(join_token(tmp_path)) >= 32, "a gateway killed while it wrote does not lock the account"


def test_who_proves_the_token_may_trade_from_its_first_sealed_message_on() -> None:
    sessions, friend = BusSessions(TOKEN), Client()
    client = friend.join(sessions, b"1")
    assert isinstance(client, BusSession) and not client.trusted and sessions.get(NAME) is None
    found, change = sessions.heard(friend.sealed(b"1"), 2 * S)
    assert found is client and client.trusted and sessions.get(NAME) is client
    assert change and change.name == NAME and change.after is LinkState.LIVE
    assert sessions.states() == {NAME: "LIVE"} and sessions.onlookers == 0


def test_a_proof_of_another_token_or_version_is_refused_and_leaves_nothing() -> None:
    sessions, proof = BusSessions(TOKEN), Client().credentials.proof(TOKEN)
    newer = f"{PROTOCOL_VERSION + 1}{proof[1:]}"
    for hello, why in (
        (Client(token="x" * 48).hello(), Refusal.TOKEN), (Client(token="").hello(), Refusal.TOKEN),
        (Client().hello(proof=TOKEN), Refusal.VERSION), (Client().hello(proof=newer), Refusal.VERSION),
        (Client().hello(session=OTHER), Refusal.TOKEN), (Client().hello(proof=proof[:-1]), Refusal.TOKEN),
    ):  # fmt: skip
        assert sessions.join(hello, b"1", S) is why
    assert len(sessions) == 0
    assert BusSessions("").join(Client(token="").hello(), b"1", S) is Refusal.TOKEN, "no token opens nothing"


@pytest.mark.parametrize("name", ["broker", "data", "ledger", "gateway", "", "broker-1-abcdef", "data-1-abcdef",
                                  "strategy-1", "strategy 1-2-abcdef", "strategy-1-abcdef\n", "\u2603"])  # fmt: skip
def test_no_session_that_trades_is_called_as_a_link_of_the_gateways_own(name: str) -> None:
    assert not is_session_name(name)
    assert Client(name).join(BusSessions(TOKEN), b"1") is Refusal.NAME


def test_who_looks_on_is_told_of_to_nobody_whatever_it_calls_itself() -> None:
    sessions, friend = BusSessions(TOKEN), Client()
    friend.join(sessions, b"1")
    sessions.heard(friend.sealed(b"1"), S)
    for number, name in enumerate(("broker", "data", NAME, "", "gateway")):
        onlooker = sessions.join(watch(name), b"w%d" % number, S)
        assert isinstance(onlooker, BusSession)
        target = msg.Target(**HEAD, session=NAME, symbol="S", volume=1, tick_id=1, tick_ns=1, reason="")
        found, change = sessions.heard(received(b"w%d" % number, target), S)
        assert found is onlooker and not onlooker.trusted and change is None
    assert sessions.states() == {NAME: "LIVE"} and sessions.onlookers == 5
    sessions.leave(onlooker)
    assert sessions.get(NAME).identity == b"1" and sessions.check(2 * S) == []
    assert {change.name for change in sessions.check(20 * S)} == {NAME}, "their silence is told to nobody either"


def traces(sessions: BusSessions) -> tuple[Any, ...]:
    client = sessions.get(NAME)
    return client.identity, client.heard_ns, client.link.state, client.link.changes, dict(sessions.ready), len(sessions)


def test_nothing_without_the_seal_leaves_a_trace_on_the_session_it_names() -> None:
    sessions, friend = BusSessions(TOKEN), Client()
    friend.join(sessions, b"1")
    first = friend.sealed(b"1")
    sessions.heard(first, S)
    before = traces(sessions)
    second = friend.sealed(b"1", heartbeat(OTHER))
    stolen = Client()  # knows the token, and neither the nonce of the real one nor its connection's
    forged = [
        (received(b"1", heartbeat(NAME)), Refusal.UNSEALED, "its routing id, no seal"),
        (Received(b"1", first.message, first.body, bytes(40)), Refusal.FORGED, "its routing id, a made-up seal"),
        (first, Refusal.REPLAYED, "its routing id, its own message once more"),
        (Received(b"1", second.message, second.body, first.seal), Refusal.FORGED, "another message under its seal"),
        (Received(b"9", first.message, first.body, first.seal), Refusal.STRANGER, "its message, another connection"),
        (received(b"9", heartbeat(NAME)), Refusal.STRANGER, "its name alone"),
        (second, Refusal.NAME, "its seal, another name inside"),
    ]
    for message, why, text in forged:
        assert sessions.heard(message, 2 * S) == (why, None), text
        assert traces(sessions) == before, text
    assert sessions.join(friend.hello(), b"1", 2 * S) is sessions.get(NAME), "its hello once more: a welcome, no trace"
    assert sessions.join(stolen.hello(), b"1", 2 * S) is Refusal.NAME, "another process's, on its connection"
    assert sessions.join(watch(NAME), b"1", 2 * S) is Refusal.NAME
    assert traces(sessions) == before


def test_a_hello_played_back_by_another_takes_nothing_and_its_messages_count_for_nothing_there() -> None:
    sessions, friend = BusSessions(TOKEN), Client()
    friend.join(sessions, b"1")
    captured = [friend.sealed(b"1") for _ in range(3)]
    for one in captured:
        sessions.heard(one, S)
    before = traces(sessions)[:5]
    assert isinstance(sessions.join(friend.hello(), b"thief", S), BusSession)
    for one in captured:
        again = Received(b"thief", one.message, one.body, one.seal)
        assert sessions.heard(again, S) == (Refusal.FORGED, None)
    assert traces(sessions)[:5] == before and sessions.get(NAME).identity == b"1"


def test_the_same_process_on_a_new_connection_takes_its_name_along() -> None:
    sessions, friend = BusSessions(TOKEN), Client()
    friend.join(sessions, b"1")
    sessions.heard(friend.sealed(b"1"), S)
    sessions.ready[NAME] = "model"
    late = friend.sealed(b"1")
    assert sessions.heard(friend.sealed(b"2"), S) == (Refusal.STRANGER, None), "first it says hello there"
    friend.join(sessions, b"2", 4 * S)
    assert sessions.get(NAME).identity == b"1", "a hello alone moves nothing"
    found, _ = sessions.heard(friend.sealed(b"2"), 4 * S)
    assert sessions.get(NAME) is found and found.identity == b"2" and len(sessions) == 1
    assert sessions.states() == {NAME: "LIVE"} and sessions.ready == {NAME: "model"}
    assert sessions.heard(late, 5 * S) == (Refusal.STRANGER, None), "nothing counts on the old one any more"


def test_another_process_never_takes_a_name_and_a_new_one_gets_in_beside_it() -> None:
    sessions, friend = BusSessions(TOKEN), Client()
    friend.join(sessions, b"1")
    sessions.heard(friend.sealed(b"1"), S)
    same_name, restarted = Client(), Client(OTHER)
    assert isinstance(same_name.join(sessions, b"2"), BusSession)
    assert sessions.heard(same_name.sealed(b"2"), S) == (Refusal.NAME, None)
    restarted.join(sessions, b"3")
    assert sessions.heard(restarted.sealed(b"3"), S)[0] is sessions.get(OTHER)
    sessions.leave(sessions.get(NAME))
    assert sessions.heard(same_name.sealed(b"2"), S)[0] is sessions.get(NAME), "once it is gone the name is free"


def test_keys_of_one_connection_are_void_once_it_was_forgotten() -> None:
    sessions, friend = BusSessions(TOKEN), Client()
    friend.join(sessions, b"1")
    captured = friend.sealed(b"1")
    sessions.heard(captured, S)
    sessions.leave(sessions.get(NAME))
    assert sessions.heard(captured, S) == (Refusal.STRANGER, None)
    sessions.join(friend.hello(), b"1", S)  # somebody took over its routing id, and plays all back
    assert sessions.heard(captured, S) == (Refusal.FORGED, None) and sessions.get(NAME) is None


def test_clients_stay_bounded_and_who_looks_on_makes_room() -> None:
    sessions = BusSessions(TOKEN)
    mine = Client()
    mine.join(sessions, b"mine")
    sessions.heard(mine.sealed(b"mine"), S)
    for number in range(10_000):
        sessions.join(watch(f"view-{number}"), b"%d" % number, S)
    assert len(sessions) == MAX_CLIENTS and sessions.get(NAME).identity == b"mine"
    friends = [Client(f"strategy-{number}-abcdef") for number in range(2, 2 + MAX_CLIENTS)]
    for number, one in enumerate(friends[:-1]):
        assert isinstance(one.join(sessions, b"f%d" % number), BusSession)
    assert sessions.join(watch("view"), b"view", S) is Refusal.FULL
    assert isinstance(friends[-1].join(sessions, b"last"), BusSession), "one that sent nothing sealed makes room"
    assert len(sessions) == MAX_CLIENTS and sessions.get(NAME) is not None


def test_sessions_that_died_before_they_were_ready_keep_nobody_out() -> None:
    sessions = BusSessions(TOKEN)
    for number in range(MAX_CLIENTS):
        one = Client(f"strategy-{number}-abcdef")
        one.join(sessions, b"%d" % number)
        sessions.heard(one.sealed(b"%d" % number), S)
    late = Client("strategy-999-abcdef")
    assert late.join(sessions, b"late") is Refusal.FULL
    silent = sessions.silent(int((FORGOTTEN_S + 2) * S))
    assert len(silent) == MAX_CLIENTS and not sessions.silent(2 * S)
    sessions.leave(silent[0])
    assert isinstance(late.join(sessions, b"late"), BusSession)


def test_histories_are_rationed_and_who_looks_on_takes_none_from_who_trades() -> None:
    sessions, friend = BusSessions(TOKEN), Client()
    client, onlooker = friend.join(sessions, b"1"), sessions.join(watch("view"), b"2", S)
    assert sum(sessions.may_have_history(onlooker, 5 * S) for _ in range(1000)) == HISTORIES_A_SECOND
    assert sum(sessions.may_have_history(client, 5 * S) for _ in range(1000)) == HISTORIES_A_SECOND
    assert sum(sessions.may_have_history(onlooker, 5 * S + S // 2) for _ in range(1000)) == HISTORIES_A_SECOND / 2


# Commands ----------------------------------------------------------------------------------------------------------


def command(revision: int = 1, session: str = "command-1-abcdef") -> msg.Command:
    return msg.Command(session=session, revision=revision, sent_ns=0, name="state", value="ACTIVE")


def sealed_command(gate: CommandGate, identity: bytes, revision: int = 1, token: str = TOKEN) -> Received:
    sealer = Sealer()
    sealer.use(command_key(token, gate.challenge(identity)))
    return received(identity, command(revision), sealer)


def answer(revision: int) -> msg.Ack:
    return msg.Ack(session="g", revision=0, sent_ns=0, answers=revision, status="accepted")


def test_a_command_counts_on_its_connection_and_until_the_next_one_is_obeyed() -> None:
    gate = CommandGate(TOKEN)
    right = sealed_command(gate, b"1")
    assert gate.proves(right)
    assert not gate.proves(Received(b"2", right.message, right.body, right.seal)), "played back by another socket"
    assert not gate.proves(received(b"1", command())) and not gate.proves(sealed_command(gate, b"1", token="x" * 48))
    gate.obeyed("command-1-abcdef", 1, answer(1))
    assert not gate.proves(right), "a copy is never obeyed"
    assert gate.proves(sealed_command(gate, b"1")) and gate.remembered("command-1-abcdef", 1) == answer(1)
    assert not CommandGate(TOKEN).proves(right), "nor by the next gateway"
    assert not CommandGate("").proves(sealed_command(CommandGate(""), b"1", token=""))


def test_answers_stay_bounded() -> None:
    gate = CommandGate(TOKEN)
    for number in range(2 * KEEP_ANSWERS):
        gate.obeyed("x", number, answer(number))
    assert gate.remembered("x", 2 * KEEP_ANSWERS - 1) is not None and gate.remembered("x", KEEP_ANSWERS - 1) is None


def test_refusals_are_counted_and_told_at_most_once_a_second() -> None:
    refused = RefusedMessages()
    assert refused.due(0) is None
    refused.note(Refusal.STRANGER, "a", told=False)
    assert refused.due(0) is None and refused.strangers == 1 and refused.unauthorized == 0
    refused.note(Refusal.FORGED, "x" * 200)
    assert refused.due(0) == {"counts": {"forged": 1}, "names": ["x" * 40]}
    lines = []
    for number in range(5000):
        refused.note(Refusal.NAME, f"s{number}")
        lines += [fields] if (fields := refused.due(number * S // 1000)) else []
    assert len(lines) == 4 and lines[0]["names"] == ["s0", "s1", "s2"] and refused.unauthorized == 5001


# Whatever is sent, in whatever order -------------------------------------------------------------------------------


@dataclass
class Process:
    """A real strategy: where it is connected, what it sent there."""

    client: Client
    identity: bytes = b""
    sent: list[Received] = field(default_factory=list)
    hellos: list[msg.Hello] = field(default_factory=list)


class Bus(RuleBasedStateMachine):
    """Strategies that join, reconnect, leave and die, and somebody who can hear and send all but knows no token.

    What it sends comes over any routing id, under any name, with any seal it has heard. The model is one line: a
    session's identity, time and readiness change by its own process alone.
    """

    @initialize()
    def begin(self) -> None:
        self.sessions, self.now, self.connections = BusSessions(TOKEN), S, 0
        self.processes = [Process(Client(NAME)), Process(Client(OTHER))]
        self.heard: list[Received] = []
        self.hellos: list[msg.Hello] = []
        self.mine: dict[str, tuple[bytes, int]] = {}

    def _new_identity(self) -> bytes:
        self.connections += 1
        return b"c%d" % self.connections

    @rule(which=st.integers(0, 1), again=st.booleans())
    def joins(self, which: int, again: bool) -> None:
        process = self.processes[which]
        if not (again and process.identity):
            process.identity = self._new_identity()
        self.hellos.append(process.client.hello())
        found = self.sessions.join(self.hellos[-1], process.identity, self.now)
        assert isinstance(found, BusSession)
        process.client.credentials.welcomed(found.gateway_nonce)

    @rule(which=st.integers(0, 1))
    def sends(self, which: int) -> None:
        process = self.processes[which]
        if not process.identity:
            return
        message = process.client.sealed(process.identity)
        self.heard.append(message)
        self.now += 1
        found, _ = self.sessions.heard(message, self.now)
        if isinstance(found, BusSession):
            self.mine[process.client.session] = process.identity, self.now

    @precondition(lambda self: self.mine)
    @rule(which=st.integers(0, 1))
    def leaves(self, which: int) -> None:
        client = self.sessions.get(self.processes[which].client.session)
        if client is not None:
            self.sessions.leave(client)
            del self.mine[client.session]

    @rule(which=st.integers(0, 1))
    def is_started_again(self, which: int) -> None:
        self.processes[which] = Process(Client(f"strategy-{self.connections + 10}-abcdef"))

    def _any_identity(self, data: st.DataObject) -> bytes:
        taken = [client.identity for client in self.sessions._clients.values()]
        return data.draw(st.sampled_from([*taken, b"thief"]))

    @rule(data=st.data(), name=st.sampled_from([NAME, OTHER, "broker", "view"]))
    def hostile_hello(self, data: st.DataObject, name: str) -> None:
        """Over any connection: a captured one, one under another's name, one that only looks on."""
        mine = Client(name, token="guess" * 10)
        hello = data.draw(st.sampled_from([*self.hellos, mine.hello(), watch(name)]))
        self.now += 1
        self.sessions.join(hello, self._any_identity(data), self.now)

    @rule(data=st.data(), name=st.sampled_from([NAME, OTHER, "broker"]), goodbye=st.booleans())
    def hostile_message(self, data: st.DataObject, name: str, goodbye: bool) -> None:
        """Over any connection, without a seal, with a made-up one, or all of one that was heard."""
        message = msg.Goodbye(**HEAD, session=name) if goodbye else heartbeat(name)
        body, identity = msg.encode(message), self._any_identity(data)
        copies = [Received(identity, one.message, one.body, one.seal) for one in self.heard]
        copies += [Received(identity, message, body, one.seal) for one in self.heard[-3:]]
        made_up = [Received(identity, message, body), Received(identity, message, body, bytes(40))]
        self.now += 1
        found, change = self.sessions.heard(data.draw(st.sampled_from([*copies, *made_up])), self.now)
        assert change is None and not (isinstance(found, BusSession) and found.trusted)

    @invariant()
    def a_session_is_what_its_own_process_made_of_it(self) -> None:
        if hasattr(self, "sessions"):
            trusted = {name: self.sessions.get(name) for name in self.sessions.states()}
            assert {name: (client.identity, client.heard_ns) for name, client in trusted.items()} == self.mine
            assert len(self.sessions) <= MAX_CLIENTS


Bus.TestCase.settings = limits(max_examples=60, stateful_step_count=40, deadline=None)
TestBus = Bus.TestCase
