"""Puts tapes of other varieties beside a data set, for networks that learn from rows without labels first.

What belongs here: which days of them are read, and what is refused. Which of their rows are learned from is decided
where an encoder is pretrained: those before the rows that are held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_market.reference.tick_origin import origins_of, words_of
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_models.datasets.built_day import FEATURES, LABELS
from ghtrader_models.datasets.load import Dataset, load_dataset

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake


def with_varieties(
    dataset: Dataset,
    lake: Lake,
    varieties: Sequence[str],
    *,
    days: Mapping[str, Sequence[date]] | None = None,
    entry: str = "train",
    mix: bool = False,
    calendar: TradingCalendar | None = None,
    cache: Path | None = None,
) -> Dataset:
    """The data set with the main series of other varieties as its `others`.

    Parameters
    ----------
    dataset : Dataset
    lake : Lake
    varieties : sequence of str
        Keys, for example ("au", "ag"); none leaves the data set as it is.
    days : mapping of str to sequence of date, optional
        Series -> the days to take; where absent, every built day up to the data set's last.
    entry, mix, calendar, cache
        As `load_dataset`.

    Raises
    ------
    UsageError
        No such variety, the data set's own, one named twice, or one that was built with other factors.
    FailedError
        No day of one is built.
    RefusedError
        Without `mix`, a day is of another market than the others of its series; UsageError where it is of another
        than the data set's.
    GhtraderError
        Otherwise as `load_dataset`.
    """
    symbols = [get_variety(key).continuous_symbol for key in varieties]
    if len(set(symbols)) < len(symbols) or dataset.symbol in symbols:
        raise UsageError(
            f"pretrain_varieties is {','.join(varieties)!r}", f"name others than that of {dataset.symbol}, each once"
        )
    others = []
    for symbol in symbols:
        built = set(lake.days(FEATURES, symbol)) & set(lake.days(LABELS, symbol))
        wanted = sorted(built & set(days[symbol]) if days is not None and symbol in days else built)
        wanted = [day for day in wanted if day <= dataset.days[-1]]
        if not wanted:
            raise FailedError(
                f"no day of {symbol} up to {dataset.days[-1]} is built, and the encoder is to learn from it",
                f"first: ghtrader build --symbol {symbol}; or leave it out of pretrain_varieties",
            )
        found = load_dataset(
            lake, symbol, wanted, dataset.horizon, entry=entry, mix=mix, calendar=calendar, cache=cache
        )
        if found.names != dataset.names:
            raise UsageError(
                f"{symbol} was built with other factors than {dataset.symbol}",
                "build its days with the same --factors, or leave it out of pretrain_varieties",
            )
        both = origins_of(fact.origin for part in (dataset, found) for fact in part.facts)
        if len(both) > 1 and not mix:
            raise UsageError(
                f"{dataset.symbol} and {symbol} are of different markets: {words_of(both)}",
                "leave it out of pretrain_varieties, or give --mix",
            )
        others.append(found.samples(np.arange(len(found))))
    return replace(dataset, others=tuple(others))
