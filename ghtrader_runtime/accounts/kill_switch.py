"""Stores an account's kill switch: tripped in memory first, then on disk, until somebody resets it with a reason.

An append-only file of its own, so that a command can trip it while a gateway runs: the gateway looks at the file
before every order. Every line has a number, and the account's ledger knows the last one (`ledger_kill_line`): a file
that is missing, empty, shorter or older than that counts as tripped, like anything in it that cannot be read. Only an
account that never had a ledger may be without one.

A trip waits for nobody and is never undone by a disk that refuses it: it holds for this object at once, and its caller
writes it again later. A reset holds once it is durable.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from ghtrader_base.errors import GhtraderError, IntegrityError, UnwritableError, UsageError, in_words
from ghtrader_base.files import append_durable, ensure_dir, fsync_dir
from ghtrader_base.locks import resource_lock
from ghtrader_base.private_files import open_plain
from ghtrader_runtime.accounts.disk_thread import ANSWERS_WITHIN_S, DiskThread
from ghtrader_runtime.accounts.ledger_kill_line import KillLine, read_kill_line

FILE_NAME = "kill.jsonl"
BY_FILE = "file"
"""Says of a state that nobody set it: it stands for a file that is not what it should be."""
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Opens no link, and hangs on no pipe."""
_WRITE_WAIT_S = 5.0
_TRIP_WAIT_S = 0.5
_HALF_WRITTEN_S = 0.002


@dataclass(frozen=True)
class KillState:
    """Whether the switch is tripped, why, since when, and by whom."""

    tripped: bool
    reason: str = ""
    since: str = ""
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class KillFile:
    """What a kill switch file holds.

    Attributes
    ----------
    last : KillLine or None
        The last line that can be read.
    damage : str
        Why the file counts as tripped whatever that line says; empty where it does not.
    highest : int
        The highest number a line may have.
    lines : tuple of KillLine
        All that can be read.
    """

    last: KillLine | None = None
    damage: str = ""
    highest: int = 0
    lines: tuple[KillLine, ...] = ()

    def goes_on_from(self, known: KillLine | None) -> bool:
        """Whether its last line was written later than the one that is known, in this very file: one of another account
        has neither that line nor one whose writer knew of it."""
        if known is None or self.last is None or self.last == known:
            return self.last is not None
        return self.last.number > known.number and any(
            line == known or (line.number > known.number and line.after == known.checksum) for line in self.lines
        )


class _Body(msgspec.Struct, kw_only=True):
    """A line's text. Lines of older versions have no number: their place in the file is it."""

    tripped: bool
    reason: str = ""
    since: str = ""
    by: str = ""
    number: int = 0
    after: int = 0


_decoder = msgspec.json.Decoder(_Body)


def _text(line: KillLine) -> bytes:
    fields = ("number", "tripped", "reason", "since", "by", "after")
    return json.dumps({name: getattr(line, name) for name in fields}, ensure_ascii=False).encode()


def _checked(line: KillLine) -> KillLine:
    return msgspec.structs.replace(line, checksum=zlib.crc32(_text(line)))


def parse(data: bytes) -> KillFile:
    """What a file's bytes stand for.

    A torn last line counts as tripped: an unfinished trip was meant, and an unfinished reset is none. So does a
    garbled line that no whole one follows, and a file without any line.
    """
    last, damage, number, highest = None, "", 0, 0
    lines: list[KillLine] = []
    for position, text in enumerate(data.split(b"\n")):
        if not text:
            continue
        checksum, _, body = text.partition(b" ")
        try:
            crc = int(checksum, 16)
            if crc != zlib.crc32(body):
                raise ValueError("checksum")
            found = _decoder.decode(body)
            number = found.number or number + 1
            last = KillLine(
                number=number, tripped=found.tripped, reason=found.reason, since=found.since, by=found.by, checksum=crc,
                after=found.after,
            )  # fmt: skip
            lines.append(last)
            damage = ""
        except (ValueError, msgspec.MsgspecError, RecursionError):
            number += 1
            damage = f"line {position + 1} of the kill switch file is unreadable"
        highest = max(highest, number)
    if last is None and not damage:
        damage = "the kill switch file is empty"
    if data and not data.endswith(b"\n"):
        damage = "the last change of the kill switch was cut off"
    return KillFile(last=last, damage=damage, highest=highest, lines=tuple(lines))


def judge(file: KillFile | None, known: KillLine | None) -> KillState:
    """The state that a file (None: there is none) and the last line known of it add up to.

    The file has the last word where it goes on from what is known; where it does not, it counts as tripped.
    """
    if file is None:
        if known is None:
            return KillState(False)
        damage = f"the kill switch file is gone; line {known.number} of it is known"
    elif file.damage or file.last is None:
        damage = file.damage
    else:
        last = file.last
        if known is None or file.goes_on_from(known):
            return KillState(last.tripped, last.reason, last.since, last.by)
        damage = f"the kill switch file is another one: it ends with line {last.number} and does not go on from line "
        damage += f"{known.number}, which is known"
        if last.number < known.number:
            damage = f"the kill switch file ends with line {last.number}; line {known.number} is known"
    return _spoilt(damage, known)


def _spoilt(damage: str, known: KillLine | None) -> KillState:
    """Tripped: for the reason known of, where there is one."""
    if known is not None and known.tripped:
        return KillState(True, known.reason, known.since, known.by)
    return KillState(True, damage, "", BY_FILE)


class KillSwitch:
    """The switch kept in `state_dir`.

    Parameters
    ----------
    state_dir : Path
        The account's folder.
    disk : DiskThread, optional
        Writes a trip, so that a disk which does not answer holds nobody up: it counts as one that refuses. Without it
        the disk is waited for.

    Attributes
    ----------
    known : KillLine or None
        The newest line there is, as far as this object knows: of the ledger, of the file, or one it could not write.
    """

    def __init__(self, state_dir: Path, disk: DiskThread | None = None) -> None:
        self.path = state_dir / FILE_NAME
        self._disk = disk
        self.known: KillLine | None = None
        self._asked_ledger = False
        self._ledger_failure = ""
        self._seen: tuple[int, ...] | None = None
        self._file: KillFile | None = None
        self._state = KillState(False)

    def read(self) -> KillState:
        """State now; looks at the file only where it changed since the last look (one `stat`)."""
        if not self._asked_ledger:
            self._ask_ledger()
        try:
            if _stamp(os.lstat(self.path)) != self._seen:
                self._load()
                self._conclude()
        except FileNotFoundError:
            if self._seen is not None or self._ledger_failure:
                self._state = self._without_file()
            else:
                self._state = judge(None, self.known)
        except OSError as exc:
            self._seen = self._file = None
            self._state = _spoilt(f"the kill switch cannot be read: {exc.strerror or exc}", self.known)
        return self._state

    def begin(self) -> KillLine | None:
        """What a gateway that starts is to make its ledger know; an account without a file gets its first line.

        A home of an older version has a ledger that knows of no line, and no file where nothing was ever tripped.

        Raises
        ------
        UnwritableError
            The disk refuses the file.
        """
        self.read()
        if self._file is None and self.known is None and not self._ledger_failure and self._seen is None:
            try:
                self._write_first()
            except OSError as exc:
                why = f"the kill switch cannot be written: {in_words(exc)}"
                raise UnwritableError(why, "make room, then start again") from exc
            self.read()
        return self.known

    def trip(self, reason: str, by: str = "command", wait_s: float = _TRIP_WAIT_S) -> KillState:
        """Trip it: at once for this object, durable when this returns.

        A writer that holds the file's lock for longer than `wait_s` is not waited for.

        Raises
        ------
        OSError, ConfigError
            The disk refuses; it is tripped all the same, and `write_pending` tries again.
        """
        self.read()
        self._take(self._next(True, reason, by))
        self.write_pending(wait_s)
        return self.read()

    def write_pending(self, wait_s: float = 0.0) -> None:
        """Write a trip that is not in the file yet; raises as `trip`. Nothing where somebody went on from it since."""
        if self._disk is None:
            self._write_known(wait_s)
            return
        writer = KillSwitch(self.path.parent)  # of its own: nothing is shared with that thread
        writer.known, writer._asked_ledger = self.known, True
        if not self._disk.do(partial(writer._write_known, wait_s), ANSWERS_WITHIN_S + wait_s):
            raise OSError(errno.ETIMEDOUT, "the disk does not answer")

    def _write_known(self, wait_s: float) -> None:
        with self._writing(wait_s, needs_lock=False):
            self._refresh()
            line, file = self.known, self._file
            if line is None or not line.tripped or (file and file.last == line and not file.damage):
                return
            if file is not None and file.highest >= line.number:
                later = msgspec.structs.replace(line, number=file.highest + 1, after=line.checksum)
                self._take(line := _checked(later))
            try:
                self._append(line)
            except OSError:
                self._cut_off()
                raise

    def reset(self, reason: str, by: str = "command") -> KillState:
        """Untrip it; durable when this returns.

        Raises
        ------
        OSError, ConfigError, LockHeldError
            It stays tripped: the disk refuses, or somebody is writing.
        """
        with self._writing(_WRITE_WAIT_S, needs_lock=True):
            self.read()
            line = self._next(False, reason, by)
            self._append(line)
        self._take(line)
        return self.read()

    def _ask_ledger(self) -> None:
        self._asked_ledger = True
        try:
            self.known = read_kill_line(self.path.parent)
        except IntegrityError as exc:  # a gateway that trades refuses it at its start
            self._ledger_failure = exc.message

    def _without_file(self) -> KillState:
        """A file that was there, or of which nobody can say whether it ought to be."""
        self._file = None
        why = self._ledger_failure or "it was there before"
        return judge(None, self.known) if self.known else _spoilt(f"the kill switch file is gone ({why})", None)

    def _load(self) -> None:
        """Read the file; a line that somebody is writing gets a moment to become whole."""
        for _ in range(3):
            fd = os.open(self.path, os.O_RDONLY | _PLAIN)
            with os.fdopen(fd, "rb") as file:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    raise OSError(errno.EINVAL, "it is no ordinary file")
                data = file.read()
            if data.endswith(b"\n") or not data:
                break
            time.sleep(_HALF_WRITTEN_S)
        self._file, self._seen = parse(data), _stamp(found)

    def _conclude(self) -> None:
        self._state = judge(self._file, self.known)
        if self._file is not None and self._file.goes_on_from(self.known):
            self.known = self._file.last

    def _refresh(self) -> None:
        """Read what the file holds now, where it can be read."""
        with contextlib.suppress(OSError):
            self._load()
            self._conclude()

    def _take(self, line: KillLine) -> None:
        """From now on the state is `line`, unless the file has a newer one."""
        self.known = line
        self._conclude()

    def _next(self, tripped: bool, reason: str, by: str) -> KillLine:
        if not reason.strip():
            raise UsageError("the kill switch wants a reason", "add --reason TEXT")
        numbers = (self.known.number if self.known else 0, self._file.highest if self._file else 0)
        last = self.known or (self._file.last if self._file else None)
        after = last.checksum if last else 0
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        told = reason.strip().replace("\n", " ").encode("utf-8", "replace").decode()  # half a character stops no trip
        line = KillLine(number=max(numbers) + 1, tripped=tripped, reason=told, since=since, by=by, after=after)
        return _checked(line)

    @contextlib.contextmanager
    def _writing(self, wait_s: float, needs_lock: bool) -> Iterator[None]:
        ensure_dir(self.path.parent)
        if stat.S_IMODE(self.path.parent.stat().st_mode) != 0o700:
            self.path.parent.chmod(0o700)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(resource_lock(self.path.parent, "kill-write", "kill switch", wait_s=wait_s))
            except (GhtraderError, OSError):  # one append is whole without it
                if needs_lock:
                    raise
            yield

    def _append(self, line: KillLine) -> None:
        existed = self.path.exists()
        fd = open_plain(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            append_durable(fd, (b"\n" if torn else b"") + b"%08x %s\n" % (line.checksum, _text(line)))
        finally:
            os.close(fd)
        if not existed:
            fsync_dir(self.path.parent)

    def _cut_off(self) -> None:
        """Take the last line's end away, which needs no room: the file counts as tripped until the trip is written."""
        with contextlib.suppress(OSError):
            fd = os.open(self.path, os.O_RDWR | _PLAIN)
            try:
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) == b"\n":
                    os.ftruncate(fd, size - 1)
                    os.fsync(fd)
            finally:
                os.close(fd)

    def _write_first(self) -> None:
        """The first line, whole or not there, and never over a file that somebody has just made."""
        line = self._next(False, "an account begins untripped", "gateway")
        line = _checked(msgspec.structs.replace(line, after=secrets.randbits(32)))  # no two accounts begin alike
        ensure_dir(self.path.parent)
        fd, temporary = tempfile.mkstemp(prefix=f".{FILE_NAME}.", suffix=".tmp", dir=self.path.parent)
        try:
            append_durable(fd, b"%08x %s\n" % (line.checksum, _text(line)))
            with contextlib.suppress(FileExistsError):
                os.link(temporary, self.path)
        finally:
            os.close(fd)
            os.unlink(temporary)
        fsync_dir(self.path.parent)


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
