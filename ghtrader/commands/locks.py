"""`locks`: who holds what since when."""

from __future__ import annotations

from typing import Any

import typer

from ghtrader.commands.shared_options import (
    HomeOption,
    JsonOption,
    settings_of,
)
from ghtrader.output import emit, table


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def locks(home: HomeOption = None, json: JsonOption = False) -> None:
        """Who holds what since when: this home's locks, accounts' and TqSdk clients'. Example: ghtrader locks"""
        from ghtrader_base.locks import read_holders
        from ghtrader_market.sources.tqsdk.client_slots import slots_folder

        settings = settings_of(home)
        accounts = sorted({path.parent for path in (settings.user_state / "accounts").glob("**/*.lock")})
        local = sorted({path.parent for path in settings.home.glob("*/**/*.lock") if path.parent != settings.locks})
        rows: list[dict[str, Any]] = []
        for folder in (settings.locks, slots_folder(settings), *accounts, *local):
            rows += [{**held.to_json(), "folder": str(folder)} for held in read_holders(folder)]
        emit({"locks": rows}, json, lambda: table(rows, ["name", "pid", "since", "purpose", "run_id"]))
