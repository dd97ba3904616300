"""Research commands: build, train, benchmark, models, sql."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ghtrader.commands.pipeline_io import (
    EndOption,
    OverwriteOption,
    SeriesOption,
    StartOption,
    VarietyOption,
    emit_runs,
    optional_day,
    variety_key,
)
from ghtrader.console_io import HomeOption, JsonOption, emit, settings_of, table
from ghtrader_base.errors import UsageError

ModelOption = Annotated[str, typer.Option("--model", help="Family: logistic or xgboost.")]
HorizonOption = Annotated[int, typer.Option("--horizon", help="Label horizon in ticks: 10, 50, 200.")]


def _family(name: str) -> str:
    from ghtrader_assets.families import FAMILIES

    if name not in FAMILIES:
        raise UsageError(f"no model family {name!r}", f"there are: {', '.join(FAMILIES)}")
    return name


def _horizon(horizon: int) -> int:
    from ghtrader_assets.families import HORIZONS

    if horizon not in HORIZONS:
        raise UsageError(f"no labels for horizon {horizon}", f"there are: {', '.join(map(str, HORIZONS))}")
    return horizon


def _register_pipeline(app: typer.Typer) -> None:
    @app.command()
    def build(
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        start: StartOption = "",
        end: EndOption = "",
        overwrite: OverwriteOption = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Features and labels, incremental. Example: ghtrader build --var cu"""
        settings, key = settings_of(home), variety_key(var, symbol)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")

        from ghtrader_assets.flows import build_datasets
        from ghtrader_assets.pipeline import stderr_progress

        runs = build_datasets(settings, key, first, last, overwrite=overwrite, progress=stderr_progress())
        emit_runs(runs, json, variety=key)

    @app.command()
    def train(
        model: ModelOption,
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        seed: Annotated[int, typer.Option("--seed", help="Seed of the fit.")] = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Fit one family on built days and write its bundle. Example: ghtrader train --model xgboost --var cu"""
        settings, key = settings_of(home), variety_key(var, symbol)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        family, ticks = _family(model), _horizon(horizon)

        from ghtrader_assets.flows import train_family
        from ghtrader_assets.pipeline import stderr_progress

        run = train_family(settings, family, key, ticks, first, last, seed=seed, progress=stderr_progress())
        emit_runs([run], json, variety=key)

    @app.command()
    def benchmark(
        model: ModelOption,
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        seed: Annotated[int, typer.Option("--seed", help="Seed of the fits.")] = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Walk-forward report of one family beside the baselines.

        Example: ghtrader benchmark --model logistic --var cu
        """
        settings, key = settings_of(home), variety_key(var, symbol)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        family, ticks = _family(model), _horizon(horizon)

        from ghtrader_assets.flows import benchmark_families
        from ghtrader_assets.pipeline import stderr_progress

        run = benchmark_families(settings, [family], key, ticks, first, last, seed=seed, progress=stderr_progress())
        emit_runs([run], json, variety=key)


def _register_sql(app: typer.Typer) -> None:
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
        from ghtrader_assets.lake_sql import query, write_table
        from ghtrader_assets.metrics_index import run_metrics

        settings = settings_of(home)
        rows_at_most = limit or (None if out else 1000)
        found = query(settings.data, statement, rows_at_most, run_metrics(settings))
        if out is not None:
            write_table(found, out)
            emit({"rows": found.num_rows, "file": str(out)}, json, lambda: f"{found.num_rows} rows in {out}")
            return
        rows: list[dict[str, Any]] = found.to_pylist()
        emit({"rows": rows, "columns": found.column_names}, json, lambda: table(rows, found.column_names))


def _register_models(app: typer.Typer) -> None:
    models = typer.Typer(help="Bundles and champions.", no_args_is_help=True)
    app.add_typer(models, name="models")

    @models.command("list")
    def list_(home: HomeOption = None, json: JsonOption = False) -> None:
        """Bundles and champions of this home. Example: ghtrader models list --json"""
        from ghtrader_assets.model_catalog import bundle_rows
        from ghtrader_models.champions import list_champions

        settings = settings_of(home)
        rows = bundle_rows(settings.models)
        champions = [item.to_dict() for item in list_champions(settings.models)]
        columns = ["id", "family", "symbol", "horizon", "days", "factors", "trained", "champion", "detail"]
        emit({"bundles": rows, "champions": champions}, json, lambda: table(rows, columns))

    @models.command()
    def show(
        bundle_id: Annotated[str, typer.Argument(help="Bundle id, or its first characters.")],
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """One bundle whole: inputs, policy, provenance. Example: ghtrader models show 3f2a"""
        from json import dumps

        from ghtrader_assets.model_catalog import describe_bundle

        found = describe_bundle(settings_of(home).models, bundle_id)
        emit(found, json, lambda: dumps(found, indent=2, ensure_ascii=False))


def register(app: typer.Typer) -> None:
    """Add the research commands."""
    _register_pipeline(app)
    _register_models(app)
    _register_sql(app)
