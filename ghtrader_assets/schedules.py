"""Schedules the daily update, off until an operator turns it on in the UI."""

import dagster as dg

from ghtrader_assets.jobs.daily_update import daily_update
from ghtrader_assets.partitions import TIMEZONE

daily_update_schedule = dg.ScheduleDefinition(
    name="daily_update_evening",
    job=daily_update,
    # After the day session has settled and before the night session opens.
    cron_schedule="30 17 * * 1-5",
    execution_timezone=TIMEZONE,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Ticks, main_l5, features and labels of GHTRADER_DAILY_UPDATE_TARGETS.",
)
