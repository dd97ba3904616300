"""Indexes the days a lake holds in one SQLite file in `data/`, so that looking at coverage never walks the lake.

The manifests stay the truth; this is a copy that mends itself. A write puts a mark here before it touches a manifest
and takes it away with the row that says what the day became, so that a writer killed between the two leaves a mark
behind, and the next look reads those days again. Days that appear or vanish by other hands change the time of their
key's folder, which every look compares: one `stat` a key, never one a day. Rows that other hands change in the file
itself are marked by triggers, and every manifest of their key is read again at the next look, which says so in the log.
What the days mean is `coverage`'s business.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ghtrader_base.disk_errors import disk_error, refusal_of
from ghtrader_base.errors import FailedError
from ghtrader_base.private_files import make_file, make_folder
from ghtrader_market.reference.tick_origin import UNKNOWN

INDEX_NAME = "coverage.sqlite"
_VERSION = 3
CHANGED = -1
"""Time of a key's folder where somebody else changed rows of the key."""
_BUSY_MS = 30_000
_KEPT_OPEN = 6
"""Connections a thread keeps: a process that opens many lakes must not run out of descriptors."""
_TABLES = """
CREATE TABLE days (
    dataset TEXT, key TEXT, day TEXT, rows INTEGER, levels INTEGER, first_ns INTEGER, last_ns INTEGER,
    source TEXT, run_id TEXT, file TEXT, schema_hash TEXT, content_hash TEXT, bytes INTEGER, written_ns INTEGER,
    PRIMARY KEY (dataset, key, day)
) WITHOUT ROWID;
CREATE TABLE origins (dataset TEXT, key TEXT, day TEXT, origin TEXT, PRIMARY KEY (dataset, key, day)) WITHOUT ROWID;
CREATE TABLE folders (dataset TEXT, key TEXT, mtime_ns INTEGER, PRIMARY KEY (dataset, key)) WITHOUT ROWID;
CREATE TABLE marks (
    dataset TEXT, key TEXT, day TEXT, owner TEXT, PRIMARY KEY (dataset, key, day, owner)
) WITHOUT ROWID;
CREATE TABLE own_change (owner TEXT);
"""
_TRIGGER = """
CREATE TRIGGER {table}_{change}_{row} AFTER {change} ON {table} WHEN NOT EXISTS (SELECT 1 FROM own_change) BEGIN
    UPDATE folders SET mtime_ns={changed} WHERE dataset={row}.dataset AND key={row}.key;
END
"""
_TRIGGERS = [
    _TRIGGER.format(table=table, change=change, row=row, changed=CHANGED)
    for table in ("days", "origins")
    for change, row in (("insert", "new"), ("update", "old"), ("update", "new"), ("delete", "old"))
]
"""No transaction of ours is seen by them: it fills `own_change` first and empties it at its end."""
_log = logging.getLogger(__name__)
_EVERY_DAY = f"""
SELECT days.*, coalesce(origin, '{UNKNOWN.words}') FROM days LEFT JOIN origins USING (dataset, key, day)
"""
_open_here = threading.local()
Answer = TypeVar("Answer")


class DayRow(NamedTuple):
    """What the index knows of one day: the manifest's words, plus `bytes` and `written_ns` of the file system.

    `levels` is 5 with real depth, 1 without, 0 without any quote, None for data sets that have no book. `origin` says
    in words where the ticks come from.
    """

    dataset: str
    key: str
    day: str
    rows: int
    levels: int | None
    first_ns: int | None
    last_ns: int | None
    source: str
    run_id: str
    file: str
    schema_hash: str
    content_hash: str
    bytes: int
    written_ns: int
    origin: str


class DayFile(NamedTuple):
    """Where a day's rows lie: the file's name in the day's folder, and the hash of its columns."""

    key: str
    day: str
    file: str
    schema_hash: str


class KeySummary(NamedTuple):
    """One key's days in a line; days are ISO text, None where there are none."""

    dataset: str
    key: str
    days: int
    rows: int
    bytes: int
    first_day: str
    last_day: str
    deep_days: int
    first_deep_day: str | None
    last_deep_day: str | None
    written_ns: int


@dataclass(frozen=True, kw_only=True)
class StoredIndex:
    """What an index's file says, for the audit.

    Attributes
    ----------
    rows : list of DayRow
    in_step : set of (dataset, key)
        Keys whose folder has not changed since the index looked: its rows must be the folder's.
    changed : set of (dataset, key)
        Keys of which somebody else changed rows.
    marked : set of (dataset, key, day text)
        Days that a writer has in hand, or left so.
    """

    rows: list[DayRow]
    in_step: set[tuple[str, str]]
    changed: set[tuple[str, str]]
    marked: set[tuple[str, ...]]


@dataclass(frozen=True)
class DiskDays:
    """How the index asks the lake what is really there.

    Attributes
    ----------
    key_folders : callable
        `() -> iterable of (dataset, key, folder)`: every key folder there is.
    days : callable
        `(dataset, key) -> {day text: time of its manifest, ns}`.
    row : callable
        `(dataset, key, day text) -> DayRow`, or None where the day does not exist or its manifest cannot be read.
    folder : callable
        `(dataset, key) -> Path`.
    """

    key_folders: Callable[[], Iterable[tuple[str, str, Path]]]
    days: Callable[[str, str], dict[str, int]]
    row: Callable[[str, str, str], DayRow | None]
    folder: Callable[[str, str], Path]


class CoverageIndex:
    """The index of one lake; cheap to make, safe to use from several threads and processes.

    Parameters
    ----------
    root : Path
        The lake's folder.
    disk : DiskDays
        The truth.
    """

    def __init__(self, root: Path, disk: DiskDays) -> None:
        self.path = Path(root) / INDEX_NAME
        self._disk = disk

    # ---- writing ----
    @contextlib.contextmanager
    def writing(self, dataset: str, key: str, day: date) -> Iterator[None]:
        """Around whatever changes a day: marks it before, indexes what it became after, also where the block fails.

        Raises
        ------
        FailedError
            The mark cannot be written; nothing was changed yet. `UnwritableError` where the disk refuses it.
        """
        name = (dataset, key, day.isoformat())

        def mark(connection: sqlite3.Connection) -> bool:
            # Durable before the manifest can be: after a power cut a mark too many is harmless, one too few is not.
            connection.execute("PRAGMA synchronous=FULL")
            with _transaction(connection):
                connection.execute("INSERT OR IGNORE INTO marks VALUES (?, ?, ?, ?)", (*name, _me()))
                sql = "SELECT mtime_ns FROM folders WHERE dataset=? AND key=?"
                seen = connection.execute(sql, name[:2]).fetchone()
            return (seen[0] if seen else None) == _mtime(self._disk.folder(dataset, key))

        try:
            in_step = self._with(mark)
        except (sqlite3.Error, OSError) as exc:
            doing = f"cannot mark a write in {self.path}"
            if (refused := disk_error(exc, self.path, doing=doing)) is not None:
                raise refused from exc
            raise FailedError(f"{doing}: {exc}", "see who else has it open") from exc
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error, OSError):  # the mark stays, and the next look reads the day again
                self._with(lambda connection: self._finish(connection, name, in_step))

    def _finish(self, connection: sqlite3.Connection, name: tuple[str, str, str], in_step: bool) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")
        with _transaction(connection):
            self._refresh(connection, *name)
            if in_step:  # else somebody else changed the folder before: its time must go on to look new
                self._saw_folder(connection, *name[:2])
            connection.execute("DELETE FROM marks WHERE dataset=? AND key=? AND day=? AND owner=?", (*name, _me()))

    def _refresh(self, connection: sqlite3.Connection, dataset: str, key: str, day: str) -> None:
        """Make one row what the disk says. Inside a transaction: the disk is read while nobody else can index."""
        _put(connection, (dataset, key, day), self._disk.row(dataset, key, day))

    def _saw_folder(self, connection: sqlite3.Connection, dataset: str, key: str) -> None:
        time_ns = _mtime(self._disk.folder(dataset, key))
        if time_ns is None:
            connection.execute("DELETE FROM folders WHERE dataset=? AND key=?", (dataset, key))
        else:
            connection.execute("INSERT OR REPLACE INTO folders VALUES (?, ?, ?)", (dataset, key, time_ns))

    # ---- mending ----
    def rebuild(self) -> int:
        """Forget everything and read every manifest again; returns the days found."""

        def work(connection: sqlite3.Connection) -> int:
            with _transaction(connection):
                connection.execute("DELETE FROM days")
                connection.execute("DELETE FROM origins")
                connection.execute("DELETE FROM folders")
            self._sync(connection)
            return int(connection.execute("SELECT count(*) FROM days").fetchone()[0])

        return self._with(work)

    def _sync(self, connection: sqlite3.Connection) -> None:
        """Read again what may have changed behind the index's back."""
        for name in connection.execute("SELECT dataset, key, day, owner FROM marks").fetchall():
            with _transaction(connection):
                self._refresh(connection, *name[:3])
                if not _alive(name[3]):
                    connection.execute("DELETE FROM marks WHERE dataset=? AND key=? AND day=? AND owner=?", name)
        seen = {(d, k): t for d, k, t in connection.execute("SELECT dataset, key, mtime_ns FROM folders")}
        there = {(dataset, key): _mtime(folder) for dataset, key, folder in self._disk.key_folders()}
        for dataset, key in (seen.keys() | there.keys()) - {name for name in there if seen.get(name) == there[name]}:
            with _transaction(connection):
                self._rescan(connection, dataset, key)

    def _rescan(self, connection: sqlite3.Connection, dataset: str, key: str) -> None:
        sql = "SELECT mtime_ns FROM folders WHERE dataset=? AND key=?"
        changed = connection.execute(sql, (dataset, key)).fetchone() == (CHANGED,)
        self._saw_folder(connection, dataset, key)  # before the days: one that comes meanwhile is seen the next time
        days = self._disk.days(dataset, key)
        sql = "SELECT day, written_ns FROM days WHERE dataset=? AND key=?"
        known = dict(connection.execute(sql, (dataset, key)).fetchall())
        if changed:
            _log.warning(
                "rows of %s %s in %s were changed by somebody else (it had %d days, there are %d): all are read again",
                dataset, key, self.path, len(known), len(days),
            )  # fmt: skip
        as_known = {day for day in days if not changed and known.get(day) == days[day]}
        for day in (known.keys() | days.keys()) - as_known:
            _put(connection, (dataset, key, day), self._disk.row(dataset, key, day) if day in days else None)

    # ---- looking ----
    def rows(self, dataset: str, key: str | None = None) -> list[DayRow]:
        """Days of a data set, or of one of its keys, by key and day."""
        sql = f"{_EVERY_DAY} WHERE dataset=?"
        sql += ("" if key is None else " AND key=?") + " ORDER BY key, day"
        values = (dataset,) if key is None else (dataset, key)
        return self._look(lambda connection: [DayRow(*row) for row in connection.execute(sql, values)])

    def keys(self, dataset: str) -> list[str]:
        """Keys that have at least one day, sorted."""
        sql = "SELECT DISTINCT key FROM days WHERE dataset=? ORDER BY key"
        return self._look(lambda connection: [key for (key,) in connection.execute(sql, (dataset,))])

    def day_lists(self, dataset: str) -> dict[str, list[tuple[str, int | None, str]]]:
        """Key -> its days as (day text, levels, source), ascending; the lean form of `rows` for whole lakes."""

        def work(connection: sqlite3.Connection) -> dict[str, list[tuple[str, int | None, str]]]:
            found: dict[str, list[tuple[str, int | None, str]]] = {}
            sql = "SELECT key, day, levels, source FROM days WHERE dataset=? ORDER BY key, day"
            for key, *rest in connection.execute(sql, (dataset,)):
                found.setdefault(key, []).append(tuple(rest))
            return found

        return self._look(work)

    def origins(self, dataset: str) -> dict[str, dict[str, str]]:
        """Key -> day text -> where its ticks come from, in words; of days that say it."""

        def work(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
            found: dict[str, dict[str, str]] = {}
            sql = "SELECT key, day, origin FROM origins WHERE dataset=? ORDER BY key, day"
            for key, day, origin in connection.execute(sql, (dataset,)):
                found.setdefault(key, {})[day] = origin
            return found

        return self._look(work)

    def summaries(self, dataset: str) -> dict[str, KeySummary]:
        """Key -> its days in a line."""
        sql = """
            SELECT dataset, key, count(*), sum(rows), sum(bytes), min(day), max(day),
                   coalesce(sum(levels >= 5), 0), min(CASE WHEN levels >= 5 THEN day END),
                   max(CASE WHEN levels >= 5 THEN day END), max(written_ns)
            FROM days WHERE dataset=? GROUP BY key ORDER BY key"""
        return self._look(lambda c: {row[1]: KeySummary(*row) for row in c.execute(sql, (dataset,))})

    def files(self, dataset: str) -> list[DayFile]:
        """Where every day's rows lie, by key and day."""
        sql = "SELECT key, day, file, schema_hash FROM days WHERE dataset=? AND file != '' ORDER BY key, day"
        return self._look(lambda connection: [DayFile(*row) for row in connection.execute(sql, (dataset,))])

    def days_from(self, dataset: str, key: str, source: str) -> set[date]:
        """Days of a key whose manifest names this source."""
        sql = "SELECT day FROM days WHERE dataset=? AND key=? AND source=?"
        found = self._look(lambda c: c.execute(sql, (dataset, key, source)).fetchall())
        return {date.fromisoformat(text) for (text,) in found}

    def _look(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        def mended(connection: sqlite3.Connection) -> Answer:
            self._sync(connection)
            return work(connection)

        if not self.path.exists() and not self.path.parent.exists():
            return _in_memory(mended)  # nothing was ever written here, and looking must not write
        try:
            return self._with(mended)
        except (sqlite3.OperationalError, OSError) as exc:
            if refusal_of(exc) is not None or "unable to open" in str(exc):
                return _in_memory(mended)  # a lake on a disk that is full or read-only: as right, only slower
            raise FailedError(f"{self.path} cannot be read: {exc}", "delete it; the next look makes it anew") from exc

    def read_again(self, dataset: str, keys: Iterable[str]) -> None:
        """Have the next look read every manifest of these keys; nothing where the index cannot be written."""

        def work(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                sql = "UPDATE folders SET mtime_ns=? WHERE dataset=? AND key=?"
                connection.executemany(sql, [(CHANGED, dataset, key) for key in keys])

        with contextlib.suppress(sqlite3.Error):
            self._with(work)

    def as_stored(self) -> StoredIndex | None:
        """What the file says as it is, mending nothing; None where there is none, or no one of this version.

        Raises
        ------
        FailedError
            It cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            address = f"{self.path.absolute().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
                if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                    return None
                rows = [DayRow(*row) for row in connection.execute(_EVERY_DAY)]
                folders = {(d, k): time for d, k, time in connection.execute("SELECT * FROM folders")}
                marked = {tuple(name) for name in connection.execute("SELECT dataset, key, day FROM marks")}
        except sqlite3.Error as exc:
            raise FailedError(f"{self.path} cannot be read: {exc}", "delete it; the next look makes it anew") from exc
        in_step = {name for name, time in folders.items() if time == _mtime(self._disk.folder(*name))}
        changed = {name for name, time in folders.items() if time == CHANGED}
        return StoredIndex(rows=rows, in_step=in_step, changed=changed, marked=marked)

    # ---- the connection ----
    def _with(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        try:
            return work(self._connection())
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # not a database, malformed: nothing in it that the manifests do not say
            self._forget()
            for name in (INDEX_NAME, f"{INDEX_NAME}-wal", f"{INDEX_NAME}-shm"):
                self.path.with_name(name).unlink(missing_ok=True)
            return work(self._connection())

    def _connection(self) -> sqlite3.Connection:
        kept: dict[Path, tuple[int, int, sqlite3.Connection]] = _open_here.__dict__.setdefault("kept", {})
        found = kept.get(self.path)
        if found is not None and found[:2] == (os.getpid(), _inode(self.path)):
            return found[2]
        self._forget()
        while len(kept) >= _KEPT_OPEN:
            _close(kept.pop(next(iter(kept))))
        make_folder(self.path.parent)
        make_file(self.path)
        connection = sqlite3.connect(self.path, timeout=_BUSY_MS / 1000, isolation_level=None)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        kept[self.path] = (os.getpid(), _inode(self.path), connection)
        return connection

    def _forget(self) -> None:
        kept = _open_here.__dict__.get("kept", {})
        if self.path in kept:
            _close(kept.pop(self.path))


def _put(connection: sqlite3.Connection, name: tuple[str, str, str], row: DayRow | None) -> None:
    """Make one day what the disk says, or nothing where it does not exist."""
    for table in ("days", "origins"):
        connection.execute(f"DELETE FROM {table} WHERE dataset=? AND key=? AND day=?", name)
    if row is not None:
        connection.execute(f"INSERT INTO days VALUES ({', '.join('?' * (len(row) - 1))})", row[:-1])
        if row.origin != UNKNOWN.words:
            connection.execute("INSERT INTO origins VALUES (?, ?, ?, ?)", (*name, row.origin))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Change the journal's mode.

    Two first users at once are told "locked" at once, whatever the busy time-out; and "unable to open" may be said
    while the last other user takes the log away, so it is believed only when it lasts.
    """
    began = time.monotonic()
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as exc:
            patience = {"locked": _BUSY_MS / 1000, "unable to open": 0.5}
            longest = max((seconds for words, seconds in patience.items() if words in str(exc)), default=0.0)
            if time.monotonic() - began >= longest:
                raise
            time.sleep(0.01)


def _prepare(connection: sqlite3.Connection) -> None:
    """Tables and settings; one process at a time makes them."""
    _use_wal(connection)
    if connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
        return
    with _transaction(connection, made=False):
        if connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
            return
        for table in ("days", "origins", "folders", "marks", "own_change"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in [*filter(None, (part.strip() for part in _TABLES.split(";"))), *_TRIGGERS]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={_VERSION}")


def _in_memory(work: Callable[[sqlite3.Connection], Answer]) -> Answer:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _prepare(connection)
        return work(connection)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, made: bool = True) -> Iterator[None]:
    """One transaction of ours; `made` is False while there are no tables yet."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if made:
            connection.execute("INSERT INTO own_change VALUES (?)", (_me(),))
        yield
        if made:
            connection.execute("DELETE FROM own_change")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it, or left it open after a COMMIT that failed
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _close(kept: tuple[int, int, sqlite3.Connection]) -> None:
    if kept[0] == os.getpid():  # a connection that came over a fork belongs to the parent
        kept[2].close()


def _mtime(path: Path) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _started(pid: int) -> str:
    """When a process started, in whatever unit the system has; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    if os.path.isdir("/proc/self"):
        return ""
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


_me_of: dict[int, str] = {}


def _me() -> str:
    """This thread, so that a mark names who will take it away: `pid:started:thread`."""
    pid = os.getpid()
    if pid not in _me_of:
        _me_of.clear()
        _me_of[pid] = f"{pid}:{_started(pid)}"
    return f"{_me_of[pid]}:{threading.get_ident()}"


def _alive(owner: str) -> bool:
    pid, started, _thread = owner.split(":")
    return bool(started) and _started(int(pid)) == started


def row_of(place: tuple[str, str, str], manifest: Any, size: int, written_ns: int) -> DayRow:
    """The index's row of a manifest (`stores.lake_days.DayManifest`) that lies at (dataset, key, day text)."""
    return DayRow(
        *place, manifest.rows, manifest.levels, manifest.first_ns, manifest.last_ns, manifest.source, manifest.run_id,
        next(iter(manifest.files), ""), manifest.schema_hash, manifest.content_hash, size, written_ns,
        manifest.details.stated_origin.words,
    )  # fmt: skip
