"""Takes the locks of a home for pipeline work.

It waits as long as the settings say, reports the wait among the run's progress, and tells whether a stuck holder
belongs to this home.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from ghtrader_assets.instance.run_registry import executors
from ghtrader_assets.resources.progress import say_or_stderr
from ghtrader_base.locks import Holder, resource_lock
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings


def is_ours(settings: Settings, holder: Holder) -> bool:
    """Whether the process that holds a lock is registered in this home, or executes a run of its instance.

    Compared by pid and start time: a pid alone may belong to another program by now.
    """
    known = [(process.pid, process.start) for process in list_processes(settings)]
    known += [(executor.pid, executor.start) for executor in executors(settings)]
    if (holder.pid, holder.start) in known:
        return True
    return bool(holder.run_id) and _runs_here(settings, holder.run_id)


def _runs_here(settings: Settings, run_id: str) -> bool:
    """Whether a run of this instance, started by its daemon or web UI, is in progress under that id."""
    from ghtrader_assets.instance.instance import open_instance

    with open_instance(settings) as instance:
        run = instance.get_run_by_id(run_id)
        return run is not None and not run.is_finished


def home_lock(
    settings: Settings, names: str | Iterable[str], purpose: str, run_id: str = ""
) -> contextlib.AbstractContextManager[Any]:
    """`resource_lock` on this home: waits GHTRADER_LOCK_WAIT_TIMEOUT_S, says for whom in the run's log and to whoever
    else listens (else stderr), and ends a stuck holder of ours where GHTRADER_LOCK_FORCE_CANCEL_ON_TIMEOUT says so.
    """
    forced = settings.lock_force_cancel_on_timeout
    return resource_lock(
        settings.locks,
        names,
        purpose,
        settings.lock_wait_timeout_s,
        run_id=run_id,
        tell=say_or_stderr,
        ours=(lambda holder: is_ours(settings, holder)) if forced else None,
    )
