"""Draws the figures of reports: arrays in, PNG or SVG bytes out. Nothing is computed beyond the drawing."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.evaluation.metrics import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

_BLUE, _RED, _GREEN, _GREY = "#2b6cb0", "#c53030", "#2f855a", "#718096"
_NS_PER_S = 1_000_000_000
_SHANGHAI_S = 8 * 3600
_MOST_POINTS = 4000
_HALF, _WIDE = (7.0, 3.6), (11.0, 3.6)  # inches: a figure beside another, one that has the page's width


def draw(paint: Callable[[Axes], None], title: str, kind: str, size: tuple[float, float] = _HALF) -> bytes:
    """One set of axes on the Agg canvas; the same input gives the same bytes."""
    if kind not in ("png", "svg"):
        raise UsageError(f"no figure format {kind!r}", "known: png, svg")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[RcKeyType, Any]
    style = {"svg.hashsalt": "ghtrader", "font.size": 9.0, "axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.3}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        paint(axes)
        axes.set_title(title)
        buffer = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=110, metadata=metadata)
    return buffer.getvalue()


def _thin(n: int) -> slice:
    return slice(None, None, max(1, n // _MOST_POINTS))


def _clock(axes: Axes, datetime_ns: np.ndarray, marks: int = 7) -> np.ndarray:
    """x for each time: rows, so that nights and breaks take no room; labelled with Shanghai times."""
    x = np.arange(datetime_ns.size)
    if datetime_ns.size:
        at = np.unique(np.linspace(0, datetime_ns.size - 1, marks).astype(int))
        stamps = (datetime_ns[at] // _NS_PER_S + _SHANGHAI_S).astype("datetime64[s]")
        axes.set_xticks(at, [str(stamp)[5:16].replace("T", "\n") for stamp in stamps])
    return x


def reliability_diagram(found: Mapping[str, Reliability], *, kind: str = "png") -> bytes:
    """Accuracy against confidence for each model, beside the diagonal of perfect calibration."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1, label="perfect")
        for (name, bins), colour in zip(found.items(), itertools.cycle((_BLUE, _RED, _GREEN, _GREY)), strict=False):
            weight = bins.count / max(bins.count.max(initial=1), 1)
            axes.plot(bins.confidence, bins.accuracy, color=colour, linewidth=1.2, label=name)
            axes.scatter(bins.confidence, bins.accuracy, s=10 + 60 * weight, color=colour)
        axes.set(xlabel="probability of the class named", ylabel="how often it came true", xlim=(0.2, 1), ylim=(0, 1))
        axes.legend(frameon=False)

    return draw(paint, "Reliability", kind, (7.0, 5.4))


def factor_importance(importance: Mapping[str, float], *, top: int = 20, kind: str = "png") -> bytes:
    """Bars of the `top` factors by share."""
    ranked = sorted(importance.items(), key=lambda item: (-item[1], item[0]))[:top][::-1]

    def paint(axes: Axes) -> None:
        axes.barh([name for name, _ in ranked], [share for _, share in ranked], color=_BLUE)
        axes.set_xlabel("share of importance")

    return draw(paint, "Factor importance", kind, (7.0, 1.0 + 0.22 * max(1, len(ranked))))


def gain_per_split(
    gains: Mapping[str, Sequence[float]], names: Sequence[str], *, title: str = "", kind: str = "png"
) -> bytes:
    """Log-loss gain over the prior of each test, one group of bars a model."""

    def paint(axes: Axes) -> None:
        x = np.arange(len(names))
        width = 0.8 / max(1, len(gains))
        colours = (_BLUE, _RED, _GREEN, _GREY)
        for index, (label, values) in enumerate(gains.items()):
            place = x - 0.4 + width * (index + 0.5)
            axes.bar(place, list(values), width, label=label, color=colours[index % len(colours)])
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(x, list(names), rotation=30, ha="right")
        axes.set_ylabel("nats")
        axes.legend(frameon=False)

    return draw(paint, title or "Log-loss gain over the prior, per test", kind)


def pnl_curve(datetime_ns: np.ndarray, equity: np.ndarray, *, title: str = "", kind: str = "png") -> bytes:
    """Net PnL in CNY along the ticks; int64[n], float64[n]."""
    part = _thin(datetime_ns.size)

    def paint(axes: Axes) -> None:
        axes.plot(_clock(axes, datetime_ns[part]), equity[part], color=_BLUE, linewidth=1.2)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_ylabel("CNY")

    return draw(paint, title or "Net PnL", kind)


def loss_against_latency(
    models: Mapping[str, tuple[float, float, bool]],
    baselines: Mapping[str, float],
    *,
    title: str = "",
    kind: str = "png",
) -> bytes:
    """Each model once, those that no other beats in both joined by a line.

    Parameters
    ----------
    models : mapping of str to (float, float, bool)
        Name -> p99 latency of a row in microseconds, log-loss in nats, whether it is on the front.
    baselines : mapping of str to float
        Name -> log-loss in nats, drawn as a line across.
    """

    def paint(axes: Axes) -> None:
        front = sorted((latency, loss) for latency, loss, best in models.values() if best)
        if front:
            axes.step(*zip(*front, strict=True), where="post", color=_GREEN, linewidth=1.0, label="Pareto front")
        for name, (latency, loss, best) in models.items():
            axes.scatter([latency], [loss], s=34, color=_GREEN if best else _GREY, zorder=3)
            axes.annotate(name, (latency, loss), xytext=(5, 4), textcoords="offset points", fontsize=8)
        for (name, loss), style in zip(baselines.items(), ("--", ":", "-."), strict=False):
            axes.axhline(loss, color=_RED, linewidth=1.0, linestyle=style, label=name)
        if models:
            times = [latency for latency, _, _ in models.values()]
            _time_scale(axes, min(times), max(times))
        axes.set(xlabel="p99 of one row, microseconds", ylabel="log-loss, nats")
        axes.margins(x=0.15, y=0.15)
        axes.legend(frameon=False)

    return draw(paint, title or "Loss against latency", kind, (7.0, 4.4))


def _time_scale(axes: Axes, low: float, high: float) -> None:
    """Logarithmic from a decade on; a logarithmic axis within one may have no number on it at all."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if high < 10 * low:
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def latency_histogram(milliseconds: np.ndarray, *, kind: str = "png") -> bytes:
    """Tick to target, logarithmic bins, an axis as `_time_scale` has it, median and p99 marked; float64[n]."""
    known = milliseconds[np.isfinite(milliseconds) & (milliseconds > 0)]

    def paint(axes: Axes) -> None:
        if known.size:
            low, high = float(known.min()) * 0.9, float(known.max()) * 1.1
            axes.hist(known, bins=np.geomspace(low, high, 50).tolist(), color=_BLUE)
            _time_scale(axes, low, high)
            for share, colour in ((50, _GREEN), (99, _RED)):
                value = float(np.percentile(known, share))
                axes.axvline(value, color=colour, linewidth=1.2, label=f"p{share} {value:.2f} ms")
            axes.legend(frameon=False)
        axes.set(xlabel="ms", ylabel="ticks")

    return draw(paint, f"Tick to target, {known.size:,} ticks", kind)


def price_with_trades(
    datetime_ns: np.ndarray,
    mid: np.ndarray,
    trade_ns: np.ndarray,
    trade_price: np.ndarray,
    trade_side: np.ndarray,
    *,
    title: str = "",
    kind: str = "png",
) -> bytes:
    """Mid along the ticks and our trades on it.

    Parameters
    ----------
    datetime_ns, mid : int64[n], float64[n]
        The path, CNY.
    trade_ns, trade_price, trade_side : int64[k], float64[k], int[k]
        Our fills; side +1 bought, -1 sold.
    """
    part = _thin(datetime_ns.size)
    place = np.searchsorted(datetime_ns[part], trade_ns).clip(0, max(0, datetime_ns[part].size - 1))

    def paint(axes: Axes) -> None:
        axes.plot(_clock(axes, datetime_ns[part], 11), mid[part], color=_GREY, linewidth=0.9, label="mid")
        for side, marker, colour, label in ((1, "^", _GREEN, "bought"), (-1, "v", _RED, "sold")):
            ours = trade_side == side
            if ours.any():
                axes.scatter(place[ours], trade_price[ours], marker=marker, color=colour, s=24, label=label, zorder=3)
        axes.set_ylabel("CNY")
        axes.legend(frameon=False)

    return draw(paint, title or "Price and trades", kind, _WIDE)
