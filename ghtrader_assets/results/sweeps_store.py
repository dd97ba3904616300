"""Stores what sweeps of a series found, beside their studies, and counts how many configurations were tried.

`runs/sweep/<series>/h<horizon>/<study>.json`, its page `.html` and, where the home keeps the trials, the study `.db`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import atomic_write_json, atomic_write_text, read_checked_json, with_checksum
from ghtrader_base.settings import Settings
from ghtrader_models.sweep.report import SweepReport


def sweep_path(settings: Settings, symbol: str, horizon: int, study: str) -> Path:
    """A sweep's report."""
    return settings.runs / "sweep" / symbol / f"h{horizon}" / f"{study}.json"


def save_sweep(settings: Settings, report: SweepReport) -> Path:
    """Write a report and its page."""
    path = sweep_path(settings, report.symbol, report.horizon, report.study)
    atomic_write_text(path.with_suffix(".html"), report.page())
    atomic_write_json(path, with_checksum(report.to_dict()))
    return path


def read_sweep(path: Path) -> SweepReport:
    """One report from its file; `IntegrityError` where it is none, or was edited."""
    try:
        return msgspec.convert(read_checked_json(path)[0], SweepReport)
    except msgspec.ValidationError as exc:
        raise IntegrityError(
            f"the sweep report {path} does not read: {exc}", "run the sweep again: it resumes"
        ) from exc


def load_sweeps(settings: Settings, symbol: str, horizon: int, family: str) -> list[SweepReport]:
    """Every sweep of a family on a series, by study."""
    folder = sweep_path(settings, symbol, horizon, "any").parent
    found = [read_sweep(path) for path in sorted(folder.glob("*.json"))]
    return [report for report in found if report.family == family]


def configurations_tried(settings: Settings, symbol: str, horizon: int, family: str) -> int:
    """How many configurations of a family were tried on a series in all its sweeps: what a score is deflated for."""
    return sum(report.tried for report in load_sweeps(settings, symbol, horizon, family))
