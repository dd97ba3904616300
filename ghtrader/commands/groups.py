"""Command groups that several modules add to: `ghtrader data ...` holds imports, coverage and quality alike."""

from __future__ import annotations

import typer


def group(app: typer.Typer, name: str, summary: str) -> typer.Typer:
    """The group `name` of `app`, made with this summary where nobody has made it yet."""
    for known in app.registered_groups:
        if known.name == name and known.typer_instance is not None:
            return known.typer_instance
    made = typer.Typer(help=summary, no_args_is_help=True)
    app.add_typer(made, name=name)
    return made
