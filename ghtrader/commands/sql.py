"""Defines `sql`: read-only SQL over the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    HomeOption,
    JsonOption,
    settings_of,
)
from ghtrader.output import emit, note, table

_ROWS_ON_SCREEN = 1000


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sql(
        statement: Annotated[str, typer.Argument(help="One SELECT.")],
        out: Annotated[Path | None, typer.Option("--out", help="Write .csv or .parquet instead of printing.")] = None,
        limit: Annotated[
            int | None, typer.Option("--limit", min=1, help="Rows at most; 1000 on the screen where not given.")
        ] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Read-only SQL over the lake. Example: ghtrader sql "SELECT symbol, count(*) FROM ticks_raw_v2 GROUP BY 1" """
        from ghtrader_assets.results.run_metrics import run_metrics
        from ghtrader_market.sql.query import export, query

        settings = settings_of(home)
        if out is not None:
            written = export(settings.data, statement, out, limit, lambda: run_metrics(settings))
            emit({"rows": written, "file": str(out)}, json, lambda: f"{written} rows in {out}")
            return
        at_most = limit or _ROWS_ON_SCREEN
        found = query(settings.data, statement, at_most + 1, lambda: run_metrics(settings))
        if found.num_rows > at_most:
            found = found.slice(0, at_most)
            note(f"there are more: these are the first {at_most} rows; --limit and --out FILE.parquet give others")
        rows: list[dict[str, Any]] = found.to_pylist()
        emit({"rows": rows, "columns": found.column_names}, json, lambda: table(rows, found.column_names))
