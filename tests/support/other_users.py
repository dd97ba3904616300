"""Looks at files, sockets and ports as another user of the machine: `nobody`, in a fork of a process that is root."""

from __future__ import annotations

import json
import os
import socket
import stat
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

NOBODY = 65534


def open_to_others(*roots: Path) -> list[str]:
    """What group or others may do anything with, with its mode; links, which have none, are left out."""
    found = []
    for root in roots:
        for path in (root, *sorted(root.rglob("*"))):
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # a running process replaced it
                continue
            if not stat.S_ISLNK(mode) and mode & 0o077:
                found.append(f"{stat.filemode(mode)} {path}")
    return found


def as_nobody(look: Callable[[], list[str]]) -> list[str]:
    """What `look` finds as user and group `nobody`; the test is skipped where it is not run by root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writing, json.dumps(look()).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    assert said, "what was looked at as nobody ended with an error"
    found: list[str] = json.loads(said)
    return found


def within_reach(paths: Iterable[Path]) -> list[str]:
    """Of files, folders and sockets those that this process can read, list, write or connect to."""
    found = []
    for path in paths:
        try:
            mode = path.lstat().st_mode
            if stat.S_ISSOCK(mode):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
            elif stat.S_ISDIR(mode):
                os.listdir(path)
            else:
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            found.append(str(path))
        except OSError:
            if os.access(path, os.W_OK):
                found.append(f"{path} (to write)")
    return found
