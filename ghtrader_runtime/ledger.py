"""What must survive a kill -9: order intents, how they ended, and the dedupe watermark of targets.

One append-only file for an account; each line is a CRC and a JSON record, fsynced before the thing it announces
happens. A torn last line is cut off at the next start (its record was never acted on); anything else unreadable is
refused. Client order ids are deterministic: the ledger's own id, the epoch (one for each start of a gateway), and
the number of the intent.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ghtrader_base.errors import ConfigError, FailedError, IntegrityError
from ghtrader_base.files import append_durable, atomic_write_bytes, ensure_dir, fsync_dir

FILE_NAME = "ledger.jsonl"
COMPACT_BYTES = 1 << 20
MAX_SESSIONS = 16
"""How many strategy sessions the dedupe watermark remembers."""


@dataclass(frozen=True)
class Intent:
    """An order somebody decided to send. `side` is +1 buy, -1 sell; `tif` is FAK or GFD.

    `target_session` and `target_revision` name the target it serves; `market_ns` is the market's time.
    """

    order_id: str
    number: int
    symbol: str
    side: int
    offset: str
    volume: int
    price: float
    tif: str
    target_session: str = ""
    target_revision: int = -1
    market_ns: int = 0


@dataclass
class LedgerState:
    """What a ledger's records add up to."""

    ledger_id: str = ""
    epoch: int = 0
    next_number: int = 1
    open: dict[str, Intent] = field(default_factory=dict)
    watermark: dict[str, int] = field(default_factory=dict)
    closed: int = 0

    def apply(self, record: dict[str, Any]) -> None:
        """Account for one record; `KeyError`, `TypeError` or `ValueError` where it makes no sense."""
        kind = record["t"]
        if kind == "epoch":
            self.ledger_id, self.epoch, self.next_number = record["ledger"], int(record["epoch"]), 1
        elif kind == "intent":
            intent = Intent(**record["intent"])
            self.open[intent.order_id] = intent
            self.next_number = max(self.next_number, intent.number + 1)
            self.note_target(intent.target_session, intent.target_revision)
        elif kind == "closed":
            self.open.pop(record["id"], None)
            self.closed += 1
        elif kind == "snapshot":
            self.ledger_id, self.epoch = record["ledger"], int(record["epoch"])
            self.next_number, self.closed = int(record["next"]), int(record["closed"])
            self.watermark = {str(k): int(v) for k, v in record["watermark"]}
            self.open = {item["order_id"]: Intent(**item) for item in record["open"]}
        else:
            raise ValueError(f"unknown record {kind!r}")

    def note_target(self, session: str, revision: int) -> None:
        """Move the watermark of a strategy session; the oldest sessions are forgotten."""
        if not session:
            return
        newest = max(revision, self.watermark.pop(session, -1))
        self.watermark[session] = newest
        while len(self.watermark) > MAX_SESSIONS:
            self.watermark.pop(next(iter(self.watermark)))

    def order_id(self, number: int) -> str:
        """Client order id of an intent of this epoch."""
        return f"gt{self.ledger_id}-{self.epoch}-{number:06d}"

    def snapshot(self) -> dict[str, Any]:
        """One record that stands for all before it."""
        return {
            "t": "snapshot", "ledger": self.ledger_id, "epoch": self.epoch, "next": self.next_number,
            "closed": self.closed, "watermark": list(self.watermark.items()),
            "open": [asdict(intent) for intent in self.open.values()],
        }  # fmt: skip


def encode_record(record: dict[str, Any]) -> bytes:
    """One line of the file."""
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def replay(data: bytes) -> tuple[LedgerState, int]:
    """State that a file's bytes stand for.

    Returns
    -------
    (LedgerState, int)
        The state and how many bytes of `data` are whole records (less than all where the last line is torn).

    Raises
    ------
    ValueError
        A line other than a torn last one does not read; says which.
    """
    state, good = LedgerState(), 0
    *lines, _torn = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            checksum, _, body = line.partition(b" ")
            if checksum != b"%08x" % zlib.crc32(body):
                raise ValueError("checksum does not match")
            state.apply(json.loads(body))
        except (ValueError, KeyError, TypeError) as exc:
            raise ValueError(f"line {number}: {exc}") from exc
        good += len(line) + 1
    return state, good


class Ledger:
    """The file and its state. One writer: hold the account's lock before opening it.

    Parameters
    ----------
    state_dir : Path
        The account's folder.
    run_id : str
        Written beside the new epoch.

    Raises
    ------
    IntegrityError
        The file is damaged other than by a torn last line.
    """

    def __init__(self, state_dir: Path, run_id: str = "") -> None:
        ensure_dir(state_dir)
        state_dir.chmod(0o700)
        self.path = state_dir / FILE_NAME
        self.state = self._recover()
        if self.path.exists() and self.path.stat().st_size > COMPACT_BYTES:
            atomic_write_bytes(self.path, encode_record(self.state.snapshot()))
        existed = self.path.exists()
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ConfigError(f"cannot open {self.path}: {exc.strerror or exc}", "check the folder") from exc
        if not existed:
            fsync_dir(state_dir)
        ledger_id = self.state.ledger_id or secrets.token_hex(4)
        self._append({"t": "epoch", "ledger": ledger_id, "epoch": self.state.epoch + 1, "run": run_id})

    def _recover(self) -> LedgerState:
        if not self.path.exists():
            return LedgerState()
        data = self.path.read_bytes()
        try:
            state, good = replay(data)
        except ValueError as exc:
            raise IntegrityError(
                f"the ledger {self.path} is damaged ({exc})",
                "make sure at the broker that no order is working, then move the file away and start again",
            ) from exc
        if good < len(data):
            os.truncate(self.path, good)
        return state

    def _append(self, record: dict[str, Any], durable: bool = True) -> None:
        line = encode_record(record)
        size = os.fstat(self._fd).st_size
        try:
            if durable:
                append_durable(self._fd, line)
            elif os.write(self._fd, line) != len(line):
                raise OSError("short write")
        except OSError as exc:  # a full disk must not leave half a line in the middle of the file
            os.ftruncate(self._fd, size)
            hint = "make room, then start the gateway again"
            raise FailedError(f"the ledger cannot be written: {exc}", hint) from exc
        self.state.apply(record)

    def intend(self, intent: Intent) -> None:
        """Record an order about to be sent; durable when this returns."""
        self._append({"t": "intent", "intent": asdict(intent)})

    def close_intent(self, order_id: str, outcome: str, left: int) -> None:
        """Record how an order ended. Not fsynced: after a crash the broker is asked anyway."""
        if order_id in self.state.open:
            self._append({"t": "closed", "id": order_id, "out": outcome, "left": left}, durable=False)

    def sync(self) -> None:
        """Make everything written durable."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Sync and close the file."""
        self.sync()
        os.close(self._fd)
