"""Tells whether the stored daily bars give the contract that a schedule says trades next.

A schedule that somebody edited with its checksum, or that an older version wrote without one, is found out by it. Bars
that are not here, or cannot be read, say nothing: the audit names those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghtrader_base.errors import GhtraderError
from ghtrader_market.reference.roll_schedule import main_after, month_after, open_interest_by_day
from ghtrader_market.reference.varieties import get_variety

if TYPE_CHECKING:
    from ghtrader_market.reference.roll_schedule import RollSchedule
    from ghtrader_market.reference.trading_calendar import TradingCalendar
    from ghtrader_market.stores.lake.manifests import LakeDays

_BARS = "daily_bars"


def why_not_next(lake: LakeDays, schedule: RollSchedule, calendar: TradingCalendar) -> str:
    """Why the schedule's next contract does not follow from the bars; empty where it does, or they do not say.

    The rule is applied from the last scheduled day on, to every later day that has bars too: bars may be newer than the
    schedule, or lie behind a hole. After a day that a recording declared nobody knows what the rule held before.
    """
    last = schedule.days[-1] if schedule.days else None
    if last is None or last.declared or schedule.next_contract is None:
        return ""
    variety, main = get_variety(schedule.variety), last.contract
    found: list[str] = []
    for day in lake.days(_BARS, variety.key):
        if day < last.day:
            continue
        try:
            interest = open_interest_by_day(variety, lake.read_day(_BARS, variety.key, day))
        except GhtraderError:
            return ""
        follows = main_after(interest.get(day, {}), main, month_after(day, calendar))
        if follows is None or (not found and day != last.day):
            return ""
        main = follows
        found.append(main)
        if main == schedule.next_contract:
            return ""
    if not found:
        return ""
    return f"{schedule.next_contract} is to trade after {last.day}, the daily bars say {found[0]}"
