"""Defines the job of the evening: brings the varieties of GHTRADER_DAILY_UPDATE_TARGETS up to date.

Jobs over assets need no definition here; Dagster makes them from a selection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from ghtrader_assets.instance.run_registry import GROUP_TAG
from ghtrader_assets.partitions import PARTITIONS
from ghtrader_assets.resources.progress import say
from ghtrader_assets.resources.resources import HomeResource, SourceResource
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_base.errors import ConfigError, FailedError, UsageError
from ghtrader_market.inventory.stored_days import stored_days
from ghtrader_market.reference.holiday_list import calendar_state
from ghtrader_market.reference.trading_calendar import last_finished_day
from ghtrader_market.reference.varieties import get_variety

_CORRECT = "correct GHTRADER_DAILY_UPDATE_TARGETS"


class DailyConfig(RunConfig):
    """How many trading days back the update looks for days that are missing, and up to which day (empty: now)."""

    days: int = 5
    end: str = ""


@dataclass(frozen=True)
class DailyTargets:
    """What GHTRADER_DAILY_UPDATE_TARGETS names.

    Attributes
    ----------
    keys : list of str
        Varieties that can be brought up to date, each once.
    wrong : dict of str to ConfigError
        Each other entry as it is written, and what is wrong with it.
    """

    keys: list[str]
    wrong: dict[str, ConfigError]


def daily_targets(text: str, varieties: Sequence[str] = ()) -> DailyTargets:
    """Varieties of GHTRADER_DAILY_UPDATE_TARGETS (`SHFE:cu,SHFE:au`); one wrong entry costs itself alone.

    Parameters
    ----------
    text : str
    varieties : sequence of str
        Those of the home, which alone have partitions; empty: any.

    Raises
    ------
    ConfigError
        None are named.
    """
    keys: dict[str, None] = {}
    wrong: dict[str, ConfigError] = {}
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        exchange, _, product = (part.strip() for part in item.rpartition(":"))
        try:
            variety = get_variety(product)
        except UsageError as exc:
            wrong[item] = ConfigError(exc.message, _CORRECT)
            continue
        if exchange and exchange != variety.exchange:
            wrong[item] = ConfigError(f"{product} trades on {variety.exchange}", _CORRECT)
        elif varieties and variety.key not in varieties:
            wrong[item] = ConfigError(f"GHTRADER_VARIETIES does not name {variety.key}", _CORRECT)
        else:
            keys[variety.key] = None
    if not keys and not wrong:
        raise ConfigError("the daily update has no targets", "set GHTRADER_DAILY_UPDATE_TARGETS=SHFE:cu,SHFE:au")
    return DailyTargets(list(keys), wrong)


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
    from ghtrader_assets.runs.evening import Evening, Missing, in_rounds, require_nothing_missing
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
    targets = daily_targets(home.settings.daily_update_targets, PARTITIONS.keys)
    missing = [Missing(item, "target", error) for item, error in targets.wrong.items()]
    for one in missing:
        context.log.warning(str(one))
    with run_group(context.run_id):
        plan = RetryPlan(home.settings.daily_update_retry_s)
        require_nothing_missing(missing + in_rounds(targets.keys, evening.attempt, plan, say))


@dg.job(description="What the daily schedule runs: ticks to features of the configured varieties.")
def daily_update() -> None:
    """Entry of the daily schedule."""
    update_targets()
