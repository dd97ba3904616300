"""Draws the page of a factor evaluation: figures and a table, one file without anything from outside.

What belongs here: drawing and layout. Every number comes from the report and the scores.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_models.evaluation.html_page import render_page
from ghtrader_models.evaluation.plots import draw
from ghtrader_models.research.clusters import cluster_factors
from ghtrader_models.research.factor_report import FactorReport
from ghtrader_models.research.scores import FactorScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _GREY, _RED = "#2b6cb0", "#a0aec0", "#c53030"
_SHOWN, _CURVES = 25, 8
_TALL, _HALF, _SQUARE = (11.0, 5.4), (7.0, 4.4), (7.0, 6.4)
BELIEVED = 0.05


def render(report: FactorReport, scores: FactorScores) -> str:
    """The page as HTML."""
    judged = str(report.judged_horizon)
    believed = [row.name for row in report.factors if (row.horizons[judged].p_adjusted or 1.0) < BELIEVED]
    figures = [(title, caption, base64.b64encode(png).decode()) for title, caption, png in _figures(report, scores)]
    return render_page(
        Path(__file__).with_name("page.html.j2"), report=report, judged=judged, believed=believed, figures=figures,
        level=BELIEVED, show=_shown,
    )  # fmt: skip


def _shown(value: float | None, how: str) -> str:
    return "\N{EN DASH}" if value is None else how % value


def _figures(report: FactorReport, scores: FactorScores) -> list[tuple[str, str, bytes]]:
    judged = report.judged_horizon
    column, order = scores.horizons.index(judged), scores.ranked(judged)
    top = order[:_SHOWN]
    leads = [scores.names.index(group.representative) for group in report.clusters][:_CURVES]
    drawn = [
        (
            f"Strongest factors at horizon {judged}",
            "Mean information coefficient over days with its 95 % interval. Blue: more than chance shows anywhere in "
            "this many tests; grey: not.",
            _TALL,
            lambda axes: _strongest(axes, scores, top, column),
        ),
        (
            "Day by day",
            "Information coefficient of each day; a factor that holds has one colour along its line.",
            _SQUARE,
            (lambda axes: _days(axes, scores, top, column)) if len(scores.days) > 1 else None,
        ),
        (
            "Groups of factors",
            f"|rank correlation|, alike ones side by side; {len(report.clusters)} groups at {report.same_from}.",
            _SQUARE,
            lambda axes: _correlation(axes, scores),
        ),
        (
            "Decay over the horizon",
            "Mean information coefficient of the strongest factor of each of the first groups.",
            _HALF,
            lambda axes: _decay(axes, scores, leads),
        ),
        (
            "By session",
            "Mean information coefficient within each session, in the order of the trading day (the night first).",
            _HALF,
            (lambda axes: _sessions(axes, scores, leads, column)) if scores.session_ic.shape[0] > 1 else None,
        ),
        (
            "Turnover against strength",
            "Each factor once. To the left it stands still, to the right it jumps from tick to tick.",
            _HALF,
            lambda axes: _turnover(axes, scores, column),
        ),
    ]
    return [(title, said, draw(paint, "", "png", size)) for title, said, size, paint in drawn if paint is not None]


def _strongest(axes: Axes, scores: FactorScores, top: np.ndarray, column: int) -> None:
    values = scores.ic[top, column]
    spread = np.abs(np.stack([values - scores.low[top, column], scores.high[top, column] - values]))
    sure = np.nan_to_num(scores.p_adjusted[top, column], nan=1.0) < BELIEVED
    axes.bar(
        np.arange(top.size), values, color=np.where(sure, _BLUE, _GREY), yerr=np.nan_to_num(spread),
        error_kw={"linewidth": 0.9, "ecolor": "#2d3748"},
    )  # fmt: skip
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xticks(np.arange(top.size), [scores.names[i] for i in top], rotation=60, ha="right", fontsize=8)
    axes.set_ylabel("IC")


def _decay(axes: Axes, scores: FactorScores, leads: list[int]) -> None:
    for index in leads:
        axes.plot(scores.decay_horizons, scores.decay[index], marker="o", markersize=3, label=scores.names[index])
    axes.set_xscale("log")
    axes.set_xticks(scores.decay_horizons, [str(h) for h in scores.decay_horizons])
    axes.minorticks_off()
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("ticks ahead")
    axes.set_ylabel("IC")
    axes.legend(fontsize=7)


def _turnover(axes: Axes, scores: FactorScores, column: int) -> None:
    sure = np.nan_to_num(scores.p_adjusted[:, column], nan=1.0) < BELIEVED
    strength = np.abs(scores.ic[:, column])
    for mask, colour, label in ((~sure, _GREY, "as chance"), (sure, _BLUE, "believed")):
        if mask.any():
            axes.scatter(scores.turnover[mask], strength[mask], s=14, color=colour, label=label)
    axes.set_xlabel("turnover: mean change of rank a tick")
    axes.set_ylabel("|IC|")
    axes.legend(fontsize=8)


def _days(axes: Axes, scores: FactorScores, top: np.ndarray, column: int) -> None:
    values = scores.day_ic[:, top, column].T
    bound = float(np.nanmax(np.abs(values), initial=1e-6))
    image = axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-bound, vmax=bound)
    axes.set_yticks(np.arange(top.size), [scores.names[i] for i in top], fontsize=7)
    marks = np.unique(np.linspace(0, len(scores.days) - 1, 8).astype(int))
    axes.set_xticks(marks, [scores.days[i][5:] for i in marks], fontsize=8)
    axes.grid(False)
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label="IC")


def _sessions(axes: Axes, scores: FactorScores, leads: list[int], column: int) -> None:
    sessions = scores.session_ic.shape[0]
    width = 0.8 / sessions
    for session in range(sessions):
        places = np.arange(len(leads)) + session * width
        axes.bar(places, scores.session_ic[session, leads, column], width, label=f"session {session + 1}")
    axes.set_xticks(
        np.arange(len(leads)) + 0.4 - width / 2, [scores.names[i] for i in leads], rotation=40, ha="right", fontsize=7
    )
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_ylabel("IC")
    axes.legend(fontsize=7)


def _correlation(axes: Axes, scores: FactorScores) -> None:
    _, order = cluster_factors(scores.correlation)
    image = axes.imshow(np.abs(np.nan_to_num(scores.correlation))[np.ix_(order, order)], cmap="Blues", vmin=0, vmax=1)
    if order.size <= 50:
        axes.set_yticks(np.arange(order.size), [scores.names[i] for i in order], fontsize=6)
    else:
        axes.set_yticks([])
    axes.set_xticks([])
    axes.grid(False)
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label="|correlation|")
