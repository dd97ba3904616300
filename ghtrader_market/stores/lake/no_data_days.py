"""Trading days a source was asked for and has no tick of: kept beside a contract's days, never asked for again.

One file a contract, `_no_data_dates.json`, a sorted list of ISO dates. A day that is traded by its daily bar and comes
without ticks is no such day: see `skip_ledger`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_base.files import atomic_write_json, read_json

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

NO_DATA_NAME = "_no_data_dates.json"


def _path(lake: Lake, symbol: str, dataset: str) -> Path:
    return lake.key_path(dataset, symbol) / NO_DATA_NAME


def no_data_days(lake: Lake, symbol: str, dataset: str = "ticks") -> set[date]:
    """Days the source is known to have no tick of a contract for."""
    path = _path(lake, symbol, dataset)
    return {date.fromisoformat(text) for text in read_json(path)} if path.exists() else set()


def add_no_data(lake: Lake, symbol: str, days: Iterable[date], dataset: str = "ticks") -> None:
    """Remember days as empty; the file is replaced in one step, and left alone where it knows them all."""
    known = no_data_days(lake, symbol, dataset)
    if not known.issuperset(days := set(days)):
        atomic_write_json(_path(lake, symbol, dataset), [str(day) for day in sorted(known | days)])
