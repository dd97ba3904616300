"""Makes the file an answer is written to: whole or not at all, never in the home, never over a file unasked.

What is written into it is `query`'s business.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ghtrader_base.disk_errors import disk_error
from ghtrader_base.errors import ConfigError, GhtraderError, RefusedError, UnwritableError, UsageError
from ghtrader_base.files import ensure_dir
from ghtrader_base.private_files import FILE_MODE

_DEPTH = 2
"""Levels of the home whose folders may be links to other disks (`data`, `data/ticks`)."""


@contextlib.contextmanager
def answer_file(path: Path, home: Path, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to; it has its name only once the block has ended well, and is durable then.

    Parameters
    ----------
    path : Path
        Links are followed.
    home : Path
        Nothing is written under it, by whatever path it is reached.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    RefusedError
        The file is there, or it would lie in the home.
    UsageError
        It cannot be written.
    UnwritableError
        The disk refuses; nothing is left of it.
    """
    place = Path(os.path.realpath(path))
    _refuse_within(place.parent, home)  # before a folder is made there
    try:
        ensure_dir(place.parent)
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, ConfigError, UnwritableError) as exc:
        raise _cannot(path, exc) from exc
    temporary = f".{place.name}.{os.getpid()}.tmp"
    try:
        _refuse_within(Path(f"/proc/self/fd/{folder}"), home)  # where it lies now, whatever the path says
        _refuse_what_is_there(path, place.name, folder, overwrite)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with open(os.open(temporary, flags, FILE_MODE, dir_fd=folder), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _name_it(temporary, path, place.name, folder, overwrite)
            os.fsync(folder)
        except OSError as exc:
            raise _cannot(path, exc) from exc
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        os.close(folder)


def _name_it(temporary: str, path: Path, name: str, folder: int, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)  # unlike a rename, it replaces nothing
    except FileExistsError as exc:
        raise _is_there(path) from exc
    except OSError:  # a file system without hard links
        _refuse_what_is_there(path, name, folder, overwrite)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _refuse_what_is_there(path: Path, name: str, folder: int, overwrite: bool) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"--out {path} is there, and no file", "name a file that does not exist")
    if not overwrite:
        raise _is_there(path)


def _is_there(path: Path) -> RefusedError:
    return RefusedError(f"--out {path} is there", "name another file, or replace it: --overwrite")


def _cannot(path: Path, exc: Exception) -> GhtraderError:
    if (refused := disk_error(exc, Path(path), doing=f"cannot write --out {path}")) is not None:
        return refused
    return UsageError(f"cannot write --out {path}: {exc}", "name a file in a folder you may write to")


def _refuse_within(folder: Path, home: Path) -> None:
    """Refuse a folder that lies in the home, or on another disk that the home has a link to; compared by inode."""
    ours = set(_inodes(home, _DEPTH))
    above = Path(os.path.realpath(folder))
    for each in (above, *above.parents):
        with contextlib.suppress(OSError):
            found = each.stat()
            if (found.st_dev, found.st_ino) in ours:
                raise RefusedError(
                    f"--out would be written into the home, {home}", "name a file outside of it: the home keeps data"
                )


def _inodes(folder: Path, depth: int) -> Iterator[tuple[int, int]]:
    with contextlib.suppress(OSError):
        found = folder.stat()
        yield found.st_dev, found.st_ino
    if depth:
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                if entry.is_dir():
                    yield from _inodes(Path(entry.path), depth - 1)
