"""The `db` group: QuestDB reached, created, moved forward and repaired; each command is thin over a store."""

from __future__ import annotations

import typer

from ghtrader.console_io import HomeOption, JsonOption, emit, settings_of


def _register_questdb(db: typer.Typer) -> None:
    @db.command("questdb-health")
    def questdb_health(home: HomeOption = None, json: JsonOption = False) -> None:
        """Reach QuestDB and say what it holds. Example: ghtrader db questdb-health"""
        from ghtrader_market.stores.questdb import QuestDbStore

        store = QuestDbStore(settings_of(home))
        version = store.require()
        health = store.health()
        found = {"version": version, "ok": health.ok, "detail": health.detail, **health.extra}
        emit(found, json, lambda: health.detail)
        if not health.ok:
            raise typer.Exit(1)

    @db.command("questdb-init")
    def questdb_init(home: HomeOption = None, json: JsonOption = False) -> None:
        """Create our tables in QuestDB; harmless where they exist. Example: ghtrader db questdb-init"""
        from ghtrader_market.stores.questdb import QuestDbStore

        store = QuestDbStore(settings_of(home))
        store.init()
        emit({"ok": True}, json, lambda: "the tables are there")


def register(app: typer.Typer) -> None:
    """Add `db` and its commands."""
    db = typer.Typer(help="The stores: QuestDB and DuckDB views.", no_args_is_help=True)
    app.add_typer(db, name="db")
    _register_questdb(db)
