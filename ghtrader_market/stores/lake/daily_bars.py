"""Reads stored daily bars, and finds those that were damaged or edited on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from ghtrader_base.errors import GhtraderError, IntegrityError
from ghtrader_market.reference.tick_schema import table_hash

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

DATASET = "daily_bars"


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
