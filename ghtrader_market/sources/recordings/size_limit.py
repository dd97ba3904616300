"""Says how much of a recording is read into memory: a small file may unpack to more than the machine has."""

from __future__ import annotations

import os

from ghtrader_base.disk_space import size_words
from ghtrader_base.errors import BadRecordingError

_SHARE = 4
"""A table in memory is some times its text."""
_LEAST = 1 << 30


def most_bytes() -> int:
    """Bytes of one file's content, unpacked: a quarter of this machine's memory, 1 GiB at least."""
    return max(_LEAST, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _SHARE)


def too_large(name: str) -> BadRecordingError:
    """The error of a file that holds more."""
    return BadRecordingError(
        f"{name} holds more than {size_words(most_bytes())}, too much to be read at once on this machine",
        "cut it into a file for each day or contract, and import their folder",
    )
