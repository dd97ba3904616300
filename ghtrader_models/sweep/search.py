"""Searches: scores configurations one after the other, in this process or in several, until as many were tried.

What belongs here: the task, the loop over trials, and the worker processes (`worker` is their main). What a trial is
and how it is kept is `study`'s business; what one configuration scores, `score`'s.

Each worker takes one core: families train with one thread. Where a family of windows finds GPUs there is one worker a
GPU, which sees no other one (not tried on a machine with several).
"""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ghtrader_base.child_processes import python_module
from ghtrader_base.errors import FailedError, GhtraderError, UnwritableError, error_from_name
from ghtrader_base.lock_keys import sweep_claim_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.settings import Settings
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.load import Dataset, load_dataset
from ghtrader_models.datasets.other_series import with_varieties
from ghtrader_models.evaluation.model_cost import RowLatency, row_latency
from ghtrader_models.evaluation.splits import SplitOptions, SplitPlan, make_splits
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.families.training_session import ENCODERS, TrainingSession, training_session
from ghtrader_models.families.window_config import WindowConfig, split_varieties
from ghtrader_models.inference.predictors import Predictor
from ghtrader_models.sweep.score import score_configuration
from ghtrader_models.sweep.space import Space
from ghtrader_models.sweep.study import TrialStore, sqlite_url
from ghtrader_models.sweep.trials import TrialEnd, TrialRow

if TYPE_CHECKING:
    from optuna import Trial

_CLAIM_WAIT_S = 600.0
_POLL_S = 0.3
_COPIES = 3
_ENDED = (TrialEnd.COMPLETE, TrialEnd.PRUNED, TrialEnd.FAILED)
Measure = Callable[[Predictor, np.ndarray], RowLatency]


@dataclass(frozen=True, kw_only=True)
class SweepTask:
    """What every worker of a sweep is told.

    Attributes
    ----------
    home : str
    symbol, family : str
    horizon : int
    days : tuple of date
        Built ones.
    space : Space
    study : str
        Its name, see `study.study_name`.
    trials : int
        How many are wanted, with those that the study has already.
    seed : int
        Of the sampler and of each fit.
    caution : float
        Standard errors that are taken off the mean gain.
    row_limit_us : float or None
        Median time of a row at the most, microseconds.
    splits : SplitOptions
    mix : bool
        Take days of different markets together.
    """

    home: str
    symbol: str
    family: str
    horizon: int
    days: tuple[date, ...]
    space: Space
    study: str
    trials: int
    seed: int = 0
    caution: float = 1.0
    row_limit_us: float | None = None
    splits: SplitOptions = field(default_factory=SplitOptions)
    mix: bool = False


def load_task_data(settings: Settings, task: SweepTask) -> tuple[Dataset, SplitPlan]:
    """The rows of a task and their splits; errors as `load_dataset` and `make_splits`."""
    dataset = load_dataset(
        Lake(settings.data), task.symbol, task.days, task.horizon,
        entry="benchmark", mix=task.mix, calendar=load_calendar(settings),
    )  # fmt: skip
    others = split_varieties(str(task.space.fixed.get("pretrain_varieties", "")))
    dataset = with_varieties(
        dataset, Lake(settings.data), others, entry="benchmark", mix=task.mix, calendar=load_calendar(settings)
    )
    return dataset, make_splits(dataset, task.splits)


def study_path(settings: Settings, symbol: str, horizon: int, study: str) -> Path:
    """Where the study of a home lies; its report has the same name and another ending."""
    return settings.runs / "sweep" / symbol / f"h{horizon}" / f"{study}.db"


def open_store(settings: Settings, task: SweepTask) -> TrialStore:
    """The study of a task: in the database of the settings, else in the home."""
    url = settings.sweep_database.get_secret_value()
    url = url or sqlite_url(study_path(settings, task.symbol, task.horizon, task.study))
    return TrialStore(url, task.study, seed=task.seed)


def search(
    settings: Settings,
    task: SweepTask,
    data: tuple[Dataset, SplitPlan] | None,
    *,
    workers: int = 1,
    each: Callable[[list[TrialRow]], object] = lambda _: None,
    measure: Measure = row_latency,
) -> list[TrialRow]:
    """Score configurations until the study has as many as are wanted.

    Parameters
    ----------
    settings : Settings
    task : SweepTask
    data : (Dataset, SplitPlan) or None
        See `load_task_data`; this process does the work then. None: workers do it, which load it for themselves.
    workers : int
        How many of them.
    each : callable
        Told of all trials whenever one has ended.
    measure : callable
        How a row's time is found, by a single worker.

    Raises
    ------
    GhtraderError
        The database, the disk, or a worker's first error where the trials wanted could not be finished.
    """
    store = open_store(settings, task)
    lost = 1
    while lost:  # again where a worker of a sweep that was killed has ended since the first look
        with _claiming(settings, task):
            store.close_lost()
        if data is not None:
            work(settings, task, data, store, each=lambda: each(store.rows()), measure=measure)
        else:
            _work_in_children(settings, task, store, workers, each)
        with _claiming(settings, task):
            lost = store.close_lost()
    return store.rows()


def work(
    settings: Settings,
    task: SweepTask,
    data: tuple[Dataset, SplitPlan],
    store: TrialStore,
    *,
    worker: int = 0,
    each: Callable[[], object] = lambda: None,
    measure: Measure = row_latency,
) -> None:
    """Claim and score one trial after the other until none is left to begin."""
    while True:
        with _claiming(settings, task):
            trial = store.claim(task.space, task.trials, worker)
        if trial is None:
            return
        try:
            _score(task, data, store, trial, measure, settings.cache / ENCODERS)
        except UnwritableError:  # the next one would be refused as well
            raise
        except GhtraderError as exc:
            store.fail(trial, exc.message)
        except BaseException:
            store.fail(trial, "")
            raise
        each()


def _score(
    task: SweepTask,
    data: tuple[Dataset, SplitPlan],
    store: TrialStore,
    trial: Trial,
    measure: Measure,
    encoders: Path,
) -> None:
    """Score a trial; trials that pretrain the same encoder share it in a folder."""
    gains: list[float] = []

    def go_on(_split: int, gain: float) -> bool:
        gains.append(gain)
        return store.take_gain(trial, gains)

    config = make_config(get_family(task.family), task.space.settings(trial.params))
    with training_session(TrainingSession(encoders=encoders)):
        found = score_configuration(
            *data,
            task.family,
            config,
            seed=task.seed,
            measure=measure,
            go_on=go_on,
            fast_enough=lambda timed: store.take_row_time(trial, timed, task.row_limit_us),
        )
    objective = found.objective(task.caution)
    if not math.isfinite(objective):
        raise FailedError(f"its gain is no number: {found.gains}")
    store.finish(trial, objective if found.whole else None)


def _claiming(settings: Settings, task: SweepTask) -> AbstractContextManager[Any]:
    return resource_lock(
        settings.locks, sweep_claim_key(task.study), "claim a trial", _CLAIM_WAIT_S, tell=lambda _: None
    )


def usual_workers(family: str, trials: int, row_bytes: int) -> int:
    """One a GPU for a family of windows where there are any, else one a core; no more than trials, nor than fit.

    Parameters
    ----------
    family : str
    trials : int
    row_bytes : int
        Of the factors of all rows, of which each worker has its own, and a fit some copies.
    """
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    room = int(psutil.virtual_memory().available) // max(1, _COPIES * row_bytes)
    return max(1, min(_gpus(family) or cores, trials, room))


def _gpus(family: str) -> int:
    if not isinstance(get_family(family).config(), WindowConfig):
        return 0
    try:
        shown = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in shown.stdout.splitlines())


def _work_in_children(
    settings: Settings,
    task: SweepTask,
    store: TrialStore,
    workers: int,
    each: Callable[[list[TrialRow]], object],
) -> None:
    gpus = _gpus(task.family)
    children = [_start(task, number, gpus) for number in range(workers)]
    shown = -1
    try:
        while any(child.poll() is None for child in children):
            time.sleep(_POLL_S)
            rows = store.rows()
            if (ended := sum(row.end in _ENDED for row in rows)) != shown:
                shown = ended
                each(rows)
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
        said = [child.communicate()[0] for child in children]
    rows = store.rows()
    each(rows)
    ended = sum(row.end in _ENDED for row in rows)
    if ended < task.trials and any(child.returncode for child in children):
        raise _error_of(said, f"{ended} of {task.trials} trials")


def _start(task: SweepTask, number: int, gpus: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "GHTRADER_HOME": task.home, "OMP_NUM_THREADS": "1"}
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
    child = subprocess.Popen(
        python_module("ghtrader_models.sweep.worker", str(number), str(os.getpid())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(task).decode())
    child.stdin.close()
    child.stdin = None  # `communicate` would flush it
    return child


def _error_of(said: list[str], done: str) -> GhtraderError:
    """The first error that a worker told, else that one died without a word."""
    for text in said:
        try:
            name, message, hint = msgspec.json.decode(text, type=tuple[str, str, str])
        except msgspec.DecodeError:
            continue
        return error_from_name(name, message, hint)
    return FailedError(
        f"a worker ended without a word (killed for want of memory?); {done} are kept",
        "run the same command again to go on, with fewer --workers",
    )
