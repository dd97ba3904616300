"""`demo`: the whole loop on a simulated exchange and one real recorded day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghtrader.console_io import JsonOption, emit


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        home: Annotated[Path, typer.Option("--home", help="Its own folder; emptied each time.")] = Path("var/demo"),
        seed: Annotated[int, typer.Option("--seed", min=0, help="Of the simulated world.")] = 1,
        signal: Annotated[
            bool, typer.Option("--signal/--no-signal", help="Whether the simulated world has a signal planted.")
        ] = True,
        quick: Annotated[bool, typer.Option("--quick", help="Fewer ticks a day; for a look, not a verdict.")] = False,
        verbose: Annotated[bool, typer.Option("--verbose", help="Also the pipeline's own progress.")] = False,
        json: JsonOption = False,
    ) -> None:
        """The whole loop, ticks to a trading champion, in a few minutes.

        Example: ghtrader demo --no-signal
        """
        from ghtrader.demo.run import DemoOptions, closing_text, run_demo

        options = DemoOptions(home=home, seed=seed, signal=signal, quick=quick, verbose=verbose)
        report = run_demo(options)
        emit(report, json, lambda: closing_text(report, options.home.absolute()))
