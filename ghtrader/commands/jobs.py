"""Defines `jobs list|show|logs|cancel`: pipeline runs and serving processes, whoever started them."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.output import emit, table
from ghtrader_base.settings import Settings

RunArgument = Annotated[str, typer.Argument(help="Run id, or its first characters.")]


def _serving_rows(settings: Settings) -> list[dict[str, Any]]:
    from ghtrader_base.processes import list_processes

    return [
        {"id": f"pid {info.pid}", "what": info.kind, "status": "running", "source": info.source, "since": info.since,
         "pid": info.pid, "detail": info.detail or info.purpose}
        for info in list_processes(settings)
    ]  # fmt: skip


def _described(run: dict[str, Any]) -> str:
    """A run as lines; the others of its group as a table below."""
    lines = [f"{key:12} {value}" for key, value in run.items() if key != "related"]
    if related := [{**row, "id": row["id"][:8]} for row in run["related"]]:
        lines += ["runs of the same group", table(related, ["id", "what", "status", "since", "detail"])]
    return "\n".join(lines)


def register(app: typer.Typer) -> None:
    """Add `ghtrader jobs`."""
    jobs = typer.Typer(help="What runs and what ran.", no_args_is_help=True)
    app.add_typer(jobs, name="jobs")

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
            runs = [row.to_dict() for row in list_runs(settings, instance, limit)]
        serving = _serving_rows(settings)
        columns = ["id", "what", "status", "source", "since", "pid", "group", "detail"]
        short = [{**row, "id": row["id"][:8], "group": row["group"][:8]} for row in runs]
        serving = [{**row, "group": ""} for row in serving]
        emit({"runs": runs, "serving": serving}, json, lambda: table([*serving, *short], columns))

    @jobs.command()
    def show(run_id: RunArgument, home: HomeOption = None, json: JsonOption = False) -> None:
        """One run: what, when, how it ended, what it made. Example: ghtrader jobs show 3f2a"""
        from ghtrader_assets.instance.instance import open_instance
        from ghtrader_assets.runs.inspect import describe_run

        settings = settings_of(home)
        with open_instance(settings) as instance:
            run = describe_run(settings, instance, run_id).to_dict()
        emit(run, json, lambda: _described(run))

    @jobs.command()
    def logs(
        run_id: RunArgument,
        follow: Annotated[bool, typer.Option("--follow", help="Until the run ends.")] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """The event log of a run. Example: ghtrader jobs logs 3f2a --follow"""
        from ghtrader_assets.instance.instance import open_instance
        from ghtrader_assets.runs.inspect import RunEvent, run_events

        def line(event: RunEvent) -> str:
            return f"{datetime.fromtimestamp(event.time):%H:%M:%S} {event.step or '-':16} {event.message}"

        settings = settings_of(home)
        with open_instance(settings) as instance:
            if json:
                events = [event.to_dict() for event in run_events(settings, instance, run_id, follow)]
                emit({"events": events}, True, str)
                return
            for event in run_events(settings, instance, run_id, follow):
                emit(event.to_dict(), False, partial(line, event))

    @jobs.command()
    def cancel(run_id: RunArgument, home: HomeOption = None, json: JsonOption = False) -> None:
        """Stop a run, in whatever process it works. Example: ghtrader jobs cancel 3f2a"""
        from ghtrader_assets.instance import run_registry
        from ghtrader_assets.instance.instance import open_instance

        settings = settings_of(home)
        with open_instance(settings) as instance:
            status = run_registry.cancel(settings, instance, run_id)
        emit({"run": run_id, "status": status}, json, lambda: f"run {run_id}: {status}")
