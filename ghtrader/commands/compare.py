"""Defines `compare`: several model families on the same splits, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    MixOption,
    StartOption,
    StrictOption,
    TicksKindOption,
    VarietyOption,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.commands.train import HorizonOption
from ghtrader.output import emit, progress_display, table
from ghtrader_base.errors import UsageError
from ghtrader_models.families.table import FAMILIES, family_names

if TYPE_CHECKING:
    from ghtrader_assets.runs.compare import CompareResult
    from ghtrader_models.evaluation.comparison import Bounds, ComparedBaseline, ComparedModel


def _families(text: str) -> tuple[str, ...]:
    """Names of a comma-separated list, each once; `UsageError` where one is unknown or fewer than two are left."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = f"there are: {', '.join(FAMILIES)}"
    if unknown := [name for name in names if name not in FAMILIES]:
        raise UsageError(f"no model family {unknown[0]!r}", known)
    if len(names) < 2:
        raise UsageError(f"--models {text!r}: name two families at least", known)
    return names


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def compare(
        models: Annotated[str, typer.Option("--models", help=f"Families, by commas: {', '.join(family_names())}.")],
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        preset: Annotated[str, typer.Option("--preset", help="Size of every family: small or paper.")] = "small",
        seed: Annotated[int, typer.Option("--seed", help="Seed of each fit.")] = 0,
        strict: StrictOption = False,
        mix: MixOption = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> int:
        """Several families on the same splits: quality, calibration, latency, size, cost and trading outcome.

        Benchmarks and models that are missing are made first; what is there is kept. 1 where a family failed.

        Example: ghtrader compare --models logistic,xgboost,lightgbm --var cu
        """
        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        families = _families(models)

        from ghtrader_assets.runs.compare import CompareOptions, compare_families
        from ghtrader_models.families.base import Preset

        if preset not in tuple(Preset):
            raise UsageError(f"no preset {preset!r}", f"there are: {', '.join(Preset)}")
        options = CompareOptions(
            families=families,
            variety=key,
            contract=contract,
            horizon=horizon,
            start=first,
            end=last,
            preset=Preset(preset),
            seed=seed,
            strict=strict,
            mix=mix,
        )
        with progress_display() as progress:
            found = compare_families(settings, options, progress=progress)
        document = {
            **found.comparison.to_dict(),
            "page": str(found.page),
            "runs": [run.run_id for run in found.runs],
        }
        emit(document, json, lambda: _text(found))
        return 1 if found.comparison.failed else 0


def _text(result: CompareResult) -> str:
    """The table, what the tests are, what failed, and where the page is."""
    found = result.comparison
    rows = [
        {
            "model": model.family,
            **_quality(model),
            "p50 us": _show(numbers.p50_us, "%.1f"),
            "p99 us": _show(numbers.p99_us, "%.1f"),
            "front": "yes" if model.on_front else "",
            "bytes": _show(numbers.model_bytes, "%d"),
            "parameters": _show(numbers.parameters, "%d"),
            "fits s": f"{model.fit_seconds:.1f}",
            "net PnL": _show(numbers.net_pnl, "%.0f"),
        }
        for model in found.models
        for numbers in [model.figures]
    ]
    rows += [{"model": baseline.name, **_quality(baseline)} for baseline in found.baselines]
    lines = [
        f"{found.symbol}, horizon {found.horizon}: {found.days} days, {found.first} to {found.last}; {found.splits}",
        f"data: {found.origin or 'origin unknown'}" + ("; it says nothing of a real market" if found.simulated else ""),
        table(rows, list(rows[0])),
        *(f"{family}: {why}" for family, why in found.failed.items()),
        f"page: {result.page}",
    ]
    return "\n".join(lines)


def _quality(row: ComparedModel | ComparedBaseline) -> dict[str, Any]:
    numbers = row.figures
    return {
        "log-loss": _show(numbers.logloss, "%.5f"),
        "95 %": _interval(row.logloss, "%.4f"),
        "gain": _show(numbers.gain, "%+.5f"),
        "gain 95 %": _interval(numbers.gain_bounds, "%+.5f"),
        "ECE": _show(numbers.ece, "%.4f"),
        "accuracy": _show(numbers.accuracy, "%.4f"),
    }


def _show(value: float | None, how: str) -> str:
    return "-" if value is None else how % value


def _interval(bounds: Bounds, how: str) -> str:
    low, high = bounds.low, bounds.high
    return "-" if low is None or high is None else f"{how % low} to {how % high}"
