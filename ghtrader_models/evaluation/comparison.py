"""Puts model families side by side: quality on the same tests, calibration, cost and trading outcome.

What belongs here: the comparison as structs, which of the models no other beats in both loss and latency, and
intervals that allow for how many were tried. How it is drawn is in `comparison_page`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.evaluation.metrics import t_interval
from ghtrader_models.evaluation.model_cost import ModelCost
from ghtrader_models.evaluation.report_types import SimulatedTrading
from ghtrader_models.model_scores import MeanScore, ModelScores

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """An interval; None where fewer than two tests give none."""

    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The numbers of a row of the table; None where one is not known.

    Attributes
    ----------
    logloss, gain, ece, accuracy, macro_f1 : float or None
        Means over the tests; log-loss and its gain over the prior in nats.
    gain_bounds : Bounds
        95 % interval of the gain.
    p50_us, p99_us : float or None
        Of one row, microseconds.
    model_bytes, parameters : int or None
    net_pnl, max_drawdown : float or None
        CNY.
    round_trips : int or None
    """

    logloss: float | None
    gain: float | None
    gain_bounds: Bounds
    ece: float | None
    accuracy: float | None
    macro_f1: float | None
    p50_us: float | None = None
    p99_us: float | None = None
    model_bytes: int | None = None
    parameters: int | None = None
    net_pnl: float | None = None
    max_drawdown: float | None = None
    round_trips: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reliabilities:
    """Bins of a reliability diagram as lists: confidence and accuracy of each bin, and its rows."""

    confidence: list[float]
    accuracy: list[float]
    count: list[int]


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One family in a comparison.

    Attributes
    ----------
    family : str
    config : dict
        What it was trained with.
    scores : ModelScores
        Over the tests.
    logloss : Bounds
        95 % interval of the mean log-loss, nats.
    gain_of_many : Bounds
        Interval of the gain over the prior that holds for all compared families at once (Bonferroni).
    fits : int
        Walk-forward fits.
    fit_seconds : float
        Wall time of them together.
    train_rows : int
        Rows that the last fit could learn from.
    trading : SimulatedTrading or None
        What the policy earned over the tests; None where it was not simulated.
    cost : ModelCost or None
        Of the bundle trained on all days; None where there is none.
    bundle_id : str
        Of that bundle; empty where there is none.
    on_front : bool
        No other family has both a lower loss and a lower p99 latency.
    """

    family: str
    config: dict[str, bool | int | float | str]
    scores: ModelScores
    logloss: Bounds
    gain_of_many: Bounds
    fits: int
    fit_seconds: float
    train_rows: int
    trading: SimulatedTrading | None
    cost: ModelCost | None
    bundle_id: str = ""
    on_front: bool = False

    @property
    def figures(self) -> Figures:
        """The numbers of its row."""
        found = _figures(self.scores)
        if (cost := self.cost) is not None:
            found = replace(
                found,
                p50_us=cost.latency.p50_us,
                p99_us=cost.latency.p99_us,
                model_bytes=cost.model_bytes,
                parameters=cost.parameters,
            )
        if (trading := self.trading) is not None:
            found = replace(
                found,
                net_pnl=trading.net_pnl,
                max_drawdown=trading.max_drawdown,
                round_trips=trading.round_trips,
            )
        return found


@dataclass(frozen=True, kw_only=True)
class ComparedBaseline:
    """A baseline in a comparison: its scores on the same tests, and the interval of its log-loss."""

    name: str
    scores: ModelScores
    logloss: Bounds

    @property
    def figures(self) -> Figures:
        """The numbers of its row."""
        return _figures(self.scores)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Families on the same tests.

    Attributes
    ----------
    symbol, horizon
        What was predicted.
    first, last : str
        First and last trading day.
    days, rows : int
        Of the data set.
    tests : list of str
        Names of the tests.
    splits : str
        What the tests are, in words.
    splits_hash, data_hash : str
        Equal for all that are compared.
    origin : str
        Where the ticks come from, in words.
    models : list of ComparedModel
        By log-loss, the best first.
    baselines : list of ComparedBaseline
        Prior, persistence and majority.
    failed : dict of str to str
        Family -> why it is not among them, or not whole.
    reliability : dict of str to Reliabilities
        Of each model.
    made_at, code_version : str
    notes : dict of str to list of str
        Family -> what to know of its row: settings that are not the preset's, other code that made it.
    """

    symbol: str
    horizon: int
    first: str
    last: str
    days: int
    rows: int
    tests: list[str]
    splits: str
    splits_hash: str
    data_hash: str
    origin: str
    models: list[ComparedModel]
    baselines: list[ComparedBaseline]
    failed: dict[str, str]
    reliability: dict[str, Reliabilities]
    made_at: str
    code_version: str
    notes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether some of the ticks were simulated."""
        return "simulated" in self.origin

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "simulated": self.simulated}


def _figures(scores: ModelScores) -> Figures:
    gain = scores.logloss_gain
    return Figures(
        logloss=None if scores.logloss is None else scores.logloss.mean,
        gain=None if gain is None else gain.mean,
        gain_bounds=Bounds(low=None, high=None) if gain is None else Bounds(low=gain.low, high=gain.high),
        ece=None if scores.ece is None else scores.ece.mean,
        accuracy=None if scores.accuracy is None else scores.accuracy.mean,
        macro_f1=None if scores.macro_f1 is None else scores.macro_f1.mean,
    )


def require_same_splits(hashes: Mapping[str, str]) -> None:
    """Refuse to compare what was scored on different splits.

    Parameters
    ----------
    hashes : mapping of str to str
        Family -> hash of its splits.

    Raises
    ------
    UsageError
        Naming the families of each hash.
    """
    if len(set(hashes.values())) > 1:
        named = [
            f"{', '.join(family for family, found in hashes.items() if found == each)} on {each[:12] or 'unknown'}"
            for each in sorted(set(hashes.values()))
        ]
        raise UsageError(f"not on the same splits: {'; '.join(named)}", "benchmark them on the same days and splits")


def bounds_of(score: MeanScore | None, level: float = LEVEL) -> Bounds:
    """Interval of a score's mean over its tests."""
    return Bounds(low=None, high=None) if score is None else bounds_of_values(score.per_split, level)


def bounds_of_values(values: Sequence[float], level: float = LEVEL) -> Bounds:
    """Interval of the mean of some values, one a test."""
    found = t_interval(values, level)
    low, high = (float(x) if np.isfinite(x) else None for x in (found.low, found.high))
    return Bounds(low=low, high=high)


def level_of_many(families: int) -> float:
    """Level of each interval that makes all of them hold together in 95 % of cases."""
    return 1 - (1 - LEVEL) / max(1, families)


def on_the_front(losses: Sequence[float], latencies: Sequence[float]) -> list[bool]:
    """Which points no other beats: none is as good in both and better in one.

    Parameters
    ----------
    losses, latencies : sequence of float
        Lower is better; NaN is never on the front.
    """
    points = list(zip(losses, latencies, strict=True))
    known = [point for point in points if np.isfinite(point).all()]
    return [
        point in known and not any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in known)
        for point in points
    ]


def ranked(models: Sequence[ComparedModel]) -> list[ComparedModel]:
    """By mean log-loss, the best first, with those marked that are on the front of loss and p99 latency."""
    figures = [model.figures for model in models]
    losses = [np.nan if found.logloss is None else found.logloss for found in figures]
    latencies = [np.nan if found.p99_us is None else found.p99_us for found in figures]
    fronts = on_the_front(losses, latencies)
    marked = [replace(model, on_front=front) for model, front in zip(models, fronts, strict=True)]
    order = np.argsort(np.nan_to_num(losses, nan=np.inf), kind="stable")
    return [marked[place] for place in order]
