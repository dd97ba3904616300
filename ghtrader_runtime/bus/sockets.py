"""Opens and serves the bus's sockets: PUB/SUB for ticks and state, ROUTER/DEALER for targets and commands.

Over ipc, or over tcp with CURVE (`endpoints`). A message that cannot be read is counted and dropped. What a silence
means is decided in `link_state`, what is repeated in `pending_requests`.
"""

from __future__ import annotations

import os
import random
import secrets
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import zmq
from zmq.auth.thread import ThreadAuthenticator

from ghtrader_base.errors import PortInUseError
from ghtrader_runtime.bus import curve_keys
from ghtrader_runtime.bus.backoff import Backoff
from ghtrader_runtime.bus.endpoints import Endpoints
from ghtrader_runtime.bus.message_seal import SEAL_BYTES, Sealer, command_key
from ghtrader_runtime.bus.messages import AnyMessage, Challenge, Message, decode, encode

_TICKS_WAITING = 50_000
_REQUESTS_WAITING = 1_000
"""Messages kept for a slow peer; what is beyond is lost, seen as a gap and asked for again."""
MAX_REQUEST = 1 << 16
"""Bytes; a larger request comes from no client of ours, and its connection is closed."""
_NOW, _NOW_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
"""Made once: to join two flags takes as long as to send a message."""


def new_session(kind: str) -> str:
    """A name for this process's stream of messages."""
    return f"{kind}-{os.getpid()}-{secrets.token_hex(3)}"


class Received(msgspec.Struct, frozen=True, gc=False):
    """A request as it came.

    Attributes
    ----------
    identity : bytes
        Of the connection.
    message : AnyMessage
    body : bytes
        What `message` was read from.
    seal : bytes or None
        What came with it, bytes[40]; nobody has checked it.
    """

    identity: bytes
    message: AnyMessage
    body: bytes
    seal: bytes | None = None


class _Sockets:
    """A context and its sockets, which end with `owner` where nobody has closed them.

    Python's collector finalises the objects of a cycle in any order, and a context that ends before its sockets waits
    for them for ever: a bus in the traceback of a failure once held up its whole process. So they are kept apart from
    any cycle until they are closed.
    """

    def __init__(self, owner: object) -> None:
        self.context = zmq.Context()
        self.authenticator: ThreadAuthenticator | None = None
        self._made: list[zmq.Socket[bytes]] = []
        weakref.finalize(owner, self.close).atexit = False

    def socket(self, kind: int, waiting: int) -> zmq.Socket[bytes]:
        """One more, that keeps up to `waiting` messages either way for a slow client."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, waiting)
        socket.setsockopt(zmq.RCVHWM, waiting)
        self._made.append(socket)
        return socket

    def close(self) -> None:
        """End those that are not closed yet without waiting for what they have not sent, then the context."""
        for socket in self._made:
            socket.close()
        if self.authenticator is not None:
            self.authenticator.stop()
        self.context.term()


class GatewayBus:
    """The gateway's end: binds both sockets. Never blocks.

    Raises
    ------
    PortInUseError
        Somebody else listens there (tcp).
    """

    def __init__(self, addresses: Endpoints) -> None:
        self._sockets = _Sockets(self)
        keys = addresses.keys
        if keys:
            self._sockets.authenticator = curve_keys.authenticator(self._sockets.context, keys)
        both = (addresses.publish, addresses.requests)
        self._paths = [Path(one.removeprefix("ipc://")) for one in both if one.startswith("ipc://")]
        self.publisher = self._sockets.socket(zmq.PUB, _TICKS_WAITING)
        self.router = self._sockets.socket(zmq.ROUTER, _REQUESTS_WAITING)
        self.router.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST)
        self._polled = [(self.router, zmq.POLLIN)]
        self.malformed = 0
        self.unsent = 0
        self.more_waits = False
        try:
            for socket, address in zip((self.publisher, self.router), both, strict=True):
                if keys:
                    curve_keys.serve_with(socket, keys)
                socket.bind(address)
        except zmq.ZMQError as exc:
            self.close()
            raise PortInUseError(f"cannot listen at {address}: {exc}", "choose another port in GHTRADER_BUS") from exc
        for path in self._paths:
            path.chmod(0o600)

    @property
    def wake_fd(self) -> int:
        """Descriptor that becomes readable when requests may be waiting (edge-triggered: it tells no second time
        of what was left there, `more_waits` does)."""
        return self.router.fileno()

    def publish(self, message: Message) -> None:
        """Send to every subscriber."""
        self.publisher.send(encode(message), _NOW)

    def wait(self, timeout_s: float) -> bool:
        """Whether a request came within `timeout_s`."""
        return bool(zmq.zmq_poll(self._polled, max(int(timeout_s * 1000), 0)))

    def receive(self) -> Received | None:
        """The next request, or None where there is none now."""
        while (frames := self._take()) is not None:
            if (found := self._read(frames)) is not None:
                return found
        return None

    def receive_some(self, most: int) -> Iterator[Received]:
        """The next requests, while there are any; at most `most`, those that cannot be read included. `more_waits` then
        says whether it stopped before it had seen the last one."""
        self.more_waits = True
        for number in range(most):
            some = number == 0 or zmq.zmq_poll(self._polled, 0)  # a look costs a quarter of what a vain try does
            if not some or (frames := self._take()) is None:
                self.more_waits = False
                return
            if (found := self._read(frames)) is not None:
                yield found

    def _take(self) -> list[bytes] | None:
        """The frames of the next message, the connection's identity first; None where there is none now."""
        router = self.router
        try:
            frames = [router.recv(_NOW), router.recv(_NOW)]  # an identity never comes alone
        except zmq.Again:
            return None
        while router.get(zmq.RCVMORE):
            frames.append(router.recv(_NOW))
        return frames

    def _read(self, frames: list[bytes]) -> Received | None:
        try:
            if len(frames) == 2:
                return Received(frames[0], decode(frames[1]), frames[1])
            if len(frames) != 3 or len(frames[2]) != SEAL_BYTES:
                raise ValueError(f"{len(frames)} frames")
            return Received(frames[0], decode(frames[1]), frames[1], frames[2])
        except ValueError:
            self.malformed += 1
            return None

    def send(self, identity: bytes, message: Message) -> None:
        """Answer one peer; an answer nobody can take is dropped (it will ask again)."""
        body = encode(message)
        try:
            self.router.send(identity, _NOW_MORE)
            self.router.send(body, _NOW)
        except zmq.ZMQError:
            self.unsent += 1

    def close(self) -> None:
        """Close both sockets; what is queued for local peers gets a moment to leave."""
        self.publisher.close(linger=200)
        self.router.close(linger=200)
        self._sockets.close()
        for path in self._paths:  # the account's lock is still ours
            path.unlink(missing_ok=True)


class ClientBus:
    """A strategy's or command's end: connects both sockets, and connects again by itself after random delays that
    double (so that many clients of a gateway that came back do not all reconnect at once)."""

    def __init__(self, addresses: Endpoints, subscribe: bool = True) -> None:
        self._sockets = _Sockets(self)
        self._polled: list[tuple[zmq.Socket[bytes], int]] = []
        self.dealer = self._connected(zmq.DEALER, _REQUESTS_WAITING, addresses.requests, addresses)
        self.subscriber: zmq.Socket[bytes] | None = None
        if subscribe:
            self.subscriber = self._connected(zmq.SUB, _TICKS_WAITING, addresses.publish, addresses)
        self.malformed = 0

    def _connected(self, kind: int, waiting: int, address: str, addresses: Endpoints) -> zmq.Socket[bytes]:
        socket = self._sockets.socket(kind, waiting)
        socket.setsockopt(zmq.RECONNECT_IVL, random.randint(50, 150))
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 400)  # a local attempt costs nothing; a longer pause gains nothing
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        if addresses.keys:
            curve_keys.connect_with(socket, addresses.keys)
        socket.connect(address)
        self._polled.append((socket, zmq.POLLIN))
        return socket

    def send(self, message: Message, sealer: Sealer | None = None) -> bool:
        """Send a request, sealed where there is a key; False where nobody has been there to take it for so long that
        the queue is full."""
        body = encode(message)
        seal = sealer.seal(body) if sealer is not None else None
        try:
            if seal is None:
                self.dealer.send(body, _NOW)
            else:
                self.dealer.send(body, _NOW_MORE)
                self.dealer.send(seal, _NOW)
        except zmq.Again:
            return False
        return True

    def receive(self, timeout_s: float) -> AnyMessage | None:
        """The next message of either socket, answers first; None after `timeout_s` without one."""
        deadline = time.monotonic() + timeout_s
        left_ms = max(int(timeout_s * 1000), 0)
        while True:
            for socket, _ in zmq.zmq_poll(self._polled, left_ms):
                message = self._take(socket)
                if message is not None:
                    return message
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            left_ms = int(left_s * 1000)

    def _take(self, socket: zmq.backend.Socket) -> AnyMessage | None:
        try:
            data = socket.recv(_NOW)
            if not socket.get(zmq.RCVMORE):
                return decode(data)
            while socket.get(zmq.RCVMORE):
                socket.recv(_NOW)
        except zmq.Again:
            return None
        except ValueError:
            pass
        self.malformed += 1
        return None

    def close(self) -> None:
        """Close both sockets; queued requests get a moment to leave."""
        self.dealer.close(linger=500)
        if self.subscriber is not None:
            self.subscriber.close()
        self._sockets.close()


def ask(
    addresses: Endpoints, build: Callable[[str], Message], timeout_s: float = 2.0, token: str = ""
) -> AnyMessage | None:
    """Send one request of a new session, again under the same revision until it is answered; None where nobody answers
    within `timeout_s`.

    Where the answer is a challenge the request is sent again, sealed with it and the account's `token`. The challenge
    itself is returned once time is up: no other answer came to what was sealed with it.
    """
    bus = ClientBus(addresses, subscribe=False)
    backoff, sealer = Backoff(0.3, 1.0), Sealer()
    challenge: Challenge | None = None
    deadline = time.monotonic() + timeout_s
    try:
        message = build(new_session("command"))
        next_send = 0.0
        while (now := time.monotonic()) < deadline:
            if now >= next_send:
                next_send = now + backoff.next_s()
                bus.send(message, sealer)
            answer = bus.receive(max(0.0, min(deadline, next_send) - time.monotonic()))
            if answer is not None and not (isinstance(answer, Challenge) and token):
                return answer
            if isinstance(answer, Challenge):
                if challenge is None or answer.challenge != challenge.challenge:
                    sealer.use(command_key(token, answer.challenge))
                    next_send = 0.0
                challenge = answer
        return challenge
    finally:
        bus.close()
