"""Schedules the daily update, off until an operator turns it on in the UI.

A machine that was asleep, or a daemon that was down, sees its missed evenings when it is back: the newest of them
runs, once, and brings everything up to date; the others are skipped by name.
"""

from datetime import date, datetime, time
from enum import StrEnum

import dagster as dg

from ghtrader_assets.jobs.daily_update import daily_update
from ghtrader_assets.partitions import TIMEZONE
from ghtrader_base.settings import load_settings
from ghtrader_market.reference.trading_calendar import SHANGHAI, TradingCalendar, load_calendar

EVENING = time(17, 30)
"""After the day session has settled and before the night session opens."""


class TickSkip(StrEnum):
    """Why a tick of the schedule starts nothing."""

    NO_TRADING = "no trading day"
    LATER_EVENING = "a later evening brings it up to date"


def judge_tick(calendar: TradingCalendar, scheduled: datetime, now: datetime) -> TickSkip | None:
    """Whether the evening of `scheduled` is to be skipped at `now`; None: it runs.

    A day that the holiday list does not reach runs: its update refreshes the list first.
    """
    day = scheduled.astimezone(SHANGHAI).date()
    if not _may_trade(calendar, day):
        return TickSkip.NO_TRADING
    moment = now.astimezone(SHANGHAI)
    later = (date.fromordinal(number) for number in range(day.toordinal() + 1, moment.date().toordinal() + 1))
    over = (each for each in later if each < moment.date() or moment.time() >= EVENING)
    return TickSkip.LATER_EVENING if any(_may_trade(calendar, each) for each in over) else None


def _may_trade(calendar: TradingCalendar, day: date) -> bool:
    return calendar.is_trading_day(day) if calendar.speaks_for(day) else True


@dg.schedule(
    name="daily_update_evening",
    job=daily_update,
    cron_schedule=f"{EVENING.minute} {EVENING.hour} * * 1-5",
    execution_timezone=TIMEZONE,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Ticks, main_l5, features and labels of GHTRADER_DAILY_UPDATE_TARGETS.",
)
def daily_update_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run a trading evening; its day is the run's key, so that no evening runs twice."""
    scheduled = context.scheduled_execution_time
    # Read anew: a daemon may have loaded its code before the list was refreshed.
    skip = judge_tick(load_calendar(load_settings()), scheduled, datetime.now(SHANGHAI))
    day = scheduled.astimezone(SHANGHAI).date()
    if skip is not None:
        return dg.SkipReason(f"{day}: {skip}")
    return dg.RunRequest(run_key=day.isoformat())
