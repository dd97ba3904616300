"""Keeps in an account's ledger which line its kill switch file ends with, so that a file that lost it is found out.

What a line means and where the file lies is `kill_switch`. A gateway writes through the ledger it has open
(`Ledger.write_kill_line`), a command through `note_kill_line`; both only move forward.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from pathlib import Path

import msgspec

from ghtrader_base.errors import IntegrityError, UnwritableError
from ghtrader_runtime.accounts.ledger_reader import FILE_NAME, ID_NAME

KIND, KEY = "kill", "switch"
_SELECT = "SELECT body, crc FROM records WHERE kind = ? AND key = ?"
_WAIT_S = 2.0


class KillLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the kill switch file.

    Attributes
    ----------
    number : int
        Higher in every line, also over a file that was lost.
    tripped : bool
    reason, since, by : str
        Why, when (ISO 8601 with zone), and who wrote it.
    checksum : int
        CRC-32 of its text in the file.
    after : int
        Checksum of the line its writer knew as the last one; 0 where it knew of none, or is of an older version.
        That of an account's first line is random.
    """

    number: int
    tripped: bool
    reason: str = ""
    since: str = ""
    by: str = ""
    checksum: int = 0
    after: int = 0


def _found(row: tuple[bytes, int] | None) -> KillLine | None:
    if row is None:
        return None
    if zlib.crc32(f"{KIND}/{KEY}/".encode() + row[0]) != row[1]:
        raise ValueError("the checksum of its kill switch line does not match")
    return msgspec.json.decode(row[0], type=KillLine)


def read_kill_line(state_dir: Path) -> KillLine | None:
    """The last line the ledger knows; None where there never was a ledger, or an older version wrote it last.

    Raises
    ------
    IntegrityError
        The account has a ledger and it cannot be read.
    """
    path = state_dir / FILE_NAME
    if not path.exists():
        if (state_dir / ID_NAME).exists():
            raise IntegrityError(f"the ledger {path} is gone", "see `ghtrader kill status`")
        return None
    if not path.is_file():  # a pipe would be waited for
        raise IntegrityError(f"the ledger {path} is no file", "see `ghtrader kill status`")
    try:
        uri = path.absolute().as_uri() + "?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_S)) as base:
            return _found(base.execute(_SELECT, (KIND, KEY)).fetchone())
    except (sqlite3.Error, ValueError, TypeError) as exc:
        raise IntegrityError(f"the ledger {path} cannot be read ({exc})", "see `ghtrader kill status`") from exc


def note_kill_line(state_dir: Path, line: KillLine) -> None:
    """Make the ledger know a line, from outside a gateway; nothing happens where there is no ledger or it knows more.

    Raises
    ------
    UnwritableError
        The ledger cannot be written now; a gateway does it as soon as it sees the line.
    """
    path = state_dir / FILE_NAME
    if not path.is_file():
        return
    body = msgspec.json.encode(line)
    crc = zlib.crc32(f"{KIND}/{KEY}/".encode() + body)
    try:
        uri = path.absolute().as_uri() + "?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_WAIT_S)) as base:
            base.execute("PRAGMA synchronous = FULL")
            base.execute("PRAGMA wal_autocheckpoint = 0")
            base.execute("BEGIN IMMEDIATE")
            known = _found(base.execute(_SELECT, (KIND, KEY)).fetchone())
            if known is None or known.number < line.number:
                base.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", (KIND, KEY, body, crc))
            base.execute("COMMIT")
    except (sqlite3.Error, ValueError, TypeError) as exc:
        raise UnwritableError(f"the ledger {path} cannot be written: {exc}", "make room, and try again") from exc
