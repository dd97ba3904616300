"""Defines `models list|show|repair|reproduce`: bundles and champions, MLflow's registry, a bundle made again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghtrader.commands.shared_options import (
    HomeOption,
    JsonOption,
    settings_of,
)
from ghtrader.output import emit, progress_display, table

if TYPE_CHECKING:
    from ghtrader_models.reproduction import Reproduction

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add `ghtrader models`."""
    models = typer.Typer(help="Bundles and champions.", no_args_is_help=True)
    app.add_typer(models, name="models")

    @models.command("list")
    def list_(home: HomeOption = None, json: JsonOption = False) -> None:
        """Bundles and champions of this home. Example: ghtrader models list --json"""
        from ghtrader_assets.results.model_list import bundle_rows
        from ghtrader_models.bundles.champions import list_champions

        settings = settings_of(home)
        rows = [row.to_dict() for row in bundle_rows(settings.models)]
        champions = [item.to_dict() for item in list_champions(settings.models)]
        columns = ["id", "family", "symbol", "horizon", "days", "factors", "trained", "champion", "origin", "detail"]
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

        found = describe_bundle(settings_of(home).models, bundle_id).to_dict()
        emit(found, json, lambda: dumps(found, indent=2, ensure_ascii=False))

    @models.command()
    def repair(
        apply: Annotated[bool, typer.Option("--apply", help="Mend what differs; else it is only shown.")] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> int:
        """Where bundles and MLflow's registry differ, and make them agree: bundles and champions of the home decide.

        1 where something differs still. Example: ghtrader models repair --apply
        """
        from ghtrader_assets.results.model_repair import repair_models

        rows = [row.to_dict() for row in repair_models(settings_of(home), apply=apply)]
        columns = ["where", "kind", "detail", "remedy", "mended"]

        def text() -> str:
            if not rows:
                return "bundles and registry agree"
            return table(rows, columns) + ("" if apply else "\nnothing was changed: --apply mends it")

        emit({"differences": rows, "applied": apply}, json, text)
        return 1 if any(row["mended"] != "yes" for row in rows) else 0

    @models.command()
    def reproduce(
        bundle_id: Annotated[str, typer.Argument(help="Bundle id, or its first characters.")],
        other_data: Annotated[
            bool, typer.Option("--other-data", help="Train again also where its days are gone or were changed.")
        ] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> int:
        """The same model made again: what differs in code, packages and days, then trained anew and compared.

        Writes nothing to the registry or the bundles. Exit code 1 where the model does not come out as promised.
        Example: ghtrader models reproduce 3f2a
        """
        from ghtrader_assets.results.model_list import describe_bundle
        from ghtrader_market.stores.lake.lake import Lake
        from ghtrader_models.reproduction import reproduce as make_again

        settings = settings_of(home)
        bundle = describe_bundle(settings.models, bundle_id).bundle
        with tempfile.TemporaryDirectory(prefix="ghtrader-reproduce-") as folder, progress_display() as progress:
            found = make_again(Lake(settings.data), bundle, Path(folder), other_data=other_data, progress=progress)
        emit(found.to_dict(), json, lambda: _reproduction_text(found))
        return 0 if found.reproduced else 1


def _reproduction_text(found: Reproduction) -> str:
    lines = [f"bundle {found.bundle_id}: {found.family} on {found.symbol} at horizon {found.horizon}"]
    lines += [f"  differs: {difference}" for difference in found.differences[:_SHOWN]]
    if len(found.differences) > _SHOWN:
        lines.append(f"  and {len(found.differences) - _SHOWN} differences more (--json has all)")
    lines += [f"  not known: {what}" for what in found.unknown]
    if (comparison := found.comparison) is not None:
        metrics = [
            {
                "metric": row.name, "recorded": repr(row.recorded), "again": repr(row.here),
                "difference": f"{row.difference:.3g}",
            }
            for row in comparison.metrics
        ]  # fmt: skip
        same = ", ".join(f"{file.name} {'equal' if file.equal else 'DIFFERS'}" for file in comparison.files)
        lines += [table(metrics), f"files: {same}"]
        lines.append(f"largest difference of a probability: {comparison.probability_difference:.3g}")
    elif found.differences:
        lines.append("  bring the days back as they were, or train on those that are here: --other-data")
    return "\n".join([*lines, found.verdict])
