"""Opens the Dagster instance of a home, and says which code a run came from.

Opening is cheap; the first opening of a home creates the sqlite files under a lock, since two processes that
migrate a fresh database at once break each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_base.files import atomic_write_text, ensure_dir, read_bytes
from ghtrader_base.locks import resource_lock
from ghtrader_base.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.origin import JobPythonOrigin
    from dagster._core.remote_origin import RemoteJobOrigin

MODULE = "ghtrader_assets.definitions"
_REPOSITORY = "__repository__"
_INIT_WAIT_S = 120.0
_EARLIER_CONFIGS = frozenset({
    "a3d7ac930d4342aeffed41e84996e0318a775bd5fa017e667ab2e333cd2cebf7",
    "c630d234a998984cbaa6bb2224dd6f62c4e7fd5e7cb58b0ffc28debb1d4a238b",
})  # fmt: skip
"""sha256 of every `dagster.yaml` that an earlier version copied into a home."""


def instance_environment(settings: Settings) -> dict[str, str]:
    """The two variables that any shell, server or child needs to work on this home."""
    return {"GHTRADER_HOME": str(settings.home), "DAGSTER_HOME": str(settings.dagster)}


@contextlib.contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """The instance under `settings.dagster`, created where it is not there yet.

    Sets GHTRADER_HOME and DAGSTER_HOME in this process: the instance's own files and the assets' resources read
    them, in this process and in its children. What a step prints while this process runs it goes to its log file
    alone (`step_logs`).
    """
    # Dagster's beta and deprecation notes are about its own internals; a terminal user can do nothing about them.
    import warnings

    os.environ.update(instance_environment(settings))
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    from dagster import DagsterInstance
    from dagster._core.instance.ref import InstanceRef, compute_logs_directory

    home = str(settings.dagster)
    step_logs = {
        "module": "ghtrader_assets.runs.step_logs",
        "class": "StepLogs",
        "config": {"base_dir": compute_logs_directory(home)},
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"dagster\b")
        _initialise(settings)
        ref = InstanceRef.from_dir(home, overrides={"compute_logs": step_logs})
        with DagsterInstance.from_ref(ref) as instance:
            yield instance


def _write_config(config: Path) -> None:
    """Put the packaged configuration where there is none, or one of an earlier version that nobody edited."""
    if config.exists() and hashlib.sha256(read_bytes(config)).hexdigest() not in _EARLIER_CONFIGS:
        return
    atomic_write_text(config, resources.files("ghtrader_assets").joinpath("dagster.yaml").read_text())


def _initialise(settings: Settings) -> None:
    import dagster

    _write_config(ensure_dir(settings.dagster) / "dagster.yaml")
    marker = settings.dagster / f".initialised-{dagster.__version__}"
    if marker.exists():
        return
    with resource_lock(settings.locks, "dagster-init", "create the Dagster instance", wait_s=_INIT_WAIT_S):
        if marker.exists():
            return
        with dagster.DagsterInstance.from_config(str(settings.dagster)) as instance:
            instance.get_runs_count()
            instance.event_log_storage.get_maximum_record_id()
            if instance.schedule_storage is not None:
                instance.schedule_storage.all_instigator_state()
        atomic_write_text(marker, "")


def code_origin(job_name: str) -> tuple[JobPythonOrigin, RemoteJobOrigin]:
    """Where a job's code lives, for this process and for the code location that the web UI loads.

    A run that carries both can be executed again from the UI, though a terminal started it.
    """
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    repository = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=ModuleCodePointer(MODULE, "defs"),
        container_image=None,
        entry_point=DEFAULT_DAGSTER_ENTRY_POINT,
        container_context={},
    )
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE), location_name=MODULE
    )
    remote = RemoteJobOrigin(RemoteRepositoryOrigin(location, _REPOSITORY), job_name)
    return JobPythonOrigin(job_name=job_name, repository_origin=repository), remote
