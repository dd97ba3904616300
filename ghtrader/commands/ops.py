"""Operating the pipeline: `up`, `down` for the web UIs and `jobs` for what runs and ran."""

from __future__ import annotations

import getpass
import socket
from datetime import datetime
from typing import Annotated, Any

import typer

from ghtrader.console_io import HomeOption, JsonOption, emit, note, settings_of, table
from ghtrader_base.settings import Settings

OnlyOption = Annotated[str, typer.Option("--only", help="Parts, comma-separated: dagster,mlflow.")]
RunArgument = Annotated[str, typer.Argument(help="Run id, or its first characters.")]


def _ssh_line(urls: list[str]) -> str:
    ports = [url.rsplit(":", 1)[1] for url in urls]
    forwards = " ".join(f"-L {port}:127.0.0.1:{port}" for port in ports)
    return f"ssh {forwards} {getpass.getuser()}@{socket.gethostname()}"


def _serving_rows(settings: Settings) -> list[dict[str, Any]]:
    from ghtrader_base.processes import list_processes

    return [
        {"id": f"pid {info.pid}", "what": info.kind, "status": "running", "source": info.source, "since": info.since,
         "pid": info.pid, "detail": info.detail or info.purpose}
        for info in list_processes(settings)
    ]  # fmt: skip


def _register_servers(app: typer.Typer) -> None:
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
        emit(
            {"servers": rows, "ssh": ssh},
            json,
            lambda: f"{table(rows)}\n\nfrom another machine: {ssh}\nstop them: ghtrader down --home {settings.home}",
        )

    @app.command()
    def down(only: OnlyOption = "", home: HomeOption = None, json: JsonOption = False) -> None:
        """Stop what `up` started. Example: ghtrader down"""
        from ghtrader_assets.instance import web_servers

        stopped = web_servers.down(settings_of(home), web_servers.groups_of(only))
        rows = [{"server": info.kind, "pid": info.pid} for info in stopped]
        emit({"stopped": rows}, json, lambda: f"stopped\n{table(rows)}" if rows else "nothing was running")


def _register_jobs(jobs: typer.Typer) -> None:
    @jobs.command("list")
    def list_(
        limit: Annotated[int, typer.Option(min=1, help="How many runs, newest first.")] = 20,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Pipeline runs and serving processes, whoever started them. Example: ghtrader jobs list --limit 5"""
        from ghtrader_assets.instance.instance import open_instance
        from ghtrader_assets.runs.inspect import list_runs

        settings = settings_of(home)
        with open_instance(settings) as instance:
            runs = list_runs(settings, instance, limit)
        serving = _serving_rows(settings)
        columns = ["id", "what", "status", "source", "since", "pid", "detail"]
        short = [{**row, "id": row["id"][:8]} for row in runs]
        emit({"runs": runs, "serving": serving}, json, lambda: table([*serving, *short], columns))

    @jobs.command()
    def show(run_id: RunArgument, home: HomeOption = None, json: JsonOption = False) -> None:
        """One run: what, when, how it ended, what it made. Example: ghtrader jobs show 3f2a"""
        from ghtrader_assets.instance.instance import open_instance
        from ghtrader_assets.runs.inspect import describe_run

        settings = settings_of(home)
        with open_instance(settings) as instance:
            run = describe_run(settings, instance, run_id)
        emit(run, json, lambda: "\n".join(f"{key:12} {value}" for key, value in run.items()))

    @jobs.command()
    def logs(
        run_id: RunArgument,
        follow: Annotated[bool, typer.Option("--follow", help="Until the run ends.")] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """The event log of a run. Example: ghtrader jobs logs 3f2a --follow"""
        from ghtrader_assets.instance.instance import open_instance
        from ghtrader_assets.runs.inspect import run_events

        def line(event: dict[str, Any]) -> str:
            return f"{datetime.fromtimestamp(event['time']):%H:%M:%S} {event['step'] or '-':16} {event['message']}"

        settings = settings_of(home)
        with open_instance(settings) as instance:
            if json:
                emit({"events": list(run_events(settings, instance, run_id, follow))}, True, str)
                return
            for event in run_events(settings, instance, run_id, follow):
                emit(event, False, lambda event=event: line(event))

    @jobs.command()
    def cancel(run_id: RunArgument, home: HomeOption = None, json: JsonOption = False) -> None:
        """Stop a run, in whatever process it works. Example: ghtrader jobs cancel 3f2a"""
        from ghtrader_assets.instance import run_registry
        from ghtrader_assets.instance.instance import open_instance

        settings = settings_of(home)
        with open_instance(settings) as instance:
            status = run_registry.cancel(settings, instance, run_id)
        emit({"run": run_id, "status": status}, json, lambda: f"run {run_id}: {status}")


def register(app: typer.Typer) -> None:
    """Add `up`, `down` and `jobs` to the command."""
    _register_servers(app)
    jobs = typer.Typer(help="What runs and what ran.", no_args_is_help=True)
    app.add_typer(jobs, name="jobs")
    _register_jobs(jobs)
