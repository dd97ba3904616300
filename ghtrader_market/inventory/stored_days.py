"""Lists the days of which anything is stored, over all contracts, to be held against the holiday list."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import PARTITION_NAME


def stored_days(lake: Lake) -> set[date]:
    """Days that any dataset of the lake has."""
    return _days(lake, PARTITION_NAME)


def ticks_days(lake: Lake) -> set[date]:
    """Days of which ticks are stored: they traded."""
    return _days(lake, ("ticks", "ticks_l1"))


def _days(lake: Lake, datasets: Iterable[str]) -> set[date]:
    texts = {text for name in datasets for rows in lake.index.day_lists(name).values() for text, _, _ in rows}
    return {date.fromisoformat(text) for text in texts}
