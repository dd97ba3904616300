"""Registers runs that a terminal started: who executes each, whether that process still lives, and how to stop it.

Dagster's launcher knows only the runs it launched itself. A process that executes a run in its own body holds a
flock on `<instance>/run_locks/<run id>`; the kernel frees it when the process dies, so a free lock of a run that
is still called started means: its process is gone. Run ids are unique, so unlike resource locks these files may go
when the run ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import FailedError, GhtraderError, UsageError, in_words
from ghtrader_base.files import ensure_dir, read_json
from ghtrader_base.flock_files import create_locked, holders
from ghtrader_base.processes import start_ticks
from ghtrader_base.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

PID_TAG = "ghtrader/pid"
SINCE_TAG = "ghtrader/since"
SOURCE_TAG = "ghtrader/source"
COMMAND_TAG = "ghtrader/command"
GROUP_TAG = "ghtrader/group"
"""Id of the run that the runs of one command, or of one daily update, belong to."""
_CANCEL_WAIT_S = 20.0
_REASON = 500
"""Letters of a reason: file and reason fit into one block of the disk, which is there already."""


@dataclass(frozen=True, kw_only=True)
class Executor:
    """The process that executes one run."""

    run_id: str
    pid: int
    since: str
    source: str
    start: int = 0
    """`ghtrader_base.processes.start_ticks` of the pid."""
    ended: str = ""
    """Why it left the run without closing it, where it could still say so."""


def _directory(settings: Settings) -> Path:
    return settings.dagster / "run_locks"


@contextlib.contextmanager
def executing(settings: Settings, run_id: str, source: str) -> Iterator[Executor]:
    """Hold the lock of a run while this process executes it.

    Where the block raises, Dagster may not have been able to write that the run has failed: the file stays, with the
    reason, and whoever looks next closes the run.
    """
    path = ensure_dir(_directory(settings)) / run_id
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    executor = Executor(
        run_id=run_id, pid=os.getpid(), since=since, source=source, start=start_ticks(os.getpid()) or 0
    )
    with disk_errors(path):
        fd = create_locked(path)
        try:
            _say(fd, executor)
        except BaseException:
            path.unlink(missing_ok=True)
            os.close(fd)
            raise
    try:
        yield executor
    except BaseException as exc:
        with contextlib.suppress(OSError):
            _say(fd, replace(executor, ended=in_words(exc)[:_REASON] if isinstance(exc, Exception) else "interrupted"))
        raise
    else:
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _say(fd: int, executor: Executor) -> None:
    os.pwrite(fd, json.dumps(asdict(executor)).encode(), 0)


def executors(settings: Settings) -> list[Executor]:
    """Processes of this home that execute a run now."""
    return holders(_directory(settings).glob("*"), Executor, None)


def close_dead_runs(settings: Settings, instance: DagsterInstance) -> list[str]:
    """Mark runs failed whose process was killed; returns their ids."""
    closed: list[str] = []

    def close(run_id: str) -> None:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            pid = run.tags.get(PID_TAG, "unknown")
            why = f"process gone: pid {pid} ended without closing this run ({_reason(settings, run_id)})"
            with disk_errors(settings.dagster):
                instance.report_run_failed(run, why)
            closed.append(run_id)

    holders(_directory(settings).glob("*"), Executor, close)
    return closed


def _reason(settings: Settings, run_id: str) -> str:
    with contextlib.suppress(OSError, GhtraderError, TypeError):
        return Executor(**read_json(_directory(settings) / run_id)).ended or "killed?"
    return "killed?"


def find_run(instance: DagsterInstance, prefix: str) -> DagsterRun:
    """The run whose id starts with `prefix`; `UsageError` where none or several do."""
    run = instance.get_run_by_id(prefix)
    if run is not None:
        return run
    found = [run for run in instance.get_runs(limit=1000) if prefix and run.run_id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    problem = "several runs start" if found else "no run starts"
    raise UsageError(f"{problem} with {prefix!r}", "`ghtrader jobs list` shows the ids")


def cancel(settings: Settings, instance: DagsterInstance, prefix: str) -> str:
    """Stop a run, whoever started it, and wait until it says so.

    Returns
    -------
    str
        Status of the run afterwards.

    Raises
    ------
    FailedError
        The run did not stop in time.
    """
    close_dead_runs(settings, instance)
    run = find_run(instance, prefix)
    if run.is_finished:
        return run.status.value
    holder = next((item for item in executors(settings) if item.run_id == run.run_id), None)
    if holder is not None:
        instance.report_run_canceling(run)
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGINT)
    elif not instance.run_coordinator.cancel_run(run.run_id):
        instance.report_run_canceled(run, "cancelled: no process was executing it")
    deadline = time.monotonic() + _CANCEL_WAIT_S
    while time.monotonic() < deadline:
        close_dead_runs(settings, instance)
        reloaded = instance.get_run_by_id(run.run_id)
        if reloaded is not None and reloaded.is_finished:
            return reloaded.status.value
        time.sleep(0.1)
    raise FailedError(f"run {run.run_id} has not stopped yet", "try again, or end its process by pid")
