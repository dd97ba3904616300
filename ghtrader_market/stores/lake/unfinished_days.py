"""Tells which stored days of ticks are stubs: recorded by us, and not to the end of their last session.

Such a day is still being recorded, or its recorder ended before the market did. It is named, and no bar, main series,
feature or paper run is made of it; a download takes its place once the day is over. What a file holds that somebody
imported is theirs to judge. How well a whole day is covered is `quality`'s question.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from ghtrader_base.errors import GhtraderError
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.base import RECORDED

if TYPE_CHECKING:
    from ghtrader_market.reference.trading_calendar import TradingCalendar
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import DayManifest

NEAR_CLOSE_NS = 60 * 10**9
"""The last snapshot before a break may be this much older than the break."""
_SHANGHAI_S = 8 * 3600


def why_unfinished(calendar: TradingCalendar, ticks: DayManifest) -> str:
    """What a stored day of ticks lacks at its end, for people; empty where it is whole.

    A recording says itself whether it went on to the day's end, which a contract that hardly trades does not show;
    days of versions that did not say so are told by their last row.
    """
    day = date.fromisoformat(ticks.day)
    if ticks.source != RECORDED or not calendar.speaks_for(day) or not calendar.is_trading_day(day):
        return ""
    recorded = ticks.ticks.recorded
    if recorded is not None and recorded.ended:
        return ""
    last_ns = ticks.last_ns or 0
    if last_ns >= calendar.sessions(variety_of(ticks.key), day)[-1][1] - NEAR_CLOSE_NS:
        return ""
    until = datetime.fromtimestamp(last_ns // 10**9 + _SHANGHAI_S, UTC)
    return f"{ticks.key} on {day} was recorded up to {until:%H:%M:%S} only, {ticks.rows} rows"


def unfinished_days(lake: Lake, calendar: TradingCalendar, symbol: str) -> dict[date, str]:
    """Days of a contract's ticks that are stubs, and what each lacks. One that cannot be read is left out."""
    found = {}
    for day in sorted(lake.index.days_from("ticks", symbol, RECORDED)):
        try:
            manifest = lake.manifest("ticks", symbol, day)
        except (GhtraderError, OSError):
            continue
        if manifest is not None and (why := why_unfinished(calendar, manifest)):
            found[day] = why
    return found


def why_unfinished_main(lake: Lake, calendar: TradingCalendar, main_day: DayManifest) -> str:
    """As `why_unfinished` of a stored day of main_l5: an older version may have built it of a stub."""
    contract, day = main_day.main_l5.contract, date.fromisoformat(main_day.day)
    ticks = lake.manifest("ticks", contract, day) if contract else None
    if ticks is None or ticks.content_hash != main_day.main_l5.raw_content_hash:
        return ""
    return why_unfinished(calendar, ticks)
