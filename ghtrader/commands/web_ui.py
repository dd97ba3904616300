"""Defines `up` and `down`: starts and stops the web UIs of Dagster and MLflow."""

from __future__ import annotations

import getpass
import socket
from typing import Annotated

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.output import emit, note, table

OnlyOption = Annotated[str, typer.Option("--only", help="Parts, comma-separated: dagster,mlflow.")]


def _ssh_line(urls: list[str]) -> str:
    ports = [url.rsplit(":", 1)[1] for url in urls]
    forwards = " ".join(f"-L {port}:127.0.0.1:{port}" for port in ports)
    return f"ssh {forwards} {getpass.getuser()}@{socket.gethostname()}"


def register(app: typer.Typer) -> None:
    """Add both commands."""

    @app.command()
    def up(
        only: OnlyOption = "",
        dagster_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
        mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow UI.")] = 5000,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Start the web UIs on 127.0.0.1 in the background. Example: ghtrader up --only dagster"""
        from ghtrader_assets.instance import web_servers

        settings = settings_of(home)
        groups = web_servers.groups_of(only)
        note("starting: " + ", ".join(groups))
        servers = web_servers.up(settings, groups, dagster_port, mlflow_port)
        urls = [server.url for server in servers if server.url]
        rows = [
            {"server": s.kind, "pid": s.pid, "url": s.url, "now": "started" if s.started else "ran already"}
            for s in servers
        ]
        ssh = _ssh_line(urls)
        links = [server.login for server in servers if server.login]

        def text() -> str:
            logins = "".join(f"\nlog in, once each: {link}" for link in links)
            return (
                f"{table(rows)}\n{logins}\nfrom another machine: {ssh}\n"
                f"stop them: ghtrader down --home {settings.home}"
            )

        emit({"servers": rows, "ssh": ssh, "logins": links}, json, text)

    @app.command()
    def down(only: OnlyOption = "", home: HomeOption = None, json: JsonOption = False) -> None:
        """Stop what `up` started. Example: ghtrader down"""
        from ghtrader_assets.instance import web_servers

        stopped = web_servers.down(settings_of(home), web_servers.groups_of(only))
        rows = [{"server": info.kind, "pid": info.pid} for info in stopped]
        emit({"stopped": rows}, json, lambda: f"stopped\n{table(rows)}" if rows else "nothing was running")
