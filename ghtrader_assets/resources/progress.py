"""Reports what an asset does and has done: progress lines, metadata, small plots.

Every run's own event log listens while its body works (`runs.errors.guarded`), a terminal beside it.

Plots are PNGs inside Markdown, so that they show in the Dagster UI without a file server.
"""

from __future__ import annotations

import base64
import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_market.ingest.report import ProgressLine

if TYPE_CHECKING:
    from dagster import MarkdownMetadataValue

    from ghtrader_market.stores.lake.manifests import DayManifest

class StepLine(str):
    """A line that also says how far a command is: `done` of `wanted` steps."""

    done: int
    wanted: int

    def __new__(cls, done: int, wanted: int, words: str) -> StepLine:
        """Word the line."""
        line = super().__new__(cls, f"{done}/{wanted} {words}")
        line.done, line.wanted = done, wanted
        return line


_sinks: list[Callable[[str], object]] = []
_MAX_POINTS = 2000


@contextlib.contextmanager
def progress_to(sink: Callable[[str], object]) -> Iterator[None]:
    """Send what is said in this process to `sink` too while the block runs."""
    _sinks.append(sink)
    try:
        yield
    finally:
        _sinks.remove(sink)


def say(line: str) -> bool:
    """One progress line, to whoever listens in this process; whether anybody did."""
    listening = tuple(_sinks)
    for sink in listening:
        sink(line)
    return bool(listening)


def say_or_stderr(line: str) -> None:
    """One line about what is waited for: to whoever listens, else to stderr."""
    if not say(line):
        sys.stderr.write(line + "\n")


def throttled(sink: Callable[[str], object], seconds: float = 2.0) -> Callable[[str], None]:
    """`sink`, with lines of an ingest's progress at most once in so many seconds; every other line passes."""
    last = [time.monotonic()]

    def line(text: str) -> None:
        now = time.monotonic()
        if not isinstance(text, ProgressLine):
            sink(text)
        elif now - last[0] >= seconds or text.days == text.days_wanted:
            last[0] = now
            sink(text)

    return line


def of_manifest(manifest: DayManifest | None, **more: Any) -> dict[str, Any]:
    """Metadata every stored day has: rows, content hash, code version, and what else is worth telling."""
    if manifest is None:
        return {"rows": 0, **more}
    stored = {
        "rows": manifest.rows, "content_hash": manifest.content_hash, "origin": manifest.details.stated_origin.words,
        "code_version": manifest.code_version,
    }  # fmt: skip
    return {**stored, **more}


def png_markdown(figure: Any, title: str) -> MarkdownMetadataValue:
    """A matplotlib figure as Markdown metadata."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, bbox_inches="tight", metadata={"Software": None})
    return png_bytes_markdown(buffer.getvalue(), title)


def png_bytes_markdown(png: bytes, title: str) -> MarkdownMetadataValue:
    """A PNG as Markdown metadata."""
    from dagster import MetadataValue

    return MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")


def _figure() -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def plot_series(values: np.ndarray, title: str, y_label: str, x_label: str = "tick") -> MarkdownMetadataValue:
    """A line over its index; thinned to a few thousand points, NaN left out of the line.

    Parameters
    ----------
    values : float64[n]
    title, y_label, x_label : str
    """
    figure, axes = _figure()
    step = max(1, len(values) // _MAX_POINTS)
    axes.plot(np.arange(0, len(values), step), values[::step], linewidth=0.8)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    return png_markdown(figure, title)


def plot_bars(labels: list[str], series: dict[str, list[float]], title: str, y_label: str) -> MarkdownMetadataValue:
    """Grouped bars: one group a label, one bar a series; zero is drawn as a line."""
    figure, axes = _figure()
    width = 0.8 / max(1, len(series))
    for index, (name, values) in enumerate(series.items()):
        axes.bar(np.arange(len(labels)) + index * width, values, width, label=name)
    few = len(labels) <= 4
    turned = {} if few else {"rotation": 45, "ha": "right", "fontsize": 7}
    axes.set_xticks(np.arange(len(labels)) + 0.4 - width / 2, labels, **turned)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set(title=title, ylabel=y_label)
    if len(series) > 1:
        axes.legend(fontsize=7)
    return png_markdown(figure, title)
