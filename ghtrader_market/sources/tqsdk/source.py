"""Serves TqSdk as a source: contracts, daily bars, ticks, the vendor's main contracts and holidays.

TqSdk itself is never imported here: it lives in child processes (`worker_client`, `worker`), at most
`max_parallel_tqsdk_jobs` of them over all processes of the machine (`client_slots`). Which of its ticks belong to which
trading day, and which days are over, is decided here. The same code meets the vendor's servers and the simulated
exchange; only addresses differ.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import FailedError, LockHeldError, NotListedError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_market.reference.holiday_list import fetch_vendor_list
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_origin import TickOrigin
from ghtrader_market.reference.tick_schema import L1_TICK_SCHEMA
from ghtrader_market.reference.trading_calendar import TradingCalendar, load_calendar
from ghtrader_market.reference.varieties import Variety, get_variety, variety_of
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA, ContractInfo, RowProgress, split_days
from ghtrader_market.sources.retry import RetryPolicy
from ghtrader_market.sources.tqsdk.client_slots import slot_holders, take_slot
from ghtrader_market.sources.tqsdk.service_origin import origin_of_service
from ghtrader_market.sources.tqsdk.worker_client import Worker, close_all

_CLOSE_TOLERANCE_NS = 60 * 10**9
"""The last snapshot of a day may be this much older than its close, and the day is over nevertheless."""
_ROWS_A_CALL = 300_000
"""Aim of one request: about half a minute of TqSdk's time, 70 MB; what a kill can lose."""
_FIRST_CALL_DAYS = 10
_SLOT_POLL_S = 0.2
_TELL_EVERY_S = 15.0


class TqSdkSource:
    """Ticks and bars through TqSdk.

    Parameters
    ----------
    settings : Settings
        Credentials, addresses, home, and how many TqSdk processes may run at once.
    calendar : TradingCalendar, optional
        Default: the one in force in the home.
    tell : callable, optional
        Takes a line about what is waited for; default: stderr.

    Notes
    -----
    Every method raises `ConfigError` for missing or refused credentials and `UnreachableError` within seconds where
    a server is not there. Safe to use from several threads; each call in progress has a process of its own.
    """

    name = "tqsdk"
    contiguous_ids = True

    def __init__(
        self,
        settings: Settings,
        calendar: TradingCalendar | None = None,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self._settings = settings
        self._calendar = calendar or load_calendar(settings)
        self._tell = tell or (lambda line: sys.stderr.write(line + "\n"))
        self._patience = RetryPolicy(settings.ingest_attempts, settings.ingest_outage_s, self._tell)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._origin: TickOrigin | None = None
        self._closed = False

    def __enter__(self) -> TqSdkSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def use_calendar(self, calendar: TradingCalendar) -> None:
        """Go on with another calendar: the list at hand was refreshed."""
        self._calendar = calendar

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
        worker = self._idle_or_new()
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

    def _idle_or_new(self) -> Worker:
        """A worker of ours that has nothing to do, or a new one as soon as the machine has a slot for it."""
        began = time.monotonic()
        told = began - _TELL_EVERY_S
        while True:
            with self._lock:
                if self._closed:
                    raise FailedError("this source is closed", "open another one")
                if self._idle:
                    return self._idle.pop()
            slot = take_slot(self._settings, f"TqSdk client of {self._settings.home}")
            if slot is not None:
                try:
                    self._origin = None  # another connection: it may be to another service
                    return Worker(self._settings, slot)
                finally:
                    slot.close()
            holders = "; ".join(slot_holders(self._settings)) or "an unknown process"
            if time.monotonic() - began >= self._settings.tqsdk_slot_wait_s:
                raise LockHeldError(
                    f"all {self._settings.max_parallel_tqsdk_jobs} TqSdk clients are in use: {holders}",
                    "wait for them to end, or raise GHTRADER_MAX_PARALLEL_TQSDK_JOBS if your account allows more",
                )
            if time.monotonic() - told >= _TELL_EVERY_S:
                told = time.monotonic()
                self._tell(f"waiting for one of {self._settings.max_parallel_tqsdk_jobs} TqSdk clients: {holders}")
            time.sleep(_SLOT_POLL_S)

    def origin(self) -> TickOrigin:
        """Where the ticks come from: asked of the service once a connection, and then remembered."""
        found = self._origin
        if found is None:
            found = self._origin = origin_of_service(self._settings)
        return found

    def _ask(self, op: str, **request: Any) -> Any:
        """One request of a worker, sent again where nobody answers for a while."""

        def once() -> Any:
            with self._worker() as worker:
                return worker.ask(op, **request)

        return self._patience.call(once)

    def contracts(self, variety: str, start: date, end: date) -> list[ContractInfo]:
        """Contracts of a variety whose life touches [start, end], ordered by expiry."""
        product = get_variety(variety)
        rows = self._ask("contracts", exchange=product.exchange, product=product.product)
        found = [ContractInfo(row["symbol"], date.fromisoformat(row["expires"]), None, row["expired"]) for row in rows]
        found.sort(key=lambda item: (item.expires, item.symbol))
        return [item for item in found if item.lives_in(start, end)]

    def daily_bars(self, symbols: Iterable[str], start: date, end: date) -> pa.Table:
        """Finished trading days of [start, end], ordered by symbol and day; settlement is null (TqSdk has none).

        Of several symbols, one that the service does not list is told of and left out; alone it is a NotListedError.
        """
        symbols = sorted(set(symbols))
        first, last = self._bounds(start, end)
        over = {key: self.finished_day(key) for key in {variety_of(symbol).key for symbol in symbols}}
        parts = []
        for symbol in symbols:
            try:
                bars = self._ask("daily_bars", symbol=symbol, start_ns=first, end_ns=last)
            except NotListedError as error:
                if len(symbols) == 1:
                    raise
                self._tell(f"{error.message}; the others go on")
                continue
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

        Days are asked for in ranges of about `_ROWS_A_CALL` ticks and given as soon as their range is here. A main
        series (`KQ.m@SHFE.cu`) comes with `L1_TICK_SCHEMA`. A range is asked for once: what to do where it does not
        come is the caller's business.
        """
        variety = variety_of(symbol)
        columns = L1_TICK_SCHEMA.names if parse_symbol(symbol).continuous else None
        with self._worker() as worker:
            now = int(worker.ask("market_ns", symbols=[variety.continuous_symbol]))
            days = self._calendar.days(start, min(end, self._finished(now, variety)))
            at_once, done = _FIRST_CALL_DAYS, 0
            while days:
                asked, days = days[:at_once], days[at_once:]
                first, last = self._bounds(asked[0], asked[-1])
                table = worker.ask(
                    "ticks",
                    progress=None if progress is None else _added_to(done, progress),
                    symbol=symbol,
                    start_ns=first,
                    end_ns=last,
                )
                done += table.num_rows
                if progress is not None:
                    progress(done)
                at_once = max(1, min(250, _ROWS_A_CALL * len(asked) // max(table.num_rows, 1)))
                table = table if columns is None else table.select(columns)
                found = split_days(table, self._calendar.trading_day_of(table["datetime_ns"].to_numpy()))
                for day in asked:
                    yield day, found.get(day, table.slice(0, 0))

    def continuous(self, variety: str, days: int = 2000) -> list[tuple[date, str]]:
        """The vendor's main contract of each of the last `days` trading days, oldest first."""
        pairs = self._ask("continuous", symbol=get_variety(variety).continuous_symbol, days=days)
        return [(date.fromisoformat(day), contract) for day, contract in pairs]

    def finished_day(self, variety: str) -> date:
        """Last trading day of a variety that is over by the service's own clock."""
        product = get_variety(variety)
        return self._finished(int(self._ask("market_ns", symbols=[product.continuous_symbol])), product)

    def holidays(self) -> list[date]:
        """The vendor's list of weekdays without trading; no login, no worker."""
        return fetch_vendor_list(self._settings)

    def _bounds(self, start: date, end: date) -> tuple[int, int]:
        return self._calendar.bounds(start)[0], self._calendar.bounds(end)[1]

    def _finished(self, now: int, variety: Variety) -> date:
        """Last trading day that is over by the exchange's own clock (its newest quote, which may be simulated)."""
        day = self._calendar.trading_day_of(now)
        close = self._calendar.sessions(variety, day)[-1][1]
        return day if now >= close - _CLOSE_TOLERANCE_NS else self._calendar.previous_day(day)


def _added_to(done: int, progress: RowProgress) -> RowProgress:
    return lambda rows: progress(done + rows)
