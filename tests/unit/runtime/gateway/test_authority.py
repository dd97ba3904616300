"""Who may do what on a gateway's bus, over real sockets: a name, a routing id or a captured message gives no right."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.curve_keys import connect_with, make_keys
from ghtrader_runtime.bus.endpoints import Endpoints, endpoints
from ghtrader_runtime.bus.message_seal import PROTOCOL_VERSION, Sealer, command_key
from ghtrader_runtime.bus.sockets import ask, new_session
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.orders import OrderKind
from ghtrader_runtime.gateway import bus_sessions, request_handler
from ghtrader_runtime.operator_views import kill_commands
from ghtrader_runtime.operator_views.gateway_view import LiveView
from ghtrader_runtime.runlog.journal import read_lines
from tests.support.lock_step import CONTRACT
from tests.support.open_gateway import ACCOUNT, OpenGateway, open_gateway
from tests.support.trading_client import TradingClient
from tests.support.waiting import PATIENCE_S
from tests.unit.runtime.bus.test_bus import free_pair_of_ports

pytestmark = pytest.mark.clock
HEAD = {"revision": 1, "sent_ns": 1}
FOREVER_S = 1e6
FAR_NS = 10**16
"""Longer than that."""


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings(home)


def until(gateway: OpenGateway, true: Callable[[], object]) -> None:
    """Turn the gateway's loop until `true`."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        gateway.turn()
        time.sleep(0.001)


class Intruder:
    """A socket of somebody who knows no token; `routing_id` may be another's."""

    def __init__(self, addresses: Endpoints, routing_id: bytes = b"") -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if routing_id:
            self.socket.setsockopt(zmq.ROUTING_ID, routing_id)
        if addresses.keys:
            connect_with(self.socket, addresses.keys)
        self.socket.connect(addresses.requests)
        self.heard: list[msg.AnyMessage] = []
        self._markers = 2**50

    def send(self, *frames: bytes | msg.Message) -> None:
        self.socket.send_multipart([one if isinstance(one, bytes) else msg.encode(one) for one in frames])

    def take(self) -> list[msg.AnyMessage]:
        with contextlib.suppress(zmq.Again):
            while True:
                self.heard.append(msg.decode(self.socket.recv(zmq.NOBLOCK)))
        return self.heard

    def settle(self, gateway: OpenGateway) -> None:
        """Until everything that it sent before is dealt with, and answered."""
        self._markers += 1
        self.send(msg.Command(session="marker", revision=self._markers, sent_ns=1, name="marker"))
        until(gateway, lambda: [one for one in self.take() if getattr(one, "answers", 0) == self._markers])

    def close(self) -> None:
        if not self.socket.closed:
            self.socket.close()
            self.context.term()


class Scene:
    """A running gateway with a strategy that holds a lot, and whoever comes besides."""

    def __init__(self, gateway: OpenGateway, stack: contextlib.ExitStack) -> None:
        self.gateway, self._stack = gateway, stack
        self.context, self.core = gateway.context, gateway.executor.core
        self.addresses = endpoints(gateway.context.settings, gateway.state_dir)
        self.strategy = self.client()

    def client(self) -> TradingClient:
        one = TradingClient(self.addresses, self.gateway.state_dir, CONTRACT)
        self._stack.callback(lambda: one.close())
        return one

    def intruder(self, routing_id: bytes = b"") -> Intruder:
        one = Intruder(self.addresses, routing_id)
        self._stack.callback(one.close)
        return one

    def thief(self, routing_id: bytes) -> Intruder:
        """An intruder under the routing id of a connection that has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while True:  # while the socket has not noticed that end it lets nobody in under it
            one = self.intruder(routing_id)
            one.send(msg.Command(**HEAD, session="marker", name="marker"))
            for _ in range(20):
                self.gateway.turn()
                time.sleep(0.005)
                if one.take():
                    return one
            one.close()
            assert time.monotonic() < deadline

    def join(self, client: TradingClient) -> None:
        client.say_hello()
        self.until(lambda: client.take() is None and client.joined)
        client.say_ready()
        self.until(lambda: client.session in self.context.sessions.ready)
        link = self.context.sessions.get(client.session).link
        link.stale_s = link.down_s = FOREVER_S  # it sends no heartbeats of itself

    def wants(self, client: TradingClient, volume: int) -> msg.Ack:
        """The answer to a target."""
        revision = client.want(volume)
        self.until(lambda: client.take() is None and client.answer(revision))
        return client.answer(revision)

    def until(self, true: Callable[[], object]) -> None:
        until(self.gateway, true)

    def settle(self, *intruders: Intruder) -> None:
        """Until everything that they sent is dealt with, and the strategy's last heartbeat."""
        for one in intruders:
            one.settle(self.gateway)
        self.gateway.turn()

    def order_lines(self) -> list[dict[str, Any]]:
        """The journal's lines about orders."""
        return read_lines(self.context.run_dir / "orders.jsonl")

    def traces(self) -> dict[str, Any]:
        """All that somebody else's message might change."""
        session, counts = self.context.sessions.get(self.strategy.session), self.context.counts
        state = self.core.state
        return {
            "identity": session and session.identity, "heard": session and session.heard_ns,
            "ready": dict(self.context.sessions.ready), "links": self.context.sessions.states(),
            "writers": {symbol: (one.session, one.kind) for symbol, one in state.writers.items()},
            "targets": dict(state.targets), "marks": {name: mark[0] for name, mark in state.watermark.marks.items()},
            "counts": (counts.targets, counts.orders, counts.duplicates, counts.refused),
            "positions": dict(state.positions), "orders": len(self.order_lines()),
            "killed": state.killed, "blocks": dict(state.blocks), "end": self.context.end.reason,
        }  # fmt: skip


@pytest.fixture(autouse=True)
def nobody_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes."""
    monkeypatch.setattr(bus_sessions, "FORGOTTEN_S", FOREVER_S)


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    with open_gateway(settings) as gateway, contextlib.ExitStack() as stack:
        made = Scene(gateway, stack)
        made.join(made.strategy)
        assert made.wants(made.strategy, 1).status == "accepted"
        made.until(lambda: made.core.state.position(CONTRACT).net == 1)
        made.settle()
        made.until(lambda: len(made.order_lines()) == 2)  # the journal's thread has written how it was sent and filled
        yield made


def everything(session: str) -> list[msg.Message]:
    """Each message by which somebody changes something, in a session's name."""
    head = {"session": session, "revision": 2**40, "sent_ns": 1}
    return [
        msg.Target(**head, symbol=CONTRACT, volume=-1, tick_id=-1, tick_ns=0, reason="forged"),
        msg.DirectOrder(**head, symbol=CONTRACT, side=1, offset="OPEN", volume=1, price=1.0),
        msg.CancelOrder(**head), msg.Ready(**head, symbol=CONTRACT, rows=0, model="forged"),
        msg.Command(**head, name="heartbeat"), msg.Goodbye(**head, reason="forged"),
        msg.Command(**head, name="stop", reason="forged"), msg.Command(**head, name="state", value="HALTED"),
        msg.Command(**head, name="kill", value=msg.KILL_TRIP, reason="forged"),
    ]  # fmt: skip


def test_nothing_in_a_strategys_name_counts_from_a_socket_that_showed_no_token(scene: Scene) -> None:
    before, intruder = scene.traces(), scene.intruder()
    for message in everything(scene.strategy.session):
        intruder.send(message)
        intruder.send(message, bytes(40))
    scene.settle(intruder)
    assert scene.traces() == before
    answers = [one.status for one in intruder.take() if isinstance(one, msg.Ack)]
    assert answers and set(answers) == {"unknown"}
    assert scene.wants(scene.strategy, 0).status == "accepted", "the real one is no duplicate"
    scene.until(lambda: scene.core.state.position(CONTRACT).net == 0)


def test_nor_from_one_that_joined_to_look_on_in_that_name(scene: Scene) -> None:
    before, intruder = scene.traces(), scene.intruder()
    intruder.send(msg.Hello(**HEAD, session=scene.strategy.session, symbol=CONTRACT, purpose="watch"))
    scene.until(intruder.take)
    for message in everything(scene.strategy.session)[:-4]:
        intruder.send(message)
    intruder.send(msg.Goodbye(**HEAD, session=scene.strategy.session))
    scene.settle(intruder)
    assert scene.traces() == before
    assert scene.wants(scene.strategy, 0).status == "accepted"


def test_a_session_that_died_is_not_kept_alive_by_who_took_its_routing_id(scene: Scene) -> None:
    routing_id = scene.context.sessions.get(scene.strategy.session).identity
    beside = scene.intruder(routing_id)
    for message in everything(scene.strategy.session):
        beside.send(message)
    assert scene.wants(scene.strategy, 1).status == "accepted", "while it lives nobody else gets through under its id"
    beside.close()
    before = scene.traces()
    assert before["counts"][0] == 2 and not scene.context.refused.counts
    scene.strategy.close()  # kill -9: no word
    thief = scene.thief(routing_id)
    for message in everything(scene.strategy.session):
        thief.send(message)
        thief.send(message, bytes(40))
    for frames in scene.strategy.frames:  # all that it ever sent, its hello first
        thief.send(*frames)
    scene.settle(thief)
    assert scene.traces() == before
    scene.gateway.running.requests.check_links(time.monotonic_ns() + FAR_NS)
    assert not scene.context.sessions.ready and not scene.core.state.writers, "it went silent, and its symbol is free"
    for frames in scene.strategy.frames:
        thief.send(*frames)
    scene.settle(thief)
    assert not scene.context.sessions.ready and scene.context.sessions.get(scene.strategy.session) is None


def test_a_session_played_back_by_another_socket_changes_nothing(scene: Scene) -> None:
    before, thief = scene.traces(), scene.intruder()
    for _ in range(2):
        for frames in scene.strategy.frames:
            thief.send(*frames)
    scene.settle(thief)
    assert scene.traces() == before
    refused = scene.context.refused.counts
    assert refused["forged"] == 2 * len([frames for frames in scene.strategy.frames if len(frames) == 2])
    assert scene.wants(scene.strategy, 0).status == "accepted"


def test_nor_by_the_next_gateway_which_its_strategy_joins_anew(settings: Settings) -> None:
    with open_gateway(settings) as gateway, contextlib.ExitStack() as stack:
        scene = Scene(gateway, stack)
        scene.join(scene.strategy)
        scene.wants(scene.strategy, 1)
        scene.until(lambda: scene.core.state.position(CONTRACT).net == 1)
        strategy = scene.strategy
        frames, captured = list(strategy.frames), everything_sealed(strategy)
        strategy.reconnect()  # its socket finds the next one as a real one's does
        stack.pop_all()
    with open_gateway(settings) as gateway, contextlib.ExitStack() as stack:
        scene = Scene(gateway, stack)
        stack.callback(strategy.close)
        scene.strategy = strategy
        before, thief = scene.traces(), scene.intruder()
        for one in [*frames, *captured]:
            thief.send(*one)
        scene.settle(thief)
        assert scene.traces() == before
        revision = strategy.want(0)  # sealed for the gateway before
        scene.until(lambda: strategy.take() is None and strategy.answer(revision))
        assert strategy.answer(revision).status == "unknown", "it is told to say hello"
        scene.join(strategy)
        assert scene.wants(strategy, 1).status == "accepted"


def everything_sealed(client: TradingClient) -> list[list[bytes]]:
    """Messages with a right seal that never came, as somebody holds them who let none of them through."""
    bodies = [msg.encode(message) for message in everything(client.session)]
    return [[body, client.credentials.sealer.seal(body)] for body in bodies]


def test_a_message_held_back_and_sent_over_another_connection_changes_nothing(scene: Scene) -> None:
    before, thief = scene.traces(), scene.intruder()
    for frames in everything_sealed(scene.strategy):
        thief.send(*frames)
    scene.settle(thief)
    assert scene.traces() == before


def test_the_same_strategy_on_a_new_connection_says_hello_and_goes_on(scene: Scene) -> None:
    old = scene.context.sessions.get(scene.strategy.session).identity
    scene.strategy.reconnect()
    ack = scene.wants(scene.strategy, 0)
    assert ack.status == "unknown" and scene.core.state.position(CONTRACT).net == 1
    scene.join(scene.strategy)
    session = scene.context.sessions.get(scene.strategy.session)
    assert session.identity != old and scene.context.sessions.states() == {scene.strategy.session: "LIVE"}
    assert scene.core.state.writers[CONTRACT].session == scene.strategy.session, "it was never gone"
    assert scene.wants(scene.strategy, 0).status == "accepted"


def test_a_strategy_started_again_gets_in_while_the_one_before_seems_alive(scene: Scene) -> None:
    scene.strategy.close()
    again = scene.client()
    scene.join(again)
    refused = scene.wants(again, 0)
    assert refused.status == "refused" and scene.strategy.session in refused.reason, "one writer a symbol"
    scene.gateway.running.requests.check_links(time.monotonic_ns() + FAR_NS)
    scene.join(again)
    assert scene.wants(again, 0).status == "accepted"


def test_another_process_of_this_user_does_not_take_a_live_sessions_name(scene: Scene) -> None:
    """It knows the token, and may trade: under a name of its own."""
    other = scene.client()
    other.session = scene.strategy.session
    other.credentials = type(other.credentials)(other.session)
    before = scene.traces()
    other.say_hello()
    scene.until(lambda: other.take() is None and other.joined)
    ack = scene.wants(other, 0)
    assert ack.status == "refused" and "name of its own" in ack.reason
    assert scene.traces() == before


@pytest.mark.parametrize("name", ["broker", "data", "ledger", "gateway", "broker-1-abcdef"])
def test_no_name_paints_the_gateways_own_links(scene: Scene, name: str) -> None:
    scene.gateway.running.publisher.publish()
    before, events = scene.gateway.running.publisher.last.links, scene.context.run_dir / "events.jsonl"
    lines = [line for line in read_lines(events) if line["kind"] == "link"]
    onlooker, trader = scene.intruder(), scene.client()
    onlooker.send(msg.Hello(**HEAD, session=name, symbol=CONTRACT, purpose="watch"))
    scene.until(onlooker.take)
    trader.session = name
    trader.credentials = type(trader.credentials)(name)
    trader.send(hello := trader.hello())
    scene.until(lambda: trader.take() is None and trader.answer(hello.revision))
    assert trader.answer(hello.revision).status == "refused", "not even who knows the token"
    for one in (onlooker, trader):
        one.send(msg.Goodbye(**HEAD, session=name))
        one.send(msg.Command(**HEAD, session=name, name="heartbeat"))
    scene.settle(onlooker)
    scene.gateway.running.publisher.publish()
    told = scene.gateway.running.publisher.last
    assert told.links == before and set(told.links) == {"broker", "data", scene.strategy.session}
    assert not scene.core.state.blocks
    assert [line for line in read_lines(events) if line["kind"] == "link"] == lines, "and no change of one is told"


def test_an_onlooker_that_goes_silent_is_nobodys_trouble(scene: Scene) -> None:
    view = LiveView(scene.context.settings, scene.gateway.state_dir, CONTRACT)
    scene.until(lambda: view.poll() and view.picture.state is not None)
    assert scene.context.sessions.onlookers == 1
    view.close()
    scene.until(lambda: scene.context.sessions.onlookers == 0)
    silent = scene.intruder()
    silent.send(msg.Hello(**HEAD, session="view-1-abcdef", symbol=CONTRACT, purpose="watch"))
    scene.until(silent.take)
    scene.context.sessions.get(scene.strategy.session).heard_ns += FAR_NS
    scene.gateway.running.requests.check_links(time.monotonic_ns() + FAR_NS - 10**9)
    assert scene.context.sessions.onlookers == 0 and scene.strategy.session in scene.context.sessions.ready


def test_who_looks_on_is_handed_no_history(scene: Scene) -> None:
    """Hellos without end, whose answers nobody reads, once filled the gateway's memory with the day's ticks."""
    assert scene.gateway.running.traded.ticks.size
    onlooker, trader = scene.intruder(), scene.client()
    onlooker.send(msg.Hello(**HEAD, session="view-1-abcdef", symbol=CONTRACT, purpose="watch"))
    scene.settle(onlooker)
    (welcome,) = [one for one in onlooker.heard if isinstance(one, msg.Welcome)]
    assert welcome.rows == 0 and not [one for one in onlooker.heard if isinstance(one, msg.History)]
    trader.send(trader.hello(after_id=-1))
    scene.until(lambda: trader.take() is None and [one for one in trader.heard if isinstance(one, msg.History)])


@pytest.mark.parametrize("body", [b"\xc1", msg.encode(msg.Command(**HEAD, session="view-1-abcdef", name="heartbeat"))])
def test_who_sends_without_end_holds_up_nothing_else(scene: Scene, monkeypatch, body: bytes) -> None:
    """Timers, ticks and the look at the kill switch come between; what is left is known to wait."""
    monkeypatch.setattr(request_handler, "_AT_ONCE", 3)
    bus, requests, intruder = scene.context.bus, scene.gateway.running.requests, scene.intruder()
    for _ in range(10):
        intruder.send(body)
    seen = [0]
    deadline = time.monotonic() + PATIENCE_S
    while seen[-1] < 10:
        assert time.monotonic() < deadline
        requests.answer_waiting()
        seen.append(bus.malformed + scene.context.refused.strangers)
        assert bus.more_waits == (seen[-1] - seen[-2] == 3)
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 3
    assert scene.wants(scene.strategy, 1).status == "accepted"


def test_a_goodbye_of_its_own_leaves_nobody_elses_order_and_frees_the_symbol(scene: Scene) -> None:
    """Also where it never said that it is ready: what it wrote is somebody's again."""
    other = scene.client()
    scene.strategy.send(msg.Goodbye(**scene.strategy.head(), reason="done"))
    scene.until(lambda: not scene.core.state.writers)
    other.say_hello()
    scene.until(lambda: other.take() is None and other.joined)
    assert scene.wants(other, 1).status == "accepted" and scene.core.state.writers[CONTRACT].kind == OrderKind.TARGET
    other.send(msg.Goodbye(**other.head(), reason="done"))
    scene.until(lambda: not scene.core.state.writers)


# Another version ---------------------------------------------------------------------------------------------------


def test_a_client_of_the_version_before_is_told_so_and_does_nothing(scene: Scene) -> None:
    before, old = scene.traces(), scene.intruder()
    token, session = read_token(scene.gateway.state_dir), "strategy-9-abcdef"
    head = [session, 1, 1]  # where structs of that version have it
    old.send(msgspec.msgpack.encode(["hello", CONTRACT, -1, "trade", token, *head]))
    old.send(msg.Target(**HEAD, session=session, symbol=CONTRACT, volume=1, tick_id=-1, tick_ns=0, reason="old"))
    old.send(msgspec.msgpack.encode(["command", "stop", "", "enough", token, *head]))
    scene.settle(old)
    assert [(one.status, one.reason) for one in old.heard[:2]] == [
        ("refused", f"the gateway speaks version {PROTOCOL_VERSION} of the bus, this client another one"),
        ("unknown", "say hello first"),
    ]
    assert scene.traces() == before and scene.context.bus.malformed == 1


# Commands ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", ["bytes", "pipe"])
def test_a_spoilt_token_keeps_no_trip_by_hand_from_the_next_broker(scene: Scene, spoil: str) -> None:
    token = scene.gateway.state_dir / "bus-token"
    token.unlink()
    token.write_bytes(b"\xff\xfe\x00") if spoil == "bytes" else os.mkfifo(token)
    rows = scene.gateway.during(lambda: kill_commands.trip(scene.context.settings, ACCOUNT, "why"))
    assert len(rows) > 1 and all(row.tripped for row in rows)
    assert scene.gateway.executor.killed


def command(scene: Scene, name: str, value: str = "", token: str | None = None) -> msg.AnyMessage | None:
    """Asked beside the running loop, with the account's token or another one."""
    known = read_token(scene.gateway.state_dir) if token is None else token

    def build(session: str) -> msg.Command:
        return msg.Command(session=session, **HEAD, name=name, value=value, reason="a test")

    return scene.gateway.during(lambda: ask(scene.addresses, build, 5.0 if token is None else 0.5, known))


def test_commands_are_obeyed_of_who_knows_the_token_alone(scene: Scene) -> None:
    before = scene.traces()
    for token in ("", "x" * 48):
        for name, value in (("state", "HALTED"), ("kill", msg.KILL_TRIP), ("stop", "")):
            answer = command(scene, name, value, token)
            assert isinstance(answer, msg.Challenge) and "token" in answer.reason
    assert scene.traces() == before
    assert command(scene, "state", "REDUCING").status == "accepted"
    assert scene.core.state.trading_state == "REDUCING"
    assert command(scene, "nonsense").reason == "no command 'nonsense'"
    (row,) = scene.gateway.during(lambda: kill_commands.trip(scene.context.settings, ACCOUNT, "by hand", "paper"))
    assert row.told and scene.core.state.killed
    assert command(scene, "stop").status == "accepted" and scene.context.end.reason == "a test"


def test_a_command_that_was_heard_is_obeyed_once(scene: Scene) -> None:
    """However it comes again: from its own socket, from another one, or under another's session and number."""
    person, thief = scene.intruder(), scene.intruder()
    token, session = read_token(scene.gateway.state_dir), new_session("command")
    wanted = msg.Command(session=session, **HEAD, name="state", value="REDUCING", reason="a test")

    def sealed(intruder: Intruder, message: msg.Command) -> list[bytes]:
        intruder.heard.clear()
        intruder.send(message)
        scene.until(intruder.take)
        sealer, body = Sealer(), msg.encode(message)
        sealer.use(command_key(token, intruder.heard[-1].challenge))
        return [body, sealer.seal(body)]

    frames = sealed(person, wanted)
    thief.send(*frames)
    scene.until(thief.take)
    assert isinstance(thief.heard[-1], msg.Challenge) and scene.core.state.trading_state == "ACTIVE"
    person.send(*frames)
    scene.until(lambda: scene.core.state.trading_state == "REDUCING")
    scene.gateway.executor.step(ev.StateWanted("ACTIVE", "meanwhile"))
    for one in (person, thief):
        one.send(*frames)
    scene.settle(thief)
    assert scene.core.state.trading_state == "ACTIVE"
    person.send(*sealed(person, wanted))  # a repetition of its own, since no answer came
    person.heard.clear()
    scene.until(person.take)
    assert person.heard[-1].status == "accepted" and scene.core.state.trading_state == "ACTIVE", "answered, not obeyed"


# What is told ------------------------------------------------------------------------------------------------------


def test_what_was_refused_is_counted_and_named(scene: Scene) -> None:
    intruder = scene.intruder()
    for _ in range(300):
        for message in everything(scene.strategy.session)[:4]:
            intruder.send(message, bytes(40))
    scene.settle(intruder)
    scene.gateway.running.requests.check_links(time.monotonic_ns() + 10**9)
    events = scene.context.run_dir / "events.jsonl"

    def lines() -> list[dict[str, Any]]:
        return [line for line in read_lines(events) if line["kind"] == "refused-messages"]

    scene.until(lambda: sum(line["counts"].get("stranger", 0) for line in lines()) == 1200)  # the journal writes beside
    assert scene.context.refused.strangers == 1200
    assert len(lines()) < 20 and {name for line in lines() for name in line["names"]} == {scene.strategy.session}


def test_no_secret_is_published_or_written(scene: Scene, settings: Settings) -> None:
    """Neither what an onlooker hears nor what the run writes holds the token, a nonce or a key."""
    context = zmq.Context()
    heard = context.socket(zmq.SUB)
    heard.setsockopt(zmq.SUBSCRIBE, b"")
    heard.connect(scene.addresses.publish)
    sessions, strategy = scene.context.sessions, scene.strategy
    onlooker, told = scene.intruder(), []
    onlooker.send(msg.Hello(**HEAD, session="view-1-abcdef", symbol=CONTRACT, purpose="watch"))
    while len(told) < 5:
        scene.gateway.running.publisher.publish()
        scene.wants(strategy, 1)
        with contextlib.suppress(zmq.Again):
            told.append(heard.recv(zmq.NOBLOCK))
    scene.until(onlooker.take)
    told += [msg.encode(one) for one in onlooker.heard]
    heard.close()
    context.term()
    client = sessions.get(strategy.session)
    token = read_token(scene.gateway.state_dir)
    raw = [client.nonce, client.gateway_nonce, client.check._key, strategy.credentials.sealer._key]
    secrets = [token.encode(), bytes.fromhex(token), *raw, *[one.hex().encode() for one in raw]]
    secrets += [strategy.credentials.proof(token).encode()]
    scene.gateway.executor.decisions.flush()
    written = [path for path in settings.home.rglob("*") if path.is_file() and path.name != "bus-token"]
    assert any(path.suffix == ".jsonl" for path in written) and any(b"view" not in one for one in told)
    for text in [*told, *[path.read_bytes() for path in written], *[frame for one in strategy.frames for frame in one]]:
        found = [one for one in secrets[:2] + secrets[4:6] + secrets[8:10] if one in text]
        assert not found
    for text in [*told, *[path.read_bytes() for path in written]]:
        assert not [one for one in secrets if one in text]


# tcp ---------------------------------------------------------------------------------------------------------------


def test_over_tcp_the_clients_key_alone_gives_no_right(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHTRADER_BUS", f"tcp://127.0.0.1:{free_pair_of_ports()}")
    settings = load_settings(home)
    make_keys(settings)
    with open_gateway(settings) as gateway, contextlib.ExitStack() as stack:
        scene = Scene(gateway, stack)
        scene.join(scene.strategy)
        assert scene.wants(scene.strategy, 1).status == "accepted"
        scene.until(lambda: scene.core.state.position(CONTRACT).net == 1)
        scene.settle()
        before, intruder = scene.traces(), scene.intruder()
        for message in everything(scene.strategy.session):
            intruder.send(message)
            intruder.send(message, bytes(40))
        for frames in scene.strategy.frames:
            intruder.send(*frames)
        scene.until(lambda: len(intruder.take()) >= 5)
        scene.settle(intruder)
        assert scene.traces() == before and not KillSwitch(gateway.state_dir).read().tripped
