"""Downloads ticks into the store: days wanted - days present - days known empty -> ranges to ask a source for.

Which days are asked for, in which order they are written, and what is reported about it is decided here; what a source
answers is in `sources`, how a day is kept in `stores`. A stop at any moment loses no finished day.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ghtrader_base.disk_space import require_room
from ghtrader_base.errors import GhtraderError, IntegrityError, UsageError
from ghtrader_market.ingest.fetch import DAMAGED, Fetcher, FetchPolicy, Tally
from ghtrader_market.ingest.report import IngestReport, Progress, ProgressLine
from ghtrader_market.ingest.run_manifest import RunManifest, close_killed_runs
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.base import ContractInfo, TickSource, life_of
from ghtrader_market.stores.base import RECORDED
from ghtrader_market.stores.lake.cleanup import sweep_orphans
from ghtrader_market.stores.lake.missing_days import clear_skips, no_data_days, skipped_days, traded_by_bars

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings
    from ghtrader_market.stores.lake.lake import Lake

__all__ = [
    "FetchPolicy",
    "IngestReport",
    "Progress",
    "ProgressLine",
    "contiguous",
    "dataset_of",
    "download",
    "policy_of",
    "wanted_days",
]

_SMALL_DAY_BYTES = 20_000
"""Of a contract-day in the lake, where it has none yet: one of a few thousand ticks."""
TICKS, TICKS_L1 = "ticks", "ticks_l1"
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


@dataclass(frozen=True)
class _Part:
    """What one symbol still needs."""

    symbol: str
    dataset: str
    days: Days
    replaces: frozenset[date]


def dataset_of(symbol: str) -> str:
    """Where ticks of a symbol are kept: contracts in `ticks`, one-level main series (`KQ.m@...`) in `ticks_l1`."""
    return TICKS_L1 if parse_symbol(symbol).continuous else TICKS


def policy_of(settings: Settings) -> FetchPolicy:
    """The retry policy of the settings."""
    return FetchPolicy(settings.ingest_attempts, settings.ingest_outage_s)


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
    volumes: Mapping[str, Mapping[date, int]] | None = None,
    policy: FetchPolicy | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> IngestReport:
    """Fetch the missing days of some contracts, or of main series (`KQ.m@SHFE.cu`) with one level.

    Parameters
    ----------
    source : TickSource
        Asked by contract and contiguous range.
    lake : Lake
        Written day by day as they arrive; a day in it is never asked for again, unless our recorder wrote it.
    symbols : iterable of str or ContractInfo
        A `ContractInfo` knows its life; of a name only the widest possible one is known.
    start, end : date
        Trading days, both included.
    workers : int
        Contracts fetched at once (the source may allow fewer).
    progress : callable, optional
        Called from the working threads with a `ProgressLine`, one call at a time.
    volumes : mapping, optional
        Symbol -> day -> lots of its daily bar, which ticks are held against; asked of the source where not given.
    policy : FetchPolicy, optional
    tell : callable, optional
        Takes a line about trouble.

    Returns
    -------
    IngestReport
        Days that could not be had are in its `skipped`, and in the skip ledger beside the contract's days.

    Raises
    ------
    NoRoomError
        The disk has less room than what is missing takes; nothing was asked for.
    UsageError
        The range is wrong, a symbol unknown; `NotListedError` where the service lists none of them.
    UnreachableError
        The service was not there, or went away for longer than `policy.outage_s`: what was left is in the ledger.
    GhtraderError
        Whatever a store raises, and what no retry mends (credentials); days finished before it stay.
    """
    calendar.require_days(start, end)
    started = time.monotonic()
    contracts = list({info.symbol: info for info in (_info(symbol, end) for symbol in symbols)}.values())
    if contracts and not any(info.lives_in(start, end) for info in contracts):
        first = contracts[0]
        raise UsageError(
            f"{', '.join(info.symbol for info in contracts)} cannot have traded between {start} and {end}",
            f"{first.symbol} can have traded from {first.first_possible} to {first.expires}",
        )
    damaged = _tidy(lake, [info.symbol for info in contracts]) if lake.root.exists() else {}
    sound = [info for info in contracts if info.symbol not in damaged]
    plan, present, known_empty = _plan(lake, calendar, sound, start, end)
    tally = Tally(sum(len(part.days) for part in plan), progress)
    for info in contracts:
        if info.symbol in damaged:
            tally.refuses(info.symbol, wanted_days(info, calendar, start, end), DAMAGED, damaged[info.symbol].message)

    def report() -> IngestReport:
        known = {*tally.written, *tally.empty, *((symbol, day) for symbol, day, _, _ in tally.skipped)}
        return IngestReport(
            written=tuple(sorted(tally.written)),
            present=present,
            known_empty=known_empty,
            empty=tuple(sorted(tally.empty)),
            skipped=tuple(sorted(tally.skipped)),
            pending=tuple((part.symbol, day) for part in plan for day in part.days if (part.symbol, day) not in known),
            rows=tally.stored,
            seconds=time.monotonic() - started,
        )

    if plan:
        _require_room(lake, plan, volumes or {})
        fetcher = Fetcher(source, lake, calendar, tally, policy or FetchPolicy(), run_id, volumes, tell)
        with _recorded(lake, run_id, source.name, plan, tally, report):
            _fetch(fetcher, plan, max(1, min(workers, len(plan))))
            if len(fetcher.unlisted) == len(plan):
                raise fetcher.unlisted[0]
            if fetcher.outage is not None:
                raise _too_long(fetcher.outage, report())
    return report()


def _info(symbol: str | ContractInfo, near: date) -> ContractInfo:
    info = life_of(symbol, near) if isinstance(symbol, str) else symbol
    variety_of(info.symbol)
    return info


def _plan(
    lake: Lake, calendar: TradingCalendar, contracts: Iterable[ContractInfo], start: date, end: date
) -> tuple[list[_Part], int, int]:
    """Wanted - present - known empty, longest contracts first; how many days were present, how many known empty."""
    plan: list[_Part] = []
    present = known_empty = 0
    for contract in contracts:
        dataset = dataset_of(contract.symbol)
        days = wanted_days(contract, calendar, start, end)
        here = set(lake.days(dataset, contract.symbol))
        recorded = here.intersection(lake.index.days_from(dataset, contract.symbol, RECORDED), days) if here else set()
        have = here - recorded
        empty = (no_data_days(lake, contract.symbol, dataset) - here).intersection(days)
        empty -= traded_by_bars(lake, contract.symbol, empty)
        present += len(have.intersection(days))
        known_empty += len(empty)
        if missing := [day for day in days if day not in have and day not in empty]:
            plan.append(_Part(contract.symbol, dataset, missing, frozenset(recorded)))
    return sorted(plan, key=lambda part: (-len(part.days), part.symbol)), present, known_empty


def _tidy(lake: Lake, symbols: Iterable[str]) -> dict[str, IntegrityError]:
    """Put right what killed runs left: manifests still running, files nobody names, skips of days that came.

    Returns symbols whose ledgers do not read, each with what is wrong: that holds up no other.
    """
    close_killed_runs(lake)
    damaged: dict[str, IntegrityError] = {}
    for symbol in symbols:
        dataset = dataset_of(symbol)
        try:
            sweep_orphans(lake, dataset, symbol)
            came = no_data_days(lake, symbol, dataset).union(lake.days(dataset, symbol))
            if skipped := skipped_days(lake, symbol, dataset):
                clear_skips(lake, symbol, came.intersection(skipped), dataset)
        except IntegrityError as error:
            damaged[symbol] = error
    return damaged


def _require_room(lake: Lake, plan: list[_Part], volumes: Mapping[str, Mapping[date, int]]) -> None:
    """NoRoomError where days that are known to have traded cannot fit, each counted as small as those here."""
    traded = sum(1 for part in plan for day in part.days if volumes.get(part.symbol, {}).get(day))
    if not traded:
        return
    here = list(lake.index.summaries(TICKS).values()) if lake.root.exists() else []
    days = sum(one.days for one in here)
    a_day = sum(one.bytes for one in here) / days if days else _SMALL_DAY_BYTES
    require_room(lake.root, traded * a_day, f"a download of {traded} contract-days")


@contextlib.contextmanager
def _recorded(
    lake: Lake, run_id: str, source: str, plan: list[_Part], tally: Tally, report: Callable[[], IngestReport]
) -> Iterator[None]:
    """Keep this run's manifest; there is none of a run that never reached its source."""
    asked = {(part.dataset, part.symbol): part.days for part in plan}
    manifest: list[RunManifest] = []
    tally.on_first(lambda: manifest.append(RunManifest(lake, run_id, "download", source, asked)))
    try:
        yield
    except BaseException as exc:
        for each in manifest:
            each.close(report(), exc)
        raise
    for each in manifest:
        each.close(report())


def _fetch(fetcher: Fetcher, plan: list[_Part], workers: int) -> None:
    """Work through the plan; what no retry mends stops all and is raised."""
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="ingest")
    futures: list[Future[None]] = []
    try:
        for part in plan:  # a Ctrl-C may come here too, with some of them at work
            futures.append(pool.submit(fetcher.contract, part.symbol, part.dataset, part.days, part.replaces))
        finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
    except BaseException:
        # Also Ctrl-C and a cancelled run: the others end after the day they write.
        fetcher.stop.set()
        for future in futures:
            future.cancel()
        raise
    finally:
        pool.shutdown(wait=not fetcher.stop.is_set(), cancel_futures=True)


def _too_long(outage: GhtraderError, report: IngestReport) -> GhtraderError:
    """The outage as the error of the whole download."""
    return type(outage)(
        f"{outage.message}; {len(report.skipped)} contract-days are skipped, {len(report.written)} were stored",
        f"{outage.hint or 'try later'}; what is stored stays, and `ghtrader update` asks for the rest",
    )
