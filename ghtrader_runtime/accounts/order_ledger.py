"""Records durably what must survive a kill -9: order intents, their outcomes, the dedupe watermark, the day's marks.

SQLite (WAL, full sync), one file for an account, one writer: hold the account's lock before opening it. Every row
carries a checksum; a file that is damaged, emptied or gone is refused, since an account that is traded must never start
from an empty ledger. Each start leaves a checked copy beside it to restore from. Client order ids are deterministic:
the ledger's own id, the epoch (one for each start of a gateway), and the number of the intent.

The log has its full length before the first order, and is written over from its beginning whenever a thread of its
own has copied it into the file: an intent then costs one flush of the disk, and no room has to be found for it. One
that was predicted (`prepare`) costs what is left of a flush that began earlier: see `ledger_prewrite`.

The kill switch has a file of its own (`kill_switch`): it must be readable and writable when the ledger is not. Here is
only which line that file ends with.

Failpoints: ``ledger.intent->commit``, ``ledger.ahead->row``, ``ledger.closed->commit``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.disk_errors import disk_error
from ghtrader_base.errors import ConfigError, IntegrityError, UnwritableError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import atomic_write_text, ensure_dir, fsync_dir
from ghtrader_runtime.accounts.disk_thread import DiskThread
from ghtrader_runtime.accounts.ledger_kill_line import KEY, KIND, KillLine
from ghtrader_runtime.accounts.ledger_prewrite import PrewriteThread, read_block
from ghtrader_runtime.accounts.ledger_reader import (
    FILE_NAME,
    ID_NAME,
    WATERMARK_TTL_NS,
    LedgerState,
    earlier_intents,
    load,
    read_ledger,
)
from ghtrader_runtime.core.orders import Intent, OrderOutcome
from ghtrader_runtime.core.request_watermark import MAX_SESSIONS

__all__ = ["Intent", "Ledger", "LedgerState", "earlier_intents", "read_ledger"]
BACKUP_NAME = "ledger.backup.sqlite"
KEEP_CLOSED = 5_000
"""Closed orders kept for observers; older ones are dropped."""
KEEP_MARKS = 8
"""Trading days whose equity marks are kept, those written last: a mark counts for its own day alone."""
LOG_FRAMES = 256
"""Pages the log has room for from the start."""
COPY_EVERY = 16
"""Commits after which the log is copied into the file at the next `sync`; one writes some five pages."""
_WAIT_S = 2.0
"""How long a commit is waited for; nothing that was to follow it is done after that."""
_NO_ANSWER = "the disk does not answer"
_BUSY_MS = 500
"""How long somebody else may keep a running gateway from the file; after that the disk counts as refusing."""
_DISK_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_OLD_MARKS = """DELETE FROM records WHERE kind = 'marks' AND key NOT IN (
    SELECT key FROM records WHERE kind = 'marks'
    ORDER BY coalesce(json_extract(CAST(body AS TEXT), '$.wall_ns'), 0) DESC LIMIT ?
)"""
_TABLE = """CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID"""


class Ledger:
    """The file and its state.

    Parameters
    ----------
    state_dir : Path
        The account's folder.
    run_id : str
        Written beside the new epoch.
    kill_line : KillLine, optional
        The last line of the account's kill switch file; None changes nothing.

    Raises
    ------
    IntegrityError
        The file is damaged, or gone although the account has had one; it is left as it is.
    """

    def __init__(self, state_dir: Path, run_id: str = "", kill_line: KillLine | None = None) -> None:
        ensure_dir(state_dir)
        state_dir.chmod(0o700)
        self.folder, self.path = state_dir, state_dir / FILE_NAME
        self._unsaved: dict[str, tuple[Intent, OrderOutcome, int]] = {}
        self._lost: dict[str, tuple[OrderOutcome, int]] = {}
        self._relied: dict[str, Intent] = {}
        self._again: dict[str, Intent] = {}
        self._pending = False
        self._commits = 0
        self._forgotten: list[str] = []
        self._disk = DiskThread("ledger-commit")
        self.foreseen = 0  # intents of this process run that `prepare` had made durable
        known = state_dir / ID_NAME
        first = not known.exists() and not self.path.exists()
        if not first:
            self._require_file()
        try:
            self._base = sqlite3.connect(self.path, isolation_level=None, timeout=5.0, check_same_thread=False)
        except sqlite3.Error as exc:
            if disk_error(exc, self.path) is not None:  # no inode is left for it
                raise self._unwritable(exc) from exc
            raise ConfigError(f"cannot open {self.path}: {exc}", "check the folder") from exc
        try:
            self.state = self._begin(first, run_id, kill_line)
        except (sqlite3.Error, ValueError, KeyError, TypeError) as exc:
            self._base.close()
            disk = getattr(exc, "sqlite_errorcode", 0) & 0xFF in _DISK_ERRORS
            if first:  # nothing was ever in it, and an empty ledger must not look like a lost one
                for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", f"{FILE_NAME}-journal"):
                    (state_dir / name).unlink(missing_ok=True)
            raise self._unwritable(exc) if disk else self._damaged(str(exc)) from exc
        if first:
            self.path.chmod(0o600)
            atomic_write_text(known, self.state.ledger_id + "\n")
        self._back_up()
        self._grow_log()
        try:
            self._ahead = PrewriteThread(state_dir)
        except OSError as exc:
            self._base.close()
            raise self._unwritable(exc) from exc
        except ConfigError:
            self._base.close()
            raise
        self._copier = _Copier(self.path)
        self._base.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

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
    def _unwritable(exc: Exception | str) -> UnwritableError:
        return UnwritableError(f"the ledger cannot be written: {exc}", "make room, then start the gateway again")

    def _begin(self, first: bool, run_id: str, kill_line: KillLine | None = None) -> LedgerState:
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")
        self._base.execute("BEGIN IMMEDIATE")
        if first:
            self._base.execute(_TABLE)
            state = LedgerState(ledger_id=secrets.token_hex(4))
        else:
            state = load(self._base)
            self._take_in(state)
        state.epoch += 1
        self._run_id = run_id
        self._prune()
        self._write_head(state)
        if kill_line is not None:
            self._put(KIND, KEY, kill_line)
        self._base.execute("COMMIT")
        if first:
            fsync_dir(self.folder)
        return state

    def _take_in(self, state: LedgerState) -> None:
        """Intents that the last process run had pre-written, and may have sent, are open."""
        block = read_block(self.folder)
        if block is None or (block.ledger_id, block.epoch) != (state.ledger_id, state.epoch):
            return
        closed = "SELECT 1 FROM records WHERE kind = 'closed' AND key LIKE '%-' || ?"
        for intent in block.intents:
            known = intent.order_id in state.open or self._base.execute(closed, (intent.order_id,)).fetchone()
            if not known:
                state.open[intent.order_id] = intent
                self._put("intent", intent.order_id, intent)

    def _back_up(self) -> None:
        """A copy as of this start; a disk too full for it must not hide what trading's other checks report."""
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

    def _grow_log(self) -> None:
        """Write the head so often that the log has all its room, then copy it: from here on it is written over."""
        log = self.path.with_name(FILE_NAME + "-wal")
        try:
            self._base.execute("PRAGMA wal_autocheckpoint = 0")
            if log.stat().st_size < LOG_FRAMES << 12:
                self._base.execute("PRAGMA synchronous = OFF")  # what is written has been durable since `_begin`
                for _ in range(LOG_FRAMES):
                    self._write_head(self.state)
                self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute("PRAGMA wal_checkpoint(RESTART)")
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
            for intent in self._again.values():
                self._put("intent", intent.order_id, intent)
            self._relied |= self._again
            self._again.clear()

    def _commit(self) -> None:
        if self._again:
            self._open_transaction()
        if self._pending:
            if not self._disk.do(self._flush, _WAIT_S):
                raise self._unwritable(_NO_ANSWER)
            self._committed()

    def _flush(self) -> None:
        """What a disk that does not answer holds up, in a thread of its own."""
        self._base.execute("COMMIT")

    def _committed(self) -> None:
        self._commits += 1
        self._pending = False
        self._unsaved.clear()
        self._relied.clear()

    def _require_answer(self) -> None:
        """Before each use of the file: a commit that was not waited for to its end is over by now, and counts.

        Raises
        ------
        UnwritableError
            It is not over: the disk does not answer; or it failed.
        """
        if self._disk.busy:
            raise self._unwritable(_NO_ANSWER)
        try:
            if self._disk.late_result():
                self._committed()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc

    def _failed(self, exc: sqlite3.Error) -> UnwritableError:
        with contextlib.suppress(sqlite3.Error):
            self._base.execute("ROLLBACK")
        self._pending = False
        for order_id, (intent, outcome, left) in self._unsaved.items():  # rolled back too: `prove` does them again
            self.state.open[order_id] = intent
            self._lost[order_id] = (outcome, left)
        self.state.closed -= len(self._unsaved)
        self._unsaved.clear()
        self._again |= self._relied  # pre-written, and sent: their rows are pending
        self._relied.clear()
        return self._unwritable(exc)

    def intend(self, intent: Intent) -> None:
        """Record an order about to be sent; durable when this returns, with every closing before it."""
        self._require_answer()
        session = intent.target_session
        intent = msgspec.structs.replace(intent, wall_ns=intent.wall_ns or time.time_ns(), sent_ns=0)
        failpoint("ledger.intent->commit")
        try:
            if self._ahead.hangs(intent):
                raise self._unwritable(_NO_ANSWER)
            if self._ahead.holds(intent):
                failpoint("ledger.ahead->row")
                self._open_transaction()
                self._put("intent", intent.order_id, intent)
                self._relied[intent.order_id] = intent
                self.foreseen += 1
            else:
                self._open_transaction()
                self._put("intent", intent.order_id, intent)
                self._commit()  # not in time: it may be durable yet, and is what was never sent at the next start
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        self.state.open[intent.order_id] = intent
        self.state.next_number = max(self.state.next_number, intent.number + 1)
        if session:
            newest = max(intent.target_revision, self.state.watermark.pop(session, -1))
            if len(self.state.watermark) >= MAX_SESSIONS:
                self._forgotten.append(next(iter(self.state.watermark)))
                del self.state.watermark[self._forgotten[-1]]
            self.state.watermark[session] = newest

    def prepare(self, intents: list[Intent]) -> None:
        """Make predicted intents durable in the background (`ledger_prewrite`): the next `intend` of one is quicker.

        Each needs a number of its own. A pending row of an earlier one is written first, and waited for.
        """
        self._require_answer()
        if self._relied or self._again:
            self._settle()
        if intents:
            wall_ns = time.time_ns()
            named = [msgspec.structs.replace(intent, wall_ns=wall_ns, sent_ns=0) for intent in intents]
            self._ahead.begin(self.state.ledger_id, self.state.epoch, named)

    def _settle(self) -> None:
        self._require_answer()
        try:
            self._commit()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc

    def rehearse(self, intent: Intent) -> None:
        """Do all of `intend` but its commit: nothing is written or known afterwards, the next one is quicker."""
        if self._pending or self._disk.busy:
            return  # what waits for its commit must not be rolled back
        with contextlib.suppress(sqlite3.Error):  # what is wrong is said when it matters
            self._base.execute("BEGIN IMMEDIATE")
            try:
                self._put("intent", intent.order_id, intent)
            finally:
                self._base.execute("ROLLBACK")

    def close_intent(self, order_id: str, outcome: OrderOutcome, left: int) -> None:
        """Record how an order ended; durable with the next intent or `sync`: after a crash the broker is asked."""
        self._require_answer()
        intent = self.state.open.get(order_id)
        if intent is None:
            return
        body = {"outcome": outcome, "left": left, "market_ns": intent.market_ns, "intent": intent}
        self._unsaved[order_id] = (intent, outcome, left)
        self.state.closed += 1
        try:
            self._open_transaction()
            self._base.execute("DELETE FROM records WHERE kind = 'intent' AND key = ?", (order_id,))
            self._put("closed", f"{intent.wall_ns:020d}-{order_id}", body)
            self._note_session(intent.target_session)
            self._write_head(self.state)
            if self.state.closed % 1000 == 0:
                self._prune()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        del self.state.open[order_id]
        failpoint("ledger.closed->commit")

    def _note_session(self, session: str) -> None:
        """What an open intent said of its session is kept when it goes."""
        for gone in self._forgotten:
            self._base.execute("DELETE FROM records WHERE kind = 'watermark' AND key = ?", (gone,))
        self._forgotten.clear()
        if session in self.state.watermark:
            body = {"revision": self.state.watermark[session], "wall_ns": time.time_ns()}
            self._put("watermark", session, body)

    def write_marks(self, trading_day: str, opening: float, peak: float) -> None:
        """Record the day's equity marks; durable when this returns."""
        self._require_answer()
        try:
            self._open_transaction()
            body = {"trading_day": trading_day, "opening": opening, "peak": peak, "wall_ns": time.time_ns()}
            self._put("marks", trading_day, body)
            self._base.execute(_OLD_MARKS, (KEEP_MARKS,))
            self._commit()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        self.state.marks = (trading_day, opening, peak)

    def write_kill_line(self, line: KillLine) -> None:
        """Record which line the kill switch file ends with, or ought to; durable when this returns."""
        self._require_answer()
        try:
            self._open_transaction()
            self._put(KIND, KEY, line)
            self._commit()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc

    def prove(self) -> None:
        """Write again what a failure took with it, or what changes nothing; `UnwritableError` as ever."""
        self._require_answer()
        for order_id, (outcome, left) in list(self._lost.items()):
            self.close_intent(order_id, outcome, left)
        try:
            self._open_transaction()
            self._write_head(self.state)
            self._commit()
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        self._lost.clear()

    def sync(self) -> None:
        """Make everything written durable; a good moment to copy the log, since nothing is begun."""
        self._settle()
        if self._commits >= COPY_EVERY:
            self._commits = 0
            self._copier.due.set()

    def close(self) -> None:
        """Sync and close the file."""
        with contextlib.suppress(UnwritableError):
            self.sync()
        self._ahead.stop(empty=not (self._pending or self._again or self._lost))
        self._copier.stop()
        if not self._disk.busy:  # else it is in that thread's hands until the process ends
            self._disk.stop()
            self._base.close()


class _Copier(threading.Thread):
    """Copies the log into the file when told to, over a connection of its own; never waited for."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="ledger", daemon=True)
        self.due = threading.Event()
        self._path, self._stopping = path, False
        self.start()

    def run(self) -> None:
        """Until stopped."""
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as base:
            while self.due.wait():
                self.due.clear()  # before the look: a stop told after it is seen at the next turn
                if self._stopping:
                    return
                with contextlib.suppress(sqlite3.Error):  # it is tried again; until then the log grows
                    base.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def stop(self) -> None:
        """Before the ledger closes."""
        self._stopping = True
        self.due.set()
        self.join()
