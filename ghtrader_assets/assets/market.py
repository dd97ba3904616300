"""Defines the assets of market data as a source gives it: trading days, contracts, daily bars, raw ticks.

Bodies ask `ghtrader_market`, write nothing themselves but the contract list, and tell what they found. What a
source is asked for goes out by contract and range, never day by day: a call costs more than a second.
"""

from datetime import date

import dagster as dg

from ghtrader_assets.assets.daily_bars import bars_from_ticks, read_bars, traded_symbols, write_bars
from ghtrader_assets.assets.tick_download import (
    bar_volumes,
    day_errors,
    fetch_ticks,
    symbols_with_ticks,
    ticks_metadata,
)
from ghtrader_assets.partitions import PARTITIONS, by_variety, day_key, days_by_variety
from ghtrader_assets.resources.progress import of_manifest, say
from ghtrader_assets.resources.resources import HomeResource, SourceResource
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.outcomes import Outcomes
from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.files import content_hash
from ghtrader_base.lock_keys import daily_bars_key, ticks_range_key
from ghtrader_market.ingest.contract_bars import bars_of_contracts
from ghtrader_market.inventory.contract_catalog import contracts_living, load_contracts, merge_contracts, no_bars
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.sources.base import origin_of_source
from ghtrader_market.stores.lake.daily_bars import damaged_bars
from ghtrader_market.stores.lake.declared_days import load_declared

GROUP = "market"
CODE_VERSION = "1"


class ContractsConfig(RunConfig):
    """Which part of history the contract list is asked for (YYYY-MM-DD; empty: everything up to now)."""

    start: str = ""
    end: str = ""


class TicksConfig(RunConfig):
    """How ticks are fetched: clients at once; 0 is what the settings allow."""

    workers: int = 0


@dg.asset(group_name=GROUP, code_version=CODE_VERSION, kinds={"json"})
@guarded
def trading_calendar(
    context: dg.AssetExecutionContext, home: HomeResource, source: SourceResource
) -> dg.MaterializeResult:
    """Days on which Shanghai trades: the source's list where it can be had and is no worse, else the one at hand."""
    with source.opened(home.settings) as opened:
        told = home.refresh_calendar(opened)
    say(told)
    calendar = home.calendar
    holidays = [day.isoformat() for day in calendar.holidays]
    return dg.MaterializeResult(
        metadata={
            "rows": len(holidays),
            "first": calendar.first.isoformat(),
            "last": calendar.last.isoformat(),
            "refreshed": told,
            "content_hash": content_hash(holidays),
        }
    )


@dg.asset(group_name=GROUP, code_version=CODE_VERSION, kinds={"json"}, partitions_def=PARTITIONS.varieties)
@guarded
def contracts(
    context: dg.AssetExecutionContext, config: ContractsConfig, home: HomeResource, source: SourceResource
) -> dg.MaterializeResult:
    """Every contract of the variety that the source lists, merged with what earlier runs found."""
    variety = get_variety(context.partition_key).key
    start = date.fromisoformat(config.start) if config.start else PARTITIONS.first_day
    end = date.fromisoformat(config.end) if config.end else PARTITIONS.last_day
    with source.opened(home.settings) as opened:
        found = opened.contracts(variety, start, end)
        finished = opened.finished_day(variety) if hasattr(opened, "finished_day") else None
    merged = merge_contracts(home.settings.data, variety, found, finished)
    symbols = [item.symbol for item in merged]
    return dg.MaterializeResult(
        metadata={"rows": len(merged), "found": len(found), "symbols": symbols, "content_hash": content_hash(symbols)}
    )


@dg.asset(
    group_name=GROUP,
    code_version=CODE_VERSION,
    kinds={"parquet"},
    partitions_def=PARTITIONS.day_variety,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["trading_calendar", dg.AssetDep("contracts", partition_mapping=by_variety())],
)
@guarded
def daily_bars(context: dg.AssetExecutionContext, home: HomeResource, source: SourceResource) -> None:
    """Daily bars of every contract; from our own ticks on days a recording declared.

    What one variety or day lacks is named at the end, and the others are stored.
    """
    outcomes = Outcomes(context)
    for variety, days in days_by_variety(context.partition_keys).items():
        with outcomes.item(variety), home.lock(daily_bars_key(variety), "daily bars", context.run_id):
            outcomes.failed |= _write_bars(home, source, variety, days, context.run_id)
            known = home.lake.days("daily_bars", variety)
            for day in days:
                with outcomes.item(f"{variety} {day}"):
                    # A day before all the source knows is no error: nobody has its bars.
                    if day not in known and (not known or day > known[0]):
                        raise FailedError(
                            f"the source has no daily bar of {variety} on {day}",
                            "choose days that are over; the others are stored",
                        )
                    found = of_manifest(home.lake.manifest("daily_bars", variety, day))
                    outcomes.made("daily_bars", day_key(day, variety), found)
    outcomes.conclude()


def _write_bars(
    home: HomeResource, source: SourceResource, variety: str, days: list[date], run_id: str
) -> dict[str, GhtraderError]:
    """Ask for the bars of one variety and store them; what could not be had, each contract or day of it with why."""
    lake = home.lake
    declared = load_declared(home.settings.data, variety)
    from_ticks = [day for day in days if day in declared]
    from_source = [day for day in days if day not in declared]
    failed: dict[str, GhtraderError] = {}
    if from_ticks:
        made = bars_from_ticks(lake, variety, from_ticks)
        failed = made.by_item
        write_bars(lake, variety, made.bars, "ticks", run_id)
    if from_source:
        symbols = contracts_living(home.settings.data, variety, from_source[0], from_source[-1])
        say(f"daily bars of {len(symbols)} {variety} contracts, {from_source[0]} to {from_source[-1]}")
        with source.opened(home.settings) as opened:
            found = bars_of_contracts(opened, symbols, from_source[0], from_source[-1])
            failed |= {f"daily bars of {symbol}": error for symbol, error in found.failed.items()}
            bars = found.with_unknown(lake, variety, load_contracts(home.settings.data, variety))
            write_bars(lake, variety, bars, opened.name, run_id, origin_of_source(opened).if_known)
    return failed


@dg.asset(
    group_name=GROUP,
    code_version=CODE_VERSION,
    kinds={"parquet"},
    partitions_def=PARTITIONS.day_variety,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[daily_bars],
)
@guarded
def raw_ticks(
    context: dg.AssetExecutionContext, config: TicksConfig, home: HomeResource, source: SourceResource
) -> None:
    """Ticks of every contract of the variety that traded on the day; what is here already is not fetched again.

    A contract-day that cannot be had costs its day's partition, named at the end; the other days and varieties are
    stored and reported.
    """
    outcomes = Outcomes(context)
    for variety, days in days_by_variety(context.partition_keys).items():
        with outcomes.item(variety):
            lacking = _fetch_days(context.run_id, config, home, source, variety, days)
            symbols = symbols_with_ticks(home, variety)
            for day in days:
                with outcomes.item(f"{variety} {day}"):
                    if day in lacking:
                        raise lacking[day]
                    found = ticks_metadata(home, symbols, day)
                    if found["rows"] == 0:
                        raise FailedError(f"the source has no tick of {variety} on {day}", "choose days that are over")
                    outcomes.made("raw_ticks", day_key(day, variety), found)
    outcomes.conclude()


def _fetch_days(
    run_id: str, config: TicksConfig, home: HomeResource, source: SourceResource, variety: str, days: list[date]
) -> dict[date, GhtraderError]:
    """Fetch what is missing of some days of a variety; days that are not whole afterwards, and why."""
    declared = load_declared(home.settings.data, variety)
    wanted = [day for day in days if day not in declared]
    if not wanted:
        return {}
    damaged = damaged_bars(home.lake, variety, wanted)
    if not (wanted := [day for day in wanted if day not in damaged]):
        return damaged
    bars = read_bars(home.lake, variety, wanted)
    traded = set(traded_symbols(bars))
    infos = [info for info in load_contracts(home.settings.data, variety) if info.symbol in traded]
    if not infos:
        raise no_bars(home.lake, variety, wanted)
    say(f"ticks of {len(infos)} {variety} contracts, {wanted[0]} to {wanted[-1]}")
    report = fetch_ticks(
        home,
        source,
        infos,
        wanted[0],
        wanted[-1],
        run_id,
        workers=config.workers,
        volumes=bar_volumes(bars),
        further_locks=[ticks_range_key(get_variety(variety).exchange, variety)],
    )
    return day_errors(report, variety) | damaged
