"""Finds and hides secrets in an address: ``http://user:password@host``, ``...?token=...``, ``...#key=...``.

Whoever shows, logs or stores an address asks here. Secrets that are settings of their own are blotted out by `logs`.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit, urlunsplit

HIDDEN = "********"
_NAME = re.compile(
    r"pass|pwd|secret|token|credential|auth|signature|session|^(key|sig|pw|jwt)$"
    r"|(api|access|account|private|shared)[-_.]?key",
    re.IGNORECASE,
)
"""Names of parameters whose values are secrets."""
_PARAMETER = re.compile(r"([^&;?#=/]+)=([^&;?#]*)")
_TOKEN_LETTERS = 16
"""A user without a password and of at least so many letters is a token (``https://TOKEN@host``)."""


def password_of(address: str) -> str:
    """The password in front of an address's host, as it is written there; empty where there is none."""
    return _login(address).partition(":")[2]


def login_of(address: str) -> tuple[str, str]:
    """User and password in an address, decoded; empty where there are none."""
    user, _, password = _login(address).partition(":")
    return unquote(user), unquote(password)


def secrets_of(address: str) -> frozenset[str]:
    """Everything in an address that nobody else may see, as it is written and decoded."""
    parts = _split(address)
    if parts is None:
        return frozenset()
    user, _, password = _login(address).partition(":")
    found = {password, user if password in ("", "x-oauth-basic") and len(user) >= _TOKEN_LETTERS else ""}
    for text in (parts.path, parts.query, parts.fragment):
        found |= {value for name, value in _PARAMETER.findall(text) if _NAME.search(unquote_plus(name))}
    return frozenset(found | {unquote(one) for one in found} | {unquote_plus(one) for one in found}) - {""}


def without_login(address: str) -> str:
    """The address without user and password."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else address


def host_of(address: str) -> str:
    """Host and port of an address as they are written, without user and password; empty where there are none."""
    parts = _split(address)
    return parts.netloc.rpartition("@")[2] if parts is not None else ""


def hide_secrets(text: str, address: str | None = None) -> str:
    """A text with the secrets of an address replaced by asterisks; without an address: of the text, which is one."""
    for secret in sorted(secrets_of(text if address is None else address), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _login(address: str) -> str:
    parts = _split(address)
    return parts.netloc.rpartition("@")[0] if parts is not None else ""


def _split(address: str) -> SplitResult | None:
    try:
        return urlsplit(address)
    except ValueError:
        return None
