"""Defines `models list|show|repair`: bundles and champions of a home, and MLflow's registry of them."""

from __future__ import annotations

from typing import Annotated

import typer

from ghtrader.commands.shared_options import (
    HomeOption,
    JsonOption,
    settings_of,
)
from ghtrader.output import emit, table


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
