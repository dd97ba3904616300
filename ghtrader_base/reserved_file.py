"""Keeps room on the disk for one document that must be written at the end, whatever filled the disk meanwhile.

The blocks and the inode are there from the start; the document is written over them, and the file then gets its name.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.files import atomic_write_bytes, ensure_dir, fsync_dir
from ghtrader_base.private_files import FILE_MODE, open_plain


class ReservedFile:
    """Room for one file.

    Parameters
    ----------
    path : Path
        What the document will be called.
    size : int
        Bytes to keep; a document that is longer needs room for the rest.

    Raises
    ------
    UnwritableError
        There is no room for it now.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._reserve = path.with_name(f".{path.name}.reserved")
        ensure_dir(path.parent)
        with disk_errors(path, doing=f"cannot keep room for {path}"):
            self._fd = open_plain(self._reserve, os.O_RDWR | os.O_CREAT)
            try:
                os.posix_fallocate(self._fd, 0, size)
            except BaseException:
                self.release()
                raise

    def write(self, data: bytes) -> None:
        """Write the document in one step, durable when this returns; `UnwritableError` where not even this can be."""
        with disk_errors(self.path, doing=f"cannot write {self.path}"):
            try:
                view, place = memoryview(data), 0
                while place < len(data):
                    place += os.pwrite(self._fd, view[place:], place)
                os.ftruncate(self._fd, len(data))
                os.fchmod(self._fd, FILE_MODE)
                os.fsync(self._fd)
                os.replace(self._reserve, self.path)
            except OSError:
                self.release()  # its room may be what an ordinary write lacks
                atomic_write_bytes(self.path, data)
                return
            os.close(self._fd)
            self._fd = -1
            with contextlib.suppress(OSError):
                fsync_dir(self.path.parent)

    def release(self) -> None:
        """Give the room back; harmless where the document was written."""
        if self._fd >= 0:
            self._reserve.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1
