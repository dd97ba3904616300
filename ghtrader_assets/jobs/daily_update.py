"""Defines the job of the evening: brings the varieties of GHTRADER_DAILY_UPDATE_TARGETS up to date.

Jobs over assets need no definition here; Dagster makes them from a selection.
"""

from datetime import date

import dagster as dg

from ghtrader_assets.instance.run_registry import GROUP_TAG
from ghtrader_assets.partitions import PARTITIONS
from ghtrader_assets.resources.progress import say
from ghtrader_assets.resources.resources import HomeResource, SourceResource
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_base.errors import ConfigError, FailedError
from ghtrader_market.inventory.stored_days import stored_days
from ghtrader_market.reference.holiday_list import calendar_state
from ghtrader_market.reference.trading_calendar import last_finished_day
from ghtrader_market.reference.varieties import get_variety


class DailyConfig(RunConfig):
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
def update_targets(
    context: dg.OpExecutionContext, config: DailyConfig, home: HomeResource, source: SourceResource
) -> None:
    """Bring the configured varieties up to the last finished trading day: what is due, each step a run of this group.

    Runs in the fresh process of this job, so today's partition exists even where the daemon loaded its code weeks ago.
    The holiday list is refreshed first: without it nobody knows whether today is a trading day. What one contract, day
    or variety lacks holds up no other; all of it is named at the end, which has failed then.
    """
    from ghtrader_assets.runs.evening import Evening, in_rounds, require_nothing_missing
    from ghtrader_assets.runs.execute import run_group
    from ghtrader_assets.runs.retry_plan import RetryPlan

    with source.opened(home.settings) as opened:
        say(home.refresh_calendar(opened))
    for warning in calendar_state(home.settings, stored_days(home.lake)).warnings:
        context.log.warning(warning)
    end = date.fromisoformat(config.end) if config.end else last_finished_day(home.calendar)
    if end > PARTITIONS.last_day:
        raise FailedError(
            f"{end} was not known to be a finished trading day when this run began", "run the daily update again"
        )
    days = [end]
    for _ in range(config.days - 1):
        days.insert(0, home.calendar.previous_day(days[0]))
    context.instance.add_run_tags(context.run_id, {GROUP_TAG: context.run_id})
    evening = Evening(
        settings=home.settings,
        days=days,
        materialized=lambda asset: context.instance.get_materialized_partitions(dg.AssetKey(asset)),
    )
    targets = daily_targets(home.settings.daily_update_targets)
    with run_group(context.run_id):
        plan = RetryPlan(home.settings.daily_update_retry_s)
        require_nothing_missing(in_rounds(targets, evening.attempt, plan, say))


@dg.job(description="What the daily schedule runs: ticks to features of the configured varieties.")
def daily_update() -> None:
    """Entry of the daily schedule."""
    update_targets()
