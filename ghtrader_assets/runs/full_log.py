"""Keeps pages of SQL from the terminal that Dagster prints for each line its event log has no room for.

What is wrong is said once, by the error that ends the run.
"""

from __future__ import annotations

from typing import Any, TextIO, cast

from ghtrader_base.disk_errors import refusal_in

_COMPLAINT = "Exception while writing logger call to event log"
_NO_FILE = "unable to open database file"
"""What SQLite says where no file can be made, for want of inodes."""


class _Filtered:
    """A stream that leaves those lines out and is the stream otherwise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Pass on what is no such line."""
        if text.startswith(_COMPLAINT) and (refusal_in(text) is not None or _NO_FILE in text):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def without_full_log_lines(stream: TextIO) -> TextIO:
    """`stream`, for the time of a run, without Dagster's words about a full disk under its event log."""
    return cast(TextIO, _Filtered(stream))
