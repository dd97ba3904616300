"""Defines `status`: servers, calendar, stores, runs, champions, trading, kill switches, disk and GPU on one page."""

from __future__ import annotations

from typing import Any

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.output import emit, table


def _section(title: str, found: Any, empty: str, columns: list[str]) -> str:
    if isinstance(found, dict) and "error" in found:
        return f"{title}\n  cannot be looked at: {found['error']}"
    if not found:
        return f"{title}\n  {empty}"
    rows = [{name: "" if row.get(name) is None else row.get(name, "") for name in columns} for row in found]
    return "\n".join([title, *(f"  {line}" for line in table(rows, columns).splitlines())])


def _store_lines(found: dict[str, Any]) -> str:
    lake, questdb = found["lake"], found["questdb"]
    lines = ["stores"]
    if "error" in lake:
        lines.append(f"  lake     cannot be looked at: {lake['error']}")
    else:
        days = ", ".join(f"{count} days of {name}" for name, count in lake["datasets"].items()) or "nothing yet"
        lines.append(f"  lake     {'ok' if lake['ok'] else 'NOT OK'}  {lake['detail']}: {days}")
    if "error" in questdb:
        lines.append(f"  questdb  cannot be looked at: {questdb['error']}")
    elif not questdb["configured"]:
        lines.append("  questdb  not configured (GHTRADER_QUESTDB_HOST)")
    else:
        lines.append(f"  questdb  {'ok' if questdb['ok'] else 'NOT OK'}  {questdb['detail']}")
        if questdb["debt"]:
            owed = ", ".join(f"{count} {state}" for state, count in questdb["debt"].items())
            since = f" since {questdb['oldest_debt']}" if questdb["oldest_debt"] else ""
            lines.append(f"           pending writes: {owed}{since}; ghtrader db serve-sync writes them")
    return "\n".join(lines)


def _calendar_lines(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"calendar\n  cannot be looked at: {found['error']}"
    origin = f"{found['source']}, {found['fetched_at']}" if found["source"] else "the packaged list"
    lines = ["calendar", f"  {found['first']} to {found['last']}  {found['days_left']} days left  ({origin})"]
    return "\n".join([*lines, *(f"  WARNING  {text}" for text in found["warnings"])])


def _trading_lines(found: Any) -> str:
    """The trading processes, and below them what warns of a contract's last days."""
    columns = ["kind", "purpose", "pid", "since", "trading_state", "degraded"]
    notes = [row["holding_note"] for row in found if row.get("holding_note")] if isinstance(found, list) else []
    return "\n".join([_section("trading", found, "nothing trades", columns), *(f"  WARNING {note}" for note in notes)])


def _text(found: dict[str, Any]) -> str:
    disk = found["disk"]
    switches = found["kill_switches"]
    if isinstance(switches, list):
        switches = [{**row, "tripped": "TRIPPED" if row["tripped"] else "no"} for row in switches]
    servers = found["servers"]
    if isinstance(servers, list):
        servers = [{**row, "up": "up" if row["up"] else "down"} for row in servers]
    runs = found["runs"]
    if isinstance(runs, list):
        runs = [{**row, "id": row["id"][:8]} for row in runs]
    gpus = found["gpus"]
    return "\n\n".join(
        [
            f"home {found['home']}",
            _section("servers", servers, "none", ["server", "up", "url", "since"]),
            _calendar_lines(found["calendar"]),
            _store_lines(found),
            _section("last runs", runs, "none yet", ["id", "what", "status", "source", "since", "pid"]),
            _section("champions", found["champions"], "none yet", ["symbol", "horizon", "family", "bundle", "since"]),
            _trading_lines(found["trading"]),
            _section("kill switches", switches, "none was ever tripped", ["account", "broker", "tripped", "reason"]),
            f"disk\n  {disk.get('error') or '{free_gb} GB free of {total_gb} GB'.format(**disk)}",
            _section("gpu", gpus, "none", ["name", "memory_used_mb", "memory_total_mb", "utilization_percent"]),
        ]
    )


def register(app: typer.Typer) -> None:
    """Add `status` to the command."""

    @app.command()
    def status(home: HomeOption = None, json: JsonOption = False) -> None:
        """Servers, stores, last runs, champions, trading, kill switches, disk, GPU. Example: ghtrader status --json"""
        from ghtrader.status import collect

        found = collect(settings_of(home))
        emit(found, json, lambda: _text(found))
