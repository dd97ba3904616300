"""Holds what a sweep's trials came to, as structs.

What belongs here: what a report is read with, hence neither Optuna nor compiled code nor a training library.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ghtrader_models.evaluation.model_cost import RowLatency
from ghtrader_models.sweep.space import Setting


class TrialEnd(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    """Every split was scored."""
    PRUNED = "pruned"
    """Ended early: worse than most others on the same splits, or too slow."""
    FAILED = "failed"
    """Its configuration cannot be trained."""
    LOST = "lost"
    """Its process died; it counts for nothing."""
    RUNNING = "running"


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial.

    Attributes
    ----------
    number : int
        From 0 in the order of claims.
    end : TrialEnd
    settings : dict
        Values of what is searched.
    objective : float or None
        Mean gain less standard errors; None where not every split was scored.
    mean, deviation : float or None
        Of the log-loss gain over the splits that were scored, nats.
    gains : tuple of float
        One a split.
    row_time : RowLatency or None
    feasible : bool
        Whether a row is fast enough.
    seconds : float or None
        Wall time.
    error : str
        Why it failed.
    """

    number: int
    end: TrialEnd
    settings: dict[str, Setting]
    objective: float | None = None
    mean: float | None = None
    deviation: float | None = None
    gains: tuple[float, ...] = ()
    row_time: RowLatency | None = None
    feasible: bool = True
    seconds: float | None = None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def best_first(rows: list[TrialRow]) -> list[TrialRow]:
    """Whole trials that are fast enough, the best objective first, of equals the earlier one."""
    whole = [row for row in rows if row.end is TrialEnd.COMPLETE and row.feasible and row.objective is not None]
    return sorted(whole, key=lambda row: (-(row.objective or 0.0), row.number))


def tried(rows: list[TrialRow]) -> int:
    """How many configurations were looked at on the data: what a best one's score must be deflated for."""
    return sum(bool(row.gains) and row.end in (TrialEnd.COMPLETE, TrialEnd.PRUNED) for row in rows)
