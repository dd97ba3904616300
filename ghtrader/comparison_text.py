"""Shows a comparison of model families in a terminal: what it is of, and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ghtrader.output import table

if TYPE_CHECKING:
    from ghtrader_models.evaluation.comparison import Bounds, ComparedBaseline, ComparedModel, Comparison


def comparison_text(found: Comparison) -> str:
    """What the tests are, the table, what failed and what to know of single rows."""
    rows = [
        {
            "model": model.family,
            **_quality(model),
            "p50 us": _show(numbers.p50_us, "%.1f"),
            "p99 us": _show(numbers.p99_us, "%.1f"),
            "front": "yes" if model.on_front else "",
            "bytes": _show(numbers.model_bytes, "%d"),
            "parameters": _show(numbers.parameters, "%d"),
            "fits s": f"{model.fit_seconds:.1f}",
            "net PnL": _show(numbers.net_pnl, "%.0f"),
        }
        for model in found.models
        for numbers in [model.figures]
    ]
    rows += [{"model": baseline.name, **_quality(baseline)} for baseline in found.baselines]
    lines = [
        f"{found.symbol}, horizon {found.horizon}: {found.days} days, {found.first} to {found.last}; {found.splits}",
        f"data: {found.origin or 'origin unknown'}" + ("; it says nothing of a real market" if found.simulated else ""),
        table(rows, list(rows[0])),
        *(f"{family}: {why}" for family, why in found.failed.items()),
        *(f"{family}: {note}" for family, notes in found.notes.items() for note in notes),
    ]
    return "\n".join(lines)


def _quality(row: ComparedModel | ComparedBaseline) -> dict[str, Any]:
    numbers = row.figures
    return {
        "log-loss": _show(numbers.logloss, "%.5f"),
        "95 %": _interval(row.logloss, "%.4f"),
        "gain": _show(numbers.gain, "%+.5f"),
        "gain 95 %": _interval(numbers.gain_bounds, "%+.5f"),
        "ECE": _show(numbers.ece, "%.4f"),
        "accuracy": _show(numbers.accuracy, "%.4f"),
    }


def _show(value: float | None, how: str) -> str:
    return "-" if value is None else how % value


def _interval(bounds: Bounds, how: str) -> str:
    low, high = bounds.low, bounds.high
    return "-" if low is None or high is None else f"{how % low} to {how % high}"
