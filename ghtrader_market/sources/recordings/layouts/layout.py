"""Defines what a layout of recordings is: a name, what it looks like, a recogniser and a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions
from ghtrader_market.sources.recordings.recording_file import RecordingFile


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One layout.

    Attributes
    ----------
    name : str
        As ``--format`` takes it.
    about : str
        For people: who writes it and how it looks, on one line.
    recognises : callable
        Whether a file has this layout, by its content.
    read : callable
        The rows of each contract of a file of this layout.
    """

    name: str
    about: str
    recognises: Callable[[RecordingFile], bool]
    read: Callable[[RecordingFile, ReadOptions], Iterable[ContractRows]]


def has_columns(file: RecordingFile, *names: str) -> bool:
    """Whether a file is a table with all these columns."""
    return file.is_table and set(names) <= set(file.columns.names)
