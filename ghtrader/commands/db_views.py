"""`db init`, `db ingest-metrics`: a DuckDB file for tools that are not ours, thin over the market's."""

from __future__ import annotations

import typer

from ghtrader.commands.groups import group
from ghtrader.console_io import HomeOption, JsonOption, emit, settings_of, table


def register(app: typer.Typer) -> None:
    """Add both to `db`."""
    db = group(app, "db", "The stores: QuestDB and DuckDB views.")

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
