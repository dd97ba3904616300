"""Defines `monitor`: live view of a running gateway in the terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.output import emit


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def monitor(
        account: Annotated[str | None, typer.Option("--account", help="Needed where several gateways run.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Live view of a running gateway in the terminal; k trips the kill switch, q leaves. --json: one picture.

        Example: ghtrader monitor --account demo
        """
        from ghtrader_runtime.operator_views.gateway_view import choose_gateway, one_picture

        settings = settings_of(home)
        gateway = choose_gateway(settings, account)
        if json or not sys.stdout.isatty():
            picture = one_picture(settings, gateway).to_json()
            emit(picture, json, lambda: "\n".join(f"{name:14} {value}" for name, value in picture.items()))
            return
        from ghtrader_runtime.operator_views.monitor_app import run_monitor

        run_monitor(settings, gateway)
