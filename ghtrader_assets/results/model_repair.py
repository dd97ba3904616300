"""Makes bundles and MLflow's registry of a home agree again: what `ghtrader models repair` does."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ghtrader_base.errors import GhtraderError, UsageError
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.registry.consistency import Disagreement, disagreements, mend
from ghtrader_models.registry.logged_model import example_rows
from ghtrader_models.registry.mlflow_tracking import Tracker, has_own_database

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings


@dataclass(frozen=True)
class Repair:
    """A difference and what became of it.

    Attributes
    ----------
    found : Disagreement
    mended : str
        "yes", "no" where nothing was asked for, or why not.
    """

    found: Disagreement
    mended: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"where": self.found.where, **self.found.to_dict(), "mended": self.mended}


def repair_models(settings: Settings, *, apply: bool) -> list[Repair]:
    """Every difference between bundles and registry; mended one by one where asked for, one fault stopping no other.

    Raises
    ------
    UsageError
        The registry is elsewhere, and other homes may share it.
    IntegrityError
        MLflow's database cannot be read.
    """
    if not has_own_database(settings):
        raise UsageError(
            "MLFLOW_TRACKING_URI names a registry elsewhere, which other homes may share",
            "unset it to look at the home's own",
        )
    if not apply:
        return [Repair(found, "no") for found in disagreements(settings)]
    tracker, example = Tracker(settings), functools.partial(example_rows, Lake(settings.data))
    done: dict[Disagreement, Repair] = {}
    while left := [found for found in disagreements(settings) if found not in done]:
        found = left[0]  # the others are looked at again: one that is mended may have been the cause of the next
        try:
            mend(settings, found, tracker, example)
            done[found] = Repair(found, "yes")
        except GhtraderError as exc:
            done[found] = Repair(found, exc.message)
    for found in disagreements(settings):
        if done[found].mended == "yes":
            done[found] = Repair(found, "it differs still")
    return list(done.values())
