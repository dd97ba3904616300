"""Sends HTTP requests and websocket handshakes with any headers at all, as neither browsers nor libraries would."""

from __future__ import annotations

import base64
import http.client
import os
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.waiting import PATIENCE_S

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """Status, headers (lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(port: int, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Answer:
    """One request to 127.0.0.1 with these headers alone; a Host is not added."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        with connection.getresponse() as answer:
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


def handshake(port: int, path: str, headers: Headers, protocol: str = "graphql-ws") -> int:
    """The status a websocket's handshake is answered with; 101 opens it."""
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = [
        ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Protocol", protocol),
    ]  # fmt: skip
    return ask(port, "GET", path, [*headers, *upgrade]).status
