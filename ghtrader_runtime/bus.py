"""Sockets between gateway and strategy: PUB/SUB for ticks and state, ROUTER/DEALER for targets and commands.

Over ipc in a private runtime folder; addresses follow from the account's state folder, and whoever binds holds that
account's lock (bind silently takes over a stale path). A message that cannot be read is counted and dropped.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import zmq

from ghtrader_base.errors import ConfigError
from ghtrader_runtime.messages import AnyMessage, Message, decode, encode

_MAX_PATH = 100
_HIGH_WATER = 200_000
HEARTBEAT_S = 0.5
STALE_S = 3.0


def new_session(kind: str) -> str:
    """A name for this process's stream of messages."""
    return f"{kind}-{os.getpid()}-{secrets.token_hex(3)}"


def runtime_dir() -> Path:
    """The private folder of the sockets (mode 0700), short enough for an ipc path.

    Raises
    ------
    ConfigError
        The folder is there but belongs to somebody else or is open to others.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base) / "ghtrader" if base and len(base) < 40 and os.access(base, os.W_OK) else None
    folder = folder or Path("/tmp") / f"ghtrader-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(f"{folder} is not a private folder of this user", "remove it, or set XDG_RUNTIME_DIR")
    return folder


@dataclass(frozen=True)
class Endpoints:
    """Addresses of one gateway."""

    publish: str
    requests: str


def endpoints(state_dir: Path) -> Endpoints:
    """Addresses of the gateway of the account kept in `state_dir`."""
    key = hashlib.sha256(str(state_dir).encode()).hexdigest()[:16]
    folder = runtime_dir()
    found = Endpoints(f"ipc://{folder}/{key}.pub", f"ipc://{folder}/{key}.req")
    if max(len(found.publish), len(found.requests)) > _MAX_PATH:
        raise ConfigError(f"{folder} is too long for a socket path", "set XDG_RUNTIME_DIR to a shorter folder")
    return found


class LinkState(StrEnum):
    """CONNECTING until something is heard, UP while it is heard, STALE after `STALE_S` of silence."""

    CONNECTING = "connecting"
    UP = "up"
    STALE = "stale"


class Link:
    """Whether the other side is heard. Pure: times (monotonic ns) come in as arguments."""

    def __init__(self, stale_s: float = STALE_S) -> None:
        self.state = LinkState.CONNECTING
        self.changes = 0
        self._last_ns = -1
        self._stale_ns = int(stale_s * 1e9)

    def heard(self, now_ns: int) -> bool:
        """Something arrived; True where that changed the state."""
        self._last_ns = max(self._last_ns, now_ns)
        return self._become(LinkState.UP)

    def check(self, now_ns: int) -> bool:
        """Time passed; True where that changed the state."""
        silent = self.state is LinkState.UP and now_ns - self._last_ns > self._stale_ns
        return silent and self._become(LinkState.STALE)

    def silent_s(self, now_ns: int) -> float:
        """Seconds since the other side was last heard."""
        return (now_ns - self._last_ns) / 1e9

    def _become(self, state: LinkState) -> bool:
        changed = self.state is not state
        self.state = state
        self.changes += changed
        return changed


def _socket(context: zmq.Context, kind: int) -> zmq.Socket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, _HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, _HIGH_WATER)
    return socket


class GatewayBus:
    """The gateway's end: binds both sockets. Never blocks."""

    def __init__(self, addresses: Endpoints) -> None:
        self._context = zmq.Context()
        self._paths = [Path(address.removeprefix("ipc://")) for address in (addresses.publish, addresses.requests)]
        self.publisher = _socket(self._context, zmq.PUB)
        self.router = _socket(self._context, zmq.ROUTER)
        self.router.setsockopt(zmq.MAXMSGSIZE, 1 << 20)
        self.publisher.bind(addresses.publish)
        self.router.bind(addresses.requests)
        for path in self._paths:
            path.chmod(0o600)
        self.malformed = 0

    @property
    def wake_fd(self) -> int:
        """Descriptor that becomes readable when requests may be waiting (edge-triggered: drain until `None`)."""
        return self.router.getsockopt(zmq.FD)

    def publish(self, message: Message) -> None:
        """Send to every subscriber."""
        self.publisher.send(encode(message), zmq.NOBLOCK)

    def wait(self, timeout_s: float) -> bool:
        """Whether a request came within `timeout_s`."""
        return bool(self.router.poll(max(timeout_s * 1000, 0)))

    def receive(self) -> tuple[bytes, AnyMessage] | None:
        """The next request and who sent it, or None where there is none now."""
        while True:
            try:
                frames = self.router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                if len(frames) != 2:
                    raise ValueError(f"{len(frames)} frames")
                return frames[0], decode(frames[1])
            except ValueError:
                self.malformed += 1

    def send(self, identity: bytes, message: Message) -> None:
        """Answer one peer; an answer nobody can take is dropped (it will ask again)."""
        try:
            self.router.send_multipart([identity, encode(message)], zmq.NOBLOCK)
        except zmq.Again:
            self.malformed += 1

    def close(self) -> None:
        """Close both sockets; what is queued for local peers gets a moment to leave."""
        self.publisher.close(linger=200)
        self.router.close(linger=200)
        self._context.term()
        for path in self._paths:  # the account's lock is still ours
            path.unlink(missing_ok=True)


class ClientBus:
    """A strategy's or command's end: connects both sockets."""

    def __init__(self, addresses: Endpoints, subscribe: bool = True) -> None:
        self._context = zmq.Context()
        self.dealer = _socket(self._context, zmq.DEALER)
        self.dealer.connect(addresses.requests)
        self._poller = zmq.Poller()
        self._poller.register(self.dealer, zmq.POLLIN)
        self.subscriber: zmq.Socket | None = None
        if subscribe:
            self.subscriber = _socket(self._context, zmq.SUB)
            self.subscriber.setsockopt(zmq.SUBSCRIBE, b"")
            self.subscriber.connect(addresses.publish)
            self._poller.register(self.subscriber, zmq.POLLIN)
        self.malformed = 0

    def send(self, message: Message) -> None:
        """Send a request."""
        self.dealer.send(encode(message))

    def receive(self, timeout_s: float) -> AnyMessage | None:
        """The next message of either socket, answers first; None after `timeout_s` without one."""
        deadline = time.monotonic() + timeout_s
        while True:
            for socket in (self.dealer, self.subscriber):
                message = self._take(socket)
                if message is not None:
                    return message
            left = deadline - time.monotonic()
            if left <= 0 or not self._poller.poll(left * 1000):
                return None

    def _take(self, socket: zmq.Socket | None) -> AnyMessage | None:
        while socket is not None:
            try:
                data = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                return decode(data)
            except ValueError:
                self.malformed += 1
        return None

    def close(self) -> None:
        """Close both sockets; queued requests get a moment to leave."""
        self.dealer.close(linger=500)
        if self.subscriber is not None:
            self.subscriber.close()
        self._context.term()


def ask(addresses: Endpoints, build: Callable[[str], Message], timeout_s: float = 1.0) -> AnyMessage | None:
    """Send one request of a new session and wait for its answer; None where nobody answers in time."""
    bus = ClientBus(addresses, subscribe=False)
    try:
        bus.send(build(new_session("command")))
        return bus.receive(timeout_s)
    finally:
        bus.close()
