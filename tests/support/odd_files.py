"""Puts something that is no file where a file of ours is expected."""

from __future__ import annotations

import os
import socket
from pathlib import Path

KINDS = ("folder", "full folder", "pipe", "link", "link to nothing", "link to itself", "socket")
PRECIOUS = "what a link leads to\n"


def victim_of(path: Path) -> Path:
    """What a `link` at `path` leads to; it holds `PRECIOUS`."""
    return path.parent / "victim"


def put(kind: str, path: Path) -> None:
    """Put one of `KINDS` at `path`, in the place of a file that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind in ("folder", "full folder"):
        path.mkdir()
        if kind == "full folder":
            (path / "inside").write_text("x")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            here = os.open(path.parent, os.O_DIRECTORY)
            try:
                bound.bind(f"/proc/self/fd/{here}/{path.name}")  # a socket's path may have some 100 bytes
            finally:
                os.close(here)
    elif kind == "link":
        victim_of(path).write_text(PRECIOUS)
        path.symlink_to("victim")
    else:
        path.symlink_to(path.name if kind == "link to itself" else "nowhere")
