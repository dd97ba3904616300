"""Defines `demo`: the whole loop on a simulated exchange and one real recorded day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghtrader.commands.shared_options import JsonOption, parse_day
from ghtrader.output import emit
from ghtrader_base.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        home: Annotated[Path, typer.Option("--home", help="Its own folder; emptied each time.")] = Path("var/demo"),
        seed: Annotated[int, typer.Option("--seed", min=0, help="Of the simulated world.")] = 1,
        signal: Annotated[
            bool, typer.Option("--signal/--no-signal", help="Whether the simulated world has a signal planted.")
        ] = True,
        quick: Annotated[
            bool, typer.Option("--quick", help="Fewer ticks a day, one horizon; for a look, not a verdict.")
        ] = False,
        service: Annotated[
            bool, typer.Option("--service", help="Use the service TQSDK_USER names, not a simulated exchange.")
        ] = False,
        end: Annotated[str, typer.Option("--end", help="With --service: last day of history, YYYY-MM-DD.")] = "",
        seconds: Annotated[float, typer.Option("--for", min=1, help="With --service: seconds to trade.")] = 120.0,
        verbose: Annotated[bool, typer.Option("--verbose", help="Also the pipeline's own progress.")] = False,
        json: JsonOption = False,
    ) -> None:
        """The whole loop, ticks to a trading champion, in a few minutes.

        Example: ghtrader demo --no-signal
        """
        from ghtrader.demo.run import DemoOptions, closing_text, report_folder, run_demo
        from ghtrader.demo.service import ServiceOptions

        if not service and end:
            raise UsageError("--end goes with --service", "the simulated exchange chooses its own days")
        asked = ServiceOptions(parse_day(end, "--end") if end else None, seconds) if service else None
        options = DemoOptions(home=home, seed=seed, signal=signal, quick=quick, verbose=verbose, service=asked)
        report = run_demo(options)
        where = options.home.expanduser().absolute()
        folder = report_folder(where)
        files = {"json": str(folder / "report.json"), "html": str(folder / "report.html")}
        emit({**report.to_dict(), "files": files}, json, lambda: closing_text(report, where))
