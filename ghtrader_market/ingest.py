"""Ticks into the store: days wanted - days present - days known empty -> ranges to ask a source for.

What a source answers is `sources`' business, how a day is kept is `stores`'; here is which days are asked for, in
which order they are written, and what is told about it. A stop at any moment loses no finished day.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from datetime import date
from typing import TYPE_CHECKING

from ghtrader_base.errors import UsageError
from ghtrader_base.failpoints import failpoint
from ghtrader_market.calendar import TradingCalendar
from ghtrader_market.imports import import_recordings, load_declared
from ghtrader_market.ingest_report import IngestReport, Progress, ProgressLine
from ghtrader_market.no_data import add_no_data, no_data_days
from ghtrader_market.sources.base import ContractInfo, TickSource, life_of
from ghtrader_market.ticks import RAW_TICK_SCHEMA
from ghtrader_market.varieties import variety_of

if TYPE_CHECKING:
    from ghtrader_market.stores.lake import Lake

__all__ = [
    "IngestReport",
    "Progress",
    "ProgressLine",
    "contiguous",
    "download",
    "import_recordings",
    "load_declared",
    "wanted_days",
]

TICKS = "ticks"
Days = list[date]


# ---- what to ask for ------------------------------------------------------------------------------------------------


def contiguous(days: Iterable[date], calendar: TradingCalendar) -> list[tuple[date, date]]:
    """Trading days as ranges (first, last) without a trading day missing inside."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and calendar.previous_day(day) == ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def wanted_days(contract: ContractInfo, calendar: TradingCalendar, start: date, end: date) -> Days:
    """Trading days of [start, end] within a contract's life."""
    return calendar.days(max(start, contract.first_possible), min(end, contract.expires))


# ---- download -------------------------------------------------------------------------------------------------------


class _Tally:
    """Numbers that several threads add to, and the progress they make."""

    def __init__(self, wanted: int, progress: Progress | None) -> None:
        self.lock = threading.RLock()
        self.started = time.monotonic()
        self.written: list[tuple[str, date]] = []
        self.empty = 0
        self.stored = 0
        self._coming: dict[str, int] = {}
        self._wanted = wanted
        self._progress = progress

    def coming(self, key: str, rows: int) -> None:
        """Rows received by one request, stored or not."""
        with self.lock:
            self._coming[key] = rows
            self._tell()

    def finished(self, symbol: str, day: date, rows: int) -> None:
        with self.lock:
            if rows:
                self.written.append((symbol, day))
                self.stored += rows
            else:
                self.empty += 1
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            rows = max(self.stored, sum(self._coming.values()))
            seconds = max(time.monotonic() - self.started, 1e-9)
            self._progress(ProgressLine(rows, len(self.written) + self.empty, self._wanted, rows / seconds))


def download(
    source: TickSource,
    lake: Lake,
    calendar: TradingCalendar,
    symbols: Iterable[str | ContractInfo],
    start: date,
    end: date,
    *,
    run_id: str = "",
    workers: int = 2,
    progress: Progress | None = None,
) -> IngestReport:
    """Fetch the missing days of some contracts.

    Parameters
    ----------
    source : TickSource
        Asked by contract and contiguous range.
    lake : Lake
        Written day by day as they arrive; a day in it is never asked for again.
    symbols : iterable of str or ContractInfo
        A `ContractInfo` knows its life; of a name only the widest possible one is known.
    start, end : date
        Trading days, both included.
    workers : int
        Contracts fetched at once (the source may allow fewer).
    progress : callable, optional
        Called from the working threads with a `ProgressLine`, one call at a time.

    Raises
    ------
    UsageError
        The range is wrong, a symbol unknown.
    GhtraderError
        Whatever the source or a store raises; days finished before it stay.
    """
    calendar.require_days(start, end)
    started = time.monotonic()
    contracts = list({info.symbol: info for info in map(_info, symbols)}.values())
    if contracts and not any(info.lives_in(start, end) for info in contracts):
        first = contracts[0]
        raise UsageError(
            f"{', '.join(info.symbol for info in contracts)} cannot have traded between {start} and {end}",
            f"{first.symbol} can have traded from {first.first_possible} to {first.expires}",
        )
    plan: list[tuple[str, Days]] = []
    present = known_empty = 0
    for contract in contracts:
        days = wanted_days(contract, calendar, start, end)
        have, empty = set(lake.days(TICKS, contract.symbol)), no_data_days(lake, contract.symbol)
        present += len(have.intersection(days))
        known_empty += len(empty.difference(have).intersection(days))
        if missing := [day for day in days if day not in have and day not in empty]:
            plan.append((contract.symbol, missing))
    tally = _Tally(sum(len(days) for _, days in plan), progress)
    if plan:
        _fetch(source, lake, calendar, plan, tally, run_id, max(1, min(workers, len(plan))))
    done = set(tally.written)
    pending = [
        (symbol, day)
        for symbol, days in plan
        for day in sorted(set(days) - no_data_days(lake, symbol))
        if (symbol, day) not in done
    ]
    return IngestReport(
        written=tuple(sorted(tally.written)),
        present=present,
        known_empty=known_empty,
        found_empty=tally.empty,
        pending=tuple(pending),
        rows=tally.stored,
        seconds=time.monotonic() - started,
    )


def _info(symbol: str | ContractInfo) -> ContractInfo:
    info = life_of(symbol) if isinstance(symbol, str) else symbol
    variety_of(info.symbol)
    return info


def _fetch(
    source: TickSource,
    lake: Lake,
    calendar: TradingCalendar,
    plan: list[tuple[str, Days]],
    tally: _Tally,
    run_id: str,
    workers: int,
) -> None:
    """Work through the plan, longest contracts first; the first error stops all and is raised."""
    stop = threading.Event()
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="ingest")
    plan = sorted(plan, key=lambda item: (-len(item[1]), item[0]))
    futures: list[Future[None]] = [
        pool.submit(_fetch_contract, source, lake, calendar, symbol, days, tally, run_id, stop)
        for symbol, days in plan
    ]
    try:
        finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
    except BaseException:
        # Also Ctrl-C and a cancelled run: the others end after the day they write.
        stop.set()
        for future in futures:
            future.cancel()
        raise
    finally:
        pool.shutdown(wait=not stop.is_set(), cancel_futures=True)


def _fetch_contract(
    source: TickSource,
    lake: Lake,
    calendar: TradingCalendar,
    symbol: str,
    days: Days,
    tally: _Tally,
    run_id: str,
    stop: threading.Event,
) -> None:
    for first, last in contiguous(days, calendar):
        if stop.is_set():
            return
        key = f"{symbol} {first}"
        empty: list[date] = []
        arriving = source.ticks(symbol, first, last, lambda rows, key=key: tally.coming(key, rows))
        try:
            for day, table in arriving:
                if stop.is_set():
                    return
                failpoint("ingest.fetch->write")
                if table.num_rows:
                    lake.write_day(TICKS, symbol, day, table, schema=RAW_TICK_SCHEMA, source=source.name, run_id=run_id)
                    failpoint("ingest.manifest->ledger")
                else:
                    empty.append(day)
                tally.finished(symbol, day, table.num_rows)
        finally:
            with contextlib.suppress(AttributeError):
                arriving.close()  # type: ignore[attr-defined]
            if empty:
                add_no_data(lake, symbol, empty)
