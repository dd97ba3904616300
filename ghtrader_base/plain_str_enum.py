"""Defines the base of enums whose words cross the bus, the ledger and the command line, and reads such a word."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from ghtrader_base.errors import UsageError


class PlainStrEnum(StrEnum):
    """A `StrEnum` whose members hash as the plain words they are.

    `Enum` hashes a member by its name, in Python code: slower than a string, and where name and value differ, a dict
    keyed by members does not find the word.
    """

    __hash__ = str.__hash__


Word = TypeVar("Word", bound=StrEnum)


def read_word(words: type[Word], text: str, name: str) -> Word:
    """The member of `words` that `text` is.

    Parameters
    ----------
    words : type
        The enum.
    text : str
        As typed, or a member already.
    name : str
        What is read, as the error calls it: `--mode`.

    Raises
    ------
    UsageError
        It is none of them.
    """
    try:
        return words(text)
    except ValueError:
        raise UsageError(f"unknown {name} {text!r}", ", ".join(words)) from None
