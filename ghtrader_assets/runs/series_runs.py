"""Trains and benchmarks one family on a series, be it a variety's main series or one contract.

What belongs here: which of the two kinds of run a series needs. The runs themselves are in `flows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from ghtrader_assets.runs import flows
from ghtrader_assets.runs.execute import RunResult
from ghtrader_base.settings import Settings
from ghtrader_market.reference.varieties import get_variety


@dataclass(frozen=True, kw_only=True)
class SeriesRuns:
    """The runs of one series at one horizon.

    Attributes
    ----------
    settings : Settings
    variety : str
    contract : str
        One contract instead of the variety's main series; empty for that.
    horizon : int
    start, end : date or None
        Trading days; None for all that are built.
    """

    settings: Settings
    variety: str
    contract: str = ""
    horizon: int
    start: date | None = None
    end: date | None = None

    @property
    def symbol(self) -> str:
        """The series."""
        return self.contract or get_variety(self.variety).continuous_symbol

    def train(self, family: str, *, changes: flows.Changes, **how: Any) -> list[RunResult]:
        """A bundle of one family; `how` as `flows.train_family` and `flows.train_contract` have it alike."""
        days = (self.horizon, self.start, self.end)
        if self.contract:
            return [flows.train_contract(self.settings, family, self.contract, *days, changes=changes, **how)]
        return flows.train_family(self.settings, family, self.variety, *days, changes=changes, **how)

    def benchmark(self, family: str, *, changes: flows.Changes, **how: Any) -> list[RunResult]:
        """A walk-forward report of one family; `how` as `flows.benchmark_families` and `_contract` have it alike."""
        days = (self.horizon, self.start, self.end)
        of, all_changes = [family], {family: changes}
        if self.contract:
            return [flows.benchmark_contract(self.settings, of, self.contract, *days, changes=all_changes, **how)]
        return flows.benchmark_families(self.settings, of, self.variety, *days, changes=all_changes, **how)
