"""Keeps a sweep's trials in a database: claims one at a time, closes those of processes that died, counts each once.

What belongs here: Optuna. The study is a sqlite file in the home, or lies in a database that several machines reach;
its name is a hash of everything that decides a score, so that the same sweep goes on where it stopped and any other one
begins anew. A trial that is claimed names its process: one that was killed is closed at the next start, its score never
counts, and its place is given to another one.
"""

from __future__ import annotations

import os
import socket
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.address_passwords import HIDDEN, hide_secrets
from ghtrader_base.errors import ConfigError, UnreachableError
from ghtrader_base.files import content_hash, ensure_dir
from ghtrader_base.processes import start_ticks
from ghtrader_models.evaluation.model_cost import RowLatency
from ghtrader_models.sweep.space import Choice, FloatRange, Parameter, Space
from ghtrader_models.sweep.trials import TrialEnd, TrialRow

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_SQLITE_WAIT_S = 120.0
_PROCESS, _ERROR, _GAINS, _TIME = "process", "error", "gains", "row_time"
_RANDOM_FIRST, _COMPLETE_FIRST, _SPLITS_FIRST = 8, 4, 1
"""Trials drawn at random before the sampler learns; whole trials, and splits of each, before one is ended early."""


def study_name(symbol: str, horizon: int, family: str, *parts: Any) -> str:
    """The name of a study: readable, and a hash of all that decides a score."""
    return f"{symbol}-h{horizon}-{family}-{content_hash([symbol, horizon, family, *parts])[:12]}"


def sqlite_url(path: Path) -> str:
    """Where the study of a home lies, as Optuna takes it."""
    ensure_dir(path.parent)
    return f"sqlite:///{path}"


def without_password(url: str) -> str:
    """An address of a database as it may be shown."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        password = make_url(url).password  # as SQLAlchemy reads it, which takes a slash for a part of it
        return hide_secrets(url).replace(str(password or HIDDEN), HIDDEN)
    except ArgumentError:
        return "(no address of a database)"


class TrialStore:
    """One study.

    Parameters
    ----------
    url : str
        Of the database, as SQLAlchemy takes it; a password in it is never shown.
    name : str
        See `study_name`.

    Raises
    ------
    ConfigError
        The address is none, or its driver is not installed.
    UnreachableError
        The database does not answer.
    """

    def __init__(self, url: str, name: str, *, seed: int = 0) -> None:
        import optuna
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.name, self._seed, self._local = name, seed, url.startswith("sqlite")
        shown = without_password(url)
        connect = {"timeout": _SQLITE_WAIT_S} if self._local else {}
        try:
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": connect})
            self.study: Study = optuna.create_study(
                study_name=name,
                storage=storage,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_COMPLETE_FIRST, n_warmup_steps=_SPLITS_FIRST),
            )
        except (ImportError, ArgumentError) as exc:
            raise ConfigError(
                f"GHTRADER_SWEEP_DATABASE={shown} names no database that can be used here",
                "for example postgresql+psycopg://user:password@host/name",
            ) from (None if isinstance(exc, ArgumentError) else exc)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as exc:
            reason = type(exc.__cause__ or exc).__name__  # its words may hold the address
            raise UnreachableError(
                f"the database {shown} does not answer: {reason}", "start it, or name another"
            ) from None

    def rows(self) -> list[TrialRow]:
        """Every trial by number."""
        return [_row(trial) for trial in self.study.get_trials(deepcopy=False)]

    def close_lost(self) -> int:
        """Close trials whose process on this machine is gone; how many those were. Nobody claims one meanwhile."""
        from optuna.trial import TrialState

        closed = 0
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _is_gone(trial.user_attrs.get(_PROCESS), unnamed=self._local):
                self.study.tell(trial.number, state=TrialState.FAIL)
                closed += 1
        return closed

    def claim(self, space: Space, trials: int, worker: int) -> Trial | None:
        """Begin a trial, its values drawn; None where as many as are wanted were begun. One caller at a time.

        The values follow from the seed, the trials before it and the worker, so that one worker repeats a sweep, and a
        sweep that was stopped goes on with other values than it began with.
        """
        import optuna

        begun = [row for row in self.rows() if row.end is not TrialEnd.LOST]
        if len(begun) >= trials:
            return None
        draw = int(content_hash([self._seed, len(self.study.get_trials(deepcopy=False)), worker])[:8], 16)
        self.study.sampler = optuna.samplers.TPESampler(seed=draw, n_startup_trials=_RANDOM_FIRST)
        trial = self.study.ask({name: _distribution(parameter) for name, parameter in space.search.items()})
        trial.set_user_attr(_PROCESS, [socket.gethostname(), os.getpid(), start_ticks(os.getpid())])
        return trial

    def take_row_time(self, trial: Trial, found: RowLatency, limit_us: float | None) -> bool:
        """Keep how long a row takes, a constraint of the sampler; whether that is within the limit."""
        trial.set_user_attr(_TIME, asdict(found))
        if limit_us is None:
            return True
        trial.set_constraint("row_time_us", found.p50_us - limit_us)
        return found.p50_us <= limit_us

    def take_gain(self, trial: Trial, gains: list[float]) -> bool:
        """Keep the gains so far; whether the trial should go on."""
        trial.set_user_attr(_GAINS, gains)
        trial.report(sum(gains) / len(gains), len(gains) - 1)
        return not trial.should_prune()

    def finish(self, trial: Trial, objective: float | None) -> None:
        """The trial is whole; or, without an objective, ended early."""
        from optuna.trial import TrialState

        if objective is None:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, objective)

    def fail(self, trial: Trial, reason: str) -> None:
        """The trial's configuration could not be scored; without a reason the trial is lost, as if its process died."""
        from optuna.trial import TrialState

        if reason:
            trial.set_user_attr(_ERROR, reason)
        self.study.tell(trial, state=TrialState.FAIL)

    def importance(self) -> dict[str, float]:
        """Share of each searched setting in the differences of the objective; empty where too few trials are whole."""
        from optuna.importance import get_param_importances

        whole = [row for row in self.rows() if row.end is TrialEnd.COMPLETE]
        if len(whole) < _COMPLETE_FIRST:
            return {}
        try:
            return {name: float(share) for name, share in get_param_importances(self.study).items()}
        except (RuntimeError, ValueError):  # all trials alike: nothing to explain
            return {}


def _is_gone(process: Any, *, unnamed: bool) -> bool:
    """Whether a trial's process is known to have ended; `unnamed`: what is taken where it was not written down yet."""
    if not isinstance(process, list) or len(process) != 3:
        return unnamed
    host, pid, start = process
    return bool(host == socket.gethostname() and start_ticks(pid) != start)


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    if isinstance(parameter, FloatRange):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    high = parameter.high - (parameter.high - parameter.low) % parameter.step
    return IntDistribution(parameter.low, high, log=parameter.log, step=parameter.step)


def _row(trial: FrozenTrial) -> TrialRow:
    from optuna.trial import TrialState

    kept = trial.user_attrs
    gains = tuple(float(gain) for gain in kept.get(_GAINS, ()))
    ends = {
        TrialState.COMPLETE: TrialEnd.COMPLETE,
        TrialState.PRUNED: TrialEnd.PRUNED,
        TrialState.FAIL: TrialEnd.FAILED,
    }
    end = ends.get(trial.state, TrialEnd.RUNNING)
    if end is TrialEnd.FAILED and not kept.get(_ERROR):  # what fails by itself says why
        end = TrialEnd.LOST
    return TrialRow(
        number=trial.number,
        end=end,
        settings=dict(trial.params),
        objective=trial.value if trial.state == TrialState.COMPLETE else None,
        mean=float(np.mean(gains)) if gains else None,
        deviation=float(np.std(gains, ddof=1)) if len(gains) > 1 else None,
        gains=gains,
        row_time=RowLatency(**kept[_TIME]) if _TIME in kept else None,
        feasible=all(value <= 0 for value in trial.constraints.values()),
        seconds=round(trial.duration.total_seconds(), 3) if trial.duration else None,
        error=str(kept.get(_ERROR, "")),
    )
