"""Judges the rows of a day one by one: leaves out stale rows before an opening, puts swapped neighbours in their place.

A front sends its last snapshot to whoever subscribes: before the opening that is the state of the day before, with its
cumulative volume. Vendors' files have pairs of rows that changed places. Either costs that row, not the day. Whatever
else is out of order stays as it is, for `validation` to refuse.

Pure: arrays in, positions out. What a row means in a file or a stream is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ghtrader_market.reference.session_times import in_sessions

_SWAPS_AT_MOST = 0.01
"""Share of a day's rows that may have changed places before the whole day counts as disordered."""
_LATE_AT_MOST = 5
"""Stale rows at the head of a day that carry a time of after the opening."""


class RowFault(StrEnum):
    """What was wrong with a row."""

    STALE = "stale"
    """Left out: it came before an opening, with the volume of an earlier state."""
    SWAPPED = "swapped"
    """Kept, in the place its time and volume give it: it had changed places with the row after it."""


@dataclass(frozen=True)
class RowNote:
    """One row that was judged.

    Attributes
    ----------
    row : int
        Position in the day as it came.
    fault : RowFault
    detail : str
        For people: what was seen.
    """

    row: int
    fault: RowFault
    detail: str


@dataclass(frozen=True)
class JudgedRows:
    """The verdict on a day.

    Attributes
    ----------
    kept : int64[m]
        Positions of the rows to keep, in the order to keep them.
    notes : tuple of RowNote
        What differs from the day as it came; empty where nothing does.
    """

    kept: np.ndarray
    notes: tuple[RowNote, ...]


def judge_rows(
    times: np.ndarray, volume: np.ndarray, amount: np.ndarray, sessions: Sequence[tuple[int, int]]
) -> JudgedRows:
    """Judge one contract-day.

    Parameters
    ----------
    times : int64[n]
        UTC epoch ns, in the order the rows came.
    volume, amount : float64[n]
        Cumulative over the trading day; NaN where unknown, which contradicts nothing.
    sessions : sequence of (start_ns, end_ns)
        Of that trading day, in time order.

    Returns
    -------
    JudgedRows
        A day without fault comes back as it is.
    """
    states = np.vstack([times.astype(np.float64) - float(times[0] if len(times) else 0), volume, amount])
    order, swapped = _unswapped(states)
    kept, stale = _without_stale(states, order, times, sessions)
    if (states[:, kept[:-1]] > states[:, kept[1:]]).any():  # to be refused, and then as it came
        return JudgedRows(np.arange(len(times)), ())
    notes = [RowNote(row, RowFault.SWAPPED, "had changed places with the row after it") for row in swapped]
    notes += [RowNote(row, RowFault.STALE, detail) for row, detail in stale]
    return JudgedRows(kept, tuple(sorted(notes, key=lambda note: note.row)))


def _falls(states: np.ndarray, before: int, after: int) -> bool:
    """Whether time, volume or amount is less in row `after` than in row `before`."""
    return bool((states[:, before] > states[:, after]).any())


def _unswapped(states: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The rows with swapped neighbours in their places, and the first row of each such pair."""
    count = states.shape[1]
    order = np.arange(count)
    falling = (states[:, :-1] > states[:, 1:]).any(axis=0)
    found: list[int] = []
    for row in np.flatnonzero(falling).tolist():
        # Both time and volume of the pair must say so: a volume alone that falls is no pair that changed places.
        if states[0, row] < states[0, row + 1] or _falls(states, row + 1, row):
            continue
        if row > 0 and _falls(states, int(order[row - 1]), row + 1):
            continue
        if row + 2 < count and _falls(states, row, row + 2):
            continue
        order[row], order[row + 1] = row + 1, row
        found.append(row)
    if len(found) > max(1, int(count * _SWAPS_AT_MOST)):
        return np.arange(count), []
    return order, found


def _without_stale(
    states: np.ndarray, order: np.ndarray, times: np.ndarray, sessions: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """The rows without those that were stale before an opening, and what was seen of each."""
    if not len(order) or not sessions:
        return order, []
    at = times[order]
    inside = in_sessions(at, sessions)
    last_opening = max(start for start, _ in sessions)
    gone: dict[int, str] = {}
    falling = (states[:, order[:-1]] > states[:, order[1:]]).any(axis=0)
    for fall in np.flatnonzero(falling).tolist():
        following, run = int(order[fall + 1]), []
        for position in range(fall, -1, -1):
            row = int(order[position])
            late = fall < _LATE_AT_MOST and at[position] > at[fall + 1] and states[1, row] > states[1, following]
            before_opening = not inside[position] and at[position] < last_opening
            if not (before_opening or late) or not _falls(states, row, following):
                break
            run.append(row)
        earlier = fall - len(run)
        # The fall must be gone with these rows, or it is another fault.
        if run and (earlier < 0 or not _falls(states, int(order[earlier]), following)):
            gone |= {row: _seen(states, row, following) for row in run}
    if not gone:
        return order, []
    return order[~np.isin(order, list(gone))], sorted(gone.items())


def _seen(states: np.ndarray, row: int, following: int) -> str:
    """Why a row is stale, by the first figure that falls after it."""
    for name, line in (("volume", 1), ("amount", 2)):
        if states[line, row] > states[line, following]:
            return (
                f"before the opening, with {name} {states[line, row]:.0f} where {states[line, following]:.0f} follows"
            )
    return "before the opening, with a time that later rows do not reach"
