"""Writes predicted order intents to disk ahead of the decision, in a thread of its own.

One block of a file beside the ledger, written over whenever the prediction changes. A ledger that is told to record one
of the pre-written intents waits for this flush, which has been under way since the tick came, instead of one of its
own, and writes its row with the next commit. After a crash the block is read again: what it names and the ledger does
not know may have been sent, and is an open intent like any other until the broker's list tells.

The block is only written over once no ledger row of an intent it held is pending, so that a block torn by a loss of
power never is the only record of an order that was sent; it is empty then.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from pathlib import Path

import msgspec

from ghtrader_base.files import fsync_dir, open_file
from ghtrader_base.private_files import open_plain
from ghtrader_runtime.core.orders import Intent

FILE_NAME = "ledger.ahead"
BLOCK = 4096
_WAIT_S = 2.0


class Block(msgspec.Struct):
    """What the file holds: orders of one process run (epoch) of a ledger."""

    ledger_id: str
    epoch: int
    intents: list[Intent]


def read_block(folder: Path) -> Block | None:
    """What a process run left there; None where there is nothing whole."""
    try:
        with open_file(folder / FILE_NAME) as file:
            data = file.read()
        checksum, _, body = data.rstrip(b"\n").partition(b" ")
        if int(checksum, 16) != zlib.crc32(body):
            return None
        return msgspec.json.decode(body, type=Block)
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
        return None


def _encode(block: Block) -> bytes:
    body = msgspec.json.encode(block)
    return (b"%08x " % zlib.crc32(body) + body).ljust(BLOCK, b"\n")


def _plain(intent: Intent) -> Intent:
    """What the broker would be told, without why and when."""
    return msgspec.structs.replace(intent, target_session="", target_revision=-1, market_ns=0, wall_ns=0, sent_ns=0)


class PrewriteThread(threading.Thread):
    """The file and its writer.

    Parameters
    ----------
    folder : Path
        The account's.

    Raises
    ------
    OSError, ConfigError
        The disk refuses the file, or something else has its name.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(name="ledger-ahead", daemon=True)
        self._fd = open_plain(folder / FILE_NAME, os.O_RDWR | os.O_CREAT)
        self._empty()
        fsync_dir(folder)
        self._due, self._done = threading.Event(), threading.Event()
        self._done.set()
        self._data: bytes | None = None
        self._intents: list[Intent] = []
        self._durable = False
        self.start()

    def begin(self, ledger_id: str, epoch: int, intents: list[Intent]) -> None:
        """Have these durable instead of the ones before; left undone where the last are still being written."""
        if not self._done.is_set():
            return
        plain = [_plain(intent) for intent in intents]
        if self._durable and plain == self._intents:
            return  # most ticks leave the best prices where they were
        self._durable, self._intents = False, plain
        data = _encode(Block(ledger_id, epoch, intents))
        if len(data) > BLOCK:
            self._intents = []
            return
        self._data = data
        self._done.clear()
        self._due.set()

    def hangs(self, intent: Intent) -> bool:
        """Whether the block with an intent has been under way for longer than a disk that works may take."""
        return _plain(intent) in self._intents and not self._done.wait(_WAIT_S)

    def holds(self, intent: Intent) -> bool:
        """Whether an intent is durable here, once what is being written is."""
        return _plain(intent) in self._intents and self._done.wait(_WAIT_S) and self._durable

    def run(self) -> None:
        """Until stopped."""
        while self._due.wait():
            self._due.clear()
            if self._data is None:
                return
            try:
                self._write(self._data)
                os.fdatasync(self._fd)
                self._durable = True
            except OSError:  # the ledger will meet the same disk, and say so
                self._durable = False
            self._done.set()

    def _write(self, data: bytes) -> None:
        if os.pwrite(self._fd, data, 0) != len(data):
            raise OSError("a part of the block was not taken")

    def stop(self, empty: bool) -> None:
        """Before the ledger closes; with `empty` nothing of it may have been sent that the ledger does not know."""
        if not self._done.wait(_WAIT_S):
            return  # the disk does not answer: the file is in that thread's hands until the process ends
        self._data = None
        self._due.set()
        self.join()
        with contextlib.suppress(OSError):
            if empty:
                self._empty()
        os.close(self._fd)

    def _empty(self) -> None:
        self._write(b"".ljust(BLOCK, b"\n"))
        os.fsync(self._fd)
