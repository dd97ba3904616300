"""Reports an ingest: progress while it works, a summary when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ghtrader_base.progress_line import CountedLine


class ProgressLine(CountedLine):
    """One line of progress for people; the same in numbers as attributes.

    Attributes
    ----------
    rows : int
        Ticks received so far.
    days, days_wanted : int
        Contract-days (or what else `unit` names) finished, and to be asked for.
    rate : float
        Ticks a second since the start.
    left_s : float or None
        Seconds left at the pace so far; None before the first day is done.
    """

    rows: int
    days: int
    days_wanted: int
    rate: float
    left_s: float | None

    def __new__(
        cls, rows: int, days: int, days_wanted: int, seconds: float, unit: str = "contract-days"
    ) -> ProgressLine:
        """Word the line; `seconds` since the start, `unit` of what is counted."""
        rate = rows / max(seconds, 1e-9)
        left = seconds * (days_wanted - days) / days if days else None
        words = f"{days}/{days_wanted} {unit}, {rows:,} ticks, {rate:,.0f} ticks/s"
        line = super().__new__(cls, words + ("" if left is None else f", {clock(left)} left"), days, days_wanted)
        line.rows, line.days, line.days_wanted, line.rate, line.left_s = rows, days, days_wanted, rate, left
        return line


def clock(seconds: float) -> str:
    """`1:05`, `2:00:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


Progress = Callable[[ProgressLine], object]


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What one download or import did, in contract-days.

    Attributes
    ----------
    written : tuple of (symbol, day)
        Newly stored.
    present : int
        Stored before, or imported again with the same content.
    known_empty : int
        Days without a tick, recorded earlier.
    empty : tuple of (symbol, day)
        Days without a tick, learnt now.
    skipped : tuple of (symbol, day, reason, detail)
        Given up this time, see `missing_days`; or not asked for, see `fetch`.
    pending : tuple of (symbol, day)
        Not over yet at the source; asked for again next time.
    declared : dict
        Variety -> days a recording declared the contract of (imports only).
    row_notes : tuple of (symbol, day, note)
        Single rows that were left out or put in their place, each with its place in the file (imports only).
    left_out : tuple of str
        Files of a folder that are no recordings by their names, or hold no tick (imports only).
    rows, seconds : int, float
        Ticks stored now, and how long it took.
    """

    written: tuple[tuple[str, date], ...] = ()
    present: int = 0
    known_empty: int = 0
    empty: tuple[tuple[str, date], ...] = ()
    skipped: tuple[tuple[str, date, str, str], ...] = ()
    pending: tuple[tuple[str, date], ...] = ()
    declared: dict[str, dict[date, str]] = field(default_factory=dict)
    row_notes: tuple[tuple[str, date, str], ...] = ()
    left_out: tuple[str, ...] = ()
    rows: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Ticks stored a second."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    def skipped_words(self) -> str:
        """The days given up, for a sentence: the first three, and how many more."""
        named = [f"{symbol} {day} ({reason}: {detail})" for symbol, day, reason, detail in self.skipped[:3]]
        more = len(self.skipped) - len(named)
        return "; ".join(named) + (f"; and {more} more" if more else "")

    def to_json(self) -> dict[str, Any]:
        """For `--json` and run metadata."""
        return {
            "written": [[symbol, str(day)] for symbol, day in self.written],
            "present": self.present,
            "known_empty": self.known_empty,
            "empty": [[symbol, str(day)] for symbol, day in self.empty],
            "skipped": [
                {"symbol": symbol, "day": str(day), "reason": reason, "detail": detail}
                for symbol, day, reason, detail in self.skipped
            ],
            "pending": [[symbol, str(day)] for symbol, day in self.pending],
            "declared": {key: {str(d): c for d, c in days.items()} for key, days in self.declared.items()},
            "row_notes": [[symbol, str(day), note] for symbol, day, note in self.row_notes],
            "left_out": list(self.left_out),
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "ticks_per_second": round(self.rate, 1),
        }
