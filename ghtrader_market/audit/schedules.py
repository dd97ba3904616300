"""Audits roll schedules: hashes, checksum, and what trades next against the stored daily bars.

Days of main_l5 are held against the schedule in `ticks`.
"""

from __future__ import annotations

from collections.abc import Collection

from ghtrader_base.errors import GhtraderError, UsageError
from ghtrader_market.audit.report import Section
from ghtrader_market.main_series.next_contract import why_not_next
from ghtrader_market.reference.roll_schedule import load_schedule, schedule_path
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.lake import Lake


def audit_schedules(lake: Lake, calendar: TradingCalendar, only: Collection[str] | None = None) -> Section:
    """Look at every schedule, or at those of some varieties."""
    section = Section(name="schedules")
    for path in sorted(schedule_path(lake.root, "x").parent.glob("[!.]*")):
        name, variety = path.relative_to(lake.root), path.stem
        try:
            known = path.suffix == ".json" and get_variety(variety).key == variety
        except UsageError:
            known = False
        if not known:
            if only is None:
                section.found("extra_file", name, "it is no schedule of a variety")
            continue
        if only is not None and variety not in only:
            continue
        section.looked_at += 1
        if path.is_symlink():
            section.found("symlink", name, "a schedule lies elsewhere", key=variety)
        try:
            schedule = load_schedule(lake.root, variety)
        except (GhtraderError, OSError) as error:
            section.found("schedule_broken", name, str(error).replace(f"{lake.root}/", ""), key=variety)
            continue
        if not schedule.has_checksum:
            section.notes.append(f"{name} has no checksum, an older version made it")
        if why := why_not_next(lake, schedule, calendar):
            section.found("next_contract", name, why, key=variety)
    return section
