"""Seals messages, so that their reader knows who wrote them, for which connection, and that they are no copies.

Both ends know the account's token; it is never sent. A client that wants to trade proves in its hello that it knows it
(`HelloProof`). The answer brings a nonce made for that connection, and token and nonces together give the key of the
session (`session_key`), which is never sent either. Each further message is followed by a seal: a number that only
counts up, and a keyed BLAKE2b of number and message (RFC 7693: a MAC, and a fraction of what an HMAC costs on the way
of every target). A message sent on another connection, or sent a second time, has no valid seal there.

A command of a person is no session: its key (`command_key`) is made of the token and of a challenge that the gateway
gives to each connection, and that changes with each command it obeys.

Pure: sockets are in `sockets`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum

PROTOCOL_VERSION = 3
"""Of the bus; from 2 on, messages of sessions and commands are sealed, from 3 on with BLAKE2b."""
NONCE_BYTES = 32
_NUMBER_BYTES, _MAC_BYTES, _DIGEST = 8, 32, "sha256"
SEAL_BYTES = _NUMBER_BYTES + _MAC_BYTES


class SealFault(StrEnum):
    """What is wrong with a seal.

    FORGED
        It was not made with the key of this session and connection.
    REPLAYED
        It was made with it, and was here before.
    """

    FORGED = "its seal is not that of the session on this connection"
    REPLAYED = "it is a copy of a message that was here before"


def fresh_nonce() -> bytes:
    """Random bytes that nobody can foretell, bytes[32]."""
    return secrets.token_bytes(NONCE_BYTES)


def session_key(token: str, session: str, nonce: bytes, gateway_nonce: bytes) -> bytes:
    """The key of a session on one connection, bytes[32]; `nonce` is the client's."""
    return _made(token, b"session", session.encode("utf-8", "surrogatepass"), nonce, gateway_nonce)


def command_key(token: str, challenge: bytes) -> bytes:
    """The key of a command that answers `challenge`, bytes[32]."""
    return _made(token, b"command", challenge)


def _made(token: str, *parts: bytes) -> bytes:
    whole = b"".join(len(part).to_bytes(4) + part for part in parts)
    return hmac.digest(token.encode("utf-8", "surrogatepass"), whole, _DIGEST)


@dataclass(frozen=True)
class HelloProof:
    """What a hello shows instead of the token.

    Attributes
    ----------
    nonce : bytes
        Made by the client once, the same in each of its hellos; bytes[32].
    code : str
        HMAC-SHA256 of session and nonce by the token, in hexadecimal; empty where the client knows no token yet.
    """

    nonce: bytes
    code: str

    @classmethod
    def of(cls, token: str, session: str, nonce: bytes) -> HelloProof:
        """The proof of who knows `token`."""
        made = _made(token, b"hello", session.encode("utf-8", "surrogatepass"), nonce).hex() if token else ""
        return cls(nonce, made)

    @classmethod
    def read(cls, text: str) -> HelloProof | None:
        """The inverse of `text`; None for what another version of the protocol shows."""
        version, _, rest = text.partition(":")
        nonce, _, code = rest.partition(":")
        try:
            found = cls(bytes.fromhex(nonce), code)
        except ValueError:
            return None
        return found if version == str(PROTOCOL_VERSION) and len(found.nonce) == NONCE_BYTES else None

    def text(self) -> str:
        """As it is sent: version, nonce and code."""
        return f"{PROTOCOL_VERSION}:{self.nonce.hex()}:{self.code}"

    def proves(self, token: str, session: str) -> bool:
        """Whether it is that of who knows the token; an empty token proves nothing."""
        wanted = HelloProof.of(token, session, self.nonce).code
        return bool(token) and hmac.compare_digest(wanted.encode(), self.code.encode("utf-8", "surrogatepass"))


class _Mac:
    """The keyed BLAKE2b of one key, which takes in the key once and not for every message."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(key=key, digest_size=_MAC_BYTES)

    def of(self, data: bytes) -> bytes:
        """Of some bytes, bytes[32]."""
        made = self._keyed.copy()
        made.update(data)
        return made.digest()


class Sealer:
    """Seals the messages of one process. Its numbers count up whatever key is used, so that no key sees one twice."""

    def __init__(self) -> None:
        self._key: bytes | None = None
        self._mac: _Mac | None = None
        self._number = 0

    @property
    def has_key(self) -> bool:
        """Whether it can seal."""
        return self._mac is not None

    def use(self, key: bytes | None) -> None:
        """Seal with this key, bytes[32], from now on; None: seal nothing."""
        self._key, self._mac = key, None if key is None else _Mac(key)

    def seal(self, body: bytes) -> bytes | None:
        """The seal of a message's bytes, bytes[40]; None without a key."""
        if self._mac is None:
            return None
        self._number += 1
        number = self._number.to_bytes(_NUMBER_BYTES)
        return number + self._mac.of(number + body)


class SealCheck:
    """Checks the seals of one session on one connection."""

    def __init__(self, key: bytes) -> None:
        self._key, self._mac = key, _Mac(key)
        self._last = 0

    def fault(self, body: bytes, seal: bytes) -> SealFault | None:
        """What is wrong with a message's seal; None where it is right, and is now known."""
        number = seal[:_NUMBER_BYTES]
        if not hmac.compare_digest(self._mac.of(number + body), seal[_NUMBER_BYTES:]):
            return SealFault.FORGED
        if (count := int.from_bytes(number)) <= self._last:
            return SealFault.REPLAYED
        self._last = count
        return None


class ClientCredentials:
    """A client's side: proves that it knows the token, and seals what it sends once it was welcomed.

    Parameters
    ----------
    session : str
        Name of the client's session.
    """

    def __init__(self, session: str) -> None:
        self.nonce = fresh_nonce()
        self.sealer = Sealer()
        self._session, self._token = session, ""

    def proof(self, token: str) -> str:
        """The text of the proof for a hello."""
        self._token = token
        return HelloProof.of(token, self._session, self.nonce).text()

    def welcomed(self, gateway_nonce: bytes) -> None:
        """The gateway has answered the last hello: what is sent from now on is sealed for this connection."""
        if self._token:
            self.sealer.use(session_key(self._token, self._session, self.nonce, gateway_nonce))
