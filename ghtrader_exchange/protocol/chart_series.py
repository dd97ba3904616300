"""Writes ticks and bars as numbered rows in DIFF's text, made when somebody asks and kept for a while.

A series knows the whole tape; what a client may see of it is bounded by the market time every method takes. Ids are
contiguous from 0 over a symbol's days. Charts, windows and connections are in `connections.market_data`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import numpy as np

from ghtrader_exchange.protocol.encoding import MISSING, NS_PER_SECOND
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.reference.trading_calendar import SHANGHAI_OFFSET_NS, midnight_ns

CHUNK = 2048
DAY_NS = 86_400 * NS_PER_SECOND
L1_COLUMNS = tuple(VALUE_COLUMNS[:11])
BAR_COLUMNS = ("open", "high", "low", "close", "volume", "open_oi", "close_oi")


class DayTicks(Protocol):
    """One contract's ticks of one trading day."""

    @property
    def datetime_ns(self) -> np.ndarray: ...

    @property
    def values(self) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Segment:
    """A trading day of a series: `count` rows from `first_id`, the ticks of `contract`."""

    day: date
    contract: str
    first_id: int
    count: int


class ChunkCache:
    """The rows' texts, least recently used chunks leaving first; shared by all series of an exchange.

    `limit` chunks of 2,048 ticks take about 1.5 MB each.
    """

    def __init__(self, limit: int = 96) -> None:
        self._limit = limit
        self._chunks: OrderedDict[tuple[Any, ...], list[str]] = OrderedDict()

    def get(self, key: tuple[Any, ...], make: Callable[[], list[str]]) -> list[str]:
        """The chunk called `key`, made if it is not there."""
        found = self._chunks.get(key)
        if found is None:
            found = self._chunks[key] = make()
            while len(self._chunks) > self._limit:
                self._chunks.popitem(last=False)
        else:
            self._chunks.move_to_end(key)
        return found


def row_texts(first_id: int, columns: dict[str, np.ndarray], start: int, stop: int) -> list[str]:
    """Rows as `"id":{...}` texts.

    Parameters
    ----------
    first_id : int
        Id of row 0 of the columns.
    columns : dict of name to array[n]
        In the order they are written. Floats are written so that they come back to the last bit, NaN as "-".
    start, stop : int
        Rows [start, stop).
    """
    texts = []
    for column in columns.values():
        values = column[start:stop].tolist()
        if column.dtype.kind == "f" and np.isnan(column[start:stop]).any():
            values = [f'"{MISSING}"' if value != value else value for value in values]
        texts.append(values)
    template = '"%d":{' + ",".join(f'"{name}":%s' for name in columns) + "}"
    return [template % row for row in zip(range(first_id + start, first_id + stop), *texts, strict=True)]


class TickSeries:
    """Ticks of one symbol.

    Parameters
    ----------
    symbol : str
        A contract, or a main series whose segments change contract.
    segments : sequence of Segment
        Ascending, ids contiguous.
    load : callable (contract, day) -> DayTicks
        Must be cheap when called again for the same day.
    columns : tuple of str
        Which of `VALUE_COLUMNS` go over the wire.
    cache : ChunkCache
    """

    def __init__(
        self,
        symbol: str,
        segments: Sequence[Segment],
        load: Callable[[str, date], DayTicks],
        columns: tuple[str, ...],
        cache: ChunkCache,
    ) -> None:
        self.symbol = symbol
        self.segments = tuple(segments)
        self._load = load
        self.columns = columns
        self._cache = cache
        self._days = [segment.day for segment in self.segments]
        self._first_ids = [segment.first_id for segment in self.segments]

    def segment_on(self, day: date) -> Segment | None:
        """The segment of `day`; None where the symbol does not trade then."""
        at = bisect_right(self._days, day) - 1
        return self.segments[at] if at >= 0 and self._days[at] == day else None

    def ticks(self, segment: Segment) -> DayTicks:
        """The day's ticks, the future included."""
        return self._load(segment.contract, segment.day)

    def last_id(self, now_ns: int, today: date) -> int:
        """Id of the last tick at or before `now_ns`, which lies in trading day `today`; -1 where there is none."""
        at = bisect_right(self._days, today) - 1
        if at < 0:
            return -1
        segment = self.segments[at]
        if segment.day < today:
            return segment.first_id + segment.count - 1
        return segment.first_id + int(np.searchsorted(self.ticks(segment).datetime_ns, now_ns, "right")) - 1

    def version(self, now_ns: int, today: date) -> int:
        """A number that grows when anything visible changes."""
        return self.last_id(now_ns, today)

    def first_id_at(self, at_ns: int, now_ns: int, today: date) -> int:
        """Id of the first visible tick at or after `at_ns`; one past the last visible one where there is none."""
        end = self.last_id(now_ns, today) + 1
        for segment in self.segments:
            if segment.first_id >= end:
                break
            times = self.ticks(segment).datetime_ns
            if len(times) and times[-1] >= at_ns:
                return min(end, segment.first_id + int(np.searchsorted(times, at_ns, "left")))
        return end

    def first_id_of_day(self, day_start_ns: int, now_ns: int, today: date) -> int:
        """Id of the first visible tick of the trading day whose midnight is at or after `day_start_ns`."""
        end = self.last_id(now_ns, today) + 1
        for segment in self.segments:
            if midnight_ns(segment.day) >= day_start_ns:
                return min(end, segment.first_id)
        return end

    def locate(self, row_id: int) -> tuple[Segment, int]:
        """Where a row is: its segment and its place in the day's ticks."""
        segment = self.segments[bisect_right(self._first_ids, row_id) - 1]
        return segment, row_id - segment.first_id

    def texts(self, start: int, stop: int, now_ns: int, today: date) -> list[str]:
        """Rows [start, stop) as `"id":{...}`; all of them must be visible at `now_ns`."""
        found: list[str] = []
        while start < stop:
            segment, row = self.locate(start)
            chunk = row // CHUNK
            end = min(stop, segment.first_id + min(segment.count, (chunk + 1) * CHUNK))
            texts = self._chunk(segment, chunk)
            found += texts[row - chunk * CHUNK : end - segment.first_id - chunk * CHUNK]
            start = end
        return found

    def _chunk(self, segment: Segment, chunk: int) -> list[str]:
        def make() -> list[str]:
            ticks = self.ticks(segment)
            columns = {"datetime": ticks.datetime_ns} | {name: ticks.values[name] for name in self.columns}
            return row_texts(segment.first_id, columns, chunk * CHUNK, min(segment.count, (chunk + 1) * CHUNK))

        return self._cache.get((self.symbol, segment.day, chunk), make)


@dataclass(frozen=True)
class _DayBars:
    """Bars of one trading day: `start_ns[m]`, BAR_COLUMNS[m], and the first tick of each bar with one end mark."""

    start_ns: np.ndarray
    columns: dict[str, np.ndarray]
    first_tick: np.ndarray
    first_id: int


def bars_of(
    ticks: DayTicks, day: date, duration_ns: int, count: int | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Aggregate a day's ticks into bars.

    Parameters
    ----------
    duration_ns : int
        Bars start at multiples of it in Asia/Shanghai; a day or more makes one bar of the trading day.
    count : int, optional
        Use the first `count` ticks alone.

    Returns
    -------
    start_ns : int64[m]
    columns : dict of BAR_COLUMNS to array[m]
    first_tick : int64[m]
        Place of each bar's first tick in the day.
    """
    times = ticks.datetime_ns[:count]
    if duration_ns >= DAY_NS:
        buckets = np.full(len(times), midnight_ns(day), dtype=np.int64)
    else:
        buckets = (times + SHANGHAI_OFFSET_NS) // duration_ns * duration_ns - SHANGHAI_OFFSET_NS
    start, first = np.unique(buckets, return_index=True)
    if not len(start):
        return start.astype(np.int64), {name: np.zeros(0) for name in BAR_COLUMNS}, first
    last = np.append(first[1:], len(times)) - 1
    price = ticks.values["last_price"][:count]
    volume, interest = ticks.values["volume"][:count], ticks.values["open_interest"][:count]
    return (
        start,
        {
            "open": price[first],
            "high": np.fmax.reduceat(price, first),
            "low": np.fmin.reduceat(price, first),
            "close": price[last],
            "volume": np.diff(volume[last], prepend=0),
            "open_oi": interest[first],
            "close_oi": interest[last],
        },
        first,
    )


class DailySeries:
    """Daily bars of one symbol: those of days that are over as they come in, today's as far as it has come.

    Parameters
    ----------
    ticks : TickSeries
    finished : callable Segment -> dict
        The bar of a whole day: BAR_COLUMNS to numbers. Asked once a day, without touching the day's ticks if it can.
    """

    def __init__(self, ticks: TickSeries, finished: Callable[[Segment], dict[str, float]]) -> None:
        self.symbol = ticks.symbol
        self._ticks = ticks
        self._finished = finished
        self._texts: dict[int, str] = {}

    def last_id(self, now_ns: int, today: date) -> int:
        """Id of the last day with a tick at or before `now_ns`; -1 where there is none."""
        tick = self._ticks.last_id(now_ns, today)
        return -1 if tick < 0 else self._ticks.segments.index(self._ticks.locate(tick)[0])

    def version(self, now_ns: int, today: date) -> int:
        """A number that grows when anything visible changes: the last tick's id."""
        return self._ticks.last_id(now_ns, today)

    def first_id_at(self, at_ns: int, now_ns: int, today: date) -> int:
        """Id of the first visible bar at or after `at_ns`; one past the last where there is none."""
        return self.first_id_of_day(at_ns, now_ns, today)

    def first_id_of_day(self, day_start_ns: int, now_ns: int, today: date) -> int:
        """Id of the first visible bar of the trading day whose midnight is at or after `day_start_ns`."""
        starts = [midnight_ns(segment.day) for segment in self._ticks.segments]
        return min(self.last_id(now_ns, today) + 1, bisect_left(starts, day_start_ns))

    def texts(self, start: int, stop: int, now_ns: int, today: date) -> list[str]:
        """Bars [start, stop) as `"id":{...}`."""
        last_tick = self._ticks.last_id(now_ns, today)
        return [self._text(row, last_tick) for row in range(start, stop)]

    def _text(self, row: int, last_tick: int) -> str:
        segment = self._ticks.segments[row]
        if row in self._texts:
            return self._texts[row]
        count = last_tick - segment.first_id + 1
        if count >= segment.count:
            bar = self._finished(segment)
        else:
            ticks = self._ticks.ticks(segment)
            _, columns, _ = bars_of(ticks, segment.day, DAY_NS, count)
            bar = {name: column[0].item() for name, column in columns.items()}
            bar |= {"high": ticks.values["highest"][count - 1].item(), "low": ticks.values["lowest"][count - 1].item()}
        fields = "".join(f',"{name}":{_written(bar[name])}' for name in BAR_COLUMNS)
        text = f'"{row}":{{"datetime":{midnight_ns(segment.day)}{fields}}}'
        if count >= segment.count:
            self._texts[row] = text
        return text


def _written(value: float) -> str:
    return f'"{MISSING}"' if value != value else repr(value)


class BarSeries:
    """Bars of one symbol and duration, built from its ticks; the last visible one grows with the clock.

    Parameters
    ----------
    ticks : TickSeries
    duration_ns : int
        Up to one day. A day's bar starts at 00:00 of its trading day.
    """

    def __init__(self, ticks: TickSeries, duration_ns: int) -> None:
        self.symbol = ticks.symbol
        self._ticks = ticks
        self._duration = duration_ns
        self._days: list[_DayBars] = []

    def last_id(self, now_ns: int, today: date) -> int:
        """Id of the last bar with a tick at or before `now_ns`; -1 where there is none."""
        tick = self._ticks.last_id(now_ns, today)
        if tick < 0:
            return -1
        bars, row = self._bars_of_tick(tick)
        return bars.first_id + int(np.searchsorted(bars.first_tick, row, "right")) - 1

    def version(self, now_ns: int, today: date) -> int:
        """A number that grows when anything visible changes: the last tick's id."""
        return self._ticks.last_id(now_ns, today)

    def first_id_at(self, at_ns: int, now_ns: int, today: date) -> int:
        """Id of the first visible bar that starts at or after `at_ns`; one past the last where there is none."""
        end = self.last_id(now_ns, today) + 1
        for bars in self._days:
            if len(bars.start_ns) and bars.start_ns[-1] >= at_ns:
                return min(end, bars.first_id + int(np.searchsorted(bars.start_ns, at_ns, "left")))
        return end

    def first_id_of_day(self, day_start_ns: int, now_ns: int, today: date) -> int:
        """Id of the first visible bar of the trading day whose midnight is at or after `day_start_ns`."""
        end = self.last_id(now_ns, today) + 1
        for segment, bars in zip(self._ticks.segments, self._days, strict=False):
            if midnight_ns(segment.day) >= day_start_ns:
                return min(end, bars.first_id)
        return end

    def texts(self, start: int, stop: int, now_ns: int, today: date) -> list[str]:
        """Bars [start, stop) as `"id":{...}`, the last visible one as far as it has come."""
        last = self.last_id(now_ns, today)
        found: list[str] = []
        for index, bars in enumerate(self._days):
            a, b = max(start, bars.first_id), min(stop, bars.first_id + len(bars.start_ns))
            if a >= b:
                continue
            columns = {"datetime": bars.start_ns} | bars.columns
            found += row_texts(bars.first_id, columns, a - bars.first_id, b - bars.first_id)
            if a <= last < b:
                found[last - start] = self._growing(index, last, self._ticks.last_id(now_ns, today))
        return found

    def _growing(self, index: int, row_id: int, last_tick: int) -> str:
        segment = self._ticks.segments[index]
        count = last_tick - segment.first_id + 1
        start, columns, _ = bars_of(self._ticks.ticks(segment), segment.day, self._duration, count)
        return row_texts(row_id - len(start) + 1, {"datetime": start} | columns, len(start) - 1, len(start))[0]

    def _bars_of_tick(self, tick: int) -> tuple[_DayBars, int]:
        segment, row = self._ticks.locate(tick)
        index = self._ticks.segments.index(segment)
        while len(self._days) <= index:
            later = self._ticks.segments[len(self._days)]
            start, columns, first = bars_of(self._ticks.ticks(later), later.day, self._duration)
            before = self._days[-1] if self._days else None
            first_id = before.first_id + len(before.start_ns) if before else 0
            self._days.append(_DayBars(start, columns, first, first_id))
        return self._days[index], row
