"""Messages and sockets over real ipc: order, answers, hostile bytes, private folders; tcp with CURVE."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
import zmq.auth
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ghtrader_base.errors import ConfigError, PortInUseError, RefusedError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.curve_keys import connect_with, load_keys, make_keys
from ghtrader_runtime.bus.endpoints import Endpoints, endpoints, runtime_dir
from ghtrader_runtime.bus.sockets import ClientBus, GatewayBus, ask, new_session
from ghtrader_runtime.core.actions import AnswerStatus
from ghtrader_runtime.core.orders import OrderStatus
from tests.support.waiting import PATIENCE_S

HEAD = {"session": "s", "revision": 1, "sent_ns": 5}


def tick(revision: int) -> msg.Tick:
    values = np.arange(27.0)
    values[9] = np.nan
    return msg.Tick(session="g", revision=revision, sent_ns=1, symbol="SHFE.cu2502", trading_day="2025-01-08",
                    datetime_ns=17 * 10**17, id=revision, values=values.tobytes())  # fmt: skip


def test_values_cross_bit_for_bit() -> None:
    back = msg.decode(msg.encode(tick(3)))
    assert isinstance(back, msg.Tick) and back == tick(3)
    assert back.array().tobytes() == tick(3).values and np.isnan(back.array()[9])


def test_history_crosses_whole() -> None:
    ids, times = np.arange(5), np.arange(5) * 7
    values = np.random.default_rng(1).normal(size=(5, 27))
    back = msg.decode(msg.encode(msg.pack_history("g", 1, 2, "S", "2025-01-08", ids, times, values, True)))
    got = msg.unpack_history(back)
    assert all(np.array_equal(a, b) for a, b in zip(got, (ids, times, values), strict=True))


def test_words_are_on_the_wire_what_they_always_were() -> None:
    line = msg.OrderLine(
        order_id="o1", symbol="S", side=-1, offset=Offset.CLOSE, volume=2, left=1, price=7.0, status=OrderStatus.WORKING
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(line)) == ["o1", "S", -1, "CLOSE", 2, 1, 7.0, "WORKING"]
    sent = msg.encode(msg.Ack(**HEAD, answers=1, status=AnswerStatus.REFUSED, reason="why"))
    assert sent == msg.encode(msg.Ack(**HEAD, answers=1, status="refused", reason="why"))
    back = msg.decode(sent)
    assert isinstance(back, msg.Ack) and back.status is AnswerStatus.REFUSED
    with pytest.raises(ValueError, match="no message: Invalid enum value 'refuzed'"):
        msg.decode(sent.replace(b"refused", b"refuzed"))


@limits(max_examples=50, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.integers(-5, 5))
def test_a_direct_order_of_any_words_is_a_message(offset: str, tif: str, price_type: str, side: int) -> None:
    """Its words are the core's to refuse, with a sentence that the session gets."""
    order = msg.DirectOrder(
        **HEAD, symbol="S", side=side, offset=offset, volume=1, price=1.0, price_type=price_type, tif=tif
    )
    assert msg.decode(msg.encode(order)) == order


@limits(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_hostile_bytes_are_no_message(data: bytes) -> None:
    try:
        msg.decode(data)
    except ValueError:
        return


def test_truncated_and_flipped_messages_never_raise_anything_else() -> None:
    rng = random.Random(1)
    whole = msg.encode(tick(1))
    for _ in range(2000):
        data = bytearray(whole[: rng.randint(0, len(whole))])
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            back = msg.decode(bytes(data))
        except ValueError:
            continue
        if isinstance(back, msg.Tick):
            assert len(back.values) == msg.VALUES_BYTES


@pytest.fixture
def pair(tmp_path: Path, settings: Settings):
    addresses = endpoints(settings, tmp_path / "account")
    gateway = GatewayBus(addresses)
    client = ClientBus(addresses)
    yield gateway, client
    client.close()
    gateway.close()


def wait_for(receive, seconds: float = PATIENCE_S):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = receive()
        if found is not None:
            return found
        time.sleep(0.002)
    raise AssertionError("nothing came")


def test_requests_answers_and_published_ticks(pair) -> None:
    gateway, client = pair
    client.send(msg.Hello(**HEAD, symbol="SHFE.cu2502"))
    received = wait_for(gateway.receive)
    assert isinstance(received.message, msg.Hello) and received.seal is None
    gateway.send(received.identity, msg.Ack(**HEAD, answers=1, status="accepted"))
    assert isinstance(client.receive(5.0), msg.Ack)
    deadline = time.monotonic() + PATIENCE_S  # a subscription takes a moment
    got = None
    while got is None and time.monotonic() < deadline:
        gateway.publish(tick(0))
        got = client.receive(0.05)
    for revision in range(1, 501):
        gateway.publish(tick(revision))
    seen = []
    while len(seen) < 500 and (message := client.receive(2.0)) is not None:
        seen += [message.revision] if message.revision else []
    assert seen == list(range(1, 501))


def test_malformed_requests_are_counted_and_harmless(pair) -> None:
    gateway, client = pair
    rng = random.Random(3)
    for _ in range(500):
        client.dealer.send(rng.randbytes(rng.randint(0, 60)))
    client.dealer.send_multipart([b"a", b"b", b"c"])
    client.dealer.send_multipart([msg.encode(msg.Command(**HEAD, name="heartbeat")), b"no seal"])
    client.send(msg.Command(**HEAD, name="heartbeat"))
    assert isinstance(wait_for(gateway.receive).message, msg.Command) and gateway.malformed == 502


def test_sockets_are_private_and_short(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = endpoints(settings, tmp_path / ("long" * 50))
    assert max(len(addresses.publish), len(addresses.requests)) < 107
    folder = runtime_dir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.stat().st_uid == os.getuid()
    gateway = GatewayBus(addresses)
    assert stat.S_IMODE(os.stat(addresses.requests.removeprefix("ipc://")).st_mode) == 0o600
    gateway.close()
    assert not os.path.exists(addresses.requests.removeprefix("ipc://")), "nothing is left behind"
    base = Path("/tmp") / new_session("t")
    base.mkdir()
    (base / "ghtrader").mkdir(mode=0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    with pytest.raises(ConfigError, match="not a private folder"):
        runtime_dir()
    (base / "ghtrader").rmdir()
    base.rmdir()


def test_the_wake_descriptor_tells_of_requests(pair) -> None:
    gateway, client = pair
    poller = zmq.Poller()
    poller.register(gateway.wake_fd, zmq.POLLIN)
    while gateway.receive() is not None:
        pass
    client.send(msg.Command(**HEAD, name="heartbeat"))
    deadline = time.monotonic() + PATIENCE_S
    found = None
    while found is None and time.monotonic() < deadline:  # the descriptor also wakes for what is no message
        assert poller.poll(5000)
        found = gateway.receive()
    assert found is not None


def test_a_question_is_repeated_under_its_revision(settings: Settings, tmp_path: Path) -> None:
    addresses = endpoints(settings, tmp_path / "account")
    gateway = GatewayBus(addresses)
    seen: list[int] = []

    def serve() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(seen) < 3 and time.monotonic() < deadline:
            if gateway.wait(0.05):
                received = gateway.receive()
                if received is not None:
                    seen.append(received.message.revision)
        gateway.send(received.identity, msg.Ack(**HEAD, answers=seen[-1], status="accepted"))

    thread = threading.Thread(target=serve)
    thread.start()
    answer = ask(addresses, lambda session: msg.Command(session=session, revision=7, sent_ns=1, name="kill"), 5.0)
    thread.join()
    gateway.close()
    assert isinstance(answer, msg.Ack) and seen == [7, 7, 7]


_IN_A_CYCLE = """
import gc, sys
from ghtrader_base.settings import load_settings
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.sockets import ClientBus, GatewayBus
from pathlib import Path
gc.disable()
for _ in range(3):
    addresses = endpoints(load_settings(), Path(sys.argv[1]))
    for bus in (GatewayBus(addresses), ClientBus(addresses)):
        bus.itself = bus  # as a traceback does that holds the frame it came through
    bus.send(msg.Command(session="s", revision=1, sent_ns=1, name="kill"))
    del bus
    gc.collect()
print("over")
"""


@pytest.mark.parametrize("bus", ["ipc", "tcp"])
def test_a_bus_nobody_closed_ends_with_its_garbage(bus: str, request, settings: Settings, tmp_path: Path) -> None:
    if bus == "tcp":
        make_keys(request.getfixturevalue("tcp"))
    command = [sys.executable, "-c", _IN_A_CYCLE, str(tmp_path / "account")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout == "over\n"


def test_nobody_there_is_told_in_time(settings: Settings, tmp_path: Path) -> None:
    started = time.monotonic()
    build = lambda session: msg.Command(session=session, revision=1, sent_ns=1, name="kill")  # noqa: E731
    assert ask(endpoints(settings, tmp_path / "nobody"), build, 0.5) is None
    assert time.monotonic() - started < 3


# ---- tcp ----


def free_pair_of_ports() -> int:
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two free ports")


@pytest.fixture
def tcp(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GHTRADER_BUS", f"tcp://127.0.0.1:{free_pair_of_ports()}")
    return load_settings(home)


def test_tcp_needs_keys_and_loopback(
    tcp: Settings, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="needs keys"):
        endpoints(tcp, tmp_path)
    folder = make_keys(tcp)
    assert endpoints(tcp, tmp_path).publish.startswith("tcp://127.0.0.1:")
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.key_secret")} == {0o600}
    with pytest.raises(RefusedError, match="has keys already"):
        make_keys(tcp)
    (folder / "client.key_secret").chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        endpoints(tcp, tmp_path)
    for text in ("tcp://0.0.0.0:7000", "tcp://127.0.0.1:0", "tcp://127.0.0.1:65535", "tcp://example.org:7000", "udp"):
        monkeypatch.setenv("GHTRADER_BUS", text)
        with pytest.raises(ConfigError):
            endpoints(load_settings(home), tmp_path)


def test_tcp_lets_in_who_has_the_keys_alone(tcp: Settings, tmp_path: Path) -> None:
    make_keys(tcp)
    addresses = endpoints(tcp, tmp_path)
    gateway = GatewayBus(addresses)
    with pytest.raises(PortInUseError):
        GatewayBus(addresses)
    friend = ClientBus(addresses)
    bare = ClientBus(Endpoints(addresses.publish, addresses.requests))
    other_home = load_settings(tmp_path / "other")
    make_keys(other_home)
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.LINGER, 0)
    connect_with(stranger, load_keys(other_home))
    stranger.curve_serverkey, _ = zmq.auth.load_certificate(load_keys(tcp).folder / "gateway.key")
    stranger.connect(addresses.requests)
    try:
        for _ in range(3):
            bare.send(msg.Command(**HEAD, name="heartbeat"))
            with contextlib.suppress(zmq.Again):  # once it is turned away nobody is there to take it
                stranger.send(msg.encode(msg.Command(**HEAD, name="heartbeat")), zmq.NOBLOCK)
        friend.send(msg.Hello(**HEAD, symbol="SHFE.cu2502"))
        assert isinstance(wait_for(gateway.receive).message, msg.Hello)
        time.sleep(0.5)
        assert gateway.receive() is None, "neither without keys nor with others'"
        deadline = time.monotonic() + PATIENCE_S
        got = None
        while got is None and time.monotonic() < deadline:
            gateway.publish(tick(0))
            got = friend.receive(0.05)
        assert isinstance(got, msg.Tick) and bare.receive(0.2) is None
    finally:
        stranger.close()
        context.term()
        for one in (friend, bare, gateway):
            one.close()
