"""Finds days of main_l5 that older versions built without the snapshots that end their sessions.

What belongs to a session today is `session_times`' rule. A day built by an older rule differs from it only where its
raw ticks have such a snapshot: that day is to be built again, the others are as good as new.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from ghtrader_base.errors import GhtraderError
from ghtrader_market.reference.session_times import SESSION_RULE, closing_ns_of
from ghtrader_market.reference.varieties import variety_of

if TYPE_CHECKING:
    from ghtrader_market.reference.trading_calendar import TradingCalendar
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import DayManifest


def lacks_closing_rows(lake: Lake, calendar: TradingCalendar, main_day: DayManifest) -> bool:
    """Whether a stored day of main_l5 left out a snapshot that ends a session.

    Parameters
    ----------
    lake : Lake
        With the raw ticks; False where they are not there, since nobody can tell.
    main_day : DayManifest
        Of ``main_l5``.
    """
    known, day = main_day.main_l5, date.fromisoformat(main_day.day)
    if (known.session_rule or 1) >= SESSION_RULE or known.dropped_outside_sessions == 0 or not known.contract:
        return False
    if not calendar.speaks_for(day) or not calendar.is_trading_day(day):
        return False
    if lake.manifest("ticks", known.contract, day) is None:
        return False
    try:
        times = lake.read_day("ticks", known.contract, day, ["datetime_ns"])["datetime_ns"].to_numpy()
    except GhtraderError:  # a damaged day is told of by whoever reads it
        return False
    variety, before = variety_of(known.contract), closing_ns_of(known.session_rule)
    then = calendar.session_index(variety, day, times, before) >= 0
    now = calendar.session_index(variety, day, times) >= 0
    return bool((then != now).any())
