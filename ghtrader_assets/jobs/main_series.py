"""Defines the jobs beside the assets: one contract's download, the import of recordings, the daily update.

`download_contract` reports observations: one contract is not a whole day of a variety, so it never marks a partition
as done. Jobs over assets need no definition here; Dagster makes them from a selection.
"""

from datetime import date
from pathlib import Path

import dagster as dg

from ghtrader_assets.assets.tick_download import fetch_ticks, observe_days, require_none_skipped, ticks_metadata
from ghtrader_assets.partitions import day_key, last_finished_day
from ghtrader_assets.resources.progress import say, throttled
from ghtrader_assets.resources.resources import HomeResource, SourceResource
from ghtrader_assets.runs.errors import guarded
from ghtrader_base.errors import ConfigError, FailedError
from ghtrader_base.lock_keys import ticks_key
from ghtrader_market.ingest.import_recordings import import_recordings
from ghtrader_market.reference.varieties import get_variety, variety_of


class ContractConfig(dg.Config):
    """One contract and the trading days wanted (YYYY-MM-DD, inclusive)."""

    symbol: str
    start: str
    end: str
    workers: int = 1


class RecordingsConfig(dg.Config):
    """Files to import; variety and symbol where the files do not say."""

    paths: list[str]
    variety: str = ""
    symbol: str = ""


class DailyConfig(dg.Config):
    """How many trading days back the update looks for days that are missing, and up to which day (empty: now)."""

    days: int = 5
    end: str = ""


@dg.op
@guarded
def fetch_contract(
    context: dg.OpExecutionContext, config: ContractConfig, home: HomeResource, source: SourceResource
) -> None:
    """Fetch the missing days of one symbol and report what is here now, day by day."""
    start, end = date.fromisoformat(config.start), date.fromisoformat(config.end)
    variety = variety_of(config.symbol).key
    days = home.calendar.require_days(start, end)
    report = fetch_ticks(home, source, [config.symbol], start, end, context.run_id, workers=config.workers)
    found = observe_days(context, home, config.symbol, variety, days)
    require_none_skipped(report)
    if not found:
        raise FailedError(
            f"the source has no tick of {config.symbol} between {start} and {end}",
            "choose days on which the contract was listed and that are over",
        )


@dg.job(description="Ticks of one contract. Reports observations of raw_ticks, never a materialization.")
def download_contract() -> None:
    """Entry of `ghtrader download --symbol`."""
    fetch_contract()


@dg.op
@guarded
def read_recordings(context: dg.OpExecutionContext, config: RecordingsConfig, home: HomeResource) -> None:
    """Write recordings into the lake; a recording is all there is of its day, so the day counts as materialized."""
    from ghtrader_assets.checks import report_ticks_check

    report = import_recordings(
        [Path(path) for path in config.paths],
        home.lake,
        home.calendar,
        config.variety or None,
        config.symbol or None,
        context.run_id,
        lock=lambda contracts: home.lock([ticks_key(name) for name in contracts], "import", context.run_id),
    )
    declared = {(symbol, day) for days in report.declared.values() for day, symbol in days.items()}
    made: dict[str, list[date]] = {}
    for symbol, day in sorted(declared.union(report.written)):
        variety = variety_of(symbol).key
        made.setdefault(variety, []).append(day)
        metadata = {"recorded": symbol, **ticks_metadata(home, [symbol], day)}
        context.log_event(dg.AssetMaterialization("raw_ticks", partition=day_key(day, variety), metadata=metadata))
        say(f"{symbol} {day}: {metadata['rows']} rows")
    if made:
        report_ticks_check(context.instance, home, made)


@dg.job(name="import_recordings", description="CSV or Parquet recordings people already have.")
def import_recordings_job() -> None:
    """Entry of `ghtrader data import`."""
    read_recordings()


def daily_targets(text: str) -> list[str]:
    """Varieties of GHTRADER_DAILY_UPDATE_TARGETS (`SHFE:cu,SHFE:au`).

    Raises
    ------
    ConfigError
        None are named, or an exchange that is not the variety's.
    """
    keys = []
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        exchange, _, product = item.rpartition(":")
        variety = get_variety(product)
        if exchange and exchange != variety.exchange:
            raise ConfigError(
                f"{item}: {product} trades on {variety.exchange}", "correct GHTRADER_DAILY_UPDATE_TARGETS"
            )
        keys.append(variety.key)
    if not keys:
        raise ConfigError("the daily update has no targets", "set GHTRADER_DAILY_UPDATE_TARGETS=SHFE:cu,SHFE:au")
    return keys


@dg.op
@guarded
def update_targets(context: dg.OpExecutionContext, config: DailyConfig, home: HomeResource) -> None:
    """Bring the configured varieties up to the last finished trading day, each step a run of its own.

    Runs in the fresh process of this job, so today's partition exists even where the daemon loaded its code weeks ago.
    """
    from ghtrader_assets.runs import flows

    end = date.fromisoformat(config.end) if config.end else last_finished_day(home.calendar)
    start = end
    for _ in range(config.days - 1):
        start = home.calendar.previous_day(start)
    progress = throttled(context.log.info, 60.0)
    for variety in daily_targets(home.settings.daily_update_targets):
        flows.download_range(home.settings, variety, start, end, source="schedule", progress=progress)
        flows.update_schedule(home.settings, variety, source="schedule", progress=context.log.info)
        flows.build_main(home.settings, variety, None, None, source="schedule", progress=context.log.info)
        flows.build_datasets(home.settings, variety, None, None, source="schedule", progress=context.log.info)


@dg.job(description="What the daily schedule runs: ticks to features of the configured varieties.")
def daily_update() -> None:
    """Entry of the daily schedule."""
    update_targets()
