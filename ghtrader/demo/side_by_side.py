"""Finds the families of a part of the demo side by side: what `ghtrader compare` kept, and the oracle's scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader.demo.report import PipelineFacts
from ghtrader_base.settings import Settings
from ghtrader_market.reference.varieties import get_variety

if TYPE_CHECKING:
    from ghtrader_models.evaluation.comparison import Comparison


def comparison_file(settings: Settings, variety: str, horizon: int) -> str:
    """Where the comparison of a variety lies, under the home."""
    from ghtrader_assets.results.comparison_store import comparison_path

    path = comparison_path(settings, get_variety(variety).continuous_symbol, horizon)
    return str(path.relative_to(settings.home))


def families_side_by_side(home: Path, facts: PipelineFacts, horizon: int) -> Comparison:
    """The comparison of a part; the oracle stands among its baselines.

    Raises
    ------
    IntegrityError
        The file is none.
    """
    from ghtrader_assets.results.comparison_store import read_comparison
    from ghtrader_models.evaluation.comparison import ComparedBaseline, bounds_of

    found = read_comparison(home / facts.comparison)
    oracle = facts.models.get("oracle")
    if oracle is None:
        return found
    scores = oracle[str(horizon)]
    known = ComparedBaseline(name="oracle", scores=scores, logloss=bounds_of(scores.logloss))
    return replace(found, baselines=[*found.baselines, known])
