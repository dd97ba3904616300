"""Words one line of progress of work that is counted: what a terminal draws as a bar and replaces with the next one."""

from __future__ import annotations

from typing import Self


class CountedLine(str):
    """One line of progress for people; the same in numbers as attributes.

    Attributes
    ----------
    done, wanted : int
        Parts of the work finished, and all of them.
    """

    done: int
    wanted: int

    def __new__(cls, words: str, done: int, wanted: int) -> Self:
        """The line `words`, with `done` parts of `wanted`."""
        line = super().__new__(cls, words)
        line.done, line.wanted = done, wanted
        return line
