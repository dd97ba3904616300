"""What an ingest tells: progress while it works, a report when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any


class ProgressLine(str):
    """One line of progress for people; the same in numbers as attributes.

    Attributes
    ----------
    rows : int
        Ticks received so far.
    days, days_wanted : int
        Contract-days finished, and to be asked for.
    rate : float
        Ticks a second since the start.
    """

    rows: int
    days: int
    days_wanted: int
    rate: float

    def __new__(cls, rows: int, days: int, days_wanted: int, rate: float) -> ProgressLine:
        """Word the line."""
        line = super().__new__(cls, f"{days}/{days_wanted} contract-days, {rows:,} ticks, {rate:,.0f} ticks/s")
        line.rows, line.days, line.days_wanted, line.rate = rows, days, days_wanted, rate
        return line


Progress = Callable[[ProgressLine], object]


@dataclass(frozen=True)
class IngestReport:
    """What one download or import did, in contract-days.

    Attributes
    ----------
    written : tuple of (symbol, day)
        Newly stored.
    present : int
        Stored before, or imported again with the same content.
    known_empty, found_empty : int
        Days without a tick: recorded earlier, learnt now.
    pending : tuple of (symbol, day)
        Not over yet at the source; asked for again next time.
    declared : dict
        Variety -> days a recording declared the contract of (imports only).
    rows, seconds : int, float
        Ticks stored now, and how long it took.
    """

    written: tuple[tuple[str, date], ...] = ()
    present: int = 0
    known_empty: int = 0
    found_empty: int = 0
    pending: tuple[tuple[str, date], ...] = ()
    declared: dict[str, dict[date, str]] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Ticks stored a second."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """For `--json` and run metadata."""
        return {
            "written": [[symbol, str(day)] for symbol, day in self.written],
            "present": self.present,
            "known_empty": self.known_empty,
            "found_empty": self.found_empty,
            "pending": [[symbol, str(day)] for symbol, day in self.pending],
            "declared": {key: {str(d): c for d, c in days.items()} for key, days in self.declared.items()},
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "ticks_per_second": round(self.rate, 1),
        }
