"""Asks a source for the daily bars of several contracts, so that one that it does not answer for costs itself alone.

What is stored of a day whose bars are not all known says so: the contract has a bar without figures, by which no roll
is decided and for which the day is asked for again. Requests and their retries are the source's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from ghtrader_base.errors import FailedError, GhtraderError, NotListedError, TimedOutError
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA, ContractInfo, TickSource
from ghtrader_market.stores.lake.daily_bars import DATASET, read_bar_day

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

ONE_CONTRACTS_OWN = (TimedOutError, FailedError)
"""What may be one contract's fault; where the service is away, or turns everybody away, no other has to be asked."""
_AWAY_AFTER = 2
"""So many contracts in a row without an answer are no fault of theirs."""


@dataclass(frozen=True)
class ContractBars:
    """What a source gave.

    Attributes
    ----------
    bars : pyarrow.Table
        `DAILY_BAR_SCHEMA`.
    failed : dict of str to GhtraderError
        Contracts that it gave no answer for, each with why.
    """

    bars: pa.Table
    failed: dict[str, GhtraderError]

    def with_unknown(self, lake: Lake, variety: str, contracts: Iterable[ContractInfo]) -> pa.Table:
        """The bars, and on their days those of the contracts that failed: as they are stored, or unknown ones.

        An unknown bar has no figures (null).
        """
        days = sorted(set(self.bars["trading_day"].to_pylist()))
        infos = [info for info in contracts if info.symbol in self.failed]
        rows = [
            _stored_or_unknown(lake, variety, info.symbol, day)
            for day in days
            for info in infos
            if info.lives_in(day, day)
        ]
        return pa.concat_tables([self.bars, pa.Table.from_pylist(rows, schema=DAILY_BAR_SCHEMA)])


def bars_of_contracts(source: TickSource, symbols: Sequence[str], start: date, end: date) -> ContractBars:
    """Daily bars of all contracts at once; one by one where that fails for what may be one contract's fault.

    Raises
    ------
    GhtraderError
        As the source: it is away, or gives no answer for two contracts in a row, or for the only one.
    """
    try:
        return ContractBars(source.daily_bars(symbols, start, end), {})
    except ONE_CONTRACTS_OWN:
        if len(symbols) == 1:
            raise
    parts: list[pa.Table] = []
    failed: dict[str, GhtraderError] = {}
    in_a_row = 0
    for symbol in symbols:
        try:
            parts.append(source.daily_bars([symbol], start, end))
            in_a_row = 0
        except NotListedError:
            continue  # among several the source leaves it out too, and says so
        except ONE_CONTRACTS_OWN as error:
            failed[symbol] = error
            in_a_row += 1
            if in_a_row == _AWAY_AFTER:
                raise
    return ContractBars(pa.concat_tables([DAILY_BAR_SCHEMA.empty_table(), *parts]), failed)


def _stored_or_unknown(lake: Lake, variety: str, symbol: str, day: date) -> dict[str, object]:
    if lake.has_day(DATASET, variety, day):
        try:
            stored = read_bar_day(lake, variety, day).to_pylist()
        except GhtraderError:  # damaged: it says nothing of the contract
            stored = []
        for bar in stored:
            if bar["symbol"] == symbol:
                found: dict[str, object] = bar
                return found
    return {"symbol": symbol, "trading_day": day}
