"""Defines the job of the evening: brings the varieties of GHTRADER_DAILY_UPDATE_TARGETS up to date.

Jobs over assets need no definition here; Dagster makes them from a selection.
"""

from datetime import date

import dagster as dg

from ghtrader_assets.partitions import last_finished_day
from ghtrader_assets.resources.progress import throttled
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.runs.errors import guarded
from ghtrader_base.errors import ConfigError
from ghtrader_market.reference.varieties import get_variety


class DailyConfig(dg.Config):
    """How many trading days back the update looks for days that are missing, and up to which day (empty: now)."""

    days: int = 5
    end: str = ""


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
