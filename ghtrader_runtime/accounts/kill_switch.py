"""Stores an account's kill switch: durable before it acts, tripped until somebody resets it with a reason.

An append-only file of its own, so that a command can trip it while a gateway runs: the gateway looks at the file
before every order. Anything the file holds that cannot be read counts as tripped.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ghtrader_base.errors import UsageError
from ghtrader_base.files import append_durable, ensure_dir, fsync_dir
from ghtrader_base.locks import resource_lock

FILE_NAME = "kill.jsonl"
_WRITE_WAIT_S = 5.0


@dataclass(frozen=True)
class KillState:
    """Whether the switch is tripped, why, since when, and by whom."""

    tripped: bool
    reason: str = ""
    since: str = ""
    by: str = ""


def _line(state: KillState) -> bytes:
    body = json.dumps(
        {"tripped": state.tripped, "reason": state.reason, "since": state.since, "by": state.by}, ensure_ascii=False
    ).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def parse(data: bytes) -> KillState:
    """State a file's bytes stand for.

    A torn last line counts as tripped: an unfinished trip was meant, and an unfinished reset is none. So does a
    garbled line anywhere.
    """
    state = KillState(False)
    for number, line in enumerate(data.split(b"\n")):
        if not line:
            continue
        checksum, _, body = line.partition(b" ")
        try:
            if int(checksum, 16) != zlib.crc32(body):
                raise ValueError("checksum")
            state = KillState(**json.loads(body))
        except (ValueError, TypeError):
            state = KillState(True, f"line {number + 1} of the kill switch file is unreadable", "", "file")
    if data and not data.endswith(b"\n"):
        return KillState(True, "the last change of the kill switch was cut off", "", "file")
    return state


class KillSwitch:
    """The switch kept in `state_dir`."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / FILE_NAME
        self._seen: tuple[int, int, int] | None = None
        self._state = KillState(False)

    def read(self) -> KillState:
        """State now; looks at the file only where it changed since the last look (one `stat`)."""
        try:
            stat = os.stat(self.path)
            stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if stamp != self._seen:
                self._state = parse(self.path.read_bytes())
                self._seen = stamp
        except FileNotFoundError:
            if self._seen is not None:  # it was there: a switch that vanishes does not untrip itself
                self._state = KillState(True, "the kill switch file disappeared", "", "file")
        except OSError as exc:
            self._state = KillState(True, f"the kill switch cannot be read: {exc.strerror or exc}", "", "file")
        return self._state

    def trip(self, reason: str, by: str = "command") -> KillState:
        """Trip it; durable when this returns."""
        return self._write(True, reason, by)

    def reset(self, reason: str, by: str = "command") -> KillState:
        """Untrip it; durable when this returns."""
        return self._write(False, reason, by)

    def _write(self, tripped: bool, reason: str, by: str) -> KillState:
        if not reason.strip():
            raise UsageError("the kill switch wants a reason", "add --reason TEXT")
        ensure_dir(self.path.parent)
        self.path.parent.chmod(0o700)
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        state = KillState(tripped, reason.strip().replace("\n", " "), since, by)
        with resource_lock(self.path.parent, "kill-write", "kill switch", wait_s=_WRITE_WAIT_S):
            existed = self.path.exists()
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                torn = existed and not self._ends_clean()
                append_durable(fd, (b"\n" if torn else b"") + _line(state))
            finally:
                os.close(fd)
            if not existed:
                fsync_dir(self.path.parent)
        return self.read()

    def _ends_clean(self) -> bool:
        data = self.path.read_bytes()
        return not data or data.endswith(b"\n")
