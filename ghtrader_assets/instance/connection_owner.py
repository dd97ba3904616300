"""Says which user of this machine opened a connection to a server on 127.0.0.1, by the kernel's tables (Linux).

`loopback_gate` asks here: ports have no modes, so whoever is on the machine reaches them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_IN_IPV6 = "0000000000000000FFFF0000"
"""How the second table begins an address of IPv4, which a socket of IPv6 connects to as well."""
_ROOT = 0
Address = tuple[str, int]


def is_ours(client: Address | None, server: Address | None) -> bool:
    """Whether this process's user or root holds the other end of a connection; True where no system says who does.

    An end that nobody holds any more is nobody's: its owner reads as root.
    """
    if not _TABLES[0].exists():
        return True
    if client is None or server is None:
        return False
    return owner_of(client, server) in (os.geteuid(), _ROOT)


def owner_of(client: Address, server: Address) -> int | None:
    """The uid that opened the connection from `client` to `server` (IPv4 and port); None where it is not held now."""
    with contextlib.suppress(OSError):
        ends = _written(client), _written(server)
        for local, remote, uid, inode in _connections():
            if (local.removeprefix(_IN_IPV6), remote.removeprefix(_IN_IPV6)) == ends:
                return int(uid) if inode != "0" else None
    return None


def _written(address: Address) -> str:
    """An address as the tables have it: words of the machine's byte order, in capitals."""
    host = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return f"{host:08X}:{address[1]:04X}"


def _connections() -> Iterator[tuple[str, str, str, str]]:
    for table in _TABLES:
        with contextlib.suppress(FileNotFoundError), open(table) as file:
            next(file)
            for line in file:
                _, local, remote, _, _, _, _, uid, _, inode, *_ = line.split()
                yield local, remote, uid, inode
