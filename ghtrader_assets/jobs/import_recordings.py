"""Defines the job that imports recordings: files of ticks that people already have."""

from datetime import date
from pathlib import Path

import dagster as dg

from ghtrader_assets.assets.tick_download import ticks_metadata
from ghtrader_assets.partitions import day_key
from ghtrader_assets.resources.progress import say
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.runs.errors import guarded
from ghtrader_base.lock_keys import ticks_key
from ghtrader_market.ingest.import_recordings import import_recordings
from ghtrader_market.reference.varieties import variety_of


class RecordingsConfig(dg.Config):
    """Files to import; variety and symbol where the files do not say."""

    paths: list[str]
    variety: str = ""
    symbol: str = ""


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
