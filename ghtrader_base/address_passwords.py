"""Finds and hides a password that stands in an address: ``http://user:password@host``, ``postgresql://...``."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit, urlunsplit

HIDDEN = "********"


def password_of(address: str) -> str:
    """The password in an address, as it is written there; empty where there is none."""
    user, _, _ = _authority(address).rpartition("@")
    return user.partition(":")[2]


def login_of(address: str) -> tuple[str, str]:
    """User and password in an address, decoded; empty where there are none."""
    user, _, password = _authority(address).rpartition("@")[0].partition(":")
    return unquote(user), unquote(password)


def without_login(address: str) -> str:
    """The address without user and password."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else address


def hide_password(text: str, address: str) -> str:
    """A text with the password of an address replaced by asterisks, as it is written and decoded."""
    for secret in {password_of(address), login_of(address)[1]} - {""}:
        text = text.replace(secret, HIDDEN)
    return text


def _authority(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return ""
