"""Defines `exchange serve`, a simulated exchange in the foreground, and `exchange fit`, its market from a recording."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, parse_day, settings_of
from ghtrader.output import emit, note, table
from ghtrader_base.errors import BadRecordingError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_exchange.world.realistic.market_fit import MarketFit
    from ghtrader_exchange.world.scenario import Scenario


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
        scenario: Annotated[
            str, typer.Option(metavar="FILE", help="TOML file: varieties, days, world, seed; or: realistic.")
        ] = "",
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
        Example: ghtrader exchange serve --scenario realistic
        """
        from ghtrader_base.processes import register as announce
        from ghtrader_exchange.server import server

        settings = settings_of(home)
        played = scenario_named(scenario)
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

    @exchange.command()
    def fit(
        file: Annotated[
            Path, typer.Argument(help="Recording of a day: CSV, CSV.gz or Parquet, as `data import` reads.")
        ],
        symbol: Annotated[str, typer.Option(help="The contract, where the file holds several or does not say.")] = "",
        day: Annotated[str, typer.Option(help="The trading day, where the file holds several, YYYY-MM-DD.")] = "",
        output: Annotated[
            Path | None, typer.Option(help="Where the scenario goes; default <home>/exchange/fits/CONTRACT_DAY.toml.")
        ] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Fit a market to a recorded day: a scenario for `serve`, a table and a picture of both side by side.

        Example: ghtrader exchange fit IF2101_20210104.csv.gz
        """
        from ghtrader_base.files import atomic_write_bytes
        from ghtrader_exchange.world.realistic.fit_report import compared_figures, plot_comparison
        from ghtrader_exchange.world.realistic.fitting import SHOWN_SEED, fit_market, play
        from ghtrader_exchange.world.realistic.market_fit import RealisticWorld
        from ghtrader_exchange.world.realistic.recorded_day import snapshots_in_sessions
        from ghtrader_market.reference.trading_calendar import load_calendar

        settings = settings_of(home)
        _check_output(output)
        calendar = load_calendar(settings)
        contract, found_day, ticks = _one_day(file, symbol, parse_day(day, "--day") if day else None)
        recorded, tick_share = snapshots_in_sessions(contract, found_day, ticks, calendar)
        left_out = ticks.num_rows - recorded.bid.size
        why = f"; {left_out} are left out: outside the sessions, or without both quotes" if left_out else ""
        note(f"fitting {contract} on {found_day}: {recorded.bid.size} snapshots{why}")
        fitted = fit_market(recorded, contract, found_day, tick_share, note)
        scenario = _realistic(fitted)

        path = output or settings.home / "exchange" / "fits" / f"{contract}_{found_day:%Y%m%d}.toml"
        picture = path.with_suffix(".png")
        scenario.write(path)
        played = play(RealisticWorld(fitted, 0.0), SHOWN_SEED, recorded.bid.size)
        atomic_write_bytes(picture, plot_comparison(fitted, recorded, played))
        rows = [figure.to_dict() for figure in compared_figures(fitted)]
        note(f"not fitted: {'; '.join(fitted.not_fitted)}")
        note(f"play it with: ghtrader exchange serve --scenario {path}")
        answer: dict[str, Any] = {
            "scenario": path,
            "picture": picture,
            "source": contract,
            "day": found_day,
            "recorded": fitted.recorded.lines(),
            "played": fitted.played.lines(),
            "not_fitted": fitted.not_fitted,
        }
        emit(answer, json, lambda: f"{table(rows)}\n\n{path}\n{picture}")


def _check_output(output: Path | None) -> None:
    """Refuse, before the minute that a fit takes, a path that the scenario cannot have beside its picture."""
    if output is None:
        return
    if output.is_dir():
        raise UsageError(f"--output {output} is a folder", f"name a file, for example {output / 'market.toml'}")
    if output.suffix == ".png":
        raise UsageError(
            f"--output {output} is the name of the picture that is drawn beside the scenario",
            f"name the scenario, for example {output.with_suffix('.toml')}",
        )


def _realistic(fit: MarketFit | None = None) -> Scenario:
    """The realistic scenario at the market's own pace, with the packaged fit or another."""
    from ghtrader_exchange.world.realistic.market_fit import REALISTIC
    from ghtrader_exchange.world.scenario import Scenario

    return Scenario(world=REALISTIC, snapshot_seconds=0.5, fit=fit)


def scenario_named(given: str) -> Scenario:
    """What `--scenario` names: a file, the word for the packaged one, or the default."""
    from ghtrader_exchange.world.realistic.market_fit import REALISTIC
    from ghtrader_exchange.world.scenario import Scenario

    if given == REALISTIC:
        return _realistic()
    return Scenario.from_toml(Path(given)) if given else Scenario()


def _one_day(file: Path, symbol: str, day: date | None) -> tuple[str, date, pa.Table]:
    """The one contract-day of a recording that is meant."""
    from ghtrader_market.sources.recordings.reader import read_recording

    held = read_recording(file, symbol=symbol or None)
    chosen = [one for one in held if symbol in ("", one[0]) and day in (None, one[1])]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(f"{contract} {on}" for contract, on, _ in (chosen or held)[:5])
    if not chosen:
        raise BadRecordingError(f"{file} holds no such contract and day", f"it holds {names}")
    raise UsageError(f"{file} holds {len(chosen)} days of ticks: {names} ...", "choose one with --symbol and --day")
