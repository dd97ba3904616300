"""Defines `config show|set|check|bus-keys` and `version`: what is in force, what listens, what is installed."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Annotated

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.output import emit, table
from ghtrader_base.settings import describe_settings, set_setting

_PARTS = tuple(
    ["ghtrader", "tqsdk", "dagster", "mlflow", "numpy", "numba", "pyarrow", "duckdb", "xgboost", "pyzmq", "questdb"]
)


def version_table() -> dict[str, str]:
    """Versions of ghtrader and of the parts that matter."""
    versions = {}
    for part in _PARTS:
        try:
            versions[part] = metadata.version(part)
        except metadata.PackageNotFoundError:
            versions[part] = "not installed"
    return {"python": platform.python_version(), **versions}


def register(app: typer.Typer) -> None:
    """Add `config` and `version` to the command."""
    config = typer.Typer(help="Settings in force and where each came from.", no_args_is_help=True)
    app.add_typer(config, name="config")

    @config.command()
    def show(home: HomeOption = None, json: JsonOption = False) -> None:
        """Each setting, its value (secrets hidden) and its source. Example: ghtrader config show"""
        rows = [setting.to_json() for setting in describe_settings(settings_of(home))]
        emit({"settings": rows}, json, lambda: table(rows, ["name", "value", "source", "description"]))

    @config.command("set")
    def set_(
        key: Annotated[str, typer.Argument(help="Name as in env.example.")],
        value: Annotated[str, typer.Argument(help="New value.")],
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Store a setting in ghtrader.toml of the home.

        Example: ghtrader config set GHTRADER_MAX_PARALLEL_TQSDK_JOBS 2
        """
        settings_of(home)  # a file that does not parse is said, not overwritten
        path = set_setting(key, value, home)
        emit({"set": key, "file": str(path)}, json, lambda: f"{key} stored in {path}")

    @config.command()
    def check(home: HomeOption = None, json: JsonOption = False) -> None:
        """Read the settings, and try what listens here as a stranger would; exit 1 where something is open.

        Example: ghtrader config check
        """
        from ghtrader.listener_check import ListenerState, check_listeners

        found = check_listeners(settings_of(home))
        rows = [listener.to_json() for listener in found]
        still_open = [listener for listener in found if listener.state is ListenerState.OPEN]

        def text() -> str:
            lines = [f"{each.name} at {each.address} is open: {each.hint}" for each in still_open]
            shown = table(rows, ["name", "address", "state"]) if rows else "the settings are read; nothing listens"
            return "\n".join([shown, *lines])

        emit({"listeners": rows, "open": len(still_open)}, json, text)
        if still_open:
            raise typer.Exit(1)

    @config.command("bus-keys")
    def bus_keys(
        replace: Annotated[bool, typer.Option("--replace", help="Make new ones where there are some.")] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Make the keys that gateway and strategy need where GHTRADER_BUS is tcp. Example: ghtrader config bus-keys"""
        from ghtrader_runtime.bus.curve_keys import make_keys

        folder = make_keys(settings_of(home), replace)
        emit({"keys": str(folder)}, json, lambda: f"keys of the bus made in {folder}, readable by you alone")

    @app.command()
    def version(home: HomeOption = None, json: JsonOption = False) -> None:  # --home: as all take it
        """Versions of ghtrader and the parts that matter. Example: ghtrader version --json"""
        versions = version_table()
        emit(versions, json, lambda: "\n".join(f"{name:10} {number}" for name, number in versions.items()))
