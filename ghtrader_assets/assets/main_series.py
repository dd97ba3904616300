"""Defines the assets of the main series: the roll schedule, and main_l5 under the continuous name."""

from datetime import date
from typing import Any

import dagster as dg
import numpy as np

from ghtrader_assets.assets.daily_bars import bars_from_ticks, read_bars
from ghtrader_assets.assets.market import GROUP, raw_ticks
from ghtrader_assets.assets.tick_download import symbols_with_ticks
from ghtrader_assets.partitions import PARTITIONS, by_variety, day_key, days_by_variety
from ghtrader_assets.resources.progress import of_manifest, plot_series, say
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.outcomes import Outcomes, together
from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.lock_keys import main_l5_key, main_schedule_key
from ghtrader_market.main_series.main_l5 import MainReport, build_main_l5
from ghtrader_market.main_series.roll_cross_check import cross_check
from ghtrader_market.reference.roll_schedule import (
    RollSchedule,
    load_schedule,
    missing_bar_days,
    save_schedule,
    schedule_from_open_interest,
)
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.declared_days import load_declared, require_declared
from ghtrader_market.stores.lake.manifests import DayManifest
from ghtrader_market.stores.lake.unfinished_days import unfinished_days
from ghtrader_market.stores.mirror.mirrored_lake import writing_schedule

CODE_VERSION = "2"
_SHOWN = 60


class MainConfig(RunConfig):
    """`overwrite`: build days again that are there already. `allow_unfinished`: days too that were not recorded to
    their end."""

    overwrite: bool = False
    allow_unfinished: bool = False


@dg.asset(
    group_name=GROUP,
    code_version=CODE_VERSION,
    kinds={"json"},
    partitions_def=PARTITIONS.varieties,
    deps=[dg.AssetDep("daily_bars", partition_mapping=by_variety())],
)
@guarded
def main_schedule(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult:
    """The roll schedule by the open-interest rule, over every stored daily bar (from ticks where bars are missing).

    Trading days that have neither are named, and so is every day on which the vendor's main contract is another one.
    Ticks that cannot be read decide no roll: the schedule is made without them, and they are named at the end.
    """
    variety = get_variety(context.partition_key).key
    lake = home.lake
    bars = read_bars(lake, variety)
    have = set(bars["trading_day"].to_pylist())
    symbols = symbols_with_ticks(home, variety)
    stubs = {day: why for s in symbols for day, why in unfinished_days(lake, home.calendar, s).items()}
    for day, why in sorted(stubs.items()):
        say(f"{why}: no bar is made of {day}")
    tick_days = {day for s in symbols for day in lake.days("ticks", s)} - stubs.keys()
    failed: dict[str, GhtraderError] = {}
    if from_ticks := tick_days - have:
        import pyarrow as pa

        made = bars_from_ticks(lake, variety, from_ticks)
        bars, failed = pa.concat_tables([bars, made.with_unknown]), made.by_item
    if bars.num_rows == 0:
        raise FailedError(
            f"no daily bars and no ticks of {variety} are here yet",
            f"first: ghtrader download-contract-range --var {variety} --start D --end D, or ghtrader data import FILE",
        )
    declared = load_declared(home.settings.data, variety)
    require_declared(lake, variety, declared)
    with home.lock(main_schedule_key(variety), "roll schedule", context.run_id):
        schedule = schedule_from_open_interest(variety, bars, declared, home.calendar)
        with writing_schedule(lake, variety, context.run_id):
            save_schedule(home.settings.data, schedule)
    if not schedule.days:
        raise FailedError(
            f"{variety} has no main contract yet: main on T+1 needs the bars of the day before",
            "download one trading day more",
        )
    holes = missing_bar_days(variety, bars, home.calendar, declared)
    if holes:
        say(f"{len(holes)} trading days of {variety} have no daily bar, first {holes[0]}: the schedule leaves them out")
    if failed:
        raise together(failed, len(schedule.days))
    check = cross_check(home.settings, schedule)
    for difference in check.differences:
        say(f"the vendor differs on {difference.line()}")
    return dg.MaterializeResult(
        metadata={
            **_facts(schedule),
            "missing_bars": [day.isoformat() for day in holes],
            "bars_from_ticks": len(from_ticks),
            "unfinished": [day.isoformat() for day in sorted(stubs)],
            **check.to_json(),
            "last_days": _table(schedule),
        }
    )


def _facts(schedule: RollSchedule) -> dict[str, Any]:
    days = schedule.days
    return {
        "rows": len(days),
        "first": days[0].day.isoformat(),
        "last": days[-1].day.isoformat(),
        "segments": len({day.segment_id for day in days}),
        "rolls": [
            f"{day.day} {day.contract}"
            for day, before in zip(days[1:], days, strict=False)
            if day.contract != before.contract
        ],
        "schedule_hash": days[-1].schedule_hash,
    }


def _table(schedule: RollSchedule) -> dg.TableMetadataValue:
    return dg.TableMetadataValue(
        records=[
            dg.TableRecord({"day": str(d.day), "contract": d.contract, "segment": d.segment_id})
            for d in schedule.days[-_SHOWN:]
        ],
        schema=dg.TableSchema([dg.TableColumn("day"), dg.TableColumn("contract"), dg.TableColumn("segment", "int")]),
    )


@dg.asset(
    group_name=GROUP,
    code_version=CODE_VERSION,
    kinds={"parquet"},
    partitions_def=PARTITIONS.day_variety,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[raw_ticks, dg.AssetDep(main_schedule, partition_mapping=by_variety())],
)
@guarded
def main_l5(context: dg.AssetExecutionContext, config: MainConfig, home: HomeResource) -> None:
    """The scheduled contract's ticks under the continuous name, provenance on each row.

    Days of which neither ticks nor schedule have changed are left as they are; one that fails is named at the end and
    the others are built.
    """
    outcomes = Outcomes(context)
    for variety, days in days_by_variety(context.partition_keys).items():
        with outcomes.item(variety):
            report = _build(home, variety, days, config, context.run_id)
            symbol = get_variety(variety).continuous_symbol
            for day, manifest in sorted(report.built.items()):
                with outcomes.item(f"{variety} {day}"):
                    outcomes.made("main_l5", day_key(day, variety), _metadata(home, symbol, day, manifest))
            report.raise_if_failed()
    outcomes.conclude()


def _build(home: HomeResource, variety: str, days: list[date], config: MainConfig, run_id: str) -> MainReport:
    """Some days of one main series, under its lock, with a line a day."""

    def told(day: date, outcome: DayManifest | GhtraderError, done: int) -> None:
        said = f"{outcome.rows} rows" if isinstance(outcome, DayManifest) else f"failed: {outcome.message}"
        say(f"main_l5 {variety} {day}: {said} ({done}/{len(days)})")

    with home.lock(main_l5_key(get_variety(variety).continuous_symbol), "build main_l5", run_id):
        return build_main_l5(
            home.lake,
            home.calendar,
            load_schedule(home.settings.data, variety),
            days,
            run_id=run_id,
            overwrite=config.overwrite,
            allow_unfinished=config.allow_unfinished,
            workers=home.settings.main_l5_total_workers,
            segment_workers=home.settings.main_l5_segment_workers,
            on_day=told,
        )


def _metadata(home: HomeResource, symbol: str, day: date, manifest: DayManifest) -> dict[str, Any]:
    table = home.lake.read_day("main_l5", symbol, day, columns=["bid_price1", "ask_price1"])
    mid = (table["bid_price1"].to_numpy() + table["ask_price1"].to_numpy()) / 2
    known = mid[np.isfinite(mid)]
    return of_manifest(
        manifest,
        underlying_contract=manifest.main_l5.contract,
        segment_id=manifest.main_l5.segment_id,
        schedule_hash=manifest.main_l5.schedule_hash,
        mid_mean=round(float(known.mean()), 4) if known.size else None,
        plot=plot_series(mid, f"{symbol} {day}", "mid, CNY"),
    )
