"""Defines `status`: servers, clock, calendar, stores, runs, champions, trading, kill switches, disk, GPU: one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.output import emit, table
from ghtrader.status import (
    DiskStatus,
    GpuRow,
    HomeStatus,
    KillSwitchRow,
    NotLookedAt,
    QuestDbAbsent,
    RunRow,
    ServerRow,
    TradingRow,
    collect,
)

if TYPE_CHECKING:
    from ghtrader_market.reference.holiday_list import CalendarState
    from ghtrader_market.sources.service_clock import ClockState

Rows = Callable[[Any], dict[str, Any]]


def _section(title: str, found: list[Any] | NotLookedAt, empty: str, columns: list[str], row: Rows = asdict) -> str:
    if isinstance(found, NotLookedAt):
        return f"{title}\n  cannot be looked at: {found.error}"
    if not found:
        return f"{title}\n  {empty}"
    cells = [row(one) for one in found]
    rows = [{name: "" if one.get(name) is None else one[name] for name in columns} for one in cells]
    return "\n".join([title, *(f"  {line}" for line in table(rows, columns).splitlines())])


def _store_lines(found: HomeStatus) -> str:
    lake, questdb = found.lake, found.questdb
    lines = ["stores"]
    if isinstance(lake, NotLookedAt):
        lines.append(f"  lake     cannot be looked at: {lake.error}")
    else:
        days = ", ".join(f"{count} days of {name}" for name, count in lake.datasets.items()) or "nothing yet"
        lines.append(f"  lake     {'ok' if lake.ok else 'NOT OK'}  {lake.detail}: {days}")
    if isinstance(questdb, NotLookedAt):
        lines.append(f"  questdb  cannot be looked at: {questdb.error}")
    elif isinstance(questdb, QuestDbAbsent):
        lines.append("  questdb  not configured (GHTRADER_QUESTDB_HOST)")
    else:
        lines.append(f"  questdb  {'ok' if questdb.ok else 'NOT OK'}  {questdb.detail}")
        if questdb.debt:
            owed = ", ".join(f"{count} {state}" for state, count in questdb.debt.items())
            since = f" since {questdb.oldest_debt}" if questdb.oldest_debt else ""
            lines.append(f"           pending writes: {owed}{since}; ghtrader db serve-sync writes them")
    return "\n".join(lines)


def _clock_lines(found: ClockState | NotLookedAt) -> str:
    if isinstance(found, NotLookedAt):
        return f"clock\n  cannot be looked at: {found.error}"
    return "\n".join(["clock", f"  {found.words()}", *([f"  WARNING  {found.warning}"] if found.warning else [])])


def _calendar_lines(found: CalendarState | NotLookedAt) -> str:
    if isinstance(found, NotLookedAt):
        return f"calendar\n  cannot be looked at: {found.error}"
    origin = f"{found.source}, {found.fetched_at}" if found.source else "the packaged list"
    lines = ["calendar", f"  {found.first} to {found.last}  {found.days_left} days left  ({origin})"]
    return "\n".join([*lines, *(f"  WARNING  {text}" for text in found.warnings)])


def _trading_lines(found: list[TradingRow] | NotLookedAt) -> str:
    """The trading processes, and below them what warns of a contract's last days or of a cold start."""
    columns = ["kind", "purpose", "pid", "since", "trading_state", "degraded"]
    rows = [row for row in found if row.gateway is not None] if isinstance(found, list) else []
    gateways = [row.gateway for row in rows if row.gateway is not None]
    notes = [f"  metrics: {told.metrics}  token: {rows[0].metrics_token}" for told in gateways if told.metrics]
    notes += [f"  WARNING {note}" for told in gateways for note in (told.holding_note, told.cold_note) if note]
    return "\n".join([_section("trading", found, "nothing trades", columns, TradingRow.to_json), *notes])


def _disk_line(disk: DiskStatus | NotLookedAt) -> str:
    if isinstance(disk, NotLookedAt):
        return disk.error
    warning = f"\n  WARNING  {disk.warning}: make room under {disk.path}" if disk.warning else ""
    return f"{disk.free_gb} GB free of {disk.total_gb} GB{warning}"


def _text(found: HomeStatus) -> str:
    def server(one: ServerRow) -> dict[str, Any]:
        return {**asdict(one), "up": "up" if one.up else "down"}

    def run(one: RunRow) -> dict[str, Any]:
        return {**asdict(one), "id": one.id[:8]}

    def switch(one: KillSwitchRow) -> dict[str, Any]:
        return {**asdict(one), "tripped": "TRIPPED" if one.tripped else "no"}

    champion = ["symbol", "horizon", "family", "bundle", "since", "origin"]
    account = ["account", "broker", "tripped", "reason"]
    return "\n\n".join(
        [
            f"home {found.home}",
            _section("servers", found.servers, "none", ["server", "up", "url", "since"], server),
            _clock_lines(found.clock),
            _calendar_lines(found.calendar),
            _store_lines(found),
            _section("last runs", found.runs, "none yet", ["id", "what", "status", "source", "since", "pid"], run),
            _section("champions", found.champions, "none yet", champion),
            _trading_lines(found.trading),
            _section("kill switches", found.kill_switches, "none was ever tripped", account, switch),
            f"disk\n  {_disk_line(found.disk)}",
            _section("gpu", found.gpus, "none", [one.name for one in fields(GpuRow)]),
        ]
    )


def register(app: typer.Typer) -> None:
    """Add `status` to the command."""

    @app.command()
    def status(home: HomeOption = None, json: JsonOption = False) -> None:
        """Servers, stores, last runs, champions, trading, kill switches, disk, GPU. Example: ghtrader status --json"""
        found = collect(settings_of(home))
        emit(found.to_json(), json, lambda: _text(found))
