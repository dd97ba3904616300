"""Hands credentials to the servers of `ghtrader up`, outside of their environment and of any file on a disk.

A server takes run configs and shows what its runs print, and whoever may read its environment has all of it. So the
values lie in memory that has no name in a file system (memfd), the server keeps it open, and `VARIABLE` says where;
the user's own processes, the server's runs among them, open it by way of /proc. Which names are credentials is the
settings' business.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Container, Mapping
from pathlib import Path

from ghtrader_base.files import parse_json

VARIABLE = "GHTRADER_CREDENTIALS"
"""Says where they lie: /proc/PID/fd/N, no secret by itself."""


def take_out(environment: dict[str, str], names: Container[str]) -> dict[str, str]:
    """Remove the variables of these names, and what was handed over before; returns those that had a value."""
    found = {name: environment.pop(name) for name in list(environment) if name in names}
    environment.pop(VARIABLE, None)
    return {name: value for name, value in found.items() if value}


def lay_down(values: Mapping[str, str]) -> int | None:
    """Write values into memory of their own.

    Returns
    -------
    int or None
        Its descriptor, for one child and to be closed here then; None where the system has no such memory (it is
        Linux's): there the home's `.env` is the place for credentials.
    """
    if not hasattr(os, "memfd_create"):
        return None
    fd = os.memfd_create("ghtrader-credentials")
    os.fchmod(fd, 0o600)
    with os.fdopen(os.dup(fd), "w") as file:
        json.dump(dict(values), file)
    return fd


def own(fd: int) -> None:
    """Keep a descriptor from one's parent, and tell one's children where it is."""
    os.set_inheritable(fd, False)
    os.environ[VARIABLE] = f"/proc/{os.getpid()}/fd/{fd}"


def handed_over() -> dict[str, str]:
    """Names and values handed to this process; empty where there are none, or whoever kept them is gone."""
    place = os.environ.get(VARIABLE, "")
    with contextlib.suppress(OSError, ValueError):
        if place and Path(place).stat().st_uid == os.geteuid():
            found = parse_json(Path(place).read_text())
            return {str(name): str(value) for name, value in found.items()}
    return {}
