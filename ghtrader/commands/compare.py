"""Defines `compare`: several model families on the same splits, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

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
from ghtrader.commands.train import HorizonOption, setting_of
from ghtrader.comparison_text import comparison_text
from ghtrader.output import emit, progress_display
from ghtrader_base.errors import UsageError
from ghtrader_models.families.table import FAMILIES, family_names


def _families(text: str) -> tuple[str, ...]:
    """Names of a comma-separated list, each once; `UsageError` where one is unknown or fewer than two are left."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = f"there are: {', '.join(FAMILIES)}"
    if unknown := [name for name in names if name not in FAMILIES]:
        raise UsageError(f"no model family {unknown[0]!r}", known)
    if len(names) < 2:
        raise UsageError(f"--models {text!r}: name two families at least", known)
    return names


def _settings(given: Sequence[str], families: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Family -> its settings, of ``NAME=VALUE`` for all that have it, or ``FAMILY.NAME=VALUE`` for one.

    Raises
    ------
    UsageError
        No setting, or one that no compared family has.
    """
    from ghtrader_models.families.base import get_family

    known = {family: {field.name for field in dataclasses.fields(get_family(family).config())} for family in families}
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        asked, value = setting_of(text)
        family, _, name = asked.rpartition(".")
        takers = [each for each in families if name in known[each] and family in ("", each)]
        if not takers:
            hint = "write --set max_epochs=4 for all that have it, or --set tcn.max_epochs=4"
            raise UsageError(f"--set {text}: no compared family has it", hint)
        for taker in takers:
            found.setdefault(taker, {})[name] = value
    return found


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
        changes: Annotated[
            list[str] | None,
            typer.Option(
                "--set", metavar="[FAMILY.]NAME=VALUE", help="A setting of one family, or of all that have it."
            ),
        ] = None,
        seed: Annotated[int, typer.Option("--seed", help="Seed of each fit.")] = 0,
        strict: StrictOption = False,
        mix: MixOption = False,
        again: Annotated[bool, typer.Option("--again", help="Make benchmarks and models anew that are there.")] = False,
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
        from ghtrader_models.families.base import preset_of

        options = CompareOptions(
            families=families,
            variety=key,
            contract=contract,
            horizon=horizon,
            start=first,
            end=last,
            preset=preset_of(preset),
            changes=_settings(changes or (), families),
            seed=seed,
            strict=strict,
            mix=mix,
            again=again,
        )
        with progress_display() as progress:
            found = compare_families(settings, options, progress=progress)
        document = {
            **found.comparison.to_dict(),
            "page": str(found.page),
            "runs": [run.run_id for run in found.runs],
        }
        emit(document, json, lambda: f"{comparison_text(found.comparison)}\npage: {found.page}")
        return 1 if found.comparison.failed else 0
