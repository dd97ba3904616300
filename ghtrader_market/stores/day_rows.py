"""Makes the rows of a contract-day right before the day is stored, the same for a download and for our recorder.

A stale row before an opening is left out, a swapped pair put in its place, a row that is there twice dropped: each
costs itself, is named, and counted for the day's manifest, so that either way of getting the day stores the same rows.
What is still wrong with them afterwards is for `ingest.validation` or the recorder to refuse. A file's rows are judged
by `ingest.import_recordings`, which knows their places in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ghtrader_market.reference.row_judgement import RowFault, judge_rows
from ghtrader_market.stores.day_details import TickDetails

NOTE_OF = {RowFault.STALE: "left out", RowFault.SWAPPED: "put in its place"}
"""What was done about a row, for people."""


@dataclass(frozen=True)
class MendedRows:
    """A day's rows as they may be stored.

    Attributes
    ----------
    table : pyarrow.Table
        The very table that was given where nothing was wrong.
    details : TickDetails
        Counts for the manifest: `stale_rows`, `swapped_rows`, `dropped_duplicates`; None where there were none.
    notes : tuple of str
        What was done about each row that was judged, for people.
    """

    table: pa.Table
    details: TickDetails
    notes: tuple[str, ...] = ()


def mend_rows(table: pa.Table, sessions: Sequence[tuple[int, int]]) -> MendedRows:
    """Judge and mend one contract-day.

    Parameters
    ----------
    table : pyarrow.Table
        `RAW_TICK_SCHEMA` or `L1_TICK_SCHEMA`, in the order of the source's ids.
    sessions : sequence of (start_ns, end_ns)
        Of that trading day.
    """
    verdict = judge_rows(
        _column(table, "datetime_ns"), _column(table, "volume").astype(np.float64), _column(table, "amount"), sessions
    )
    if verdict.notes:
        ids = _column(table, "id")[verdict.kept]
        table = table.take(pa.array(verdict.kept))
        table = table.set_column(0, table.schema.field("id"), pa.array(np.sort(ids)))
    repeated = repeated_rows(table)
    if repeated.any():
        table = table.filter(pa.array(~repeated))
    counts = Counter(note.fault for note in verdict.notes)
    details = TickDetails(
        dropped_duplicates=int(repeated.sum()) or None,
        stale_rows=counts.get(RowFault.STALE),
        swapped_rows=counts.get(RowFault.SWAPPED),
    )
    notes = tuple(f"row {note.row} {NOTE_OF[note.fault]}: {note.detail}" for note in verdict.notes)
    return MendedRows(table, details, notes)


def repeated_rows(table: pa.Table) -> np.ndarray:
    """Rows that say the same as the row before them, its `id` aside.

    Returns
    -------
    bool[n]
        NaN equals NaN.
    """
    same = np.zeros(table.num_rows, bool)
    if table.num_rows < 2:
        return same
    same[1:] = True
    for name in table.schema.names:
        if name == "id":
            continue
        values = _column(table, name)
        equal = values[1:] == values[:-1]
        if values.dtype.kind == "f":
            equal |= np.isnan(values[1:]) & np.isnan(values[:-1])
        same[1:] &= equal
        if not same.any():
            break
    return same


def _column(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return values
