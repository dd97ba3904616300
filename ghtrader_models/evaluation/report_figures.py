"""Draws what a walk-forward report shows: gain per split, reliability, importance of factors, PnL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghtrader_models.evaluation.metrics import reliability
from ghtrader_models.evaluation.plots import factor_importance, gain_per_split, pnl_curve, reliability_diagram

if TYPE_CHECKING:
    from ghtrader_models.evaluation.benchmark import BenchmarkReport


def report_figures(report: BenchmarkReport) -> dict[str, bytes]:
    """File name -> PNG; the PnL where the policy was simulated."""
    from ghtrader_models.evaluation.benchmark import predicted_probabilities

    title = f"{report.family}, {report.symbol}, horizon {report.horizon}"
    names = [split.name for split in report.splits]
    y = report.predictions.column("y").to_numpy()
    figures = {
        "gain_per_split.png": gain_per_split({report.family: report.model.gain.per_split}, names, title=title),
        "reliability.png": reliability_diagram(
            {report.family: reliability(predicted_probabilities(report.predictions), y)}
        ),
        "importance.png": factor_importance(report.importance),
    }
    if report.simulation is not None:
        figures["pnl.png"] = pnl_curve(*report.pnl, title=title)
    return figures
