"""Draws the page of a comparison: loss against latency, calibration, gain by test, and a table.

What belongs here: drawing and layout. Every number comes from the comparison.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_models.evaluation.comparison import Bounds, Comparison
from ghtrader_models.evaluation.html_page import render_page
from ghtrader_models.evaluation.metrics import Reliability
from ghtrader_models.evaluation.plots import gain_per_split, loss_against_latency, reliability_diagram


def front_figure(comparison: Comparison, kind: str = "png") -> bytes:
    """Loss against latency of the models whose latency was measured, with the Pareto front and the baselines."""
    points = {
        model.family: (found.p99_us, found.logloss, model.on_front)
        for model in comparison.models
        if (found := model.figures).p99_us is not None and found.logloss is not None
    }
    lines = {
        baseline.name: found.logloss
        for baseline in comparison.baselines
        if (found := baseline.figures).logloss is not None
    }
    data = ", simulated data" if comparison.simulated else ""
    return loss_against_latency(
        points, lines, title=f"{comparison.symbol}, horizon {comparison.horizon}{data}", kind=kind
    )


def render(comparison: Comparison) -> str:
    """The page as HTML."""
    gains = {model.family: model.scores.gain.per_split for model in comparison.models}
    bins = {
        family: Reliability(np.array(found.confidence), np.array(found.accuracy), np.array(found.count))
        for family, found in comparison.reliability.items()
    }
    figures = [
        (
            "Loss against latency",
            "Each family once, further down and to the left is better. The line joins those that no other beats in "
            "both; the baselines have no latency.",
            front_figure(comparison),
        ),
        (
            "Gain over the prior by test",
            "Nats; a family that knows something is above zero in nearly every test.",
            gain_per_split(gains, comparison.tests, title="Log-loss gain"),
        ),
        ("Calibration", "On the diagonal a probability means what it says.", reliability_diagram(bins)),
    ]
    return _rendered(
        "comparison.html.j2",
        comparison,
        figures=[(title, said, base64.b64encode(png).decode()) for title, said, png in figures],
    )


def render_table(comparison: Comparison) -> str:
    """The table of quality and cost as a piece of HTML, for a page that says more than the comparison."""
    return _rendered("comparison_table.html.j2", comparison)


def _rendered(template: str, comparison: Comparison, **values: Any) -> str:
    beyond = [m.family for m in comparison.models if m.gain_of_many.low is not None and m.gain_of_many.low > 0]
    path = Path(__file__).with_name(template)
    return render_page(path, found=comparison, beyond=beyond, show=shown, interval=interval, **values)


def shown(value: float | None, how: str) -> str:
    """A number, or a dash where there is none."""
    return "\N{EN DASH}" if value is None else how % value


def interval(bounds: Bounds, how: str = "%.4f") -> str:
    """Both bounds, or a dash."""
    if bounds.low is None or bounds.high is None:
        return "\N{EN DASH}"
    return f"{how % bounds.low} to {how % bounds.high}"
