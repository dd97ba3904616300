"""Says how a fit is carried out: where it may be resumed from, on how many processes, and who is told how it goes.

What belongs here: what has no place in a family's configuration, because it does not decide what is learned. It is set
around a fit (`training_session`) and read where networks are trained; families that train in seconds ignore it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path

from ghtrader_base.errors import FailedError, GhtraderError, UsageError

Tell = Callable[[str], object]
ENCODERS = "encoders"
"""Under ``<home>/cache``: pretrained encoders, which fits share; they are made again where they are gone."""
_EXHAUSTED = ("can't allocate memory", "out of memory", "bad_alloc", "not enough memory")
"""How torch (of the machine's memory and of a GPU's), XGBoost and LightGBM say that there is no more."""


def is_exhausted(error: Exception) -> bool:
    """Whether an error is a library's word that there is no more memory."""
    return isinstance(error, MemoryError) or any(said in str(error).lower() for said in _EXHAUSTED)


def _nobody(line: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True)
class TrainingSession:
    """How a fit is carried out.

    Attributes
    ----------
    folder : Path or None
        Where checkpoints go, to resume from; a temporary one where None.
    devices : int
        Processes that train together (DDP), one a GPU where there are any; 1 trains in this process.
    tell : callable
        Takes one line of progress: a `CountedLine` while an epoch goes on.
    store : Path or None
        In one of several processes: the file by which they find each other.
    scored_only : bool
        Whether the models are asked in this process and never kept: what only other programs need is left out.
    encoders : Path or None
        Where pretrained encoders are kept for other fits; nowhere where None.
    encoder : Path or None
        In one of several processes: the pretrained encoder to begin with.
    """

    folder: Path | None = None
    devices: int = 1
    tell: Tell = field(default=_nobody)
    store: Path | None = None
    scored_only: bool = False
    encoders: Path | None = None
    encoder: Path | None = None

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise UsageError(f"{self.devices} devices train nothing", "ask for 1 at least")


_session: ContextVar[TrainingSession | None] = ContextVar("training_session", default=None)


def current_session() -> TrainingSession:
    """The session in force; one process that nobody listens to where there is none."""
    return _session.get() or TrainingSession()


@contextlib.contextmanager
def training_session(session: TrainingSession) -> Iterator[None]:
    """Fits inside the block are carried out like this."""
    token = _session.set(session)
    try:
        yield
    finally:
        _session.reset(token)


def fits_that_are_only_scored() -> contextlib.AbstractContextManager[None]:
    """Fits inside the block are carried out as before, and their models are never kept."""
    return training_session(replace(current_session(), scored_only=True))


@contextlib.contextmanager
def memory_exhausted(what: str, hint: str) -> Iterator[None]:
    """Turn a library's word that there is no more memory into a `FailedError` with what to do."""
    try:
        yield
    except GhtraderError:
        raise
    except Exception as exc:
        if is_exhausted(exc):
            raise FailedError(f"there is not enough memory for {what}: {str(exc).splitlines()[0]}", hint) from exc
        raise
