"""Says how much a demo does: which families at which horizons, and how many ticks a day there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ghtrader_models.families.table import FAMILIES

JUDGED = 50
"""The horizon that is judged, gated and traded; the others are reported."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is done.

    Attributes
    ----------
    horizons : tuple of int
        Ticks ahead of the walk-forward tests, ascending; `JUDGED` among them, at which alone there are models to trade.
    families : mapping of str to mapping
        Those compared -> what they have otherwise than their small preset.
    snapshot_seconds : float
        Between two snapshots of the simulated market.
    """

    horizons: tuple[int, ...]
    families: Mapping[str, Mapping[str, int]]
    snapshot_seconds: float

    def by_horizons(self) -> list[tuple[list[str], tuple[int, ...]]]:
        """Families whose tests have the same horizons, and these.

        Networks have the judged one alone: a fit of theirs takes longer than one of all the others together.
        """
        networks = [family for family in self.families if FAMILIES[family].windows]
        rows = [family for family in self.families if family not in networks]
        return [(rows, self.horizons), (networks, (JUDGED,))]


FULL = Effort(
    horizons=(10, JUDGED, 200),
    families={
        "logistic": {},
        "xgboost": {},
        "lightgbm": {},
        "tcn": {"max_windows": 2000, "max_epochs": 3, "batch_size": 64},
    },
    snapshot_seconds=3.0,
)
QUICK = Effort(
    horizons=(JUDGED,),
    families={
        "logistic": {},
        "xgboost": {},
        "lightgbm": {},
        "tcn": {"max_windows": 1000, "max_epochs": 3, "batch_size": 64},
    },
    snapshot_seconds=10.0,
)
"""For a look, not a verdict."""
