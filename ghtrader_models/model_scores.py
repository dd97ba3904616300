"""Holds what a walk-forward benchmark scored: means over its tests, and the log-loss gain with its interval.

What belongs here: the numbers as structs, which reports, the gate and champions' pointers share. How they are computed
is in `evaluation.metrics` and `evaluation.benchmark`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ghtrader_base.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class MeanScore:
    """One score over the tests of a benchmark.

    Attributes
    ----------
    mean, std : float
        Over the tests.
    per_split : list of float
        One a test, in their order.
    """

    mean: float
    std: float
    per_split: list[float]


@dataclass(frozen=True, kw_only=True)
class GainInterval:
    """The log-loss gain over the training prior, nats.

    Attributes
    ----------
    mean : float
        Over the tests.
    low, high : float or None
        Bounds of the 95 % interval of the mean; None where one test or none was scored.
    n : int
        Tests.
    per_split : list of float
        One a test, in their order.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    per_split: list[float]


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """Scores of a model or a baseline; None where one does not apply.

    Attributes
    ----------
    logloss : MeanScore or None
        Nats; None where there are no probabilities, as are `ece` and `logloss_gain`.
    macro_f1, weighted_f1, accuracy : MeanScore or None
        Shares, 0 to 1.
    ece : MeanScore or None
        Expected calibration error.
    logloss_gain : GainInterval or None
        Over the training prior.
    """

    logloss: MeanScore | None
    macro_f1: MeanScore | None
    weighted_f1: MeanScore | None
    accuracy: MeanScore | None
    ece: MeanScore | None
    logloss_gain: GainInterval | None

    @property
    def gain(self) -> GainInterval:
        """The log-loss gain; `UsageError` where these are not the scores of probabilities."""
        if self.logloss_gain is None:
            raise UsageError("these scores have no log-loss gain", "judge a model that gives probabilities")
        return self.logloss_gain

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)
