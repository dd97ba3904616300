"""Validates a day of ticks before it is stored, once single rows are mended (`stores.day_rows`).

Raw ticks are kept raw, locked and crossed books included. What contradicts itself or the contract's own daily bar is no
day to stake money on: it is refused with a reason, and asked for again later. Anomalies of days that are stored are
found in `quality`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.reference.tick_schema import validate_ticks
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.day_rows import mend_rows

SHORT_SHARE = 0.001
"""Lots of a daily bar that may be missing from the last tick's volume before the day counts as partial."""


@dataclass(frozen=True)
class Examined:
    """A day of ticks after the checks.

    Attributes
    ----------
    table : pyarrow.Table
        What may be stored.
    reason, detail : str
        Why it may not: one of `skip_ledger.REASONS` and what was seen; both empty where it may.
    details : TickDetails
        What was made right, for the day's manifest.
    notes : tuple of str
        The rows it was made right in, for people.
    """

    table: pa.Table
    reason: str = ""
    detail: str = ""
    details: TickDetails = field(default_factory=TickDetails)
    notes: tuple[str, ...] = ()


def _column(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return values


def examine(
    table: pa.Table,
    volume: int | None = None,
    contiguous_ids: bool = False,
    sessions: Sequence[tuple[int, int]] = (),
) -> Examined:
    """Check one contract-day.

    Parameters
    ----------
    table : pyarrow.Table
        `RAW_TICK_SCHEMA` or `L1_TICK_SCHEMA`, in the order the source gave.
    volume : int, optional
        Lots of the day's daily bar, where there is one.
    contiguous_ids : bool
        Whether the source numbers its rows without gaps.
    sessions : sequence of (start_ns, end_ns)
        Of the day; without them no row counts as stale.
    """
    if table.num_rows == 0:
        if volume:
            return Examined(table, "no-ticks", f"the daily bar has {volume} lots")
        return Examined(table)
    if contiguous_ids and (holes := np.flatnonzero(np.diff(_column(table, "id")) != 1)).size:
        return Examined(table, "partial", f"rows are missing after row {int(holes[0])}, in {holes.size} places")
    mended = mend_rows(table, sessions)
    table = mended.table
    if (back := np.flatnonzero(np.diff(_column(table, "datetime_ns")) < 0)).size:
        return Examined(table, "disordered", f"time goes backwards at row {int(back[0]) + 1}, {back.size} times")
    last_price = _column(table, "last_price")
    known = ~np.isnan(last_price)
    if (blank := np.flatnonzero(np.logical_or.accumulate(known) & ~known)).size:
        return Examined(table, "blank-rows", f"no price at row {int(blank[0])}, in {blank.size} rows")
    try:
        validate_ticks(table, table.schema)
    except BadRecordingError as exc:
        return Examined(table, "bad-values", exc.message)
    traded = int(np.nan_to_num(_column(table, "volume")[-1]))
    if volume and volume - traded > SHORT_SHARE * volume:
        return Examined(table, "partial", f"{traded} of the daily bar's {volume} lots")
    return Examined(table, details=mended.details, notes=mended.notes)
