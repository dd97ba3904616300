"""Defines `sweep`: searches for a family's settings on walk-forward splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    MixOption,
    StartOption,
    TicksKindOption,
    VarietyOption,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.commands.train import HorizonOption, ModelOption
from ghtrader.output import emit, progress_display, table

if TYPE_CHECKING:
    from ghtrader_assets.runs.execute import RunResult
    from ghtrader_models.sweep.report import SweepReport


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sweep(
        model: ModelOption,
        space: Annotated[
            Path, typer.Option("--space", help="TOML file: which settings are searched, within which bounds.")
        ],
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        trials: Annotated[
            int, typer.Option("--trials", min=1, help="Trials in all, with those of the same sweep before.")
        ] = 20,
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        workers: Annotated[int, typer.Option("--workers", min=0, help="Trials at once; 0: one a core.")] = 0,
        row_limit_us: Annotated[
            float,
            typer.Option("--row-limit-us", min=0, help="Median time of a single row at the most; 0: no limit."),
        ] = 0.0,
        caution: Annotated[
            float, typer.Option("--caution", min=0, help="Standard errors that are taken off the mean gain.")
        ] = 1.0,
        seed: Annotated[int, typer.Option("--seed", help="Seed of the search and of each fit.")] = 0,
        mix: MixOption = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Search for a family's settings on walk-forward splits. The same command again goes on where it stopped.

        Example: ghtrader sweep --model xgboost --var cu --space space.toml --trials 40
        """
        from ghtrader_assets.results.sweeps_store import read_sweep
        from ghtrader_assets.runs.flows import sweep_settings
        from ghtrader_market.reference.varieties import get_variety
        from ghtrader_models.families.base import get_family
        from ghtrader_models.sweep.space import read_space

        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        wanted = read_space(space, get_family(model))
        with progress_display() as progress:
            run = sweep_settings(
                settings, model, contract or get_variety(key).continuous_symbol, horizon, first, last,
                space=wanted, trials=trials, workers=workers, row_limit_us=row_limit_us, caution=caution,
                seed=seed, mix=mix, progress=progress,
            )  # fmt: skip
        (found,) = run.metadata.values()
        report = read_sweep(settings.home / str(found["report"]))
        emit({"run_id": run.run_id, **report.to_dict()}, json, lambda: _text(run, report, str(found["report"])))


def _text(run: RunResult, report: SweepReport, place: str) -> str:
    ends = ", ".join(f"{count} {end}" for end, count in sorted(report.ends.items()))
    return "\n".join(
        [
            f"run {run.run_id} ({run.seconds:.1f} s)",
            f"{report.family} on {report.symbol} at horizon {report.horizon}: {ends}; {report.tried} tried",
            report.splits,
            table(report.table()),
            f"trials and page: {place.removesuffix('.json')}.html",
            f"the best of {report.tried} looks better than it is; to train it and have it judged:",
            f"  {report.train_command()}",
        ]
    )
