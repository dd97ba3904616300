"""Runs the demo's first part on whatever service the environment names, instead of an exchange of its own.

With TQSDK_USER and TQSDK_PASSWORD of a real account (docs/getting_started/connect_tqsdk.md) this is the same demo on
real copper: real ticks, the vendor's own simulated account (TqKq), no real money. Nobody knows an oracle there, and the
day traded is not over, so neither is in the report.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from ghtrader.demo.effort import Effort
from ghtrader.demo.pipeline_stages import LiveHalf, to_a_champion, trade_champion
from ghtrader.demo.progress import Stages
from ghtrader.demo.report import LivePartReport
from ghtrader.demo.trading_results import trading_facts
from ghtrader_base.address_passwords import host_of
from ghtrader_base.errors import ConfigError
from ghtrader_base.settings import Settings, load_settings

DAYS = 10


@dataclass(frozen=True)
class ServiceOptions:
    """`end`: last trading day of the history, None for the last one that is over. `seconds`: how long to trade."""

    end: date | None = None
    seconds: float = 120.0


def history_days(settings: Settings, end: date | None) -> list[date]:
    """The `DAYS` trading days up to `end`."""
    from ghtrader_market.reference.trading_calendar import last_finished_day, load_calendar

    calendar = load_calendar(settings)
    days = [calendar.require_trading_day(end) if end else last_finished_day(calendar)]
    while len(days) < DAYS:
        days.insert(0, calendar.previous_day(days[0]))
    return days


def run(home: Path, options: ServiceOptions, seed: int, stages: Stages, effort: Effort) -> LiveHalf:
    """Run the first part against the service.

    Raises
    ------
    ConfigError
        No user is set.
    """
    settings = load_settings(home)
    if not settings.tqsdk_user:
        hint = "see docs/getting_started/connect_tqsdk.md"
        raise ConfigError("the demo was asked to use a service, and TQSDK_USER is not set", hint)
    days = history_days(settings, options.end)
    where = host_of(os.environ.get("TQ_AUTH_URL", "")) or "the vendor's service"
    facts = to_a_champion(settings, days, seed, stages, effort)
    kind = f"ticks of {where}, {len(days)} days to {days[-1]}"
    part = LivePartReport(kind=kind, simulated=False, pipeline=facts, trading=None, world=None, strength=None)
    if facts.champion is None:
        return LiveHalf(part, None, None)
    summary = trade_champion(settings, stages, "now (TqKq)", seconds=options.seconds, idle_end_s=60.0)
    return LiveHalf(replace(part, trading=trading_facts(summary, None)), summary.folder, None)
