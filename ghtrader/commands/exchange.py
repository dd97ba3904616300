"""Defines `exchange serve`: the simulated exchange in the foreground, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.output import emit, note


def register(app: typer.Typer) -> None:
    """Add `exchange` to the command."""
    exchange = typer.Typer(help="A simulated exchange that an unmodified TqSdk can talk to.", no_args_is_help=True)
    app.add_typer(exchange, name="exchange")

    @exchange.callback()
    def about() -> None:
        """A simulated exchange that an unmodified TqSdk can talk to."""

    @exchange.command()
    def serve(
        port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
        scenario: Annotated[Path | None, typer.Option(help="TOML file: varieties, days, world, seed.")] = None,
        speed: Annotated[float, typer.Option(min=0.001, max=1e6, help="Market seconds for each second.")] = 20.0,
        run: Annotated[bool, typer.Option("--run", help="Let the live day run at once, not when told to.")] = False,
        live_through_closed_hours: Annotated[
            bool, typer.Option(help="Live through lunch and night instead of jumping over them.")
        ] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Serve until SIGTERM or Ctrl-C; when ready prints `export NAME=value` lines, or the same as JSON.

        Example: ghtrader exchange serve --port 7788 --scenario my.toml
        """
        from ghtrader_base.processes import register as announce
        from ghtrader_exchange.server import server
        from ghtrader_exchange.world.scenario import Scenario

        settings = settings_of(home)
        played = Scenario.from_toml(scenario) if scenario else Scenario()
        # One folder a scenario: two exchanges side by side never overwrite each other's truth.
        state_dir = settings.home / "exchange" / played.digest[:16]
        options = server.ServerOptions(
            scenario=played,
            state_dir=state_dir,
            port=port,
            speed=speed,
            frozen=not run,
            skip_closed=not live_through_closed_hours,
        )

        def ready(environment: dict[str, str]) -> None:
            emit(environment, json, lambda: server.export_lines(environment))
            url = environment[server.LAST_EXPORT]
            note(f"the simulated exchange is ready; its truth, for evaluation alone, is in {state_dir / 'truth'}")
            if not run:
                note(f"""its clock stands; let it run: curl -d '{{"frozen": false}}' {url}/clock""")

        note(f"making the history: {', '.join(played.varieties)}, {played.start} to {played.end}, world {played.world}")
        purpose = f"simulated exchange, world {played.world}"
        with announce(settings, "exchange", purpose, detail=f"state in {state_dir}"):
            server.run(options, ready)
