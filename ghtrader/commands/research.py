"""Research commands: build, train, benchmark, models, sql."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ghtrader.commands.pipeline_io import (
    AnySeriesOption,
    EndOption,
    OverwriteOption,
    StartOption,
    TicksKindOption,
    VarietyOption,
    emit_runs,
    optional_day,
    series_of,
)
from ghtrader.console_io import HomeOption, JsonOption, emit, note, settings_of, table
from ghtrader_base.errors import UsageError

ModelOption = Annotated[str, typer.Option("--model", help="Family: logistic or xgboost.")]
_ROWS_ON_SCREEN = 1000
HorizonOption = Annotated[int, typer.Option("--horizon", help="Label horizon in ticks: 10, 50, 200.")]

MaxLotsOption = Annotated[int, typer.Option("--max-lots", min=1, help="Policy: lots of a position at the most.")]
SizedOption = Annotated[bool, typer.Option("--sized", help="Policy: lots grow with the edge, up to --max-lots.")]
CostAwareOption = Annotated[
    bool, typer.Option("--cost-aware", help="Policy: enter only where the promised move exceeds spread and fees.")
]
CooldownOption = Annotated[
    int, typer.Option("--cooldown", min=0, help="Policy: ticks after leaving in which nothing is entered.")
]


def _policy(max_lots: int, sized: bool, cost_aware: bool, cooldown: int) -> dict[str, Any]:
    """Fields of `PolicyOptions`; what makes no sense is said before a run begins."""
    from ghtrader_models.evaluation.policy_fit import PolicyOptions

    return PolicyOptions(max_lots=max_lots, sized=sized, cost_aware=cost_aware, cooldown=cooldown).changed()


def _family(name: str) -> str:
    from ghtrader_assets.families import FAMILIES

    if name not in FAMILIES:
        raise UsageError(f"no model family {name!r}", f"there are: {', '.join(FAMILIES)}")
    return name


def _horizon(horizon: int, contract: str = "") -> int:
    """A horizon that has a partition; one contract's models have none, so any that was built will do."""
    from ghtrader_assets.families import HORIZONS

    if not contract and horizon not in HORIZONS:
        raise UsageError(f"no labels for horizon {horizon}", f"there are: {', '.join(map(str, HORIZONS))}")
    return horizon


def _factor_set(name: str) -> dict[str, Any]:
    from ghtrader_models.factors.library.sets import get_factor_set
    from ghtrader_models.factors.library.user_sets import whole_name

    get_factor_set(name)  # a name that is none is said before a run begins
    return {"factor_set": whole_name(name)}


def _label_options(definition: str, threshold: float | None, horizons: str) -> dict[str, Any]:
    """Fields of `BuildConfig`; a definition that makes no sense is said before a run begins."""
    from ghtrader_models.labels.labels import LabelSpec

    try:
        ticks = sorted({int(text) for text in horizons.split(",") if text.strip()})
    except ValueError as exc:
        raise UsageError(f"--horizons {horizons}: whole numbers, please", "for example 10,50,200") from exc
    if threshold is not None and threshold.is_integer():
        threshold = int(threshold)
    LabelSpec.named(definition, tuple(ticks), threshold)
    return {"labels": definition, "threshold": threshold, "horizons": ticks}


def _register_pipeline(app: typer.Typer) -> None:
    @app.command()
    def build(
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        start: StartOption = "",
        end: EndOption = "",
        factors: Annotated[
            str, typer.Option("--factors", help="Factor set: a name of `factors list`, or FILE.toml[:SET].")
        ] = "lean",
        labels: Annotated[
            str, typer.Option("--labels", help="Label definition: mid_move, smoothed, smoothed_mid, cost_aware.")
        ] = "mid_move",
        threshold: Annotated[
            float | None, typer.Option("--threshold", help="Price ticks of a move; the definition's own by default.")
        ] = None,
        horizons: Annotated[str, typer.Option("--horizons", help="Label horizons in ticks.")] = "10,50,200",
        workers: Annotated[int, typer.Option("--workers", min=0, help="Days at once; 0: one a core, at most 4.")] = 0,
        accept_quality: Annotated[
            bool, typer.Option("--accept-quality", help="Build days too whose ticks are not ready; manifests say so.")
        ] = False,
        strict: Annotated[
            bool, typer.Option("--strict/--no-strict", help="Fail on days without provenance, or leave them out.")
        ] = True,
        overwrite: OverwriteOption = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Features and labels, incremental; a day that fails is named and the others are built.

        Example: ghtrader build --var cu. One contract: ghtrader build --symbol SHFE.cu2502 --ticks-kind raw
        """
        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        options = {
            **_factor_set(factors),
            **_label_options(labels, threshold, horizons),
            "workers": workers,
            "accept_quality": accept_quality,
            "strict": strict,
        }

        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import build_datasets, run_contract

        if contract:
            config = {**options, "overwrite": overwrite}
            run = run_contract(settings, "build_contract", contract, first, last, config, progress=stderr_progress())
            emit_runs([run], json, variety=key, symbol=contract)
            return
        runs = build_datasets(
            settings, key, first, last, overwrite=overwrite, build=options, progress=stderr_progress()
        )
        emit_runs(runs, json, variety=key)

    @app.command()
    def train(
        model: ModelOption,
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        seed: Annotated[int, typer.Option("--seed", help="Seed of the fit.")] = 0,
        max_lots: MaxLotsOption = 1,
        sized: SizedOption = False,
        cost_aware: CostAwareOption = False,
        cooldown: CooldownOption = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Fit one family on built days and write its bundle. Example: ghtrader train --model xgboost --var cu"""
        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        family, ticks = _family(model), _horizon(horizon, contract)
        policy = _policy(max_lots, sized, cost_aware, cooldown)

        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import run_contract, train_family

        if contract:
            config = {"family": family, "horizon": ticks, "seed": seed, "policy": policy}
            run = run_contract(settings, "train_contract", contract, first, last, config, progress=stderr_progress())
        else:
            run = train_family(
                settings, family, key, ticks, first, last, seed=seed, policy=policy, progress=stderr_progress()
            )
        emit_runs([run], json, variety=key, **({"symbol": contract} if contract else {}))

    @app.command()
    def benchmark(
        model: ModelOption,
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        seed: Annotated[int, typer.Option("--seed", help="Seed of the fits.")] = 0,
        max_lots: MaxLotsOption = 1,
        sized: SizedOption = False,
        cost_aware: CostAwareOption = False,
        cooldown: CooldownOption = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Walk-forward report of one family beside the baselines.

        Example: ghtrader benchmark --model logistic --var cu
        """
        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        family, ticks = _family(model), _horizon(horizon, contract)
        policy = _policy(max_lots, sized, cost_aware, cooldown)

        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import benchmark_families, run_contract

        if contract:
            config = {"families": [family], "horizon": ticks, "seed": seed, "policy": policy}
            run = run_contract(
                settings, "benchmark_contract", contract, first, last, config, progress=stderr_progress()
            )
        else:
            run = benchmark_families(
                settings, [family], key, ticks, first, last, seed=seed, policy=policy, progress=stderr_progress()
            )
        emit_runs([run], json, variety=key, **({"symbol": contract} if contract else {}))


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


def _register_models(app: typer.Typer) -> None:
    models = typer.Typer(help="Bundles and champions.", no_args_is_help=True)
    app.add_typer(models, name="models")

    @models.command("list")
    def list_(home: HomeOption = None, json: JsonOption = False) -> None:
        """Bundles and champions of this home. Example: ghtrader models list --json"""
        from ghtrader_assets.results.model_list import bundle_rows
        from ghtrader_models.bundles.champions import list_champions

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

        from ghtrader_assets.results.model_list import describe_bundle

        found = describe_bundle(settings_of(home).models, bundle_id)
        emit(found, json, lambda: dumps(found, indent=2, ensure_ascii=False))


def register(app: typer.Typer) -> None:
    """Add the research commands."""
    _register_pipeline(app)
    _register_models(app)
    _register_sql(app)
