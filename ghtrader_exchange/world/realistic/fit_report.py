"""Shows a fit beside the day it was made from: rows of a table, and one picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_exchange.world.realistic.market_fit import MarketFit
from ghtrader_exchange.world.realistic.statistics import (
    BINS,
    DEPTHS,
    LAGS,
    SPREADS,
    MarketStatistics,
    SnapshotDay,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOLERANCE = 1.0 / 3.0
"""A played figure further from the recorded one than this part of it is marked."""
_COLOURS = {"recorded": "#1f4e79", "played": "#c55a11"}


@dataclass(frozen=True)
class ComparedFigure:
    """One figure of the recorded day beside the same figure of played ones."""

    name: str
    recorded: float
    played: float

    def to_dict(self) -> dict[str, str]:
        """A row for people: the difference in per cent, and a mark where it is too large."""
        return {
            "statistic": self.name.replace("_", " "),
            "recorded": f"{self.recorded:.4g}",
            "played": f"{self.played:.4g}",
            "difference": f"{self.played / self.recorded - 1.0:+.0%}" if self.recorded else "",
            "": "" if within_tolerance(self.recorded, self.played) else "beyond a third",
        }


def compared_figures(fit: MarketFit) -> list[ComparedFigure]:
    """Every figure of a fit, recorded and played, in the order a person reads them."""
    pairs = zip(fit.recorded.lines().items(), fit.played.lines().values(), strict=True)
    return [ComparedFigure(name, recorded, played) for (name, recorded), played in pairs]


def within_tolerance(wanted: float, got: float) -> bool:
    """Whether a played figure lies within `TOLERANCE` of the recorded one."""
    return abs(got - wanted) <= TOLERANCE * abs(wanted) + 1e-9


def plot_comparison(fit: MarketFit, recorded: SnapshotDay, played: SnapshotDay) -> bytes:
    """A PNG: the mid of both days above, statistics of the recorded day beside those of the played ones below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, 3)
    figure.suptitle(f"{fit.source} on {fit.day}, recorded, and days played with its fit (simulated)")
    for axis, name, day in ((grid[0, 0], "recorded", recorded), (grid[0, 1], "played", played)):
        axis.plot((day.bid + day.ask - day.bid[0] - day.ask[0]) / 2.0, color=_COLOURS[name], linewidth=0.6)
        axis.set(title=f"mid, {name}", xlabel="snapshot", ylabel="ticks from the opening")
    _sizes(grid[0, 2], recorded, played)
    found = {"recorded": fit.recorded, "played": fit.played}
    _lines(
        grid[1, 0],
        found,
        "move_autocorrelation",
        [str(lag) for lag in LAGS],
        "autocorrelation of the size of moves",
        "lag",
    )
    _lines(
        grid[1, 1], found, "volume_autocorrelation", [str(lag) for lag in LAGS], "autocorrelation of the volume", "lag"
    )
    spreads = [*(str(k + 1) for k in range(SPREADS - 1)), f"{SPREADS}+"]
    _bars(grid[1, 2], found, "spread", spreads, "share of spreads", "ticks")
    _bars(grid[2, 0], found, "depth", [str(lots) for lots in DEPTHS], "first levels with at most", "lots")
    parts = [str(k + 1) for k in range(BINS)]
    _lines(grid[2, 1], found, "move_season", parts, "size of moves over its mean", f"{BINS} parts of the day")
    _lines(grid[2, 2], found, "volume_season", parts, "volume over its mean", f"{BINS} parts of the day")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _sizes(axis: Axes, recorded: SnapshotDay, played: SnapshotDay) -> None:
    for name, day in (("recorded", recorded), ("played", played)):
        size = np.sort(np.abs(day.moves))[::-1]
        axis.plot(size, (np.arange(size.size) + 1.0) / size.size, color=_COLOURS[name], label=name)
    axis.set(title="moves at least so large", xlabel="half ticks", ylabel="share", yscale="log")
    axis.legend(frameon=False)


def _lines(axis: Axes, found: dict[str, MarketStatistics], name: str, marks: list[str], title: str, label: str) -> None:
    for which, statistics in found.items():
        axis.plot(marks, getattr(statistics, name), marker="o", color=_COLOURS[which], label=which)
    axis.set(title=title, xlabel=label, ylim=(0, None))
    axis.legend(frameon=False)


def _bars(axis: Axes, found: dict[str, MarketStatistics], name: str, marks: list[str], title: str, label: str) -> None:
    at = np.arange(len(marks))
    for shift, (which, statistics) in zip((-0.2, 0.2), found.items(), strict=True):
        axis.bar(at + shift, getattr(statistics, name), 0.4, color=_COLOURS[which], label=which)
    axis.set(title=title, xlabel=label)
    axis.set_xticks(at, marks)
    axis.legend(frameon=False)
