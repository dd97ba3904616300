"""Defines `sql`: read-only SQL over the lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghtrader.commands.shared_options import (
    HomeOption,
    JsonOption,
    settings_of,
)
from ghtrader.output import emit, note, table

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_ON_SCREEN = 1000


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sql(
        statement: Annotated[str, typer.Argument(help="One SELECT.")],
        out: Annotated[
            Path | None, typer.Option("--out", help="Write .csv or .parquet outside of the home instead of printing.")
        ] = None,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out.")] = False,
        limit: Annotated[
            int | None,
            typer.Option("--limit", min=1, help="Rows at most; where not given, 1000 on the screen."),
        ] = None,
        timeout: Annotated[
            float | None, typer.Option("--timeout", min=0.1, help="Seconds it may take (GHTRADER_SQL_TIMEOUT_S).")
        ] = None,
        memory_gb: Annotated[
            float | None, typer.Option("--memory-gb", min=0.5, help="Memory it may take (GHTRADER_SQL_MEMORY_GB).")
        ] = None,
        spill_gb: Annotated[
            float | None, typer.Option("--spill-gb", min=0.0, help="Disk it may take (GHTRADER_SQL_SPILL_GB).")
        ] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Read-only SQL over the lake. Example: ghtrader sql "SELECT symbol, count(*) FROM ticks_raw_v2 GROUP BY 1" """
        from ghtrader_market.sql.limits import SqlLimits
        from ghtrader_market.sql.worker_client import plain_answer

        settings = settings_of(home)
        given = {"sql_timeout_s": timeout, "sql_memory_gb": memory_gb, "sql_spill_gb": spill_gb}
        asked = {name: value for name, value in given.items() if value is not None}
        limits = SqlLimits.of(settings.model_copy(update=asked))

        def metrics() -> pa.Table:
            from ghtrader_assets.results.run_metrics import run_metrics

            return run_metrics(settings)

        if out is not None:
            from ghtrader_market.sql.query import export

            written = export(settings.data, statement, out, limit, metrics, limits, note, overwrite=overwrite)
            emit({"rows": written, "file": str(out)}, json, lambda: f"{written} rows in {out}")
            return
        at_most = limit or _ROWS_ON_SCREEN
        found = plain_answer(settings.data, statement, at_most + 1, metrics, limits, note)
        if len(found.rows) > at_most:
            note(f"there are more: these are the first {at_most} rows; --limit and --out FILE.parquet give others")
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows[:at_most]]
        emit({"rows": rows, "columns": found.columns}, json, lambda: table(rows, found.columns))
