"""Says that the disk is full, read-only or broken, in one sentence, whichever library met it first.

Every library words it in its own way: an errno, SQLite's codes inside of SQLAlchemy inside of MLflow, a line of text
from C++ or Rust. Here alone is it decided what counts as the disk's refusal and how it is told: `disk_errors` around a
write that knows its path, `disk_error` for whatever arrives from below. How much room there is: `disk_space`.
Permissions are no disk's refusal: those are wrong settings (`files.ensure_dir`).
"""

from __future__ import annotations

import contextlib
import errno
import re
import resource
import sqlite3
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from ghtrader_base.disk_space import room_at, size_words
from ghtrader_base.errors import DiskFullError, GhtraderError, UnwritableError

AGAIN = "make room there, then run the same command again: what is finished stays"


class DiskRefusal(Enum):
    """Why a disk does not take what is written."""

    FULL = "the disk is full"
    QUOTA = "the disk quota is used up"
    FILE_SIZE = "a file has reached the size limit of this shell (ulimit -f)"
    READ_ONLY = "the file system is read-only"
    BROKEN = "the disk fails (input/output error)"
    OPEN_FILES = "too many files are open"


_BY_ERRNO = {
    errno.ENOSPC: DiskRefusal.FULL,
    errno.EDQUOT: DiskRefusal.QUOTA,
    errno.EFBIG: DiskRefusal.FILE_SIZE,
    errno.EROFS: DiskRefusal.READ_ONLY,
    errno.EIO: DiskRefusal.BROKEN,
    errno.EMFILE: DiskRefusal.OPEN_FILES,
    errno.ENFILE: DiskRefusal.OPEN_FILES,
}
_BY_SQLITE = {
    sqlite3.SQLITE_FULL: DiskRefusal.FULL,
    sqlite3.SQLITE_READONLY: DiskRefusal.READ_ONLY,
    sqlite3.SQLITE_IOERR: DiskRefusal.BROKEN,
}
_BY_WORDS = tuple(
    (re.compile(words, re.IGNORECASE), refusal)
    for words, refusal in (
        # libc; Rust (safetensors, uv) and QuestDB name the number beside it
        (r"no space left on device|\bos error 28\b|\berrno ?= ?28\b|StorageFull|not enough disk space|disk is full"
         r"|No usable temporary directory|\d+ requested and \d+ written", DiskRefusal.FULL),  # the last is numpy
        (r"disk quota exceeded|\bos error 122\b|\berrno ?= ?122\b", DiskRefusal.QUOTA),
        (r"file too large|\bos error 27\b", DiskRefusal.FILE_SIZE),
        (r"read-only file system|readonly database|\bos error 30\b|\berrno ?= ?30\b", DiskRefusal.READ_ONLY),
        (r"disk i/o error|input/output error|\bos error 5\b|\berrno ?= ?5\b", DiskRefusal.BROKEN),
        (r"too many open files", DiskRefusal.OPEN_FILES),
    )
)  # fmt: skip
_CANNOT_OPEN = "unable to open database file"
_FULL = (DiskRefusal.FULL, DiskRefusal.QUOTA, DiskRefusal.FILE_SIZE)
_DEEPEST = 20
"""Errors of one chain that are looked at."""


def refusal_in(text: str) -> DiskRefusal | None:
    """The refusal that a line of some library's text tells of."""
    return next((refusal for words, refusal in _BY_WORDS if words.search(text)), None)


def refusal_of(exc: BaseException) -> DiskRefusal | None:
    """The disk's refusal that an error is, or came of; None where it is something else."""
    chain = list(_chain(exc))
    for judge in (_by_number, _by_text):  # a number says more than the words that other libraries put around it
        for each in chain:
            if (found := judge(each)) is not None:
                return found
    return None


def _by_number(exc: BaseException) -> DiskRefusal | None:
    if isinstance(exc, OSError) and exc.errno is not None:
        return _BY_ERRNO.get(exc.errno)
    if isinstance(exc, sqlite3.Error) and (code := getattr(exc, "sqlite_errorcode", None)) is not None:
        if code == sqlite3.SQLITE_IOERR_WRITE and _limited():  # SQLite's own word for EFBIG
            return DiskRefusal.FILE_SIZE
        return _BY_SQLITE.get(code & 0xFF)
    return None


def _by_text(exc: BaseException) -> DiskRefusal | None:
    if isinstance(exc, GhtraderError):
        return None  # has said what is wrong in words of its own
    if isinstance(exc, OSError) and exc.errno is not None and (exc.errno != errno.ENOENT or exc.filename is not None):
        return None  # but `tempfile` says ENOENT, and no file, where no temporary folder takes a write
    return refusal_in(str(exc))


def _could_not_open(exc: BaseException) -> bool:
    """Whether SQLite could not open a file, which is what it says where none can be made for want of an inode."""
    return any(not isinstance(each, GhtraderError) and _CANNOT_OPEN in str(each) for each in _chain(exc))


def _limited() -> bool:
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """An error, what it wraps, and what it came of."""
    seen: set[int] = set()
    waiting = [exc]
    while waiting and len(seen) < _DEEPEST:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        wrapped = getattr(each, "orig", None)  # SQLAlchemy
        later = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        waiting += [found for found in (wrapped, later) if isinstance(found, BaseException)]


def disk_error(exc: BaseException, *places: Path | str, doing: str = "") -> UnwritableError | None:
    """The disk's refusal as one of our errors; None where `exc` is none.

    Parameters
    ----------
    exc : BaseException
    places : Path or str
        What was being written, where the error does not say: the first that has no room is named. A `str` is no path
        but a name for people ("standard output").
    doing : str
        What could not be done ("cannot write the summary"); without it the file is named.

    Returns
    -------
    UnwritableError
        `DiskFullError` where room helps. Its message says which folder, and how much is free there.
    """
    for each in _chain(exc):
        if isinstance(each, UnwritableError):
            return each
    refusal, place = refusal_of(exc), _place_of(exc, places)
    if (refusal is DiskRefusal.BROKEN or (refusal is None and _could_not_open(exc))) and _no_room(place):
        refusal = DiskRefusal.FULL  # SQLite's words for it where a file beside the database cannot be made or mapped
    return None if refusal is None else _said(refusal, place, doing)


def error_of_text(text: str, *places: Path | str, doing: str = "") -> UnwritableError | None:
    """As `disk_error`, of an error that has come as text from another process."""
    refusal = refusal_in(text)
    return None if refusal is None else _said(refusal, _place_of(None, places), doing)


def _no_room(place: Path | str | None) -> bool:
    room = room_at(place) if isinstance(place, Path) else None
    return room is not None and room.none


def _place_of(exc: BaseException | None, places: tuple[Path | str, ...]) -> Path | str | None:
    for each in _chain(exc) if exc is not None else ():
        if isinstance(each, OSError) and isinstance(each.filename, str | bytes) and each.filename:
            return Path(each.filename.decode(errors="replace") if isinstance(each.filename, bytes) else each.filename)
    scarce = [place for place in places if _no_room(place)]
    return next(iter([*scarce, *places]), None)


def _said(refusal: DiskRefusal, place: Path | str | None, doing: str) -> UnwritableError:
    room = room_at(place) if isinstance(place, Path) else None
    what = refusal.value
    if refusal is DiskRefusal.FULL and room is not None and room.no_inodes:
        what = "the disk can hold no more files (no inodes are left)"
    action = doing or (f"cannot write {place}" if place is not None else "")
    parts = [f"{what}: {action}" if action else what]
    if room is not None and refusal in _FULL:
        parts.append(f"{room.words} are free there")
    if refusal is DiskRefusal.FILE_SIZE:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit != resource.RLIM_INFINITY:
            parts.append(f"the limit is {size_words(limit)}")
    message = "; ".join(parts)
    if refusal in _FULL:
        hint = {DiskRefusal.FILE_SIZE: "raise it (`ulimit -f unlimited`), then run the same command again"}
        return DiskFullError(message, hint.get(refusal, AGAIN))
    hints = {
        DiskRefusal.READ_ONLY: "mount it writable, or choose another folder with --home DIR or GHTRADER_HOME",
        DiskRefusal.BROKEN: "look at the system's log (dmesg); do not trust the disk before it is checked",
        DiskRefusal.OPEN_FILES: "raise the limit (`ulimit -n`), or end what keeps so many open",
    }
    return UnwritableError(message, hints[refusal])


@contextlib.contextmanager
def disk_errors(*places: Path | str, doing: str = "") -> Iterator[None]:
    """Raise the disk's refusals inside the block as `disk_error` says them; every other error passes through.

    Raises
    ------
    UnwritableError
        `DiskFullError` where room helps.
    """
    try:
        yield
    except GhtraderError:
        raise
    except Exception as exc:
        if (found := disk_error(exc, *places, doing=doing)) is not None:
            raise found from exc
        raise
