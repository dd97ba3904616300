"""Joins what several files hold of one contract-day: night and day session apart, a file a session, a logger restarted.

Rows of the time that two files both cover are compared one by one: what stands in both is taken once, what one of them
lacks comes from the other, and two files that say different things of one moment are refused. Reading files and
judging single rows is not done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.reference.tick_schema import unrecorded_columns
from ghtrader_market.sources.recordings.contract_rows import RecordedDay

_AGREE = 0.5
"""Share of the rows of the time both cover, of the file that has fewer there, that must stand in the other too."""
_IMPORT_ONE = "import one of them"


@dataclass(frozen=True, kw_only=True)
class JoinedPlaces:
    """Where the rows of a joined day stand, in place of the one file of other days.

    Attributes
    ----------
    name : str
        Of all the files.
    parts : tuple of RecordedDay
    part_of, row_in : int64[n]
        Which part a row comes from, and which row of its table it is.
    """

    name: str
    parts: tuple[RecordedDay, ...]
    part_of: np.ndarray
    row_in: np.ndarray

    def place_word(self, row: int) -> str:
        """``line 7 of SHFE.cu2502_night.csv``."""
        part = self.parts[int(self.part_of[row])]
        return f"{part.place_word(int(self.row_in[row]))} of {Path(part.file.name).name}"


@dataclass(frozen=True)
class Joined:
    """A day made of several files.

    Attributes
    ----------
    day : RecordedDay
    note : str
        Which files, and how many rows stood in more than one, for people.
    """

    day: RecordedDay
    note: str


def join_files(parts: Sequence[RecordedDay]) -> Joined:
    """One contract-day of the parts of it that several files hold, each in time order.

    Parameters
    ----------
    parts : sequence of RecordedDay
        Of one contract and day, at least one row each; in any order.

    Raises
    ------
    BadRecordingError
        Two files say different things of one moment, hardly agree where they overlap, or do not have the same columns.
    """
    ordered = tuple(sorted(parts, key=lambda part: (*_span(part), part.file.name)))
    for part in ordered[1:]:
        _require_same_columns(ordered[0], part)
    pool = _Pool(ordered)
    kept = np.flatnonzero(pool.part == 0)
    for number in range(1, len(ordered)):
        kept = pool.merged(kept, np.flatnonzero(pool.part == number))
    table = pool.table.take(pa.array(kept)).combine_chunks()
    counted = any(part.counted for part in ordered)
    if counted:
        table = table.set_column(0, table.schema.field("id"), pa.array(np.arange(table.num_rows, dtype=np.int64)))
    names = [Path(part.file.name).name for part in ordered]
    places = JoinedPlaces(name=" and ".join(names), parts=ordered, part_of=pool.part[kept], row_in=pool.row[kept])
    day = replace(ordered[0], table=table, rows=np.arange(table.num_rows), file=places, counted=counted)
    both = pool.table.num_rows - table.num_rows
    return Joined(day, f"joined of {', '.join(names)}" + (f"; rows of more than one of them: {both}" if both else ""))


def _span(part: RecordedDay) -> tuple[int, int]:
    times = part.table.column("datetime_ns")
    return times[0].as_py(), times[-1].as_py()


def _require_same_columns(one: RecordedDay, other: RecordedDay) -> None:
    lacks, there = set(unrecorded_columns(one.table)), set(unrecorded_columns(other.table))
    if lacks != there:
        raise BadRecordingError(
            f"{one.file.name} and {other.file.name} both hold {one.contract} on {one.day}, and only one of them has "
            f"{', '.join(sorted(lacks ^ there))}",
            _IMPORT_ONE,
        )


class _Pool:
    """All rows of all parts, one after another; a row is its place in there."""

    def __init__(self, parts: Sequence[RecordedDay]) -> None:
        counts = [part.table.num_rows for part in parts]
        self._parts = parts
        self.table = pa.concat_tables([part.table for part in parts])
        self.part = np.repeat(np.arange(len(parts)), counts)
        self.row = np.concatenate([np.arange(count) for count in counts])
        self._times: np.ndarray = self.table.column("datetime_ns").to_numpy()
        self._values = _comparable(self.table)

    def merged(self, before: np.ndarray, coming: np.ndarray) -> np.ndarray:
        """int64[n]: rows `before` and those of the next part, in time order; what stands in both, once."""
        begins, ends = self._times[coming[0]], self._times[coming[-1]]
        first = int(np.searchsorted(self._times[before], begins))
        last = int(np.searchsorted(self._times[before], ends, side="right"))
        if first == len(before):
            return np.concatenate([before, coming])
        if begins == self._times[before[-1]] and not self._share(before[first:], coming):
            return np.concatenate([before, coming])  # the file ended between two snapshots of one moment
        self._require_agreement(before[first:last], coming[self._times[coming] <= self._times[before[-1]]])
        ours, theirs = self._by_time(before[first:last]), self._by_time(coming)
        found: list[int] = []
        for at in sorted(ours.keys() | theirs.keys()):
            found += self._of_moment(ours.get(at, []), theirs.get(at, []))
        return np.concatenate([before[:first], np.array(found, np.int64), before[last:]])

    def _share(self, ours: np.ndarray, theirs: np.ndarray) -> bool:
        """Whether any row is in both, of those of the first moment of `theirs`."""
        here = {self._key(row) for row in ours.tolist()}
        at = self._times[theirs] == self._times[theirs[0]]
        return any(self._key(row) in here for row in theirs[at].tolist())

    def _by_time(self, rows: np.ndarray) -> dict[int, list[int]]:
        return {at: list(each) for at, each in groupby(rows.tolist(), key=lambda row: int(self._times[row]))}

    def _of_moment(self, ours: list[int], theirs: list[int]) -> list[int]:
        """The rows of one moment: those of the file that has all rows of the other."""
        mine, its = ([self._key(row) for row in rows] for rows in (ours, theirs))
        if _holds(mine, its):
            return ours
        if _holds(its, mine):
            return theirs
        one, other = next(
            (pair for pair in zip(ours, theirs, strict=False) if self._key(pair[0]) != self._key(pair[1])),
            (ours[0], theirs[0]),
        )
        name = self.table.schema.names[1:][int(np.argmax(self._values[one] != self._values[other]))]
        said = [self.table.column(name)[row].as_py() for row in (one, other)]
        raise BadRecordingError(
            f"{self._both(one, other)}: at one time, {name} is {said[0]} in {self._place(one)} and {said[1]} in "
            f"{self._place(other)}",
            _IMPORT_ONE,
        )

    def _require_agreement(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Where clocks differ, the same snapshots stand under other times: joined, each would be there twice."""
        here = {self._key(row) for row in ours.tolist()}
        alike = sum(self._key(row) in here for row in theirs.tolist())
        fewer = min(len(ours), len(theirs))
        if alike < _AGREE * fewer:
            raise BadRecordingError(
                f"{self._both(int(ours[0]), int(theirs[0]))}: {alike} rows of the {fewer} in the time that both cover "
                "are alike",
                _IMPORT_ONE,
            )

    def _key(self, row: int) -> bytes:
        key: bytes = self._values[row].tobytes()
        return key

    def _place(self, row: int) -> str:
        return self._parts[int(self.part[row])].place_word(int(self.row[row]))

    def _both(self, one: int, other: int) -> str:
        first, second = (self._parts[int(self.part[row])] for row in (one, other))
        return f"{first.file.name} and {second.file.name} both hold {first.contract} on {first.day}, and differ"


def _comparable(table: pa.Table) -> np.ndarray:
    """int64[n, columns]: what each row says but its id, equal for equal values; null equals null, -0.0 is 0.0."""
    columns = [table.column("datetime_ns").to_numpy()]
    for name in table.schema.names[2:]:
        values = table.column(name).combine_chunks().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        columns.append((np.where(np.isnan(values), np.nan, values) + 0.0).view(np.int64))
    return np.ascontiguousarray(np.column_stack(columns))


def _holds(more: list[bytes], fewer: list[bytes]) -> bool:
    """Whether `more` has all rows of `fewer` in their order."""
    rest = iter(more)
    return all(any(key == each for each in rest) for key in fewer)
