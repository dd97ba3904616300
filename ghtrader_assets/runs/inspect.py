"""Describes runs: what `jobs list`, `jobs show` and `jobs logs` tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ghtrader_assets.instance.run_registry import (
    COMMAND_TAG,
    GROUP_TAG,
    SOURCE_TAG,
    close_dead_runs,
    executors,
    find_run,
)
from ghtrader_base.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun, RunRecord

_PARTITION = "dagster/partition"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run in a list.

    Attributes
    ----------
    id : str
        Of the run, whole.
    what : str
        Its assets, or its job.
    status : str
        Dagster's word for how it stands, lower case.
    source : str
        Who started it: cli, demo, schedule, ui, re-executed.
    since : str or None
        When it started, ISO 8601 with offset.
    ended : str or None
        When it ended; None while it runs.
    pid : int or None
        Process that works on it.
    detail : str
        Its partition, or the corners of a range.
    group : str
        Id of the run that it belongs to with others of one command or daily update; empty where it stands alone.
    """

    id: str
    what: str
    status: str
    source: str
    since: str | None
    ended: str | None
    pid: int | None
    detail: str
    group: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RunDescription(RunRow):
    """One run whole.

    Attributes
    ----------
    command : str
        What a terminal started it with; empty where it was started elsewhere.
    materialized : dict of str to int
        Asset -> how many of its partitions were made.
    errors : list of str
        Of the steps that failed.
    related : list of RunRow
        The other runs of its group, oldest first.
    """

    command: str
    materialized: dict[str, int]
    errors: list[str]
    related: list[RunRow]


@dataclass(frozen=True)
class RunEvent:
    """One line of a run's log: seconds since the epoch, the step it belongs to, what happened."""

    time: float
    step: str | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def _what(run: DagsterRun) -> str:
    if run.asset_selection:
        return ",".join(sorted(key.to_user_string() for key in run.asset_selection))
    return run.job_name


def _where(run: DagsterRun) -> str:
    if _PARTITION in run.tags:
        return run.tags[_PARTITION]
    if _RANGE[0] in run.tags:
        return f"{run.tags[_RANGE[0]]}...{run.tags[_RANGE[1]]}"
    return ""


def _source(run: DagsterRun) -> str:
    if run.parent_run_id:
        return "re-executed"  # the UI copies the tags of the first run
    return run.tags.get(SOURCE_TAG) or ("schedule" if "dagster/schedule_name" in run.tags else "ui")


def _iso(timestamp: float | None) -> str | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp).astimezone().isoformat(timespec="seconds")


def _row(record: RunRecord, pids: dict[str, int]) -> RunRow:
    run = record.dagster_run
    return RunRow(
        id=run.run_id,
        what=_what(run),
        status=run.status.value.lower(),
        source=_source(run),
        since=_iso(record.start_time or record.create_timestamp.timestamp()),
        ended=_iso(record.end_time),
        pid=pids.get(run.run_id),
        detail=_where(run),
        group=run.tags.get(GROUP_TAG, ""),
    )


def list_runs(settings: Settings, instance: DagsterInstance, limit: int) -> list[RunRow]:
    """Newest runs first; those whose process is gone are closed before they are listed."""
    close_dead_runs(settings, instance)
    pids = {item.run_id: item.pid for item in executors(settings)}
    return [_row(record, pids) for record in instance.get_run_records(limit=limit)]


def describe_run(settings: Settings, instance: DagsterInstance, prefix: str) -> RunDescription:
    """One run with its steps, materialized partitions and, where it failed, the error."""
    from dagster import DagsterEventType

    close_dead_runs(settings, instance)
    run = find_run(instance, prefix)
    record = instance.get_run_records(limit=1, filters=_by_id(run.run_id))[0]
    pids = {item.run_id: item.pid for item in executors(settings)}
    made: dict[str, int] = {}
    errors = []
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            name = event.step_materialization_data.materialization.asset_key.to_user_string()
            made[name] = made.get(name, 0) + 1
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            failure = event.step_failure_data
            text = failure.user_failure_data.description if failure.user_failure_data else None
            errors.append(f"{event.step_key}: {text or (failure.error.message.strip() if failure.error else 'failed')}")
        elif event.event_type == DagsterEventType.RUN_FAILURE and not errors:
            errors.append(event.message or "failed")
    row = _row(record, pids)
    return RunDescription(
        **asdict(row),
        command=run.tags.get(COMMAND_TAG, ""),
        materialized=made,
        errors=errors,
        related=_related(instance, row, pids),
    )


def _related(instance: DagsterInstance, row: RunRow, pids: dict[str, int]) -> list[RunRow]:
    """The other runs of a run's group, oldest first."""
    from dagster import RunsFilter

    if not row.group:
        return []
    records = instance.get_run_records(filters=RunsFilter(tags={GROUP_TAG: row.group}))
    return [_row(record, pids) for record in reversed(records) if record.dagster_run.run_id != row.id]


def _by_id(run_id: str) -> Any:
    from dagster import RunsFilter

    return RunsFilter(run_ids=[run_id])


def run_events(settings: Settings, instance: DagsterInstance, prefix: str, follow: bool) -> Iterator[RunEvent]:
    """Events of a run in order; with `follow`, until the run has ended."""
    run = find_run(instance, prefix)
    seen = 0
    while True:
        close_dead_runs(settings, instance)
        reloaded = instance.get_run_by_id(run.run_id)
        finished = reloaded is None or reloaded.is_finished
        entries = instance.all_logs(run.run_id)
        for entry in entries[seen:]:
            yield RunEvent(entry.timestamp, entry.step_key, entry.user_message or entry.message)
        seen = len(entries)
        if finished or not follow:
            return
        time.sleep(0.5)
