"""Keeps the gateway's client sessions: on which connection each joined, what it may do, and the state of its link.

A session is known by its connection. Who looks on may hear, and changes nothing, whatever name it gives itself. Who
proved in its hello that it knows the account's token may trade once its first sealed message has come over the same
connection; from then on the name is its own, and every message of it needs a seal. What has none, or another's, leaves
no trace on the session it names.

Bounded whatever is sent: who looks on costs one of `MAX_CLIENTS` places, and makes room for who may trade. Pure: times
come in, changes go out.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

from ghtrader_runtime.bus.link_state import Link, LinkChange
from ghtrader_runtime.bus.message_seal import HelloProof, SealCheck, SealFault, fresh_nonce, session_key
from ghtrader_runtime.bus.messages import Hello, Target
from ghtrader_runtime.bus.sockets import Received

MAX_CLIENTS = 64
HISTORIES_A_SECOND = 20.0
FORGOTTEN_S = 30.0
"""Silence after which a session is forgotten; who was says hello again."""
_NAME = re.compile(r"[a-z]+-[0-9]{1,10}-[0-9a-f]{6}")
"""As `sockets.new_session` makes them: none is the name of a link of the gateway's own."""
_OWN_KINDS = ("broker", "data", "ledger", "gateway")


class Refusal(StrEnum):
    """Why a message brought nothing about.

    STRANGER
        Nobody has joined on its connection.
    ONLOOKER
        It was for who may trade.
    TOKEN
        A hello that wants to trade, and does not prove that it knows the account's token.
    VERSION
        A hello of another version of the protocol.
    NAME
        A hello, or a message, in the name of another session, or in one that is no session's.
    FULL
        There is no place for one more.
    UNSEALED
        It has no seal, and its connection is that of a session that may trade.
    FORGED, REPLAYED
        Its seal is another's; it has been here before.
    COMMAND
        A command whose seal does not prove that its sender knows the account's token.
    """

    STRANGER = "stranger"
    ONLOOKER = "onlooker"
    TOKEN = "token"
    VERSION = "version"
    NAME = "name"
    FULL = "full"
    UNSEALED = "unsealed"
    FORGED = "forged"
    REPLAYED = "replayed"
    COMMAND = "command"


_FAULTS = {SealFault.FORGED: Refusal.FORGED, SealFault.REPLAYED: Refusal.REPLAYED}


@dataclass(kw_only=True)
class BusSession:
    """One session that joined on one connection.

    Attributes
    ----------
    session : str
        What it calls itself; its own name once it is `trusted`.
    identity : bytes
        Of its connection.
    link : Link
        Of a trusted session: whether it is heard.
    heard_ns : int
        When something came that counts as its own.
    nonce, gateway_nonce : bytes
        What its key was made of, beside the token; empty for who looks on.
    check : SealCheck or None
        Checks its seals; None for who looks on.
    trusted : bool
        Whether a message with its seal has come: it may trade.
    """

    session: str
    identity: bytes
    link: Link
    heard_ns: int
    nonce: bytes = b""
    gateway_nonce: bytes = b""
    check: SealCheck | None = None
    trusted: bool = False


class _Ration:
    """At most `HISTORIES_A_SECOND`."""

    def __init__(self) -> None:
        self._allowance, self._refilled_ns = HISTORIES_A_SECOND, 0

    def take(self, now_ns: int) -> bool:
        """Whether there is one left."""
        passed = max(0, now_ns - self._refilled_ns) / 1e9
        self._refilled_ns = max(now_ns, self._refilled_ns)
        self._allowance = min(HISTORIES_A_SECOND, self._allowance + passed * HISTORIES_A_SECOND)
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True


class BusSessions:
    """Sessions of a gateway.

    Parameters
    ----------
    token : str
        What a session must know to trade.

    Attributes
    ----------
    ready : dict
        Strategies that answer ticks: session -> model.
    last_target : Target or None
        The last one that a strategy sent for the contract at hand.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._clients: dict[bytes, BusSession] = {}
        self._trusted: dict[str, BusSession] = {}
        self._rations = {True: _Ration(), False: _Ration()}
        self.ready: dict[str, str] = {}
        self.last_target: Target | None = None

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def onlookers(self) -> int:
        """How many look on, or have not sent anything sealed yet."""
        return len(self._clients) - len(self._trusted)

    def get(self, session: str) -> BusSession | None:
        """The session that may trade under this name."""
        return self._trusted.get(session)

    def join(self, hello: Hello, identity: bytes, now_ns: int) -> BusSession | Refusal:
        """Somebody says hello; a session that may trade already is as it was, whoever repeats its hello."""
        known, proof = self._clients.get(identity), None
        if hello.purpose == "trade":
            proof = HelloProof.read(hello.proof)
            if proof is None:
                return Refusal.VERSION
            if not proof.proves(self._token, hello.session):
                return Refusal.TOKEN
        if known is not None and known.check is not None:
            if proof is None or known.session != hello.session or not hmac.compare_digest(known.nonce, proof.nonce):
                return Refusal.NAME
            return known
        if proof is not None and not is_session_name(hello.session):
            return Refusal.NAME
        if known is None and len(self._clients) >= MAX_CLIENTS and not self._make_room(proof is not None):
            return Refusal.FULL
        client = BusSession(session=hello.session, identity=identity, link=Link(name=hello.session), heard_ns=now_ns)
        if proof is not None:
            client.nonce, client.gateway_nonce = proof.nonce, fresh_nonce()
            client.check = SealCheck(session_key(self._token, client.session, client.nonce, client.gateway_nonce))
        self._clients[identity] = client
        return client

    def heard(self, received: Received, now_ns: int) -> tuple[BusSession | Refusal, LinkChange | None]:
        """Something came over a connection: whose it is and how its link changed, or why it counts for nothing."""
        client = self._clients.get(received.identity)
        if client is None:
            return Refusal.STRANGER, None
        if client.check is None:
            client.heard_ns = now_ns
            return client, None
        if received.seal is None:
            return Refusal.UNSEALED, None
        if fault := client.check.fault(received.body, received.seal):
            return _FAULTS[fault], None
        if received.message.session != client.session or not (client.trusted or self._take_name(client)):
            return Refusal.NAME, None
        client.heard_ns = now_ns
        return client, client.link.heard(now_ns)

    def check(self, now_ns: int) -> list[LinkChange]:
        """Time passed: how the links of those who may trade changed."""
        found = (client.link.check(now_ns) for client in self._trusted.values())
        return [change for change in found if change is not None]

    def silent(self, now_ns: int) -> list[BusSession]:
        """Who was not heard of for `FORGOTTEN_S`."""
        return [client for client in self._clients.values() if now_ns - client.heard_ns > FORGOTTEN_S * 1e9]

    def leave(self, client: BusSession) -> None:
        """Forget a session."""
        self._clients.pop(client.identity, None)
        if client.trusted:
            del self._trusted[client.session]
            client.trusted = False

    def states(self) -> dict[str, str]:
        """State of the link of every session that may trade; who looks on is not told of."""
        return {session: str(client.link.state) for session, client in self._trusted.items()}

    def may_have_history(self, client: BusSession, now_ns: int) -> bool:
        """Whether a stretch of history may be sent now: at most `HISTORIES_A_SECOND` are to those who may trade, and
        as many to those who look on."""
        return self._rations[client.check is not None].take(now_ns)

    def _take_name(self, client: BusSession) -> bool:
        """Its first sealed message: the name is its own, also where the same process had another connection before."""
        before = self._trusted.get(client.session)
        if before is not None:
            if not hmac.compare_digest(before.nonce, client.nonce):
                return False
            del self._clients[before.identity]
            before.trusted, client.link = False, before.link
        client.trusted = True
        self._trusted[client.session] = client
        return True

    def _make_room(self, trades: bool) -> bool:
        """Forget one who looks on, the one that joined first; for who may trade also one that never sent anything
        sealed. Who may trade keeps its place until it leaves or was silent for `FORGOTTEN_S`."""
        found = [client for client in self._clients.values() if client.check is None]
        if trades and not found:
            found = [client for client in self._clients.values() if not client.trusted]
        if not found:
            return False
        # the oldest of a dict's order is as good as any: who is still there says hello again
        self.leave(found[0])
        return True


def is_session_name(name: str) -> bool:
    """Whether a session that trades may be called so: `kind-pid-random`, the kind none of the gateway's own links."""
    return _NAME.fullmatch(name) is not None and name.partition("-")[0] not in _OWN_KINDS
