"""Which missed ticks of the evening's schedule run: the newest once, the others are skipped by name."""

from __future__ import annotations

from datetime import datetime

import dagster as dg
import pytest

from ghtrader_assets.schedules import TickSkip, daily_update_schedule, judge_tick
from ghtrader_market.reference.trading_calendar import bundled_calendar

NEWEST, HOLIDAY = TickSkip.LATER_EVENING, TickSkip.NO_TRADING


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+08:00")


@pytest.mark.parametrize(
    ("scheduled", "now", "skip"),
    [
        ("2026-11-27T17:30", "2026-11-27T17:30:05", None),
        ("2026-11-27T17:30", "2026-11-27T20:40", None),  # asleep from 14:50 to 20:40: caught up with
        ("2026-11-27T17:30", "2026-11-29T12:00", None),  # over the weekend no later evening is due
        ("2026-11-27T17:30", "2026-11-30T17:29", None),
        ("2026-11-27T17:30", "2026-11-30T17:30", NEWEST),
        ("2026-11-25T17:30", "2026-11-27T20:40", NEWEST),
        ("2026-10-01T17:30", "2026-10-01T17:30", HOLIDAY),
        ("2026-09-30T17:30", "2026-10-08T12:00", None),  # a week of holidays later it is still the newest
        ("2026-09-30T17:30", "2026-10-08T17:31", NEWEST),
        ("2027-01-04T17:30", "2027-01-04T17:31", None),  # beyond the list: the update refreshes it
    ],
)
def test_a_tick_runs_or_is_skipped(scheduled: str, now: str, skip: TickSkip | None) -> None:
    assert judge_tick(bundled_calendar(), at(scheduled), at(now)) is skip


@pytest.mark.clock
def test_an_old_tick_is_skipped_by_name_and_the_run_of_an_evening_has_its_day_as_key(settings) -> None:
    old = dg.build_schedule_context(scheduled_execution_time=at("2024-09-26T17:30"))
    found = daily_update_schedule.evaluate_tick(old)
    assert not found.run_requests and found.skip_message == "2024-09-26: a later evening brings it up to date"
    coming = dg.build_schedule_context(scheduled_execution_time=at("2031-03-03T17:30"))
    (request,) = daily_update_schedule.evaluate_tick(coming).run_requests
    assert request.run_key == "2031-03-03"
