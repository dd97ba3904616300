"""Runs assets and jobs of the pipeline from this process, as the CLI and the demo do.

Each run is a Dagster run of the home's instance with a code origin, so the web UI shows it, can run it again and
`jobs cancel` can stop it. An error of ours raised inside an asset leaves here as itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from ghtrader_assets.instance.instance import MODULE, code_origin, open_instance
from ghtrader_assets.instance.run_registry import (
    GROUP_TAG,
    PID_TAG,
    SINCE_TAG,
    SOURCE_TAG,
    close_dead_runs,
    executing,
)
from ghtrader_assets.runs.full_log import without_full_log_lines
from ghtrader_assets.runs.questdb_preflight import prepare_questdb, writes_questdb
from ghtrader_base.disk_errors import disk_error, disk_errors, error_of_text
from ghtrader_base.errors import FailedError, GhtraderError, UnwritableError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_base.usual_places import usual_places
from ghtrader_market.reference.varieties import all_varieties

if TYPE_CHECKING:
    from dagster import DagsterEvent, DagsterInstance, DagsterRun, RepositoryDefinition
    from dagster._core.definitions.reconstruct import ReconstructableJob
    from dagster_shared.error import SerializableErrorInfo

Progress = Callable[[str], object]
Partition = str | tuple[str, str] | None
_ASSET_JOB = "__ASSET_JOB"
# The event log keeps everything; a terminal gets our own progress lines instead of Dagster's.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunResult:
    """What became of one run.

    Attributes
    ----------
    metadata : dict
        Asset (or asset and partition, `main_l5[2025-01-02|cu]`) -> metadata values of its materialization.
    """

    run_id: str
    success: bool
    error: str | None
    seconds: float
    metadata: dict[str, dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: id, seconds, and what each materialization says of itself, plots left out."""
        made = {
            name: {key: value for key, value in found.items() if key != "plot" and _is_plain(value)}
            for name, found in sorted(self.metadata.items())
        }
        return {"run_id": self.run_id, "success": self.success, "seconds": self.seconds, "made": made}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list | dict) or value is None


@dataclass
class _Group:
    """Runs that belong together, by the id of the one they belong to; empty until the first of them has one."""

    run_id: str = ""


_group: ContextVar[_Group | None] = ContextVar("group", default=None)


@contextlib.contextmanager
def run_group(run_id: str = "") -> Iterator[None]:
    """Runs that begin in this block belong together: each carries `GROUP_TAG`.

    Its value is `run_id`, or the id of the first of them; inside another group it is that group's.
    """
    before = _group.get()
    token = _group.set(before or _Group(run_id))
    try:
        yield
    finally:
        _group.reset(token)


@cache
def _repository() -> RepositoryDefinition:
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    return ReconstructableRepository.for_module(MODULE, "defs").get_definition()


def _reconstructable(job_name: str) -> ReconstructableJob:
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    return ReconstructableRepository.for_module(MODULE, "defs").get_reconstructable_job(job_name)


def run_assets(
    settings: Settings,
    selection: str | Iterable[str],
    partition: Partition = None,
    *,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    source: str = "cli",
    progress: Progress | None = None,
) -> RunResult:
    """Materialize assets in this process.

    Parameters
    ----------
    settings : Settings
        Whose instance and lake.
    selection : str or iterable of str
        Asset names; they share one partitions definition, or have none.
    partition : str, (str, str) or None
        One key, or the two corners of a range: `("2025-01-02|cu", "2025-01-10|cu")`.
    run_config : mapping, optional
        `{"ops": {"raw_ticks": {"config": {...}}}}`.
    tags : mapping, optional
        Further tags of the run.
    source : str
        Who started it, shown by `jobs list`: cli, demo, schedule.
    progress : callable, optional
        Takes one line about what just happened; by default whoever listens in this process already, as the log of a
        run that this one is part of.

    Raises
    ------
    GhtraderError
        As an asset raised it; `FailedError` for any other failure, naming the run.
    KeyboardInterrupt
        A Ctrl-C ended it.
    UsageError
        No such asset or partition.
    """
    from dagster import AssetKey

    names = [selection] if isinstance(selection, str) else list(selection)
    repository = _repository()
    known = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    for name in names:
        if name not in known:
            raise UsageError(f"no asset {name!r}", f"there are: {', '.join(sorted(known))}")
    keys = frozenset(AssetKey(name) for name in names)
    partition_tags = _partition_tags(settings, repository, keys, partition)
    return _execute(settings, _ASSET_JOB, keys, run_config or {}, {**(tags or {}), **partition_tags}, source, progress)


def run_job(
    settings: Settings,
    job_name: str,
    *,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    source: str = "cli",
    progress: Progress | None = None,
) -> RunResult:
    """Run a named job (`download_contract`, `import_recordings`) in this process; errors as `run_assets`."""
    return _execute(settings, job_name, None, run_config or {}, dict(tags or {}), source, progress)


_PARTITION_HINT = "a trading day and a variety, as 2025-01-02|cu; of which varieties says GHTRADER_VARIETIES"


def _no_partition(settings: Settings, key: str, named: str) -> UsageError:
    """What is wrong with a key; of a variety that this home has no partitions for, how it gets them."""
    from ghtrader_assets.partitions import varieties_of_home  # Dagster is slow to import

    here, variety = varieties_of_home(settings), key.rpartition("|")[2]
    if variety not in here and variety in {each.key for each in all_varieties()}:
        return UsageError(
            f"{variety} is none of the varieties this home has partitions for: {', '.join(here)}",
            f"set GHTRADER_VARIETIES={','.join((*here, variety))}",
        )
    return UsageError(f"no partition {key!r} of {named}", _PARTITION_HINT)


def _partition_tags(
    settings: Settings, repository: RepositoryDefinition, keys: frozenset[Any], partition: Partition
) -> dict[str, str]:
    from dagster import PartitionKeyRange
    from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

    named = ", ".join(sorted(key.to_user_string() for key in keys))
    found = [repository.asset_graph.get(key).partitions_def for key in keys]
    definitions = [definition for definition in found if definition is not None]
    if partition is None:
        if definitions:
            raise UsageError(f"{named} needs a partition", "for example 2025-01-02|cu")
        return {}
    if not definitions or any(definition != definitions[0] for definition in definitions):
        raise UsageError(f"no partition {partition!r} is one of all of {named}", "run them one after the other")
    corners = (partition,) if isinstance(partition, str) else partition
    for key in corners:
        if not definitions[0].has_partition_key(key):
            raise _no_partition(settings, key, named)
    if isinstance(partition, str):
        return dict(definitions[0].get_tags_for_partition_key(partition))
    if not definitions[0].get_partition_keys_in_range(PartitionKeyRange(*partition)):
        raise UsageError(f"the range {partition[0]}...{partition[1]} starts after it ends", "swap its ends")
    return {ASSET_PARTITION_RANGE_START_TAG: partition[0], ASSET_PARTITION_RANGE_END_TAG: partition[1]}


def _execute(
    settings: Settings,
    job_name: str,
    asset_keys: frozenset[Any] | None,
    run_config: Mapping[str, Any],
    tags: dict[str, str],
    source: str,
    progress: Progress | None,
) -> RunResult:
    from dagster._core.execution.api import execute_run_iterator
    from dagster._core.utils import make_new_run_id

    from ghtrader_assets.resources import progress as reporting
    from ghtrader_assets.runs.errors import take_error

    started = time.monotonic()
    if asset_keys is None or writes_questdb(settings, (key.to_user_string() for key in asset_keys)):
        prepare_questdb(settings, progress or reporting.say)
    places = settings.dagster, settings.home, *usual_places()
    with disk_errors(*places), open_instance(settings) as instance:
        close_dead_runs(settings, instance)
        run_id = make_new_run_id()
        with executing(settings, run_id, source) as executor:
            process_tags = {PID_TAG: str(os.getpid()), SINCE_TAG: executor.since, SOURCE_TAG: source}
            if (group := _group.get()) is not None:
                group.run_id = group.run_id or run_id
                process_tags[GROUP_TAG] = group.run_id
            config = {**_QUIET, **run_config}
            job = _reconstructable(job_name)
            run = _create_run(instance, job, run_id, asset_keys, config, {**tags, **process_tags})
            lines = progress or reporting.say
            metadata: dict[str, dict[str, Any]] = {}
            failure = None
            lines(f"run {run_id} started")
            try:
                listening = reporting.progress_to(progress) if progress is not None else contextlib.nullcontext()
                with listening, contextlib.redirect_stderr(without_full_log_lines(sys.stderr)):
                    for event in execute_run_iterator(job, run, instance):
                        _follow(event, metadata, lines)
                        failure = failure or _failure_of(event)
            except Exception as exc:  # Dagster could not write what became of the run: a step may know why
                refused = disk_error(take_error(run_id) or exc, *places) or disk_error(exc, *places)
                if refused is not None:
                    raise refused from exc
                raise
            finished = instance.get_run_by_id(run_id)
        assert finished is not None
        seconds = round(time.monotonic() - started, 2)
        error = take_error(run_id)
        if finished.is_success:
            lines(f"run {run_id} done in {seconds:.1f} s")
            return RunResult(run_id, True, None, seconds, metadata)
        if _interrupted(finished, failure):
            raise KeyboardInterrupt(f"run {run_id} was interrupted")
        raise _error_of(finished, error, failure)


def _create_run(
    instance: DagsterInstance,
    job: ReconstructableJob,
    run_id: str,
    asset_keys: frozenset[Any] | None,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> DagsterRun:
    python_origin, remote_origin = code_origin(job.job_name)
    definition = job.get_definition()
    return instance.create_run_for_job(
        definition,
        run_id=run_id,
        run_config=run_config,
        tags={**definition.run_tags, **tags},
        asset_selection=asset_keys,
        remote_job_origin=remote_origin,
        job_code_origin=python_origin,
        repository_load_data=job.repository.get_definition().repository_load_data,
    )


def _follow(event: DagsterEvent, metadata: dict[str, dict[str, Any]], lines: Progress) -> None:
    if event.is_step_start:
        lines(f"{event.step_key} ...")
    elif event.is_step_success:
        lines(f"{event.step_key} done in {event.step_success_data.duration_ms / 1000:.1f} s")
    elif event.is_step_materialization:
        made = event.step_materialization_data.materialization
        name = made.asset_key.to_user_string() + (f"[{made.partition}]" if made.partition else "")
        metadata[name] = {key: value.value for key, value in made.metadata.items()}
    elif event.is_asset_observation:
        seen = event.asset_observation_data.asset_observation
        name = f"observed {seen.asset_key.to_user_string()}" + (f"[{seen.partition}]" if seen.partition else "")
        metadata[name] = {key: value.value for key, value in seen.metadata.items()}


def _failure_of(event: DagsterEvent) -> SerializableErrorInfo | None:
    if event.is_step_failure:
        return event.step_failure_data.error
    return event.job_failure_data.error if event.is_run_failure else None


def _root(failure: SerializableErrorInfo) -> SerializableErrorInfo:
    while failure.cause is not None:
        failure = failure.cause
    return failure


def _interrupted(run: DagsterRun, failure: SerializableErrorInfo | None) -> bool:
    """Whether a Ctrl-C (or SIGTERM) ended it, which Dagster turns into a failure like any other."""
    if failure is None or run.status.value.startswith("CANCEL"):
        return False
    return _root(failure).cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


def _error_of(run: DagsterRun, error: Exception | None, failure: SerializableErrorInfo | None) -> GhtraderError:
    """The error itself where it was ours or known in this process, else what Dagster kept of it."""
    if isinstance(error, GhtraderError):
        return error
    text = "" if failure is None else _root(failure).message
    refused = error_of_text(text, *usual_places()) if error is None else disk_error(error, *usual_places())
    if refused is not None:
        return refused
    hint = f"`ghtrader jobs logs {run.run_id[:8]}` shows what happened"
    if error is not None:
        failed = FailedError(f"{type(error).__name__}: {error}", hint)
        failed.__cause__ = error
        return failed
    if failure is not None and not run.status.value.startswith("CANCEL"):
        return FailedError(_root(failure).message.strip(), hint)
    return FailedError(f"run {run.run_id} ended as {run.status.value.lower()}", hint)


def stderr_progress() -> Progress:
    """Lines to the terminal's own stderr, wherever Dagster sends a step's output meanwhile."""
    from ghtrader_assets.resources.progress import throttled

    stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)

    def line(text: str) -> None:
        with contextlib.suppress(UnwritableError), disk_errors():  # what says how work goes ends no work
            stream.write(f"{datetime.now():%H:%M:%S} {text}\n")

    return throttled(line)
