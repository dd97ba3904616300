"""Makes and loads the bus's CURVE keys (ZeroMQ's RFC 26) for tcp: one pair of each kind a home, readable by its owner.

A client whose key is not known is refused.

Not needed over ipc, where the folder of the sockets is private. Never without over tcp.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from ghtrader_base.errors import ConfigError, RefusedError
from ghtrader_base.files import ensure_dir
from ghtrader_base.settings import Settings

_SIDES = ("gateway", "client")


@dataclass(frozen=True)
class CurveKeys:
    """Folders and files of the keys of one home; nothing secret is kept in memory or shown."""

    folder: Path

    def secret_file(self, side: str) -> Path:
        """Certificate with the secret key of `gateway` or `client`."""
        return self.folder / f"{side}.key_secret"

    @property
    def allowed(self) -> Path:
        """Folder of the public certificates that may connect."""
        return self.folder / "allowed"


def keys_dir(settings: Settings) -> Path:
    """Where the keys of a home are."""
    return settings.home / "keys" / "bus"


def make_keys(settings: Settings, replace: bool = False) -> Path:
    """Make the gateway's and the clients' keys; returns their folder.

    Raises
    ------
    RefusedError
        There are keys already: who uses them would be locked out.
    """
    folder = keys_dir(settings)
    keys = CurveKeys(folder)
    if keys.secret_file("gateway").exists() and not replace:
        hint = "add --replace to make new ones; running gateways need a restart then"
        raise RefusedError(f"{folder} has keys already", hint)
    ensure_dir(keys.allowed)
    for one in (folder, keys.allowed):
        one.chmod(0o700)
    for side in _SIDES:
        public, secret = zmq.auth.create_certificates(folder, side)
        Path(secret).chmod(0o600)
        if side == "client":
            Path(public).replace(keys.allowed / Path(public).name)
    return folder


def load_keys(settings: Settings) -> CurveKeys:
    """The keys of a home.

    Raises
    ------
    ConfigError
        There are none, or others can read them.
    """
    keys = CurveKeys(keys_dir(settings))
    for side in _SIDES:
        path = keys.secret_file(side)
        if not path.exists():
            hint = "make them: ghtrader config bus-keys"
            raise ConfigError("the bus over tcp needs keys, and this home has none", hint)
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} can be read by others", f"chmod 600 {path}, or make new keys")
    return keys


def serve_with(socket: zmq.Socket[bytes], keys: CurveKeys) -> None:
    """Before bind: only those who know our public key and whose own is allowed get through."""
    public, secret = zmq.auth.load_certificate(keys.secret_file("gateway"))
    socket.curve_publickey, socket.curve_secretkey, socket.curve_server = public, secret, True


def connect_with(socket: zmq.Socket[bytes], keys: CurveKeys) -> None:
    """Before connect: who we are, and whom we expect."""
    public, secret = zmq.auth.load_certificate(keys.secret_file("client"))
    server, _ = zmq.auth.load_certificate(keys.folder / "gateway.key")
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, server


def authenticator(context: zmq.Context[zmq.Socket[bytes]], keys: CurveKeys) -> ThreadAuthenticator:
    """Started; it must be there before the first socket of `context` binds, and be stopped before `context` ends."""
    auth = ThreadAuthenticator(context)
    auth.start()
    auth.configure_curve(domain="*", location=str(keys.allowed))
    return auth
