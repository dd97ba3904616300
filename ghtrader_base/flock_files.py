"""Makes files whose flock shows that their process lives, and lists those that are held."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from ghtrader_base.errors import ConfigError, GhtraderError
from ghtrader_base.files import read_json
from ghtrader_base.private_files import open_plain

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def create_locked(path: Path) -> int:
    """A close-on-exec descriptor of the file at `path`, made where it is not there, its flock held.

    ConfigError and OSError as `open_plain`.
    """
    while True:
        fd = open_plain(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if is_at(fd, path):  # who looks for the dead may have found it free between the two calls above
            return fd
        os.close(fd)


def is_at(fd: int, path: Path) -> bool:
    """Whether an open file is the one that lies at `path` now."""
    with contextlib.suppress(FileNotFoundError):
        return os.fstat(fd).st_ino == path.lstat().st_ino
    return False


def holders(paths: Iterable[Path], make: Callable[..., _T], gone: Callable[[str], object] | None) -> list[_T]:
    """What the files of holders that are alive say, as `make` takes it; unfinished ones, and no files, are left out.

    Where `gone` is given, a file whose holder is not there any more is told to it by name and dropped, lock in hand.
    """
    alive = []
    for path in sorted(paths):
        try:
            fd = open_plain(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        except ConfigError as exc:  # no process of ours is behind it, and the others count all the same
            _log.warning("left out: %s; %s", exc.message, exc.hint)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if gone is not None and is_at(fd, path):  # and not a later one of the same name
                gone(path.name)
                path.unlink(missing_ok=True)
        except BlockingIOError:
            with contextlib.suppress(GhtraderError, TypeError, OSError):
                alive.append(make(**read_json(path)))
        finally:
            os.close(fd)
    return alive
