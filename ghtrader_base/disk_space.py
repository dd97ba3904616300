"""Says how much room a folder's file system has, and refuses long work that cannot end there.

An estimate refuses only what is sure not to fit: it is a lower bound, and the work itself meets a full disk with the
words of `disk_errors`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ghtrader_base.errors import NoRoomError

_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def size_words(size: float) -> str:
    """Bytes for people: `1.2 GB`."""
    for name, unit in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"


@dataclass(frozen=True, kw_only=True)
class Room:
    """Room of the file system that a folder lies on.

    Attributes
    ----------
    folder : Path
        The nearest folder that exists.
    free, total : int
        Bytes, for this user.
    inodes : int or None
        Files that can still be made; None where the file system does not count them.
    """

    folder: Path
    free: int
    total: int
    inodes: int | None

    @property
    def no_inodes(self) -> bool:
        """Whether no further file can be made though there is room."""
        return self.inodes == 0

    @property
    def none(self) -> bool:
        """Whether nothing of any size can be written."""
        return self.no_inodes or self.free < 1 << 16

    @property
    def words(self) -> str:
        """`1.2 MB of 64.0 MB`."""
        return f"{size_words(self.free)} of {size_words(self.total)}"


def room_at(path: Path) -> Room | None:
    """Room where `path` lies, or would lie; None where nobody can say."""
    folder = Path(os.path.abspath(path))
    while True:
        try:
            found = os.statvfs(folder)
        except (FileNotFoundError, NotADirectoryError):
            if folder == folder.parent:
                return None
            folder = folder.parent
            continue
        except OSError:
            return None
        if not folder.is_dir():
            folder = folder.parent
        return Room(
            folder=folder,
            free=found.f_bavail * found.f_frsize,
            total=found.f_blocks * found.f_frsize,
            inodes=found.f_favail if found.f_files else None,
        )


def require_room(path: Path, need: float, work: str) -> None:
    """Refuse work that would fill the disk.

    Parameters
    ----------
    path : Path
        Where it writes.
    need : float
        Bytes it writes at least.
    work : str
        What it is, for the sentence: "a download of 60 contract-days".

    Raises
    ------
    NoRoomError
        There is less room; it names both.
    """
    room = room_at(path)
    if room is None or room.free >= need:
        return
    raise NoRoomError(
        f"{work} needs at least {size_words(need)}, and {room.words} are free in {room.folder}",
        "make room there, ask for less, or choose another folder with --home DIR or GHTRADER_HOME; nothing was written",
    )
