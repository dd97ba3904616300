"""Says what a build of features and labels is asked for: the defaults of the command line and of Dagster's form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What is built; the fields of `assets.datasets.BuildConfig`.

    Attributes
    ----------
    factor_set : str
        A set of the library, or a file of one.
    labels : str
        Label definition by name.
    threshold : float or None
        Its price ticks; None for the definition's own.
    horizons : tuple of int
        Ticks ahead; empty for those of GHTRADER_HORIZONS.
    overwrite : bool
        Replace days that were built with another configuration; without it they are refused.
    workers : int
        Days at once, 0 for one a core.
    accept_quality : bool
        Also days whose ticks are not ready.
    allow_unfinished : bool
        Also days that were not recorded to their end, where that is all that keeps them from being ready.
    strict : bool
        A day without provenance fails; where off, it is left out.
    no_odd_days : bool
        Days that do not go with the others (another depth, no label at all) fail the run once all are built.
    mix : bool
        Days of different markets may stand in one series.
    """

    factor_set: str = "lean"
    labels: str = "mid_move"
    threshold: float | None = None
    horizons: tuple[int, ...] = ()
    overwrite: bool = False
    workers: int = 0
    accept_quality: bool = False
    allow_unfinished: bool = False
    strict: bool = True
    no_odd_days: bool = False
    mix: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Form for a run's configuration."""
        return {**asdict(self), "horizons": list(self.horizons)}
