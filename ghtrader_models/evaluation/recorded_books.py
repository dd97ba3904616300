"""Reads the five-level books of a day's ticks for the rows that a data set has, so that a simulation can walk them.

Only reading belongs here; what an order takes from a book is `order_simulation`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_market.accounting.execution_model import MOST_SHOWN
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_models.datasets.built_day import FEATURES
from ghtrader_models.evaluation.order_simulation import Depth

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

LEVELS = range(1, 6)
_COLUMNS = [
    "last_price",
    *(f"{side}_{what}{level}" for side in ("bid", "ask") for what in ("price", "volume") for level in LEVELS),
]  # fmt: skip


class DayBooks(NamedTuple):
    """Books of n rows, and their last prices, float64[n] in CNY."""

    depth: Depth
    last: np.ndarray

    def rows(self, part: slice) -> DayBooks:
        """Of some of the rows."""
        return DayBooks(Depth(*(column[part] for column in self.depth)), self.last[part])


def _books(column: Callable[[str], np.ndarray]) -> DayBooks:
    """Of the columns of ticks by their names."""

    def side(name: str) -> tuple[np.ndarray, np.ndarray]:
        prices = np.stack([column(f"{name}_price{level}") for level in LEVELS], axis=1)
        lots = np.stack([column(f"{name}_volume{level}") for level in LEVELS], axis=1)
        return prices, np.where((lots > 0) & (lots <= MOST_SHOWN), lots, 0).astype(np.int64)

    return DayBooks(Depth(*side("bid"), *side("ask")), column("last_price"))


def books_of(values: np.ndarray) -> DayBooks:
    """Of float64[27, n] in `VALUE_COLUMNS` order; a volume that is not known counts as none."""
    return _books(lambda name: values[COLUMN_INDEX[name]])


@dataclass(kw_only=True)
class RecordedBooks:
    """The books behind a series' features; the day that was asked for last is kept.

    Attributes
    ----------
    lake : Lake
    symbol : str
        KQ.m@SHFE.cu, or one contract.
    """

    lake: Lake
    symbol: str
    _kept: tuple[date, bool, DayBooks] | None = None

    def of_day(
        self, day: date, datetime_ns: np.ndarray, bid: np.ndarray, ask: np.ndarray, one_lot: bool = False
    ) -> DayBooks:
        """The books of a day's rows.

        Parameters
        ----------
        day : date
        datetime_ns : int64[n]
            Times of the rows of the day's features, all of them.
        bid, ask : float64[n]
            Best quotes of these rows, CNY.
        one_lot : bool
            No row is asked for more than one lot: where every best quote shows one, best quotes are all there is to
            know, and the levels behind them are not read.

        Raises
        ------
        IntegrityError
            The ticks are not those that the features were built from.
        """
        if self._kept is None or self._kept[:2] != (day, one_lot):
            shown = self._best(day, datetime_ns, bid, ask) if one_lot else None
            self._kept = day, one_lot, shown or _books(self._read(day, datetime_ns, _COLUMNS))
        return self._kept[2]

    def _best(self, day: date, datetime_ns: np.ndarray, bid: np.ndarray, ask: np.ndarray) -> DayBooks | None:
        """Best quotes, or None where one of them shows no lot."""
        column = self._read(day, datetime_ns, ["bid_volume1", "ask_volume1", "last_price"])
        for price, name in ((bid, "bid_volume1"), (ask, "ask_volume1")):
            lots = column(name)
            if not ((lots >= 1) & (lots <= MOST_SHOWN) | ~(price > 0.0)).all():
                return None
        return DayBooks(Depth.of_quotes(bid, ask), column("last_price"))

    def _read(self, day: date, datetime_ns: np.ndarray, columns: Sequence[str]) -> Callable[[str], np.ndarray]:
        features = self.lake.manifest(FEATURES, self.symbol, day)
        source = features.source if features is not None else "main_l5"
        table = self.lake.read_day(source, self.symbol, day, columns=["datetime_ns", *columns])
        times = table.column("datetime_ns").to_numpy()
        if times.size != datetime_ns.size:  # ticks outside the sessions are no rows of a data set
            inside = np.isin(times, datetime_ns)
            table, times = table.filter(inside), times[inside]
        if not np.array_equal(times, datetime_ns):
            raise IntegrityError(
                f"{self.symbol} on {day}: features and {source} are not the same ticks",
                "build the day again: ghtrader build with --overwrite",
            )
        return lambda name: table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
