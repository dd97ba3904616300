"""Figures people would rather look at than read: arrays in, PNG bytes out.

Every figure names its units; nothing here reads files or knows where a figure ends up.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _SOFT, _GRID = "#1c2430", "#5b6675", "#e4e9ef"
_COLOURS = ("#2a6f97", "#c8553d", "#5a3fa0", "#12724b", "#b08900")
_UP, _DOWN = "#12724b", "#c8553d"
_MAX_POINTS = 4000


def _figure(width: float = 6.4, height: float = 3.4) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=_SOFT, labelsize=8)
    return figure, axes


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10, color=_INK, loc="left")
    axes.set_xlabel(x, fontsize=8, color=_SOFT)
    axes.set_ylabel(y, fontsize=8, color=_SOFT)


def _thin(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, _MAX_POINTS)).astype(np.int64)) if n else np.empty(0, np.int64)


def reliability_diagram(bins: Mapping[str, Sequence[Mapping[str, float]]], title: str = "Reliability") -> bytes:
    """Predicted probability against how often it came true.

    Parameters
    ----------
    bins : mapping
        Model name -> bins, each with `confidence` (mean predicted probability), `accuracy` (share that came true) and
        `count`; empty bins are left out.
    """
    figure, axes = _figure(5.2, 3.8)
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle="--", label="perfect")
    for (name, rows), colour in zip(bins.items(), _COLOURS, strict=False):
        rows = [row for row in rows if row["count"] > 0]
        total = sum(row["count"] for row in rows) or 1
        sizes = [12 + 160 * row["count"] / total for row in rows]
        x, y = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
        axes.plot(x, y, color=colour, linewidth=1.2, label=name)
        axes.scatter(x, y, s=sizes, color=colour, alpha=0.6, linewidth=0)
    _label(axes, title, "predicted probability of the predicted class", "share that came true")
    axes.set_xlim(0.2, 1.0)
    axes.set_ylim(0.0, 1.02)
    axes.legend(fontsize=8, frameon=False)
    return _png(figure)


def factor_importance(importance: Mapping[str, float], title: str = "Factor importance", top: int = 15) -> bytes:
    """The `top` factors by importance (any positive measure; shown as shares of the sum over all)."""
    total = sum(importance.values()) or 1.0
    ranked = sorted(importance.items(), key=lambda item: -item[1])[:top][::-1]
    figure, axes = _figure(6.0, 0.9 + 0.22 * max(len(ranked), 3))
    axes.barh(
        [name for name, _ in ranked], [100 * value / total for _, value in ranked], color=_COLOURS[0], height=0.65
    )
    _label(axes, title, "share of importance, %", "")
    axes.grid(False, axis="y")
    return _png(figure)


def gain_per_split(
    gains: Mapping[str, Sequence[float]], splits: Sequence[str], title: str = "Log-loss gain over the training prior"
) -> bytes:
    """Gain of each model on each test split, nats a tick; above zero is better than the prior."""
    figure, axes = _figure()
    width = 0.8 / max(len(gains), 1)
    for index, (name, values) in enumerate(gains.items()):
        x = np.arange(len(values)) + (index - (len(gains) - 1) / 2) * width
        axes.bar(x, values, width=width * 0.92, label=name, color=_COLOURS[index % len(_COLOURS)])
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_xticks(np.arange(len(splits)), [str(name) for name in splits], rotation=30, ha="right")
    _label(axes, title, "test split", "nats")
    axes.legend(fontsize=8, frameon=False)
    return _png(figure)


def pnl_curve(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str = "PnL after fees", x_label: str = "tick"
) -> bytes:
    """Cumulative PnL, CNY: name -> (x[n], pnl[n])."""
    figure, axes = _figure()
    for (name, (x, y)), colour in zip(curves.items(), _COLOURS, strict=False):
        keep = _thin(len(x))
        axes.plot(np.asarray(x)[keep], np.asarray(y)[keep], color=colour, linewidth=1.2, label=name)
    axes.axhline(0, color=_SOFT, linewidth=0.8)
    _label(axes, title, x_label, "CNY")
    axes.legend(fontsize=8, frameon=False)
    return _png(figure)


def latency_histogram(latency_ms: np.ndarray, title: str = "Tick to target", budget_ms: float = 10.0) -> bytes:
    """Distribution of latencies float64[n] in ms on a logarithmic axis, with p50, p99 and the budget marked."""
    figure, axes = _figure()
    values = np.asarray(latency_ms, np.float64)
    values = values[np.isfinite(values) & (values > 0)]
    if values.size:
        low, high = min(values.min(), budget_ms / 10), max(values.max(), budget_ms * 1.2)
        axes.hist(values, bins=np.geomspace(low, high, 60), color=_COLOURS[0])
        axes.set_xscale("log")
        for quantile, style in ((50, ":"), (99, "--")):
            at = float(np.percentile(values, quantile))
            axes.axvline(at, color=_INK, linestyle=style, linewidth=1, label=f"p{quantile} {at:.2f} ms")
        axes.axvline(budget_ms, color=_DOWN, linewidth=1, label=f"budget {budget_ms:g} ms")
        axes.legend(fontsize=8, frameon=False)
    _label(axes, f"{title} ({values.size} ticks)", "ms", "ticks")
    return _png(figure)


def price_with_trades(
    datetime_ns: np.ndarray, mid: np.ndarray, fills: Sequence[Mapping[str, Any]], title: str = "Mid with fills"
) -> bytes:
    """Mid price over market time with every fill.

    Parameters
    ----------
    datetime_ns : int64[n]
        UTC epoch ns; shown in Asia/Shanghai, closed hours left out.
    mid : float64[n]
    fills : sequence of mappings
        Each with `datetime_ns`, `price` and `side` (BUY or SELL, or the sign).
    """
    figure, axes = _figure(10.0, 3.6)
    times = np.asarray(datetime_ns, np.int64)
    keep = _thin(len(times))
    axes.plot(keep, np.asarray(mid)[keep], color=_SOFT, linewidth=0.8)
    for marker, colour, name, wanted in (("^", _UP, "buy", True), ("v", _DOWN, "sell", False)):
        chosen = [fill for fill in fills if (str(fill["side"]).upper() in ("BUY", "1")) == wanted]
        if chosen:
            x = np.searchsorted(times, [int(fill["datetime_ns"]) for fill in chosen])
            label = f"{name} ({len(chosen)})"
            axes.scatter(
                x, [fill["price"] for fill in chosen], marker=marker, s=26, color=colour, label=label, zorder=3
            )
    if len(times):
        marks = np.linspace(0, len(times) - 1, 8).astype(np.int64)
        local = (times[marks] // 1_000_000_000 + 8 * 3600).astype("datetime64[s]")
        axes.set_xticks(marks, [str(moment)[11:16] for moment in local])
    _label(axes, title, "Asia/Shanghai, closed hours left out", "CNY")
    if fills:
        axes.legend(fontsize=8, frameon=False)
    return _png(figure)
