"""Defines `models list|show`: bundles and champions of a home."""

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
