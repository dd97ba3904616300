"""Audits the lists a home keeps of the market: holidays, contracts, first days with depth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ghtrader_base.errors import GhtraderError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_market.audit.report import Section
from ghtrader_market.inventory.contract_catalog import catalog_path, load_snapshot
from ghtrader_market.inventory.depth_start import depth_start_path, read_depth_starts
from ghtrader_market.reference.trading_calendar import (
    TradingCalendar,
    bundled_calendar,
    holidays_path,
    load_calendar,
)
from ghtrader_market.reference.varieties import get_variety


def audit_reference(settings: Settings) -> tuple[Section, TradingCalendar]:
    """Look at the lists; also the calendar to audit with, the bundled one where the home's cannot be used."""
    section, calendar = Section(name="reference"), bundled_calendar()

    def read(path: Path, reading: Callable[[], object]) -> None:
        section.looked_at += 1
        try:
            reading()
        except (GhtraderError, OSError) as error:
            name = path.relative_to(settings.home)
            section.found("reference_broken", name, str(error).replace(f"{settings.home}/", ""))

    holidays, starts = holidays_path(settings.data), depth_start_path(settings.data)
    if holidays.exists():
        read(holidays, lambda: load_calendar(settings))
    if not section.findings:
        calendar = load_calendar(settings)
    for path in sorted(catalog_path(settings.data, "x").parent.glob("[!.]*.json")):
        if path == starts:
            read(path, lambda: read_depth_starts(settings.data))
            continue
        try:
            variety = get_variety(path.stem).key
        except UsageError:
            section.found("extra_file", path.relative_to(settings.home), "it is that of no variety")
            continue
        read(path, lambda of=variety: load_snapshot(settings.data, of))  # type: ignore[misc]
    return section, calendar
