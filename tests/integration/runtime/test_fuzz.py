"""Hostile and malformed messages at a real gateway's sockets: it does not die, trade, grow or keep friends out.

`FUZZ_MESSAGES` says how many; `make verify PART=fuzz` sends a million, a sample 20,000 of another seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import psutil
import pytest
import zmq

from ghtrader_base.files import read_json
from ghtrader_base.settings import Settings
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import Endpoints, endpoints
from ghtrader_runtime.bus.message_seal import SEAL_BYTES, HelloProof
from ghtrader_runtime.bus.sockets import MAX_REQUEST, ClientBus, ask
from ghtrader_runtime.run_options import GatewayOptions, ReplayOptions, run_folder
from ghtrader_runtime.runlog.journal import read_lines
from ghtrader_runtime.supervisor.supervisor import Child, new_run_id
from tests.support.runtime_kit import write_day
from tests.support.trading_client import TradingClient
from tests.support.waiting import PATIENCE_S, until

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "30000"))
CONTRACT, DAY = "SHFE.cu2502", date(2025, 1, 8)
GROWTH = 32 << 20


@pytest.fixture
def gateway(settings: Settings) -> Iterator[tuple[Child, Path]]:
    """A paper gateway that waits for its strategy."""
    key = write_day(settings, CONTRACT, DAY, 3000)
    run_id = new_run_id("fuzz")
    replay = ReplayOptions(dataset="main_l5", key=key, day=str(DAY))
    options = GatewayOptions(account="fuzz", mode="paper", symbol=CONTRACT, run_id=run_id, replay=replay)
    child = Child(settings, "gateway", run_folder(settings, run_id), options)
    folder = run_folder(settings, run_id)
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "gateway.json").exists():
        assert time.monotonic() < deadline and child.running, child.error()
        time.sleep(0.05)
    yield child, folder
    child.stop()


def well_formed(rng: random.Random, session: str) -> list[msg.Message]:
    """One message of each kind, in a session's name."""
    head = {"session": session, "revision": rng.choice([0, 1, rng.randrange(2**63)]), "sent_ns": rng.randrange(2**63)}
    purpose, proof = rng.choice(["trade", "watch"]), HelloProof.of("guess", session, rng.randbytes(32)).text()
    volume = rng.choice([1, -1, 10**6, -(10**6), rng.randrange(-(2**62), 2**62)])
    symbol = rng.choice([CONTRACT, "SHFE.au2506", "../../etc", "", "KQ.m@SHFE.cu"])
    return [
        msg.Target(**head, symbol=symbol, volume=volume, tick_id=rng.randrange(-1, 2**62), tick_ns=0, reason="r"),
        msg.DirectOrder(**head, symbol=symbol, side=1, offset="OPEN", volume=1, price=1.0),
        msg.CancelOrder(**head),
        msg.Command(**head, name=rng.choice(["stop", "state", "kill", "heartbeat"]), value="trip", reason="r"),
        msg.Hello(**head, symbol=symbol, after_id=rng.randrange(-(2**62), 2**62), purpose=purpose, proof=proof),
        msg.Ready(**head, symbol=symbol, rows=rng.randrange(2**62), model="m" * rng.randrange(100)),
        msg.Goodbye(**head, reason="r" * rng.randrange(1000)),
        msg.Ack(**head, answers=rng.randrange(2**62), status="accepted"),
        msg.Tick(**head, symbol=symbol, trading_day="x", datetime_ns=-1, id=-1, values=bytes(msg.VALUES_BYTES)),
    ]


def hostile(rng: random.Random, real: TradingClient) -> list[bytes]:
    """One message, as frames: noise, damaged real ones, well-formed ones of somebody without the token under any name,
    and what a real session has sent, played back."""
    names = ["strategy-1", "x" * rng.randrange(300), f"s{rng.randrange(10**6)}", "", "\u2603", "broker", "data"]
    names += [real.session] * 8
    data = msgspec.msgpack.encode(rng.choice(well_formed(rng, rng.choice(names))))
    kind = rng.randrange(13)
    if kind == 0:
        return [rng.randbytes(rng.randrange(0, 400))]
    if kind == 1:
        return [data[: rng.randrange(len(data))]]
    if kind == 2:
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 5)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        return [bytes(damaged)]
    if kind == 3:
        return [data, data, b""][: rng.randrange(1, 4)]
    if kind == 4:
        return [msgspec.msgpack.encode({"a": [[[[rng.random()]]]] * rng.randrange(20)})]
    sealed = [frames for frames in real.frames if len(frames) == 2]
    if kind in (5, 6):
        return rng.choice(real.frames)
    if kind == 7:
        return [rng.choice(sealed)[0], rng.choice(sealed)[1]]
    if kind == 8:
        return [data, rng.choice(sealed)[1]]
    if kind == 9:
        return [data, rng.randbytes(SEAL_BYTES)]
    return [data]


def send(addresses: Endpoints, total: int, rng: random.Random, real: TradingClient) -> None:
    """`total` messages over connections that come and go, some of which call themselves as others do."""
    context = zmq.Context()
    pool = [hostile(rng, real) for _ in range(4000)]
    sent = 0
    while sent < total:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 30_000)
        socket.setsockopt(zmq.SNDHWM, 1000)
        if rng.random() < 0.2:
            socket.setsockopt(zmq.ROUTING_ID, rng.choice([b"one", b"two", b"\0" + rng.randbytes(4)]))
            socket.setsockopt(zmq.LINGER, 200)  # where another has this id now, nobody takes what is sent
        socket.setsockopt(zmq.SNDTIMEO, 2000)
        socket.connect(addresses.requests)
        with contextlib.suppress(zmq.Again):
            for _ in range(min(total - sent, rng.randrange(500, 5000))):
                socket.send_multipart(rng.choice(pool))
                sent += 1
        if rng.random() < 0.1:  # too long: its connection is closed
            socket.setsockopt(zmq.LINGER, 0)
            with contextlib.suppress(zmq.Again):
                socket.send(b"\x00" * (MAX_REQUEST + 1))
        socket.close()
    context.term()


class RealSession:
    """A strategy that joined, says that it is ready, and goes on in a thread of its own: heard, and never answering."""

    def __init__(self, addresses: Endpoints, state_dir: Path) -> None:
        self.client = TradingClient(addresses, state_dir, CONTRACT)
        self.client.say_hello()
        until(lambda: self.client.take() is None and self.client.joined)
        self.client.say_ready()
        for _ in range(50):  # of every kind something to play back
            self.client.send(msg.Command(**self.client.head(), name="heartbeat"))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        frames = self.client.frames
        while not self._over.wait(0.2):
            self.client.send(msg.Command(**self.client.head(), name="heartbeat"))
            del frames[1000:]
            while self.client.take() is not None:
                pass

    def stop(self) -> None:
        """Nothing is sent any more but by hand."""
        self._over.set()
        self._thread.join()


def resident(child: Child) -> int:
    """Bytes, once it has dealt with all that was sent."""
    process, idle = psutil.Process(child.process.pid), 0
    deadline = time.monotonic() + PATIENCE_S + MESSAGES / 5000
    while idle < 3 and child.running:
        assert time.monotonic() < deadline, "it never came to rest"
        idle = idle + 1 if process.cpu_percent(0.4) < 20 else 0
    return process.memory_info().rss


@pytest.mark.sample
def test_hostile_messages_neither_trade_nor_kill_nor_fill_memory(settings, gateway, sample_seed) -> None:
    child, folder = gateway
    state_dir = account_ref(settings, "fuzz", "paper").state_dir
    addresses = endpoints(settings, state_dir)
    rng = random.Random(sample_seed or 20250108)
    real = RealSession(addresses, state_dir)
    rounds = max(3, MESSAGES // 100_000)  # what waits in sockets is no growth: it is dealt with before each look
    sizes = []
    for _ in range(rounds):
        send(addresses, MESSAGES // rounds, rng, real.client)
        sizes.append(resident(child))
        assert child.running, child.error()
    print(f"{MESSAGES:,} messages; resident MiB after each part:", [size >> 20 for size in sizes])
    assert sizes[-1] - sizes[0] < GROWTH, [size >> 20 for size in sizes]
    assert not read_lines(folder / "orders.jsonl")
    state = read_json(folder / "gateway.json")
    assert state["trading_state"] == "ACTIVE" and not state["killed"]
    assert state["ready"] == ["by hand"] and set(state["links"]) == {"broker", "data", real.client.session}
    lines = read_lines(folder / "events.jsonl")
    assert {line["link"] for line in lines if line["kind"] == "link"} <= {"broker", "data", real.client.session}
    assert any(line["kind"] == "refused-messages" for line in lines)
    real.stop()
    wanted = real.client.want(0)  # its first: nobody has used up its numbers, written its symbol or taken its name
    until(lambda: real.client.take() is None and real.client.answer(wanted))
    assert real.client.answer(wanted).status == "accepted"

    def stop(session: str) -> msg.Command:
        return msg.Command(session=session, revision=1, sent_ns=1, name="stop", reason="enough")

    assert ask(addresses, stop, PATIENCE_S, read_token(state_dir)).status == "accepted", "a friend is still let in"
    child.process.wait(PATIENCE_S)
    real.client.close()
    assert child.error() is None
    summary = read_json(folder / "summary.json")
    assert summary["orders"] == summary["fills"] == summary["duplicates"] == 0
    assert summary["malformed"] + summary["strangers"] > MESSAGES // 4


def test_more_sessions_than_there_is_place_for_do_not_keep_a_strategy_out(settings, gateway) -> None:
    child, _ = gateway
    state_dir = account_ref(settings, "fuzz", "paper").state_dir
    addresses = endpoints(settings, state_dir)
    crowd = ClientBus(addresses, subscribe=False)
    for number in range(500):
        crowd.send(msg.Hello(session=f"crowd-{number}", revision=1, sent_ns=1, symbol=CONTRACT, purpose="watch"))
    friend = TradingClient(addresses, state_dir, CONTRACT)
    deadline = time.monotonic() + PATIENCE_S
    while not friend.joined:
        assert time.monotonic() < deadline and child.running
        friend.say_hello()
        for _ in range(20):
            friend.take()
            time.sleep(0.05)
    crowd.close()
    friend.close()


def test_without_the_token_nobody_stops_it(settings, gateway) -> None:
    child, _ = gateway
    addresses = endpoints(settings, account_ref(settings, "fuzz", "paper").state_dir)
    stranger = ClientBus(addresses, subscribe=False)
    try:
        stranger.send(msg.Command(session="x", revision=1, sent_ns=1, name="stop"))
        answer = stranger.receive(PATIENCE_S)
        assert isinstance(answer, msg.Challenge) and "token" in answer.reason
        time.sleep(0.5)
        assert child.running
    finally:
        stranger.close()
