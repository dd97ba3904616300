"""Defines the job that imports recordings: files of ticks that people already have."""

import time
from datetime import date
from pathlib import Path

import dagster as dg

from ghtrader_assets.assets.tick_download import ticks_metadata
from ghtrader_assets.partitions import day_key
from ghtrader_assets.resources.progress import say, throttled
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_base.lock_keys import ticks_key
from ghtrader_market.ingest.import_recordings import import_recordings
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.recordings.layouts.mapped_columns import load_column_map


class RecordingsConfig(RunConfig):
    """Files and folders to import; variety, symbol, layout and time zone where the files do not say.

    `columns` is the path of a column map.
    """

    paths: list[str]
    variety: str = ""
    symbol: str = ""
    layout: str = ""
    time_zone: str = ""
    columns: str = ""


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
        layout=config.layout or None,
        time_zone=config.time_zone or None,
        columns=load_column_map(Path(config.columns)) if config.columns else None,
        progress=throttled(say),
        now_ns=time.time_ns(),
    )
    for symbol, day, note in report.row_notes:
        say(f"{symbol} {day}: {note}")
    if report.left_out:
        names = ", ".join(report.left_out)
        say(f"left out of the folder (no recording by its name, without a tick, or a link or pipe): {names}")
    declared = {(symbol, day) for days in report.declared.values() for day, symbol in days.items()}
    made: dict[str, list[date]] = {}
    for symbol, day in sorted(declared.union(report.written)):
        variety = variety_of(symbol).key
        made.setdefault(variety, []).append(day)
        noted = [note for contract, noted_day, note in report.row_notes if (contract, noted_day) == (symbol, day)]
        metadata = {
            "recorded": symbol,
            **ticks_metadata(home, [symbol], day),
            **({"row_notes": noted} if noted else {}),
        }
        context.log_event(dg.AssetMaterialization("raw_ticks", partition=day_key(day, variety), metadata=metadata))
        say(f"{symbol} {day}: {metadata['rows']} rows")
    if made:
        report_ticks_check(context.instance, home, made)


@dg.job(name="import_recordings", description="CSV or Parquet recordings people already have.")
def import_recordings_job() -> None:
    """Entry of `ghtrader data import`."""
    read_recordings()
