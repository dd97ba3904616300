"""Chooses the addresses of a gateway's sockets: ipc in a private folder, or tcp on loopback with CURVE.

Addresses follow from the account's state folder; whoever binds holds that account's lock, because binding silently
takes over a stale ipc path.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from ghtrader_base.address_passwords import hide_secrets
from ghtrader_base.errors import ConfigError
from ghtrader_base.settings import Settings
from ghtrader_runtime.bus.curve_keys import CurveKeys, load_keys

_MAX_PATH = 100
_TCP = re.compile(r"^tcp://(127\.0\.0\.1|localhost):(\d{1,5})$")


@dataclass(frozen=True)
class Endpoints:
    """Addresses of one gateway; `keys` where they are tcp."""

    publish: str
    requests: str
    keys: CurveKeys | None = None


def runtime_dir() -> Path:
    """The private folder of the ipc sockets (mode 0700), short enough for an ipc path.

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


def endpoints(settings: Settings, state_dir: Path) -> Endpoints:
    """Addresses of the gateway of the account kept in `state_dir`.

    Raises
    ------
    ConfigError
        GHTRADER_BUS is neither `ipc` nor `tcp://127.0.0.1:PORT`; tcp without keys; a folder too long for a socket.
    """
    if settings.bus != "ipc":
        return _tcp(settings)
    key = hashlib.sha256(os.path.realpath(state_dir).encode()).hexdigest()[:16]  # however the home was spelled
    folder = runtime_dir()
    found = Endpoints(f"ipc://{folder}/{key}.pub", f"ipc://{folder}/{key}.req")
    if max(len(found.publish), len(found.requests)) > _MAX_PATH:
        raise ConfigError(f"{folder} is too long for a socket path", "set XDG_RUNTIME_DIR to a shorter folder")
    return found


def _tcp(settings: Settings) -> Endpoints:
    matched = _TCP.match(settings.bus)
    port = int(matched.group(2)) if matched else 0
    if not 1 <= port < 65535:
        raise ConfigError(
            f"GHTRADER_BUS={hide_secrets(settings.bus)} is no address of the bus",
            "ipc, or tcp://127.0.0.1:PORT (PORT + 1 is taken too; reach another machine through an SSH tunnel)",
        )
    return Endpoints(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}", load_keys(settings))
