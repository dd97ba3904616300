"""Defines what a source of ticks promises, and turns raw columns into a raw tick table in one way for all.

The protocol and the pure functions that every source shares (canonical times, absent levels, cutting a table into
trading days) belong here; each source has its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_origin import UNKNOWN, TickOrigin
from ghtrader_market.reference.tick_schema import LEVELS, RAW_TICK_SCHEMA, VALUE_COLUMNS

DAILY_BAR_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("trading_day", pa.date32()),
        pa.field("open", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("close", pa.float64()),
        pa.field("volume", pa.int64()),
        pa.field("open_interest", pa.int64()),
        pa.field("settlement", pa.float64()),
    ]
)
"""One row a contract and trading day; `open_interest` is that at the close, `settlement` may be null."""

RowProgress = Callable[[int], None]
"""Called with the rows received so far of the call in progress."""

_LISTED_AT_MOST_DAYS = {"SHFE": 430, "CFFEX": 430, "INE": 1130}
"""No future of the variety table is listed longer before its expiry: au 13 months, sc 36."""
_LISTED_ELSEWHERE_DAYS = 580
"""DCE, CZCE, GFEX: 18 months."""
_PRICE_LIMIT = 1e12
"""Beyond this a price is a sentinel (CTP prints DBL_MAX for "no such level")."""


@dataclass(frozen=True, slots=True)
class ContractInfo:
    """One contract and the days it can have traded on.

    Attributes
    ----------
    symbol : str
        ``SHFE.cu2502``.
    expires : date
        Its last trading day.
    listed : date, optional
        Its first trading day, where the source knows it.
    expired : bool
        What the source says of it now.
    """

    symbol: str
    expires: date
    listed: date | None = None
    expired: bool = False

    @property
    def first_possible(self) -> date:
        """First day it can have traded on: the listing day, or the longest life before the expiry."""
        longest = _LISTED_AT_MOST_DAYS.get(self.symbol.partition(".")[0], _LISTED_ELSEWHERE_DAYS)
        return self.listed or self.expires - timedelta(days=longest)

    def lives_in(self, start: date, end: date) -> bool:
        """Whether its life touches [start, end]."""
        return self.first_possible <= end and start <= self.expires


def life_of(symbol: str, near: date) -> ContractInfo:
    """The widest life a contract can have, from its name alone: it expires in its delivery month.

    `near` is a day near its life: where the exchange prints one digit of the year, it decides the decade (UsageError
    where it cannot).
    """
    parsed = parse_symbol(symbol)
    if parsed.continuous:
        return ContractInfo(symbol, date.max, date.min)
    year, month = parsed.delivered(near)
    after = date(year + month // 12, month % 12 + 1, 1)
    return ContractInfo(symbol, after - timedelta(days=1))


@runtime_checkable
class TickSource(Protocol):
    """A place ticks, daily bars and contract lists can be asked of.

    Ask by contract and *range*: a call costs more than a second whatever its length. A source whose `id`s count up by
    one inside a day says so with `contiguous_ids = True`: then a gap between them is a row that is missing. One that
    knows where its ticks come from says so by `origin()`, see `origin_of_source`.
    """

    name: str

    def contracts(self, variety: str, start: date, end: date) -> list[ContractInfo]:
        """Contracts of a variety whose life touches [start, end], expired ones too, ordered by expiry."""
        ...

    def daily_bars(self, symbols: Iterable[str], start: date, end: date) -> pa.Table:
        """Finished trading days as `DAILY_BAR_SCHEMA`, ordered by symbol and day."""
        ...

    def ticks(
        self, symbol: str, start: date, end: date, progress: RowProgress | None = None
    ) -> Iterator[tuple[date, pa.Table]]:
        """Trading days of [start, end] in order, each as `RAW_TICK_SCHEMA` (a main series as `L1_TICK_SCHEMA`).

        Only days that are over are given. An empty table says: the source has no tick of that day and never will.
        """
        ...

    def continuous(self, variety: str) -> list[tuple[date, str]]:
        """The source's own main contract of each day, oldest first."""
        ...

    def finished_day(self, variety: str) -> date:
        """Last trading day of a variety that is over by the source's own clock."""
        ...

    def holidays(self) -> list[date]:
        """Weekdays without trading."""
        ...

    def close(self) -> None:
        """Let go of whatever the source holds."""
        ...


def origin_of_source(source: object) -> TickOrigin:
    """Where a source's ticks come from, by its own `origin()`; unknown where it has none.

    Raises
    ------
    UnreachableError
        The service that has to be asked does not answer.
    """
    ask = getattr(source, "origin", None)
    return UNKNOWN if ask is None else ask()


def canonical_time(ns: np.ndarray) -> np.ndarray:
    """Times on the microsecond grid that exchanges print.

    TqSdk's live series hands times through float64 (steps of 256 ns), its downloads do not; after this both are
    equal.

    Parameters
    ----------
    ns : int64[n] or float64[n]
        UTC epoch ns.

    Returns
    -------
    int64[n]
    """
    return (np.asarray(ns).astype(np.int64) + 500) // 1000 * 1000


def canonical_table(
    ids: np.ndarray, datetime_ns: np.ndarray, columns: Mapping[str, np.ndarray], *, null_counts: bool = False
) -> pa.Table:
    """A raw tick table from a source's columns.

    Parameters
    ----------
    ids : int64[n]
    datetime_ns : int64[n]
    columns : mapping of float64[n]
        By the names of `VALUE_COLUMNS`. A depth column that is missing is an absent level. A level whose price is
        NaN, not positive or a sentinel is absent: NaN price, volume 0. Any other column that is missing is null (NaN).
    null_counts : bool
        Whether a NaN of volume or open interest stays null; it is 0 otherwise, as TqSdk means it.

    Returns
    -------
    pyarrow.Table
        `RAW_TICK_SCHEMA`.
    """
    count = len(ids)
    out: dict[str, np.ndarray] = {}
    for name in VALUE_COLUMNS[:7]:
        out[name] = np.asarray(columns.get(name, np.full(count, np.nan)), dtype=np.float64)
    for level in range(1, LEVELS + 1):
        for side in ("bid", "ask"):
            price = columns.get(f"{side}_price{level}")
            volume = columns.get(f"{side}_volume{level}")
            if price is None or volume is None:
                price, volume = np.full(count, np.nan), np.zeros(count)
            price, volume = np.array(price, dtype=np.float64), np.array(volume, dtype=np.float64)
            absent = ~((price > 0) & (price < _PRICE_LIMIT))
            price[absent] = np.nan
            volume[absent | np.isnan(volume)] = 0.0
            out[f"{side}_price{level}"], out[f"{side}_volume{level}"] = price, volume
    arrays = [pa.array(np.asarray(ids, np.int64)), pa.array(canonical_time(datetime_ns))]
    for field in list(RAW_TICK_SCHEMA)[2:]:
        values = out[field.name]
        if pa.types.is_integer(field.type):
            unknown = np.isnan(values) if null_counts or field.name not in columns else None
            values = np.rint(np.nan_to_num(values, nan=0.0)).astype(np.int64)
            level = "bid" in field.name or "ask" in field.name  # an absent level has 0 lots
            arrays.append(pa.array(values, mask=None if level or unknown is None or not unknown.any() else unknown))
            continue
        arrays.append(pa.array(values))
    return pa.Table.from_arrays(arrays, schema=RAW_TICK_SCHEMA)


def empty_ticks() -> pa.Table:
    """A raw tick table without rows."""
    return RAW_TICK_SCHEMA.empty_table()


def split_days(table: pa.Table, days: np.ndarray) -> dict[date, pa.Table]:
    """A table by trading day, the rows of each in the order they have.

    Parameters
    ----------
    table : pyarrow.Table
    days : datetime64[D][n]
        Trading day of each row; where they fall (a source's rows out of order), rows are gathered all the same.
    """
    if table.num_rows == 0:
        return {}
    steps = np.diff(days.astype(np.int64))
    if (steps < 0).any():
        return {day.astype(date): table.filter(pa.array(days == day)) for day in np.unique(days)}
    edges = [0, *(np.flatnonzero(steps) + 1).tolist(), table.num_rows]
    pairs = zip(edges, edges[1:], strict=False)
    return {days[a].astype(date): table.slice(a, b - a) for a, b in pairs}
