"""Puts the factors of many days side by side as one table that is never in memory whole: each day stays in its file.

What belongs here: taking rows out of such a table, and giving pages back to the system before they crowd it. Which
files there are is `day_cache`'s business, which rows are meant `samples`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ghtrader_base.errors import UsageError

BLOCK_ROWS = 16_384
"""Rows of factors that are in memory at once, unless a library needs more together."""
RESIDENT_BYTES = 512 << 20
"""Mapped bytes that may stay in memory before pages are given back to the system."""
CHUNK_BITS = 21
"""A page fault may map as much as 2 MB of a file: what is touched is counted in such chunks."""


class RowArray(Protocol):
    """Rows of factors that may lie in a mapped file."""

    @property
    def array(self) -> np.ndarray:
        """float32[n, F]."""
        ...

    def forget(self) -> None:
        """Give pages back to the system, where there are any."""
        ...


@dataclass(frozen=True)
class HeldRows:
    """Rows in memory, float32[n, F]: there is no page to give back."""

    array: np.ndarray

    def forget(self) -> None:
        """Nothing to do."""


class FactorRows(Protocol):
    """Factors of a tape, float32[n, F]: an array in memory, or `MappedRows`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


class Resident:
    """Counts the mapped bytes that reading touches, and gives pages back before they crowd the machine.

    Attributes
    ----------
    touched : int
        Bytes read since pages were last given back, about.
    """

    def __init__(self, days: Sequence[RowArray]) -> None:
        self._days = tuple(days)
        self._mapped = sum(day.array.nbytes for day in days)
        self._last = (0, -1)
        self.touched = 0

    def touch(self, size: int) -> None:
        """`size` more bytes are about to be read."""
        self.touched += size
        if self.touched > RESIDENT_BYTES and self._mapped > RESIDENT_BYTES:
            self.touched = size
            for day in self._days:
                day.forget()

    def touch_rows(self, array: np.ndarray, rows: np.ndarray) -> None:
        """Some rows of a day, int64[k], are about to be read: the chunks they lie in, each counted once where the rows
        ascend."""
        if rows.size:
            chunk = (rows * array.strides[0]) >> CHUNK_BITS
            first, last = (id(array), int(chunk[0])), (id(array), int(chunk[-1]))
            self.touch((int(np.count_nonzero(np.diff(chunk))) + (first != self._last)) << CHUNK_BITS)
            self._last = last


class MappedRows:
    """Rows of days, one after the other, read from their files where they are asked for.

    Takes the place of an array float32[n, F] wherever rows are taken by number. What is taken is a copy.

    Parameters
    ----------
    days : sequence of RowArray
        In order, of equal width; one at least.

    Attributes
    ----------
    shape : (int, int)
        Rows and factors.
    resident : Resident
        Keeps what is read from staying in memory.
    """

    def __init__(self, days: Sequence[RowArray]) -> None:
        widths = {day.array.shape[1] for day in days}
        if len(widths) != 1:
            raise UsageError(f"days of {sorted(widths)} factors are no table", "build the days alike")
        self._days = tuple(days)
        self._edges = np.cumsum([0, *(day.array.shape[0] for day in days)])
        self.shape = (int(self._edges[-1]), widths.pop())
        self.resident = Resident(self._days)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """float32[..., F]: the rows of some numbers, an array of any shape; IndexError where there is no such row."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        wanted = np.asarray(rows, np.int64)
        out = np.empty((wanted.size, self.shape[1]), np.float32)
        place = 0
        for array, inside in self.parts(wanted.reshape(-1)):
            np.take(array, inside, axis=0, out=out[place : place + inside.size], mode="clip")
            place += inside.size
        return out.reshape(*wanted.shape, self.shape[1])

    def parts(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same rows as they lie in the files: (float32[m, F] of a day, int64[b] rows of it), in the order asked.

        Parameters
        ----------
        rows : int64[k]
            The neighbours of one day among them come together.
        """
        if not rows.size:
            return
        rows = np.where(rows < 0, rows + len(self), rows)
        if rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        day = np.searchsorted(self._edges, rows, side="right") - 1
        cuts = np.flatnonzero(np.diff(day)) + 1
        for a, b in zip([0, *cuts.tolist()], [*cuts.tolist(), rows.size], strict=True):
            array, inside = self._days[day[a]].array, rows[a:b] - self._edges[day[a]]
            self.resident.touch_rows(array, inside)
            yield array, inside

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
        """float32[b, F]: all rows, `size` at a time; copies."""
        for low in range(0, len(self), size):
            yield self[low : low + size]

    def span(self, start: int, stop: int) -> RowArray:
        """The day whose rows are those of a span."""
        day = int(np.searchsorted(self._edges, start, side="right")) - 1
        if self._edges[day] != start or self._edges[day + 1] != stop:
            raise UsageError(f"rows {start} to {stop} are no day", "windows are made of whole days")
        return self._days[day]


def parts_of(X: FactorRows, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # noqa: N803
    """As `MappedRows.parts`; of an array in memory the array itself and the rows."""
    if isinstance(X, MappedRows):
        yield from X.parts(rows)
    else:
        yield np.asarray(X), rows


def span_of(X: FactorRows, start: int, stop: int) -> RowArray:  # noqa: N803
    """The rows of one day, not copied."""
    return X.span(start, stop) if isinstance(X, MappedRows) else HeldRows(X[start:stop])
