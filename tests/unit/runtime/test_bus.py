"""Messages and sockets over real ipc: order, answers, hostile bytes, private folders, the link's states."""

from __future__ import annotations

import os
import random
import stat
import time
from pathlib import Path

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ghtrader_base.errors import ConfigError
from ghtrader_runtime import messages as msg
from ghtrader_runtime.bus import ClientBus, GatewayBus, Link, LinkState, endpoints, new_session, runtime_dir

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
def pair(tmp_path: Path):
    addresses = endpoints(tmp_path / "account")
    gateway = GatewayBus(addresses)
    client = ClientBus(addresses)
    yield gateway, client
    client.close()
    gateway.close()


def wait_for(receive, seconds: float = 5.0):
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
    identity, hello = wait_for(gateway.receive)
    assert isinstance(hello, msg.Hello)
    gateway.send(identity, msg.Ack(**HEAD, answers=1, status="accepted"))
    assert isinstance(client.receive(5.0), msg.Ack)
    deadline = time.monotonic() + 5  # a subscription takes a moment
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
    client.send(msg.Command(**HEAD, name="heartbeat"))
    _, message = wait_for(gateway.receive)
    assert isinstance(message, msg.Command) and gateway.malformed == 501


def test_sockets_are_private_and_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = endpoints(tmp_path / ("long" * 50))
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
    deadline = time.monotonic() + 5
    found = None
    while found is None and time.monotonic() < deadline:  # the descriptor also wakes for what is no message
        assert poller.poll(5000)
        found = gateway.receive()
    assert found is not None


def test_link_states() -> None:
    link = Link(stale_s=1.0)
    second = 1_000_000_000
    assert link.state is LinkState.CONNECTING and not link.check(50 * second)
    assert link.heard(60 * second) and link.state is LinkState.UP
    assert not link.check(61 * second) and link.check(61 * second + 1)
    assert link.state is LinkState.STALE and not link.check(90 * second)
    assert link.silent_s(90 * second) == 30
    assert link.heard(91 * second) and link.state is LinkState.UP and link.changes == 3
