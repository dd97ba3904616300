"""Keeps files from being written while a block runs.

A ledger somebody holds, files that cannot grow, a full disk, one that does not come back from a flush, one that may
only be read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from ghtrader_runtime.accounts import order_ledger
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.ledger_reader import FILE_NAME as LEDGER
from ghtrader_runtime.accounts.order_ledger import Ledger


@contextlib.contextmanager
def ledger_held(folder: Path) -> Iterator[None]:
    """Somebody has the ledger open in the middle of a transaction."""
    with contextlib.closing(sqlite3.connect(folder / LEDGER, isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        yield
        base.execute("ROLLBACK")


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    """Keep nothing compiled: Python cuts such a file where the limit is, and takes it for whole in later runs."""
    with mock.patch.object(sys, "dont_write_bytecode", True), mock.patch.dict(os.environ, PYTHONDONTWRITEBYTECODE="1"):
        yield


@contextlib.contextmanager
def nothing_grows(folder: Path, most: int = 0) -> Iterator[None]:
    """No file of this process, those of `folder` included, grows beyond `most` bytes: needs no rights."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with _no_bytecode():
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def no_flush_returns(folder: Path) -> Iterator[None]:
    """Whoever flushes a file waits until the block is over, as on a disk or a server of files that does not answer."""
    over = threading.Event()
    flushes = {name: getattr(os, name) for name in ("fsync", "fdatasync")}
    commit = Ledger._flush

    def held(name: str, descriptor: int) -> None:
        over.wait()
        flushes[name](descriptor)

    def held_commit(ledger: Ledger) -> None:
        over.wait()
        commit(ledger)

    with contextlib.ExitStack() as stack:
        stack.callback(over.set)
        for name in flushes:
            stack.enter_context(mock.patch.object(os, name, lambda descriptor, name=name: held(name, descriptor)))
        stack.enter_context(mock.patch.object(Ledger, "_flush", held_commit))
        stack.enter_context(mock.patch.object(order_ledger, "_WAIT_S", 0.1))
        yield


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing of it may be written any more, as once a file system is remounted for reading alone after an error."""

    def refuse(*given: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def refuse_transaction(*given: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    with contextlib.ExitStack() as stack:
        for name in ("_append", "_cut_off"):
            stack.enter_context(mock.patch.object(KillSwitch, name, refuse))
        stack.enter_context(mock.patch.object(Ledger, "_open_transaction", refuse_transaction))
        yield


class SmallDisk:
    """A mounted tmpfs of its own, which is filled and emptied; needs root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / ".ballast"

    def resize(self, *, size: str = "", inodes: int = 0) -> None:
        """Change how much it holds: `64m`, files that there may be."""
        options = [f"size={size}"] if size else []
        options += [f"nr_inodes={inodes}"] if inodes else []
        subprocess.run(["mount", "-o", "remount," + ",".join(options), str(self.folder)], check=True)

    def leave(self, free: int) -> None:
        """Fill it so that `free` bytes are left."""
        self.empty()
        found = os.statvfs(self.folder)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - free))

    def leave_inodes(self, free: int) -> None:
        """Let only `free` more files be made."""
        found = os.statvfs(self.folder)
        self.resize(inodes=found.f_files - found.f_ffree + free)

    def empty(self) -> None:
        """Take the filling away, and let as many files be made as one likes."""
        self._ballast.unlink(missing_ok=True)
        self.resize(inodes=1_000_000)


@contextlib.contextmanager
def mounted(folder: Path, size: str = "64m") -> Iterator[SmallDisk | None]:
    """A disk of its own at `folder`; None where nobody may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "ghtrader-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    try:
        yield SmallDisk(folder) if done else None
    finally:
        if done:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "64m") -> Iterator[SmallDisk]:
    """As `mounted`; the test is skipped by name where nobody may mount."""
    with mounted(folder, size) as disk:
        if disk is None:
            pytest.skip("a full disk of its own needs root, to mount it")
        yield disk


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[Callable[[bool], None]]:
    """`folder` on a file system of its own that `fill(True)` fills and `fill(False)` empties; where nobody may mount,
    files that may not grow instead."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with _no_bytecode(), mounted(folder, "2m") as disk:

        def fill(full: bool) -> None:
            if disk is None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0 if full else limits[1], limits[1]))
            elif full:
                disk.leave(0)
            else:
                disk.empty()

        try:
            yield fill
        finally:
            fill(False)
