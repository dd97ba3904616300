"""Keeps an account's files from being written while a block runs: a ledger somebody holds, files that cannot grow."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ghtrader_runtime.accounts.ledger_reader import FILE_NAME as LEDGER


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
