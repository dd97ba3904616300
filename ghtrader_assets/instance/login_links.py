"""Makes the links that log a browser in to a server of this home, and takes each of them once.

A ticket is written down by its hash alone, in a file of the user's own. `loopback_gate` asks here.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import atomic_write_text, ensure_dir, read_bytes
from ghtrader_base.settings import Settings

LOGIN_PATH = "/ghtrader/login"
TICKET = "ticket"


def login_link(settings: Settings, kind: str, url: str) -> str:
    """A link that works once, for the server of this kind at `url`; the one made before stops working."""
    ticket = secrets.token_urlsafe(32)
    folder = ensure_dir(_folder(settings))
    os.chmod(folder, 0o700)
    atomic_write_text(folder / kind, _hashed(ticket))
    return f"{url}{LOGIN_PATH}?{TICKET}={ticket}"


def take_ticket(settings: Settings, kind: str, ticket: str) -> bool:
    """Whether this is the ticket of the last link of a server; from then on it is not."""
    path = _folder(settings) / kind
    with contextlib.suppress(OSError, IntegrityError):
        if hmac.compare_digest(read_bytes(path), _hashed(ticket).encode()):
            path.unlink()  # of two at once, the other finds no file
            return True
    return False


def _folder(settings: Settings) -> Path:
    return settings.home / "logins"


def _hashed(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()
