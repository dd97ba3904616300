"""Defines the `db` group: QuestDB reached, created, moved forward, repaired.

Each command is thin over a store.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    EndOption,
    HomeOption,
    JsonOption,
    SeriesOption,
    StartOption,
    VarietyOption,
    group,
    optional_day,
    settings_of,
    variety_key,
)
from ghtrader.output import emit, note, table
from ghtrader_base.errors import UsageError

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings
    from ghtrader_market.stores.questdb.migrations import Step
    from ghtrader_market.stores.questdb.store import QuestDbStore


def _store(settings: Settings) -> QuestDbStore:
    from ghtrader_market.stores.questdb.store import QuestDbStore

    store = QuestDbStore(settings)
    store.require()
    return store


def _step_rows(steps: list[Step]) -> list[dict[str, Any]]:
    return [
        {"migration": step.number or "mend", "title": step.title, "table": step.table, "statement": step.statement}
        for step in steps
    ]


def _steps_text(steps: list[Step], done: str) -> str:
    if not steps:
        return "the schema is as it must be"
    return "\n".join([f"{done} {len(steps)} statements", *(f"  {s.title}: {s.statement}" for s in steps)])


def _register_questdb(db: typer.Typer) -> None:
    @db.command("questdb-health")
    def questdb_health(home: HomeOption = None, json: JsonOption = False) -> None:
        """Reach QuestDB: version, tables, rows, lag, missing columns. Example: ghtrader db questdb-health"""
        store = _store(settings_of(home))
        health = store.health()
        server = health.server
        tables = [{"table": name, **asdict(found)} for name, found in server.tables.items()] if server else []
        faults = server.faults if server else ()

        def text() -> str:
            return "\n".join([health.detail, *faults, *([table(tables)] if tables else [])])

        emit(health.to_json(), json, text)
        if not health.ok:
            raise typer.Exit(1)

    @db.command("questdb-init")
    def questdb_init(home: HomeOption = None, json: JsonOption = False) -> None:
        """Create our tables in QuestDB; harmless where they exist. Example: ghtrader db questdb-init"""
        from ghtrader_market.stores.questdb.migrations import schema_state

        store = _store(settings_of(home))
        fresh = schema_state(store.client).fresh
        store.init()
        emit({"created": fresh}, json, lambda: "our tables are made" if fresh else "our tables are there")

    @db.command()
    def migrate(
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Move QuestDB's schema forward and mend what is missing or retyped. Example: ghtrader db migrate --dry-run"""
        from ghtrader_market.stores.mirror.mirrored_lake import owe_refill
        from ghtrader_market.stores.questdb.migrations import migrate as apply

        settings = settings_of(home)
        store = _store(settings)
        steps = apply(store.client, dry_run=dry_run)
        lost = [step.table for step in steps if step.values_lost and not step.number]
        owed = [] if dry_run or not lost else owe_refill(settings, lost)
        found = {"dry_run": dry_run, "steps": _step_rows(steps), "owed": len(owed)}

        def text() -> str:
            refill = f"\n{len(owed)} days of the lake are to be written again: ghtrader db serve-sync"
            return _steps_text(steps, "would run" if dry_run else "ran") + (refill if owed else "")

        emit(found, json, text)


def _register_sync(db: typer.Typer) -> None:
    @db.command("serve-sync")
    def serve_sync(
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        start: StartOption = "",
        end: EndOption = "",
        source: Annotated[str, typer.Option("--from", help="lake or questdb: whose days win where they differ.")] = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Repair one store from the other; differing days are listed until --from chooses.

        Example: ghtrader db serve-sync --var cu --from lake
        """
        from ghtrader_assets.resources.home_locks import home_lock
        from ghtrader_market.stores.mirror.mirrored_lake import MirroredLake, mirrored_datasets
        from ghtrader_market.stores.mirror.sync import LAKE, QUESTDB, sync

        if source not in ("", LAKE, QUESTDB):
            raise UsageError(f"--from {source!r} is no store", "it is lake or questdb")
        settings = settings_of(home)
        report = sync(
            MirroredLake(settings),
            mirrored_datasets(settings),
            variety=variety_key(var, symbol) if var or symbol else "",
            start=optional_day(start, "--start"),
            end=optional_day(end, "--end"),
            source=source,
            lock=lambda key, purpose: home_lock(settings, key, purpose),
            say=note,
        )

        def text() -> str:
            rows = [
                {"dataset": day.dataset, "key": day.key, "day": day.day or "", "now": now, "differed in": _kinds(day)}
                for now, days in (
                    ("QuestDB repaired", report.to_questdb), ("lake repaired", report.to_lake),
                    ("differs", report.differing),
                )
                for day in days
            ]  # fmt: skip
            lines = [f"{report.compared} days compared, {len(report.differing)} differ, {len(report.debts)} pending"]
            if report.differing:
                lines.append("choose whose days win: --from lake or --from questdb")
            return "\n".join([*lines, *([table(rows)] if rows else [])])

        emit(report.to_json(), json, text)
        if report.differing:
            raise typer.Exit(1)


def _kinds(day: Any) -> str:
    return ", ".join(f"{item.kind} {item.column}".strip() for item in day.differences)


def _register_views(db: typer.Typer) -> None:
    @db.command()
    def init(home: HomeOption = None, json: JsonOption = False) -> None:
        """Views over the lake in data/ghtrader.duckdb, for any DuckDB. Example: ghtrader db init"""
        from ghtrader_market.sql.duckdb_file import FILE_NAME, create_views

        settings = settings_of(home)
        views = create_views(settings.data)
        path = settings.data / FILE_NAME
        rows = [{"view": view, "days": days} for view, days in views.items()]
        emit({"file": str(path), "views": views}, json, lambda: f"{table(rows)}\nin {path}")

    @db.command("ingest-metrics")
    def ingest_metrics(home: HomeOption = None, json: JsonOption = False) -> None:
        """Index the JSON reports into run_metrics of data/ghtrader.duckdb. Example: ghtrader db ingest-metrics"""
        from ghtrader_assets.results.run_metrics import run_metrics
        from ghtrader_market.sql.duckdb_file import FILE_NAME, store_metrics

        settings = settings_of(home)
        rows = store_metrics(settings.data, run_metrics(settings))
        path = settings.data / FILE_NAME
        emit({"file": str(path), "rows": rows}, json, lambda: f"{rows} numbers of reports in {path}: run_metrics")


def register(app: typer.Typer) -> None:
    """Add `db` and its commands."""
    db = group(app, "db", "The stores: QuestDB and DuckDB views.")
    _register_questdb(db)
    _register_sync(db)
    _register_views(db)
