"""Keeps an account's files from being written while a block runs.

A ledger somebody holds, files that cannot grow, a disk that does not come back from a flush, one that may only be read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

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
def nothing_grows(folder: Path) -> Iterator[None]:
    """No file of this process takes another byte, those of `folder` included."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
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
