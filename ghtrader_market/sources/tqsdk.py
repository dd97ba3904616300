"""TqSdk as a source: contracts, daily bars, ticks, the vendor's main contracts and holidays.

TqSdk itself is never imported here: it lives in child processes (`tqsdk_process`, `tqsdk_worker`), at most
`max_parallel_tqsdk_jobs` of them. Which of its ticks belong to which trading day, and which days are over, is decided
here. The same code meets the vendor's servers and the simulated exchange; only addresses differ.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import FailedError, UnreachableError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_market.calendar import TradingCalendar, load_calendar, parse_vendor_list
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA, ContractInfo, RowProgress, empty_ticks, split_days
from ghtrader_market.sources.tqsdk_process import START_HINT, Worker, close_all
from ghtrader_market.varieties import Variety, get_variety, variety_of

VENDOR_HOLIDAY_URL = "https://files.shinnytech.com/shinny_chinese_holiday.json"
_CLOSE_TOLERANCE_NS = 60 * 10**9
"""The last snapshot of a day may be this much older than its close, and the day is over nevertheless."""
_ROWS_A_CALL = 300_000
"""Aim of one request: about half a minute of TqSdk's time, 70 MB; what a kill can lose."""
_FIRST_CALL_DAYS = 10


class TqSdkSource:
    """Ticks and bars through TqSdk.

    Parameters
    ----------
    settings : Settings
        Credentials, addresses, home, and how many TqSdk processes may run at once.
    calendar : TradingCalendar, optional
        Default: the one in force in the home.

    Notes
    -----
    Every method raises `ConfigError` for missing or refused credentials and `UnreachableError` within seconds where
    a server is not there. Safe to use from several threads; each call in progress has a process of its own.
    """

    name = "tqsdk"

    def __init__(self, settings: Settings, calendar: TradingCalendar | None = None) -> None:
        self._settings = settings
        self._calendar = calendar or load_calendar(settings)
        self._slots = threading.BoundedSemaphore(settings.max_parallel_tqsdk_jobs)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False

    def __enter__(self) -> TqSdkSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers that run now."""
        with self._lock:
            return [worker.pid for worker in (*self._idle, *self._busy)]

    def close(self) -> None:
        """End every worker; calls in progress on other threads fail."""
        with self._lock:
            self._closed = True
            idle, busy = self._idle, list(self._busy)
            self._idle = []
        for worker in busy:
            worker.kill()
        close_all(idle)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Worker]:
        with self._slots:
            with self._lock:
                if self._closed:
                    raise FailedError("this source is closed", "open another one")
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                worker = Worker(self._settings)
            with self._lock:
                self._busy.add(worker)
            usable = False
            try:
                yield worker
                usable = True
            except (UsageError, GeneratorExit):
                # The request was wrong, or nobody wants more days: the worker waits for the next request.
                usable = True
                raise
            finally:
                with self._lock:
                    self._busy.discard(worker)
                    keep = usable and not self._closed
                    if keep:
                        self._idle.append(worker)
                if not keep:
                    worker.kill()

    def contracts(self, variety: str, start: date, end: date) -> list[ContractInfo]:
        """Contracts of a variety whose life touches [start, end], ordered by expiry."""
        product = get_variety(variety)
        with self._worker() as worker:
            rows = worker.ask("contracts", exchange=product.exchange, product=product.product)
        found = [ContractInfo(row["symbol"], date.fromisoformat(row["expires"]), None, row["expired"]) for row in rows]
        found.sort(key=lambda item: (item.expires, item.symbol))
        return [item for item in found if item.lives_in(start, end)]

    def daily_bars(self, symbols: Iterable[str], start: date, end: date) -> pa.Table:
        """Finished trading days of [start, end], ordered by symbol and day; settlement is null (TqSdk has none)."""
        symbols = sorted(set(symbols))
        first, last = self._bounds(start, end)
        parts = []
        with self._worker() as worker:
            over = {variety_of(symbol).key: None for symbol in symbols}
            over = {key: self._last_finished(worker, get_variety(key)) for key in over}
            for symbol in symbols:
                bars = worker.ask("daily_bars", symbol=symbol, start_ns=first, end_ns=last)
                parts.append(self._bars(symbol, bars, min(end, over[variety_of(symbol).key])))
        return pa.concat_tables(parts) if parts else DAILY_BAR_SCHEMA.empty_table()

    def _bars(self, symbol: str, bars: pa.Table, end: date) -> pa.Table:
        if bars.num_rows == 0:
            return DAILY_BAR_SCHEMA.empty_table()
        days = self._calendar.trading_day_of(bars["datetime_ns"].to_numpy())
        count = bars.num_rows
        columns = [pa.array([symbol] * count), pa.array(days.astype("datetime64[D]"))]
        columns += [bars[name].combine_chunks() for name in ("open", "high", "low", "close", "volume", "close_oi")]
        table = pa.Table.from_arrays([*columns, pa.nulls(count, pa.float64())], schema=DAILY_BAR_SCHEMA)
        return table.filter(pa.array(days <= np.datetime64(end, "D")))

    def ticks(
        self, symbol: str, start: date, end: date, progress: RowProgress | None = None
    ) -> Iterator[tuple[date, pa.Table]]:
        """Finished trading days of [start, end] in order; an empty table says the source has no tick of that day.

        Days are asked for in ranges of about `_ROWS_A_CALL` ticks and given as soon as their range is here.
        """
        variety = variety_of(symbol)
        with self._worker() as worker:
            days = self._calendar.days(start, min(end, self._last_finished(worker, variety)))
            at_once, done = _FIRST_CALL_DAYS, 0
            while days:
                asked, days = days[:at_once], days[at_once:]
                first, last = self._bounds(asked[0], asked[-1])
                before = done
                table = worker.ask(
                    "ticks",
                    progress=None if progress is None else lambda rows, before=before: progress(before + rows),
                    symbol=symbol,
                    start_ns=first,
                    end_ns=last,
                )
                done += table.num_rows
                if progress is not None:
                    progress(done)
                at_once = max(1, min(250, _ROWS_A_CALL * len(asked) // max(table.num_rows, 1)))
                found = dict(split_days(table, self._calendar.trading_day_of(table["datetime_ns"].to_numpy())))
                for day in asked:
                    yield day, found.get(day, empty_ticks())

    def continuous(self, variety: str, days: int = 2000) -> list[tuple[date, str]]:
        """The vendor's main contract of each of the last `days` trading days, oldest first."""
        with self._worker() as worker:
            pairs = worker.ask("continuous", symbol=get_variety(variety).continuous_symbol, days=days)
        return [(date.fromisoformat(day), contract) for day, contract in pairs]

    def finished_day(self, variety: str) -> date:
        """Last trading day of a variety that is over by the service's own clock."""
        with self._worker() as worker:
            return self._last_finished(worker, get_variety(variety))

    def holidays(self) -> list[date]:
        """The vendor's list of weekdays without trading; no login, no worker."""
        url = self._settings.tq_chinese_holiday_url or VENDOR_HOLIDAY_URL
        try:
            with urllib.request.urlopen(url, timeout=5.0) as response:
                return parse_vendor_list(response.read())
        except (urllib.error.URLError, OSError, ValueError) as exc:
            raise UnreachableError(f"no holiday list at {url}", START_HINT) from exc

    def _bounds(self, start: date, end: date) -> tuple[int, int]:
        return self._calendar.bounds(start)[0], self._calendar.bounds(end)[1]

    def _last_finished(self, worker: Worker, variety: Variety) -> date:
        """Last trading day that is over by the exchange's own clock (its newest quote, which may be simulated)."""
        now = int(worker.ask("market_ns", symbols=[variety.continuous_symbol]))
        day = self._calendar.trading_day_of(now)
        close = self._calendar.sessions(variety, day)[-1][1]
        return day if now >= close - _CLOSE_TOLERANCE_NS else self._calendar.previous_day(day)
