"""Defines `build`: features and labels of the days that have ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    MixOption,
    OverwriteOption,
    StartOption,
    TicksKindOption,
    UnfinishedOption,
    VarietyOption,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.output import emit_runs

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings
    from ghtrader_models.labels.labels import LabelSpec


def _factor_set(name: str) -> str:
    """The set's whole name; one that is none is said before a run begins."""
    from ghtrader_models.factors.library.sets import get_factor_set
    from ghtrader_models.factors.library.user_sets import whole_name

    get_factor_set(name)
    return whole_name(name)


def _labels(settings: Settings, definition: str, threshold: float | None, horizons: str) -> LabelSpec:
    """What is labelled; a definition that makes no sense is said before a run begins."""
    from ghtrader_assets.label_horizons import horizons_of_settings, parse_horizons
    from ghtrader_models.labels.labels import LabelSpec

    ticks = parse_horizons(horizons, "--horizons") if horizons else horizons_of_settings(settings)
    return LabelSpec.named(definition, ticks, threshold)


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
            str,
            typer.Option("--factors", help="Factor set: a name of `factors list`, A+B for two, or FILE.toml[:SET]."),
        ] = "lean",
        labels: Annotated[
            str, typer.Option("--labels", help="Label definition: mid_move, smoothed, smoothed_mid, cost_aware.")
        ] = "mid_move",
        threshold: Annotated[
            float | None, typer.Option("--threshold", help="Price ticks of a move; the definition's own by default.")
        ] = None,
        horizons: Annotated[
            str, typer.Option("--horizons", help="Label horizons in ticks, as 10,50,200; GHTRADER_HORIZONS by default.")
        ] = "",
        workers: Annotated[int, typer.Option("--workers", min=0, help="Days at once; 0: one a core, at most 4.")] = 0,
        accept_quality: Annotated[
            bool, typer.Option("--accept-quality", help="Build days too whose ticks are not ready; manifests say so.")
        ] = False,
        allow_unfinished: UnfinishedOption = False,
        strict: Annotated[
            bool | None,
            typer.Option(
                "--strict/--no-strict",
                help="Refuse odd days (another depth, no label) too; or leave out days without provenance, which fail.",
            ),
        ] = None,
        mix: MixOption = False,
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
        factor_set, spec = _factor_set(factors), _labels(settings, labels, threshold, horizons)

        from ghtrader_assets.runs.build_options import BuildOptions
        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import build_contract, build_datasets

        options = BuildOptions(
            factor_set=factor_set,
            labels=spec.definition,
            threshold=threshold,
            horizons=spec.horizons,
            overwrite=overwrite,
            workers=workers,
            accept_quality=accept_quality,
            allow_unfinished=allow_unfinished,
            strict=strict is not False,
            no_odd_days=strict is True,
            mix=mix,
        )
        if contract:
            run = build_contract(settings, contract, first, last, options, progress=stderr_progress())
            emit_runs([run], json, variety=key, symbol=contract)
            return
        runs = build_datasets(settings, key, first, last, options, progress=stderr_progress())
        emit_runs(runs, json, variety=key)
