"""Plays one synthetic recorded day in lock-step, for tests that only read what the run left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.replay.recorded_days import paper_day
from ghtrader_runtime.runlog.summary import RunSummary
from tests.support.runtime_kit import write_day, write_tiny_bundle

CONTRACT, DAY, ROWS = "SHFE.cu2502", date(2025, 1, 8), 1500


@dataclass(frozen=True)
class LockStepRun:
    """Its home, its model, and what `paper_day` told of it."""

    settings: Settings
    model: Path
    summary: RunSummary

    @property
    def folder(self) -> Path:
        """Where the run wrote."""
        return self.summary.folder


def play_lock_step(home: Path) -> LockStepRun:
    """Write the day and a model that trades often into an empty home, and play it."""
    settings = load_settings(home)
    write_day(settings, CONTRACT, DAY, ROWS)
    model = write_tiny_bundle(settings.models, enter=0.7, leave=0.2)
    return LockStepRun(settings, model, paper_day(settings, "cu", DAY, model=str(model), rate_orders=10**6))
