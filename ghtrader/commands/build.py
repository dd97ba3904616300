"""Defines `build`: features and labels of the days that have ticks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    OverwriteOption,
    StartOption,
    TicksKindOption,
    VarietyOption,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.output import emit_runs
from ghtrader_base.errors import UsageError


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


def register(app: typer.Typer) -> None:
    """Add the command."""

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
