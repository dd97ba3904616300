"""Refuses training, benchmarks, sweeps and comparisons that cannot fit on the disk, before a run of theirs is made.

What is counted is sure to be written: the arrays of days that the cache lacks, and of each run its record, its model or
report and their copies in MLflow, as small as they come. Downloads and builds ask for themselves (`require_room`).
"""

from __future__ import annotations

import contextlib
from datetime import date

from ghtrader_assets.results.built_days import built_days
from ghtrader_base.disk_space import require_room
from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_base.settings import Settings
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.day_cache import uncached_bytes

RUN_BYTES = 1 << 17
"""Of a run, at least: its events in Dagster's database alone take as much."""


def require_training_room(
    settings: Settings, symbol: str, start: date | None, end: date | None, *, work: str, runs: int
) -> None:
    """Refuse work on the built days of a series where the disk has no room for it.

    Parameters
    ----------
    settings : Settings
    symbol : str
        A main series or a contract.
    start, end : date or None
        Trading days; None for all that are built.
    work : str
        What it is, for the sentence: "a training of logistic".
    runs : int
        Models, reports or trials that it makes at least.

    Raises
    ------
    NoRoomError
        It names what is needed and what is free; nothing was begun.
    """
    lake, bounds = Lake(settings.data), (day.isoformat() if day is not None else "" for day in (start, end))
    need, named = runs * RUN_BYTES, work
    with contextlib.suppress(FailedError, IntegrityError):  # no days, or a garbled manifest: the work itself says so
        days = built_days(lake, symbol, *bounds)
        arrays, count = uncached_bytes(lake, settings.cache, symbol, days)
        if count:
            need, named = need + arrays, f"{work} with the arrays of {count} days of {symbol}"
    require_room(settings.home, need, named)
