"""Defines the assets of market data as a source gives it: trading days, contracts, daily bars, raw ticks.

Bodies ask `ghtrader_market`, write nothing themselves but the contract list, and tell what they found. What a
source is asked for goes out by contract and range, never day by day: a call costs more than a second.
"""

from datetime import date

import dagster as dg

from ghtrader_assets.assets.daily_bars import bars_from_ticks, read_bars, traded_symbols, write_bars
from ghtrader_assets.assets.tick_download import (
    bar_volumes,
    fetch_ticks,
    report_whole_days,
    require_none_skipped,
    symbols_with_ticks,
    ticks_metadata,
)
from ghtrader_assets.partitions import PARTITIONS, by_variety, day_key, days_by_variety
from ghtrader_assets.resources.progress import of_manifest, say
from ghtrader_assets.resources.resources import HomeResource, SourceResource
from ghtrader_assets.runs.errors import guarded
from ghtrader_base.errors import FailedError
from ghtrader_base.files import content_hash
from ghtrader_base.lock_keys import daily_bars_key, ticks_range_key
from ghtrader_market.ingest.import_recordings import load_declared
from ghtrader_market.inventory.contract_catalog import contracts_living, load_contracts, merge_contracts
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.sources.base import origin_of_source

GROUP = "market"
CODE_VERSION = "1"


class ContractsConfig(dg.Config):
    """Which part of history the contract list is asked for (YYYY-MM-DD; empty: everything up to now)."""

    start: str = ""
    end: str = ""


class TicksConfig(dg.Config):
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
    """Daily bars of every contract; from our own ticks on days a recording declared."""
    lake = home.lake
    for variety, days in days_by_variety(context.partition_keys).items():
        declared = load_declared(home.settings.data, variety)
        from_ticks = [day for day in days if day in declared]
        from_source = [day for day in days if day not in declared]
        with home.lock(daily_bars_key(variety), "daily bars", context.run_id):
            if from_ticks:
                write_bars(lake, variety, bars_from_ticks(lake, variety, from_ticks), "ticks", context.run_id)
            if from_source:
                symbols = contracts_living(home.settings.data, variety, from_source[0], from_source[-1])
                say(f"daily bars of {len(symbols)} {variety} contracts, {from_source[0]} to {from_source[-1]}")
                with source.opened(home.settings) as opened:
                    bars = opened.daily_bars(symbols, from_source[0], from_source[-1])
                    write_bars(lake, variety, bars, opened.name, context.run_id, origin_of_source(opened).if_known)
        _require_bars(home, variety, days)
        for day in days:
            found = of_manifest(lake.manifest("daily_bars", variety, day))
            context.add_asset_metadata(found, partition_key=day_key(day, variety))


def _require_bars(home: HomeResource, variety: str, days: list[date]) -> None:
    """A day without bars is an error, unless it lies before all the source knows."""
    known = home.lake.days("daily_bars", variety)
    missing = [day for day in days if day not in known and (not known or day > known[0])]
    if missing:
        raise FailedError(
            f"the source has no daily bar of {variety} on {missing[0]}",
            "choose days that are over; the others are stored",
        )


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
    """Ticks of every contract of the variety that traded on the day; what is here already is not fetched again."""
    for variety, days in days_by_variety(context.partition_keys).items():
        declared = load_declared(home.settings.data, variety)
        wanted = [day for day in days if day not in declared]
        if wanted:
            bars = read_bars(home.lake, variety, wanted)
            traded = set(traded_symbols(bars))
            infos = [info for info in load_contracts(home.settings.data, variety) if info.symbol in traded]
            if not infos:
                raise FailedError(
                    f"no daily bars of {variety} between {wanted[0]} and {wanted[-1]}: which contracts traded?",
                    "materialize daily_bars of these days first",
                )
            say(f"ticks of {len(infos)} {variety} contracts, {wanted[0]} to {wanted[-1]}")
            report = fetch_ticks(
                home,
                source,
                infos,
                wanted[0],
                wanted[-1],
                context.run_id,
                workers=config.workers,
                volumes=bar_volumes(bars),
                further_locks=[ticks_range_key(get_variety(variety).exchange, variety)],
            )
            if report.skipped:
                report_whole_days(context, home, variety, days, [day for _, day, _, _ in report.skipped])
                require_none_skipped(report)
            if pending := {day for _, day in report.pending}.intersection(wanted):
                raise FailedError(
                    f"{variety} on {min(pending)} is not over yet at the source",
                    "what is finished stays; run it again later",
                )
        tell_ticks(context, home, variety, days)


def tell_ticks(context: dg.AssetExecutionContext, home: HomeResource, variety: str, days: list[date]) -> None:
    """Metadata of raw_ticks by day: rows a contract, hash over the contracts' hashes; a day without ticks fails."""
    symbols = symbols_with_ticks(home, variety)
    for day in days:
        found = ticks_metadata(home, symbols, day)
        if found["rows"] == 0:
            raise FailedError(f"the source has no tick of {variety} on {day}", "choose days that are over")
        context.add_asset_metadata(found, partition_key=day_key(day, variety))
