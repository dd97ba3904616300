"""What must survive a kill -9: order intents, how they ended, the dedupe watermark, the day's equity marks.

SQLite (WAL, full sync), one file for an account, one writer: hold the account's lock before opening it. Every row
carries a checksum; a file that is damaged, emptied or gone is refused, since an account that is traded must never start
from an empty ledger. Each start leaves a checked copy beside it to restore from. Client order ids are deterministic:
the ledger's own id, the epoch (one for each start of a gateway), and the number of the intent.

The kill switch has a file of its own (`killswitch`): it must be readable and writable when the ledger is not.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import ConfigError, FailedError, IntegrityError
from ghtrader_base.files import atomic_write_text, ensure_dir, fsync_dir
from ghtrader_runtime.dedupe import MAX_SESSIONS
from ghtrader_runtime.events import Intent

__all__ = ["Intent", "Ledger", "LedgerState", "earlier_intents", "read_ledger"]
FILE_NAME = "ledger.sqlite"
BACKUP_NAME = "ledger.backup.sqlite"
ID_NAME = "ledger.id"
KEEP_CLOSED = 5_000
"""Closed orders kept for whoever looks; older ones are dropped."""
WATERMARK_TTL_NS = 7 * 24 * 3600 * 1_000_000_000
"""How long (wall clock) a strategy session's highest revision is remembered."""
_DISK_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_TABLE = """CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID"""


@dataclass
class LedgerState:
    """What a ledger's records add up to.

    Attributes
    ----------
    ledger_id, epoch, next_number
        What client order ids are made of.
    open : dict
        Intents not closed yet, by client order id, in the order they were made.
    watermark : dict
        Strategy session to its highest revision that became an order.
    closed : int
        Orders closed since the ledger began.
    marks : tuple of (trading day, opening, peak) or None
        Equity marks of the last trading day, CNY.
    sent_ns : list of int
        Market times of the last orders, oldest first.
    """

    ledger_id: str = ""
    epoch: int = 0
    next_number: int = 1
    open: dict[str, Intent] = field(default_factory=dict)
    watermark: dict[str, int] = field(default_factory=dict)
    closed: int = 0
    marks: tuple[str, float, float] | None = None
    sent_ns: list[int] = field(default_factory=list)

    def order_id(self, number: int) -> str:
        """Client order id of an intent of this epoch."""
        return f"gt{self.ledger_id}-{self.epoch}-{number:06d}"


_KINDS = ("head", "intent", "closed", "watermark", "marks")


def _rows(base: sqlite3.Connection) -> dict[str, list[tuple[str, Any]]]:
    """All records by kind, in the order of their keys; ValueError where one is not what was written."""
    found: dict[str, list[tuple[str, Any]]] = {kind: [] for kind in _KINDS}
    for kind, key, body, crc in base.execute("SELECT kind, key, body, crc FROM records ORDER BY kind, key"):
        if kind not in found or zlib.crc32(f"{kind}/{key}/".encode() + body) != crc:
            raise ValueError(f"the checksum of {kind} {key} does not match")
        found[kind].append((key, msgspec.json.decode(body)))
    return found


def _load(base: sqlite3.Connection) -> LedgerState:
    """State of a ledger; ValueError or sqlite3.Error where it is damaged."""
    verdict = base.execute("PRAGMA quick_check").fetchone()[0]
    if verdict != "ok":
        raise ValueError(verdict)
    rows = _rows(base)
    head = dict(rows["head"]).get("ledger")
    if head is None:
        raise ValueError("it has no head: it was never a ledger, or was emptied")
    state = LedgerState(head["id"], head["epoch"], 1, closed=head["closed"])
    opened = sorted((msgspec.convert(body, Intent) for _, body in rows["intent"]), key=lambda i: i.wall_ns)
    state.open = {intent.order_id: intent for intent in opened}
    now_ns = time.time_ns()
    watermark = [(key, body) for key, body in rows["watermark"] if now_ns - body["wall_ns"] < WATERMARK_TTL_NS]
    state.watermark = {key: body["revision"] for key, body in sorted(watermark, key=lambda row: row[1]["wall_ns"])}
    closed = [body for _, body in rows["closed"]]
    state.sent_ns = sorted([body["market_ns"] for body in closed] + [intent.market_ns for intent in opened])
    for _, body in rows["marks"]:
        state.marks = (body["trading_day"], body["opening"], body["peak"])
    return state


def read_ledger(state_dir: Path) -> LedgerState:
    """The ledger as it is on disk, for observers and tests; IntegrityError where it is damaged or missing."""
    path = state_dir / FILE_NAME
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
            return _load(base)
    except (sqlite3.Error, ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(f"the ledger {path} cannot be read ({exc})", "see `ghtrader kill status`") from exc


def earlier_intents(known: dict[str, Intent]) -> dict[str, Intent]:
    """Intents an earlier life left open, with when they were sent on our monotonic clock.

    A wall clock that was set back since makes them young: then the broker is asked twice, which is safe.
    """
    wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
    return {
        key: msgspec.structs.replace(intent, sent_ns=max(now_ns - max(wall_ns - intent.wall_ns, 0), 0))
        for key, intent in known.items()
    }


class Ledger:
    """The file and its state.

    Parameters
    ----------
    state_dir : Path
        The account's folder.
    run_id : str
        Written beside the new epoch.

    Raises
    ------
    IntegrityError
        The file is damaged, or gone although the account has had one; it is left as it is.
    """

    def __init__(self, state_dir: Path, run_id: str = "") -> None:
        ensure_dir(state_dir)
        state_dir.chmod(0o700)
        self.folder, self.path = state_dir, state_dir / FILE_NAME
        self._pending = False
        known = state_dir / ID_NAME
        first = not known.exists() and not self.path.exists()
        if not first:
            self._require_file()
        try:
            self._base = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
        except sqlite3.Error as exc:
            raise ConfigError(f"cannot open {self.path}: {exc}", "check the folder") from exc
        try:
            self.state = self._begin(first, run_id)
        except (sqlite3.Error, ValueError, KeyError, TypeError) as exc:
            self._base.close()
            disk = getattr(exc, "sqlite_errorcode", 0) & 0xFF in _DISK_ERRORS
            raise self._unwritable(exc) if disk else self._damaged(str(exc)) from exc
        if first:
            self.path.chmod(0o600)
            atomic_write_text(known, self.state.ledger_id + "\n")
        self._back_up()

    def _require_file(self) -> None:
        if not self.path.exists():
            raise self._damaged("the file is gone, but the account has had one")
        if self.path.stat().st_size == 0:
            raise self._damaged("the file is empty")

    def _damaged(self, why: str) -> IntegrityError:
        backup = self.folder / BACKUP_NAME
        again = (
            f"move {self.path.name}* away and copy {backup.name} (last start's) to {self.path.name}"
            if backup.exists()
            else f"there is no {backup.name}; move {self.path.name}* and {ID_NAME} away to begin a new one"
        )
        return IntegrityError(
            f"the ledger {self.path} is damaged ({why}); nothing was changed",
            f"make sure at the broker that no order is working, then, in {self.folder}: {again}; positions and "
            "orders are asked of the broker at the next start",
        )

    @staticmethod
    def _unwritable(exc: Exception) -> FailedError:
        return FailedError(f"the ledger cannot be written: {exc}", "make room, then start the gateway again")

    def _begin(self, first: bool, run_id: str) -> LedgerState:
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")
        self._base.execute("BEGIN IMMEDIATE")
        if first:
            self._base.execute(_TABLE)
            state = LedgerState(secrets.token_hex(4))
        else:
            state = _load(self._base)
        state.epoch += 1
        self._run_id = run_id
        self._prune()
        self._write_head(state)
        self._base.execute("COMMIT")
        if first:
            fsync_dir(self.folder)
        return state

    def _back_up(self) -> None:
        """A copy as of this start; a disk too full for it must not stop trading's other checks from being heard."""
        temporary = self.folder / (BACKUP_NAME + ".tmp")
        try:
            temporary.unlink(missing_ok=True)
            with contextlib.closing(sqlite3.connect(temporary)) as copy:
                self._base.backup(copy)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, self.folder / BACKUP_NAME)
            fsync_dir(self.folder)
        except (sqlite3.Error, OSError) as exc:
            self._base.close()
            raise self._unwritable(exc) from exc

    def _put(self, kind: str, key: str, body: Any) -> None:
        data = msgspec.json.encode(body)
        crc = zlib.crc32(f"{kind}/{key}/".encode() + data)
        self._base.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", (kind, key, data, crc))

    def _write_head(self, state: LedgerState) -> None:
        body = {"id": state.ledger_id, "epoch": state.epoch, "closed": state.closed, "run": self._run_id}
        self._put("head", "ledger", body)

    def _prune(self) -> None:
        """Drop what nobody needs: old closed orders, sessions silent for longer than their time to live."""
        keep = "SELECT key FROM records WHERE kind = 'closed' ORDER BY key DESC LIMIT ?"
        self._base.execute(f"DELETE FROM records WHERE kind = 'closed' AND key NOT IN ({keep})", (KEEP_CLOSED,))
        floor = time.time_ns() - WATERMARK_TTL_NS
        old = "CAST(json_extract(CAST(body AS TEXT), '$.wall_ns') AS INTEGER) < ?"
        self._base.execute(f"DELETE FROM records WHERE kind = 'watermark' AND {old}", (floor,))

    def _open_transaction(self) -> None:
        if not self._pending:
            self._base.execute("BEGIN IMMEDIATE")
            self._pending = True

    def _commit(self) -> None:
        if self._pending:
            self._base.execute("COMMIT")
            self._pending = False

    def _failed(self, exc: sqlite3.Error) -> FailedError:
        with contextlib.suppress(sqlite3.Error):
            self._base.execute("ROLLBACK")
        self._pending = False
        return self._unwritable(exc)

    def intend(self, intent: Intent) -> None:
        """Record an order about to be sent; durable when this returns, with every closing before it."""
        session, wall_ns = intent.target_session, intent.wall_ns or time.time_ns()
        intent = msgspec.structs.replace(intent, wall_ns=wall_ns, sent_ns=0)
        newest = max(intent.target_revision, self.state.watermark.get(session, -1))
        crowded = session not in self.state.watermark and len(self.state.watermark) >= MAX_SESSIONS
        gone = next(iter(self.state.watermark)) if session and crowded else ""
        try:
            self._open_transaction()
            self._put("intent", intent.order_id, intent)
            if session:
                self._put("watermark", session, {"revision": newest, "wall_ns": wall_ns})
            if gone:
                self._base.execute("DELETE FROM records WHERE kind = 'watermark' AND key = ?", (gone,))
            self._commit()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        self.state.open[intent.order_id] = intent
        self.state.next_number = max(self.state.next_number, intent.number + 1)
        if session:
            self.state.watermark.pop(session, None)
            self.state.watermark.pop(gone, None)
            self.state.watermark[session] = newest

    def close_intent(self, order_id: str, outcome: str, left: int) -> None:
        """Record how an order ended; durable with the next intent or `sync`: after a crash the broker is asked."""
        intent = self.state.open.get(order_id)
        if intent is None:
            return
        body = {"outcome": outcome, "left": left, "market_ns": intent.market_ns, "intent": intent}
        try:
            self._open_transaction()
            self._base.execute("DELETE FROM records WHERE kind = 'intent' AND key = ?", (order_id,))
            self._put("closed", f"{intent.wall_ns:020d}-{order_id}", body)
            self.state.closed += 1
            self._write_head(self.state)
            if self.state.closed % 1000 == 0:
                self._prune()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        del self.state.open[order_id]

    def write_marks(self, trading_day: str, opening: float, peak: float) -> None:
        """Record the day's equity marks; durable when this returns."""
        try:
            self._open_transaction()
            self._put("marks", "equity", {"trading_day": trading_day, "opening": opening, "peak": peak})
            self._commit()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        self.state.marks = (trading_day, opening, peak)

    def sync(self) -> None:
        """Make everything written durable."""
        try:
            self._commit()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc

    def close(self) -> None:
        """Sync and close the file."""
        with contextlib.suppress(FailedError):
            self.sync()
        self._base.close()
