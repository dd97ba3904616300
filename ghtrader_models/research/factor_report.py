"""Holds the report of a factor evaluation: report.json as structs, written and read back.

What belongs here: what the report says of each factor and group. How it is found out is in `evaluate`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import read_json
from ghtrader_models.bundles.left_out_days import LeftOutDay


@dataclass(frozen=True, kw_only=True)
class HorizonScores:
    """What a factor is worth at one horizon; None where there is no number.

    Attributes
    ----------
    ic, low, high : float or None
        Mean information coefficient over days and its 95 % interval.
    p_value, p_adjusted : float or None
        Against chance, alone and among all tests.
    chance_std : float or None
        Spread of the coefficient by chance.
    over_chance : float or None
        |ic| in units of it; None where nothing was shuffled.
    day_agreement : float or None
        Share of days whose coefficient has the sign of the mean.
    by_day, by_session : list of float or None
        Coefficient of each day, and within each session.
    """

    ic: float | None
    low: float | None
    high: float | None
    p_value: float | None = None
    p_adjusted: float | None = None
    chance_std: float | None = None
    over_chance: float | None = None
    day_agreement: float | None = None
    by_day: list[float | None]
    by_session: list[float | None] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FactorFinding:
    """What was found out about one factor.

    Attributes
    ----------
    rank : int
        By |IC| over chance at the judged horizon, from 1.
    name : str
        Of the factor.
    horizons : dict of str to HorizonScores
        By horizon, as text.
    decay : list of float or None
        Coefficient at each of the report's decay horizons.
    coverage : float or None
        Share of rows with a value.
    turnover, memory, persistence : float or None
        Mean change of the rank a tick; correlation of ranks with one middle horizon earlier; with one tick earlier.
    cluster : int
        Group of factors that say the same.
    represents : bool
        Whether it is the strongest of its group.
    bias : dict of str to float or None
        How far persistence alone may bend the coefficient, by horizon.
    slow : bool
        Whether that is much at the judged horizon.
    """

    rank: int
    name: str
    horizons: dict[str, HorizonScores]
    decay: list[float | None] = field(default_factory=list)
    coverage: float | None = None
    turnover: float | None = None
    memory: float | None = None
    persistence: float | None = None
    cluster: int = 0
    represents: bool = False
    bias: dict[str, float | None] = field(default_factory=dict)
    slow: bool = False


@dataclass(frozen=True, kw_only=True)
class FactorGroup:
    """Factors that say the same: their number, the strongest of them, and all, the strongest first."""

    cluster: int
    representative: str
    members: list[str]


@dataclass(frozen=True, kw_only=True)
class FactorReport:
    """What a factor evaluation found.

    Attributes
    ----------
    symbol : str
        Series, or one contract.
    factor_set, spec_hash : str
        Name and hash of the set.
    days : list of str
        Trading days, ISO.
    left_out : list of LeftOutDay
        Days of the range that took no part, and why.
    horizons : list of int
        Ticks ahead.
    judged_horizon : int
        The one that factors are ranked by.
    decay_horizons : list of int
        Of `FactorFinding.decay`.
    ic, p_value_method : str
        How coefficients and p-values were made, as sentences.
    same_from, slow_from : float
        Thresholds of groups and of slow factors.
    slow : str
        What slow means, as a sentence.
    factors : list of FactorFinding
        The strongest first.
    clusters : list of FactorGroup
        The strongest first.
    code_version, made_at : str
        Version of ghtrader, and when, ISO 8601 with offset.
    seed : int or None
        Of the shuffles; None where it was not kept.
    """

    symbol: str
    factor_set: str
    spec_hash: str
    days: list[str]
    left_out: list[LeftOutDay] = field(default_factory=list)
    horizons: list[int]
    judged_horizon: int
    decay_horizons: list[int]
    ic: str
    p_value_method: str
    same_from: float
    slow_from: float = 0.0
    slow: str = ""
    factors: list[FactorFinding]
    clusters: list[FactorGroup]
    code_version: str = ""
    made_at: str = ""
    seed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; a seed that was not kept is left out."""
        found = {**asdict(self), "left_out": [each.to_dict() for each in self.left_out]}
        if self.seed is None:
            del found["seed"]
        return found


def read_factor_report(path: Path) -> FactorReport:
    """A report from its file, also of a version that knew less; `IntegrityError` where it is none."""
    try:
        return msgspec.convert(read_json(path), FactorReport)
    except msgspec.ValidationError as exc:
        raise IntegrityError(
            f"the factor report {path} does not read: {exc}", "make it again: ghtrader factors evaluate"
        ) from exc
