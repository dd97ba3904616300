"""Hostile and malformed messages at a real gateway's sockets: it does not die, trade, grow or keep friends out.

`FUZZ_MESSAGES` says how many; `make verify PART=fuzz` sends a million, a sample 20,000 of another seed.
"""

from __future__ import annotations

import os
import random
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
from ghtrader_runtime.bus.sockets import MAX_REQUEST, ClientBus, new_session
from ghtrader_runtime.run_options import GatewayOptions, ReplayOptions, run_folder
from ghtrader_runtime.runlog.journal import read_lines
from ghtrader_runtime.supervisor.supervisor import Child, new_run_id
from tests.support.runtime_kit import write_day
from tests.support.waiting import PATIENCE_S

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "60000"))
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


def hostile(rng: random.Random) -> list[bytes]:
    """One message, as frames: noise, damaged real ones, and well-formed ones of somebody without the token."""
    session = rng.choice(["strategy-1", "x" * rng.randrange(300), f"s{rng.randrange(10**6)}", "", "\u2603"])
    head = {"session": session, "revision": rng.choice([0, 1, rng.randrange(2**63)]), "sent_ns": rng.randrange(2**63)}
    volume = rng.choice([1, -1, 10**6, -(10**6), rng.randrange(-(2**62), 2**62)])
    symbol = rng.choice([CONTRACT, "SHFE.au2506", "../../etc", "", "KQ.m@SHFE.cu"])
    whole: list[msg.Message] = [
        msg.Target(**head, symbol=symbol, volume=volume, tick_id=rng.randrange(-1, 2**62), tick_ns=0, reason="r"),
        msg.Command(**head, name=rng.choice(["stop", "state", "kill", "heartbeat"]), value="ACTIVE", token="0" * 48),
        msg.Hello(**head, symbol=symbol, after_id=rng.randrange(-(2**62), 2**62), purpose="trade", token="guess"),
        msg.Ready(**head, symbol=symbol, rows=rng.randrange(2**62), model="m" * rng.randrange(100)),
        msg.Goodbye(**head, reason="r" * rng.randrange(1000)),
        msg.Ack(**head, answers=rng.randrange(2**62), status="accepted"),
        msg.Tick(**head, symbol=symbol, trading_day="x", datetime_ns=-1, id=-1, values=bytes(msg.VALUES_BYTES)),
    ]
    data = msgspec.msgpack.encode(rng.choice(whole))
    kind = rng.randrange(8)
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
    return [data]


def send(addresses: Endpoints, total: int, rng: random.Random) -> None:
    """`total` messages over connections that come and go."""
    context = zmq.Context()
    pool = [hostile(rng) for _ in range(4000)]
    sent = 0
    while sent < total:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 30_000)
        socket.setsockopt(zmq.SNDHWM, 1000)
        socket.connect(addresses.requests)
        for _ in range(min(total - sent, rng.randrange(500, 5000))):
            socket.send_multipart(rng.choice(pool))
            sent += 1
        if rng.random() < 0.1:  # too long: its connection is closed
            socket.setsockopt(zmq.LINGER, 0)
            socket.send(b"\x00" * (MAX_REQUEST + 1))
        socket.close()
    context.term()


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
    rounds = max(3, MESSAGES // 100_000)  # what waits in sockets is no growth: it is dealt with before each look
    sizes = []
    for _ in range(rounds):
        send(addresses, MESSAGES // rounds, rng)
        sizes.append(resident(child))
        assert child.running, child.error()
    print(f"{MESSAGES:,} messages; resident MiB after each part:", [size >> 20 for size in sizes])
    assert sizes[-1] - sizes[0] < GROWTH, [size >> 20 for size in sizes]
    assert not read_lines(folder / "orders.jsonl")
    state = read_json(folder / "gateway.json")
    assert state["trading_state"] == "ACTIVE" and state["ready"] == [] and not state["killed"]

    friend = ClientBus(addresses)
    head = {"session": new_session("strategy"), "sent_ns": 1}
    friend.send(msg.Hello(**head, revision=1, symbol=CONTRACT, purpose="trade", token=read_token(state_dir)))
    deadline = time.monotonic() + PATIENCE_S
    welcome = None
    while not isinstance(welcome, msg.Welcome):
        assert time.monotonic() < deadline, "a friend is still let in"
        welcome = friend.receive(0.5)
    friend.send(msg.Command(**head, revision=2, name="stop", reason="enough", token=read_token(state_dir)))
    child.process.wait(PATIENCE_S)
    friend.close()
    assert child.error() is None
    summary = read_json(folder / "summary.json")
    assert summary["orders"] == summary["fills"] == 0 and summary["malformed"] + summary["strangers"] > MESSAGES // 4


def test_more_sessions_than_there_is_place_for_do_not_keep_a_strategy_out(settings, gateway) -> None:
    child, _ = gateway
    state_dir = account_ref(settings, "fuzz", "paper").state_dir
    addresses = endpoints(settings, state_dir)
    crowd = ClientBus(addresses, subscribe=False)
    for number in range(500):
        crowd.send(msg.Hello(session=f"crowd-{number}", revision=1, sent_ns=1, symbol=CONTRACT, purpose="watch"))
    friend = ClientBus(addresses, subscribe=False)
    head = {"session": new_session("strategy"), "sent_ns": 1}
    token = read_token(state_dir)
    deadline = time.monotonic() + PATIENCE_S
    answer, revision = None, 0
    while not isinstance(answer, msg.Welcome):
        assert time.monotonic() < deadline and child.running
        revision += 1
        friend.send(msg.Hello(**head, revision=revision, symbol=CONTRACT, purpose="trade", token=token))
        answer = friend.receive(1.0)
    crowd.close()
    friend.close()


def test_without_the_token_nobody_stops_it(settings, gateway) -> None:
    child, _ = gateway
    addresses = endpoints(settings, account_ref(settings, "fuzz", "paper").state_dir)
    stranger = ClientBus(addresses, subscribe=False)
    try:
        stranger.send(msg.Command(session="x", revision=1, sent_ns=1, name="stop", token="0" * 48))
        answer = stranger.receive(10.0)
        assert isinstance(answer, msg.Ack) and answer.status == "refused" and "token" in answer.reason
        time.sleep(0.5)
        assert child.running
    finally:
        stranger.close()
