"""Defines `record`: live ticks to the lake, in the foreground, until it is told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, SeriesOption, settings_of, variety_key
from ghtrader.output import emit, note, table
from ghtrader_base.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add `record` to the command."""

    @app.command()
    def record(
        symbols: Annotated[
            list[str] | None, typer.Option("--symbols", help="Contracts: repeat it, or separate them by commas.")
        ] = None,
        var: Annotated[str, typer.Option("--var", help="Varieties, comma-separated: all listed contracts.")] = "",
        symbol: SeriesOption = "",
        for_s: Annotated[float | None, typer.Option("--for", min=0.1, help="Stop after so many seconds.")] = None,
        flush_s: Annotated[
            float, typer.Option("--flush-seconds", min=0.05, help="Rows are on disk after this: what a kill can lose.")
        ] = 5.0,
        flush_rows: Annotated[int, typer.Option("--flush-rows", min=1, help="And never more rows wait.")] = 5000,
        stale_s: Annotated[
            float, typer.Option("--stale-seconds", min=1.0, help="Silence in trading hours before a new connection.")
        ] = 30.0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Live ticks to the lake until SIGTERM or Ctrl-C; a later download of a recorded day replaces it.

        Example: ghtrader record --var cu
        """
        from ghtrader_base.processes import register as announce
        from ghtrader_market.recorder.recorder import Recorder
        from ghtrader_market.reference.symbols import parse_symbol
        from ghtrader_market.reference.varieties import get_variety, variety_of

        settings = settings_of(home)
        named = [name.strip() for text in symbols or [] for name in text.split(",") if name.strip()]
        varieties = [get_variety(key.strip()).key for key in var.split(",") if key.strip()]
        if symbol:
            key = variety_key("", symbol)
            if varieties and key not in varieties:
                raise UsageError(f"--symbol {symbol} is of {key}, --var says {var}", "leave one of them out")
            varieties = varieties or [key]
        if not named and not varieties:
            raise UsageError("nothing to record: name --symbols or --var", "for example --symbols SHFE.cu2502")
        for symbol in named:
            variety_of(symbol)
            if parse_symbol(symbol).continuous:
                raise UsageError(f"{symbol} is no single contract", "for example --symbols SHFE.cu2502, or --var cu")

        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        recorder = Recorder(
            settings, named, varieties, flush_s=flush_s, flush_rows=flush_rows, stale_s=stale_s, tell=note
        )
        with announce(settings, "record", f"live ticks of {', '.join([*named, *varieties])}"):
            report = recorder.run(stop, for_s)
        rows = [day.to_json() for day in report.days]

        def text() -> str:
            counts = f"{report.rows} ticks, {report.missed} missed, {report.duplicates} came twice"
            return f"{counts}, {report.restarts} new connections\n{table(rows)}"

        emit(report.to_json(), json, text)
        if report.problems:
            raise typer.Exit(1)
