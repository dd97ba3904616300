"""Reads stored daily bars, and finds those that were damaged or edited on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ghtrader_base.errors import GhtraderError, IntegrityError
from ghtrader_market.reference.tick_schema import table_hash

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

DATASET = "daily_bars"
_FIGURES = ("open", "close", "volume", "open_interest")
"""None of them is known where the source did not answer; a bar made of ticks lacks some at most."""


def read_bar_day(lake: Lake, variety: str, day: date) -> pa.Table:
    """One stored day's bars.

    Raises
    ------
    IntegrityError
        They cannot be read, or are not those that their manifest names: a roll is decided by them.
    """
    table, manifest = lake.read_day(DATASET, variety, day), lake.manifest(DATASET, variety, day)
    if manifest is not None and table_hash(table) != manifest.content_hash:
        raise IntegrityError(
            f"daily bars of {variety} on {day} are not those that their manifest names",
            f"ghtrader update --var {variety} asks for them again",
        )
    return table


def damaged_bars(lake: Lake, variety: str, days: Iterable[date] | None = None) -> dict[date, GhtraderError]:
    """Stored days, of these or of all, whose bars `read_bar_day` refuses, each with why."""
    found: dict[date, GhtraderError] = {}
    for day in lake.days(DATASET, variety) if days is None else days:
        if lake.has_day(DATASET, variety, day):
            try:
                read_bar_day(lake, variety, day)
            except GhtraderError as error:
                found[day] = error
    return found


def unanswered_bars(lake: Lake, variety: str, days: Iterable[date] | None = None) -> set[date]:
    """Stored days, of these or of all, with a bar without any figure: a contract that the source gave no answer for."""
    found = set()
    for day in lake.days(DATASET, variety) if days is None else days:
        if lake.has_day(DATASET, variety, day):
            try:
                bars = lake.read_day(DATASET, variety, day, columns=list(_FIGURES))
            except GhtraderError:  # `damaged_bars` says so
                continue
            if all(bars[name].null_count for name in _FIGURES) and _any_without(bars):
                found.add(day)
    return found


def _any_without(bars: pa.Table) -> bool:
    nothing = pc.is_null(bars[_FIGURES[0]])
    for name in _FIGURES[1:]:
        nothing = pc.and_(nothing, pc.is_null(bars[name]))
    return bool(pc.any(nothing).as_py())
