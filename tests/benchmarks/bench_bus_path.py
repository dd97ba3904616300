"""Measures what a tick costs on the bus, from the gateway to a strategy and its target back, in processor time.

The real gateway and the strategy's real end of the bus, in one thread of one process: a tick is published, received
and answered, the target taken in (its seal checked, decided by the core, kept in the decision log) and acknowledged.
No factor and no model is part of it. The peer is PyZMQ alone: as many messages, of the same sizes, over sockets of the
same kinds, received in the same way. Both in alternation, the least of each; time that other processes have does not
count, so that it can be measured while a machine is busy.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from ghtrader_base.settings import load_settings
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.message_seal import SEAL_BYTES
from ghtrader_runtime.strategy.gateway_client import GatewayClient
from tests.support.lock_step import CONTRACT
from tests.support.open_gateway import OpenGateway, open_gateway

STAGES = ("publish", "receive", "target", "decide", "acknowledged")
TICKS, ROUNDS = 400, 10
MOST = 5.0
_WAIT_S = 10.0
_OPINION, _NEAR = (0.31, 0.36, 0.33), (1,)


def _receive(client: GatewayClient, kind: type[msg.Message]) -> Any:
    while not isinstance(message := client.next_message(_WAIT_S), kind):
        assert message is not None
    return message


class _Ours:
    """A gateway and a strategy that has joined it."""

    def __init__(self, gateway: OpenGateway, client: GatewayClient) -> None:
        self._gateway, self._client = gateway, client
        self._values = np.arange(27.0)
        gateway.during(lambda: client.join(_WAIT_S))
        client.say_ready(CONTRACT, 0, "bench")
        while not gateway.context.sessions.ready:
            gateway.turn()

    def take(self, ticks: int) -> np.ndarray:
        """Processor time of each of `STAGES`, ns a tick, float64[5]."""
        context, client, traded = self._gateway.context, self._client, self._gateway.running.traded
        requests, clock, taken = self._gateway.running.requests, time.thread_time_ns, [0] * len(STAGES)
        seen = context.counts.targets
        for _ in range(ticks):
            traded.tick_revision += 1
            begun = [clock()]
            context.bus.publish(
                msg.Tick(
                    session=context.session, revision=traded.tick_revision, sent_ns=time.monotonic_ns(),
                    symbol=CONTRACT, trading_day="2025-01-08", datetime_ns=1, id=traded.tick_revision,
                    values=self._values.tobytes(),
                )
            )  # fmt: skip
            begun.append(clock())
            tick = _receive(client, msg.Tick)
            client.lost_before(tick.revision)
            begun.append(clock())
            marks = (time.monotonic_ns(),) * 4
            client.send_target(CONTRACT, 0, tick.id, tick.datetime_ns, "hold", _OPINION, marks, _NEAR)
            begun.append(clock())
            while context.counts.targets <= seen:  # a heartbeat may come before it
                context.bus.wait(_WAIT_S)
                requests.answer_waiting()
            seen += 1
            begun.append(clock())
            client.acknowledged(_receive(client, msg.Ack))
            begun.append(clock())
            for place in range(len(STAGES)):
                taken[place] += begun[place + 1] - begun[place]
        return np.array(taken) / ticks


class _Bare:
    """The same messages as bytes, over bare sockets."""

    def __init__(self, folder: Path, sizes: tuple[int, int, int]) -> None:
        self._tick, self._target, self._ack = (bytes(size) for size in sizes)
        self.context = zmq.Context()
        kinds = zmq.PUB, zmq.ROUTER, zmq.SUB, zmq.DEALER
        self.sockets = self._publisher, self._router, self._subscriber, self._dealer = (
            [self.context.socket(kind) for kind in kinds]
        )  # fmt: skip
        for server, client, name in (
            (self._publisher, self._subscriber, "p"), (self._router, self._dealer, "r")
        ):  # fmt: skip
            server.bind(f"ipc://{folder}/{name}")
            client.connect(f"ipc://{folder}/{name}")
        self._subscriber.setsockopt(zmq.SUBSCRIBE, b"")
        while not self._subscriber.poll(10):  # its subscription takes a moment
            self._publisher.send(self._tick)
        while self._subscriber.poll(100):
            self._subscriber.recv()

    def take(self, ticks: int) -> float:
        """Processor time, ns a tick."""
        began = time.thread_time_ns()
        polled = [(self._dealer, zmq.POLLIN), (self._subscriber, zmq.POLLIN)]
        for _ in range(ticks):
            self._publisher.send(self._tick)
            zmq.zmq_poll(polled, -1)
            self._subscriber.recv()
            self._dealer.send(self._target)
            zmq.zmq_poll([(self._router, zmq.POLLIN)], -1)
            identity, _ = self._router.recv_multipart()
            self._router.send_multipart([identity, self._ack])
            zmq.zmq_poll(polled, -1)
            self._dealer.recv()
        return (time.thread_time_ns() - began) / ticks

    def close(self) -> None:
        """End the sockets."""
        for socket in self.sockets:
            socket.close(0)
        self.context.term()


def run(rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """The table's row."""
    with tempfile.TemporaryDirectory(prefix="gt") as text:
        settings = load_settings(Path(text) / "h")
        with open_gateway(settings) as gateway:
            addresses = endpoints(settings, gateway.state_dir)
            client = GatewayClient(addresses, gateway.context.ref, CONTRACT, lambda: False)
            bare = _Bare(Path(text), (330, 140 + SEAL_BYTES, 60))
            try:
                ours = _Ours(gateway, client)
                stages, peer = _alternated(lambda: ours.take(TICKS), lambda: bare.take(TICKS), rounds)
            finally:
                bare.close()
                client.close()
    value = float(stages.sum())
    parts = ", ".join(f"{name} {ns / 1e3:.1f}" for name, ns in zip(STAGES, stages, strict=True))
    return {
        "bus_path": {
            "value": round(value / 1e3, 1), "unit": f"us of processor a tick ({parts})",
            "peer": "bare PyZMQ, as many bytes", "peer_value": round(peer / 1e3, 1), "ratio": round(value / peer, 2),
            "target": f"<= {MOST:.0f}x", "met": bool(value <= MOST * peer),
        }
    }  # fmt: skip


def _alternated(ours: Callable[[], np.ndarray], peer: Callable[[], float], rounds: int) -> tuple[np.ndarray, float]:
    """The least of each stage and of the peer, ns a tick."""
    found = [(ours(), peer()) for _ in range(rounds)]
    return np.min([stages for stages, _ in found], axis=0), min(bare for _, bare in found)


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))
