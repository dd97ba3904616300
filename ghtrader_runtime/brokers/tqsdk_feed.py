"""Reads quote and ticks of one contract from a TqApi.

Every new serial id is walked, never the last row alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from ghtrader_base.errors import FailedError, GhtraderError, UsageError
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, RAW_TICK_SCHEMA, VALUE_COLUMNS
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.sources.base import canonical_time
from ghtrader_market.sources.tqsdk.newest_tick import drop_series, newest_id
from ghtrader_market.sources.tqsdk.past_ticks import past_ticks
from ghtrader_runtime.brokers.base import TickRow, Ticks
from ghtrader_runtime.brokers.tqsdk_isolation import connect_error

LIVE_ROWS = 500
"""Rows of the live series: short, since TqSdk moves all of it with every tick."""
HISTORY_ROWS = 10_000
"""TqSdk's own limit for one series."""
_SHANGHAI = ZoneInfo("Asia/Shanghai")


class TickFeed:
    """One contract's market data.

    Parameters
    ----------
    symbol : str

    Attributes
    ----------
    quote
        TqSdk's, once subscribed.
    missed : int
        Ticks that could not be had any more.
    cold_note : str
        Why `history` had to do without the day so far; empty where it did not.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.quote: Any = None
        self.missed = 0
        self.cold_note = ""
        self._api: Any = None
        self._last_id = -1

    def subscribe(self, api: Any) -> None:
        """Ask for quote and ticks, on a new connection once more; what was seen stays seen.

        Raises
        ------
        UsageError
            The contract is not listed, or is no future.
        ConfigError, UnreachableError, FailedError
            It is listed, but nothing comes of it: rights, line, or nonsense on the line.
        """
        self._api = api
        try:
            self._require_listed()
            self.quote = api.get_quote(self.symbol)
            frame = api.get_tick_serial(self.symbol, LIVE_ROWS)
        except GhtraderError:
            raise
        except Exception as exc:
            raise connect_error(exc) from exc  # it is listed: not the symbol, but the line or the account's rights
        if self.quote.ins_class not in ("FUTURE",) or not self.quote.price_tick > 0:
            raise UsageError(
                f"{self.symbol} is no contract that trades here", "name one future, for example SHFE.cu2502"
            )
        self._rows = self._array_of(frame)
        self._columns = self._column_places(frame)

    def _require_listed(self) -> None:
        """A symbol nobody knows costs `get_quote` a minute: ask for the list first."""
        symbol = parse_symbol(self.symbol)
        listed = self._api.query_quotes(
            ins_class="FUTURE", exchange_id=symbol.exchange, product_id=symbol.product, expired=False
        )
        if self.symbol not in listed:
            some = ", ".join(sorted(listed)[:6]) or "none of that product"
            raise UsageError(f"{self.symbol} is not listed", f"listed now: {some}")

    def _array_of(self, frame: Any) -> np.ndarray:
        array: np.ndarray = self._api._serials[id(frame)]["array"]
        return array

    def _column_places(self, frame: Any) -> tuple[int, int, np.ndarray]:
        names = list(frame.columns)
        return names.index("id"), names.index("datetime"), np.array([names.index(name) for name in VALUE_COLUMNS])

    def quote_ns(self) -> int:
        """Market time of the quote, UTC epoch ns."""
        text = self.quote.datetime
        if not text:
            raise FailedError(f"{self.symbol} has no quote yet", "start again once the market has opened")
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=_SHANGHAI)
        return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000

    def price_limits(self) -> tuple[float, float]:
        """The trading day's lowest and highest price, CNY."""
        return float(self.quote.lower_limit), float(self.quote.upper_limit)

    def history(self, calendar: TradingCalendar) -> list[TickRow]:
        """Ticks of the last tick's trading day; a day longer than one series is fetched as a whole.

        Where that cannot be had (`cold_note`), the last tick alone: factors begin with it, as with a day's first.
        """
        rows, self.cold_note = self._long_series(), ""
        if not rows:
            return []
        self._last_id = rows[-1].id
        start, _ = calendar.bounds(calendar.trading_day_of(rows[-1].datetime_ns))
        if len(rows) >= HISTORY_ROWS and rows[0].datetime_ns >= start:
            early = past_ticks(self._api, self.symbol, start, rows[0].datetime_ns, -1, rows[0].id)
            if early.frame is None:
                self.cold_note = f"no history of the day so far ({early.why_not}): factors warm up live"
                return rows[-1:]
            rows = self._rows_of_frame(early.frame) + rows
        return [row for row in rows if row.datetime_ns >= start]

    def only_the_last(self) -> None:
        """Of what is there, `new_ticks` brings no more than the last tick."""
        self._last_id = max(int(self._rows[-1, self._columns[0]]) - 1, self._last_id)

    def _long_series(self) -> list[TickRow]:
        frame = self._api.get_tick_serial(self.symbol, HISTORY_ROWS)
        rows = self._rows_of(self._array_of(frame), HISTORY_ROWS, self._column_places(frame))
        drop_series(self._api, frame, self.symbol, HISTORY_ROWS)
        return rows

    def is_current(self) -> bool:
        """Whether the service, asked anew, has no newer tick than `new_ticks` brought; waits a few seconds at most."""
        return newest_id(self._api, self.symbol) == self._last_id

    def _rows_of_frame(self, frame: Any) -> list[TickRow]:
        values = canonical_values(frame[list(VALUE_COLUMNS)].to_numpy(np.float64))
        times = canonical_time(frame["datetime"].to_numpy())
        ids = frame["id"].to_numpy(np.int64)
        return [TickRow(int(i), int(t), v) for i, t, v in zip(ids, times, values, strict=True)]

    def _rows_of(self, array: np.ndarray, count: int, places: tuple[int, int, np.ndarray]) -> list[TickRow]:
        id_at, time_at, value_at = places
        part = array[len(array) - count :]
        times = part[:, time_at]
        there = np.flatnonzero(times > 0)
        values = canonical_values(part[np.ix_(there, value_at)])
        moments = canonical_time(times[there])
        return [TickRow(int(part[k, id_at]), int(moments[n]), values[n]) for n, k in enumerate(there)]

    def new_ticks(self, now_ns: int) -> Ticks | None:
        """Ticks that came since the last call, oldest first."""
        newest = int(self._rows[-1, self._columns[0]])
        behind = newest - self._last_id
        if newest < 0 or behind <= 0:
            return None
        if behind > LIVE_ROWS and self._last_id >= 0:
            rows = [row for row in self._long_series() if row.id > self._last_id]
            self.missed += rows[0].id - self._last_id - 1 if rows else behind
        else:
            rows = self._rows_of(self._rows, min(behind, LIVE_ROWS), self._columns)
        if not rows:
            return None
        self._last_id = rows[-1].id
        return Ticks(self.symbol, rows, now_ns)


PRICE_LIMIT = 1e12


_PRICES = np.array([i for i, name in enumerate(VALUE_COLUMNS) if "_price" in name and name != "last_price"])


_VOLUMES = np.array([COLUMN_INDEX[VALUE_COLUMNS[i].replace("price", "volume")] for i in _PRICES])


_COUNTS = np.array([i for i, name in enumerate(VALUE_COLUMNS) if RAW_TICK_SCHEMA.field(name).type == "int64"])


def canonical_values(values: np.ndarray) -> np.ndarray:
    """Rows of a live series as a download has them.

    Parameters
    ----------
    values : float64[n, 27]
        In `VALUE_COLUMNS` order; overwritten.

    Returns
    -------
    float64[n, 27]
        `values`: absent levels NaN with volume 0, counts whole.
    """
    prices = values[:, _PRICES]
    with np.errstate(invalid="ignore"):
        absent = ~((prices > 0) & (prices < PRICE_LIMIT))
    prices[absent] = np.nan
    values[:, _PRICES] = prices
    volumes = values[:, _VOLUMES]
    volumes[absent] = 0.0
    values[:, _VOLUMES] = volumes
    counts = values[:, _COUNTS]
    values[:, _COUNTS] = np.rint(np.where(np.isnan(counts), 0.0, counts))
    return values
