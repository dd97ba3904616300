"""A client of a gateway moved by hand: it proves the token, seals what it sends, and keeps what left as frames."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import Endpoints
from ghtrader_runtime.bus.message_seal import ClientCredentials
from ghtrader_runtime.bus.sockets import ClientBus, new_session


class TradingClient:
    """One process that may trade.

    Parameters
    ----------
    addresses : Endpoints
        The gateway's.
    state_dir : Path
        Of the account, whose token it knows.
    symbol : str
        What it asks for and trades.
    """

    def __init__(self, addresses: Endpoints, state_dir: Path, symbol: str) -> None:
        self._addresses, self._state_dir, self.symbol = addresses, state_dir, symbol
        self.session = new_session("strategy")
        self.credentials = ClientCredentials(self.session)
        self.bus = ClientBus(addresses, subscribe=False)
        self.frames: list[list[bytes]] = []
        self.heard: list[msg.AnyMessage] = []
        self._revision = self._asked = 0

    def head(self) -> dict[str, Any]:
        """Of its next message."""
        self._revision += 1
        return {"session": self.session, "revision": self._revision, "sent_ns": time.monotonic_ns()}

    def hello(self, **changes: Any) -> msg.Hello:
        """Its next hello, with some fields changed; not sent."""
        fields = {
            "symbol": self.symbol, "purpose": "trade", "after_id": 2**62,
            "proof": self.credentials.proof(read_token(self._state_dir)),
        }  # fmt: skip
        return msg.Hello(**self.head(), **(fields | changes))

    def say_hello(self) -> None:
        """Send it; the welcome is taken as it comes."""
        hello = self.hello()
        self._asked = hello.revision
        self.credentials.sealer.use(None)
        self.send(hello)

    def send(self, message: msg.Message) -> None:
        """Send, sealed once there is a key."""
        body = msg.encode(message)
        seal = self.credentials.sealer.seal(body)
        self.frames.append([body] if seal is None else [body, seal])
        self.bus.dealer.send_multipart(self.frames[-1])

    def take(self) -> msg.AnyMessage | None:
        """What came, if something did."""
        message = self.bus.receive(0.0)
        if isinstance(message, msg.Welcome) and message.answers == self._asked:
            self.credentials.welcomed(message.nonce)
            self.send(msg.Command(**self.head(), name="heartbeat"))
        if message is not None:
            self.heard.append(message)
        return message

    @property
    def joined(self) -> bool:
        """Whether it was welcomed since its last hello."""
        return self.credentials.sealer.has_key

    def say_ready(self) -> None:
        """It answers ticks."""
        self.send(msg.Ready(**self.head(), symbol=self.symbol, rows=0, model="by hand"))

    def want(self, volume: int, **changes: Any) -> int:
        """Send a target; returns its revision."""
        target = msg.Target(**self.head() | {"symbol": self.symbol, "volume": volume, "tick_id": -1, "tick_ns": 0,
                                             "reason": "by hand"} | changes)  # fmt: skip
        self.send(target)
        return target.revision

    def answer(self, revision: int) -> msg.Ack | None:
        """The acknowledgement of a request."""
        found = [one for one in self.heard if isinstance(one, msg.Ack) and one.answers == revision]
        return found[-1] if found else None

    def reconnect(self) -> None:
        """A new connection, of which it knows nothing yet: what it sends is sealed as before."""
        self.bus.close()
        self.bus = ClientBus(self._addresses, subscribe=False)

    def close(self) -> None:
        """End its sockets; no word is said."""
        self.bus.close()
