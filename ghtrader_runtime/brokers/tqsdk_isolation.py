"""Isolates TqSdk from the process it runs in.

It gets a HOME of its own, the servers' ports are probed first, its errors become errors of `ghtrader_base`, and packets
that leave on its socket are reported.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from pathlib import Path
from urllib.parse import urlparse

from ghtrader_base.address_passwords import hide_secrets
from ghtrader_base.errors import ConfigError, FailedError, GhtraderError, UnreachableError
from ghtrader_base.files import ensure_dir, parse_json
from ghtrader_base.settings import Settings

_ANSWERED = re.compile(r"\((\d{3}),")
"""TqSdk's words about an HTTP answer: the status and what came with it."""


def isolate_home(settings: Settings, name: str) -> Path:
    """Give TqSdk a HOME of its own (its caches and logs are fixed at import); call before importing it.

    The account state's XDG folder is pinned first, since it follows HOME.
    """
    os.environ["XDG_STATE_HOME"] = str(settings.user_state.parent)
    folder = ensure_dir(settings.home / "tqsdk" / name)
    os.environ["HOME"] = str(folder)
    return folder


def probe(url: str, what: str) -> None:
    """`UnreachableError` where nobody listens at `url`: TqApi itself takes a minute to notice."""
    parsed = urlparse(url)
    if not parsed.hostname:
        return
    port = parsed.port or (443 if parsed.scheme in ("https", "wss") else 80)
    try:
        socket.create_connection((parsed.hostname, port), timeout=5).close()
    except OSError as exc:
        raise UnreachableError(
            f"no {what} at {hide_secrets(url)}: {exc.strerror or exc}",
            "start it (`ghtrader exchange serve`), or correct the address",
        ) from exc


class SendWatch(logging.Handler):
    """Reads in TqSdk's log that a packet went to its socket, and notes which order that was."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.departed: list[tuple[str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg != "websocket send data":
            return
        now = time.monotonic_ns()
        pack = getattr(record, "extra", {}).get("pack", "")
        if '"insert_order"' in pack:
            self.departed.append((str(parse_json(pack)["order_id"]), now))


def connect_error(exc: Exception) -> GhtraderError:
    """What a failed start of TqSdk means for the operator."""
    text = str(exc)
    answered = _ANSWERED.search(text)
    if answered is not None and (int(answered[1]) >= 500 or int(answered[1]) == 429):  # nothing about the login
        message = f"the login service is not available ({answered[1]})"
        return UnreachableError(message, "try again later; a gateway under a supervisor does so by itself")
    if "认证" in text or "不支持" in text or "grant" in text:
        message = "TqSdk refused the login: user, password or rights are wrong"
        return ConfigError(message, "check TQSDK_USER and TQSDK_PASSWORD")
    if "运维" in text:
        message = "the service is in its daily maintenance, 19:00 to 19:30 Beijing time"
        return UnreachableError(message, "start again afterwards")
    if isinstance(exc, OSError) or "Connection" in type(exc).__name__:
        message = f"TqSdk cannot connect: {type(exc).__name__}"
        return UnreachableError(message, "check the network and the TQ_*_URL settings")
    return FailedError(f"TqSdk did not start: {type(exc).__name__}: {text}", "run it again with --debug")
