"""Defines the job behind `ghtrader update`: fill a variety's stored contracts forward, and ask again for skipped days.

It takes its days from what is stored and from the service's own clock, so it needs no dates. Whole days it completes
count as materialized; the others are observed.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pyarrow as pa

from ghtrader_assets.assets.daily_bars import read_bars, traded_symbols, write_bars
from ghtrader_assets.assets.tick_download import (
    bar_volumes,
    fetch_ticks,
    report_whole_days,
    require_none_skipped,
    symbols_with_ticks,
)
from ghtrader_assets.resources.progress import say
from ghtrader_assets.resources.resources import HomeResource, SourceResource, shared_clients
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.outcomes import together
from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.lock_keys import daily_bars_key, ticks_range_key
from ghtrader_market.ingest.contract_bars import bars_of_contracts
from ghtrader_market.ingest.download import contiguous
from ghtrader_market.inventory.contract_catalog import load_contracts, load_snapshot, refresh
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.sources.base import ContractInfo, origin_of_source
from ghtrader_market.stores.lake.daily_bars import damaged_bars, unanswered_bars
from ghtrader_market.stores.lake.declared_days import load_declared
from ghtrader_market.stores.lake.missing_days import skipped_days


class UpdateConfig(RunConfig):
    """Which variety, and how far behind its last trading day a contract is still filled.

    `refresh_catalog`: ask for the contract list even where it is fresh. `workers`: clients at once, 0: two.
    """

    variety: str
    recent_expired_days: int = 10
    refresh_catalog: bool = False
    workers: int = 0


@dg.op
@guarded
def fill_forward(
    context: dg.OpExecutionContext, config: UpdateConfig, home: HomeResource, source: SourceResource
) -> None:
    """Refresh the holiday list, fetch what finished since the last stored day, and the days skipped before."""
    with shared_clients():
        _fill_forward(context, config, home, source)


def _fill_forward(
    context: dg.OpExecutionContext, config: UpdateConfig, home: HomeResource, source: SourceResource
) -> None:
    key = get_variety(config.variety).key
    with source.opened(home.settings) as opened:
        say(home.refresh_calendar(opened))
    stored = _stored(home, key)
    if not stored:
        raise FailedError(
            f"no downloaded day of {key} is here to go on from",
            f"first: ghtrader download-contract-range --var {key} --start D --end D",
        )
    first = min(days[0] for days in stored.values())
    last, no_bars = _catalog_and_bars(context.run_id, home, source, key, first, config)
    wanted = _wanted(home, key, stored, last, config.recent_expired_days)
    if not wanted:
        if no_bars:
            raise together(no_bars)
        say(f"{key} is up to date: {last}")
        return
    start = min(info.first_possible for info in wanted)
    report = fetch_ticks(
        home,
        source,
        wanted,
        start,
        last,
        context.run_id,
        workers=config.workers,
        volumes=bar_volumes(read_bars(home.lake, key, home.calendar.days(start, last))),
        further_locks=[ticks_range_key(get_variety(key).exchange, key)],
    )
    touched = {day for _, day in report.written}
    failed = report_whole_days(context, home, key, touched, [day for _, day, _, _ in report.skipped])
    require_none_skipped(report)
    if failed := no_bars | failed:
        raise together(failed)


def _stored(home: HomeResource, variety: str) -> dict[str, list[date]]:
    """Days a download stored or skipped, by contract; a recording that was imported is not gone on from."""
    declared = load_declared(home.settings.data, variety)
    found: dict[str, list[date]] = {}
    known = {info.symbol for info in load_contracts(home.settings.data, variety)}
    for symbol in sorted(known.union(symbols_with_ticks(home, variety))):
        days = {day for day in home.lake.days("ticks", symbol) if declared.get(day) != symbol}
        if days := days.union(skipped_days(home.lake, symbol)):
            found[symbol] = sorted(days)
    return found


def _catalog_and_bars(
    run_id: str, home: HomeResource, source: SourceResource, variety: str, first: date, config: UpdateConfig
) -> tuple[date, dict[str, GhtraderError]]:
    """Bring contract list and daily bars up to the service's last finished day.

    Returns
    -------
    date, dict of str to GhtraderError
        That day, and the contracts whose bars could not be had, each with why.
    """
    failed: dict[str, GhtraderError] = {}
    lake, data = home.lake, home.settings.data
    with home.lock(daily_bars_key(variety), f"update {variety}", run_id), source.opened(home.settings) as opened:
        if config.refresh_catalog or not load_snapshot(data, variety).is_fresh(datetime.now(UTC)):
            refresh(opened, lake, variety)
        last = opened.finished_day(variety)
        declared = load_declared(data, variety)
        damaged = damaged_bars(lake, variety)
        have = (set(lake.days("daily_bars", variety)) - damaged.keys() - unanswered_bars(lake, variety)).union(declared)
        missing = [day for day in home.calendar.days(home.calendar.previous_day(first), last) if day not in have]
        for start, end in contiguous(missing, home.calendar):
            symbols = [info.symbol for info in load_contracts(data, variety) if info.lives_in(start, end)]
            if symbols:
                say(f"daily bars of {len(symbols)} {variety} contracts, {start} to {end}")
                found = bars_of_contracts(opened, symbols, start, end)
                failed |= {f"daily bars of {symbol}": error for symbol, error in found.failed.items()}
                bars = found.with_unknown(lake, variety, load_contracts(data, variety))
                write_bars(lake, variety, bars, opened.name, run_id, origin_of_source(opened).if_known)
    return last, failed


def _wanted(
    home: HomeResource, variety: str, stored: dict[str, list[date]], last: date, recent_days: int
) -> list[ContractInfo]:
    """Contracts to fill, each from the day it is to be filled from.

    A contract that is stored is filled from its first stored day; one that is not, from the variety's newest stored day
    on: it had no part in what was downloaded before.
    """
    newest = max(day for days in stored.values() for day in days)
    since = last - timedelta(days=recent_days)
    bars: pa.Table = read_bars(home.lake, variety, home.calendar.days(min(newest, last), last))
    trading: set[str] = set(traded_symbols(bars))
    found = []
    for info in load_contracts(home.settings.data, variety):
        days = stored.get(info.symbol)
        overdue = bool(skipped_days(home.lake, info.symbol))
        if not overdue and (info.expires < since or (days is None and info.symbol not in trading)):
            continue
        begin = max(info.first_possible, days[0] if days else newest)
        if begin <= min(last, info.expires):
            found.append(replace(info, listed=begin))
    return found


@dg.job(description="Active and recently expired contracts of a variety up to the last finished day.")
def update_variety() -> None:
    """Entry of `ghtrader update`."""
    fill_forward()
