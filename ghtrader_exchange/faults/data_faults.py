"""Injects faults into downloads: the line under a chart, the login, and the rows of a day.

State and the pure damage to a day's rows; the sockets ask here and carry it out. Only charts that stand still (a
download's) and the rows they carry are hit: quotes, daily bars and the live day stay true, so that a client can notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from ghtrader_exchange.faults.fault_kinds import DAY_FAULTS, LINE_FAULTS, LOGIN_FAULTS, FaultKind

_EVERY = 50


@dataclass(frozen=True)
class DamagedTicks:
    """A day's ticks as they are served."""

    datetime_ns: np.ndarray
    values: dict[str, np.ndarray]


def damage(kind: FaultKind, datetime_ns: np.ndarray, values: dict[str, np.ndarray]) -> DamagedTicks:
    """A day with one of `DAY_FAULTS`.

    Parameters
    ----------
    datetime_ns : int64[n]
    values : dict of name to array[n]
    """
    count = len(datetime_ns)
    rows = np.arange(count)
    hit = np.arange(_EVERY - 1, count - 1, _EVERY)
    if kind == FaultKind.EMPTY_DAY:
        rows = rows[:0]
    elif kind == FaultKind.PARTIAL_DAY:
        rows = rows[: count * 2 // 3]
    elif kind == FaultKind.DUPLICATE_ROWS:
        rows = np.sort(np.concatenate([rows, hit]))
    elif kind == FaultKind.DISORDERED_ROWS:
        rows[hit], rows[hit + 1] = hit + 1, hit
    elif kind not in (FaultKind.CROSSED_ROWS, FaultKind.NAN_ROWS):
        raise ValueError(f"{kind} is no damage to a day")
    served = {name: column[rows] for name, column in values.items()}
    if kind == FaultKind.CROSSED_ROWS:
        served["bid_price1"] = served["bid_price1"].copy()
        spread = np.nan_to_num(served["ask_price1"][hit] - served["bid_price1"][hit], nan=1.0)
        served["bid_price1"][hit] = served["ask_price1"][hit] + spread
    if kind == FaultKind.NAN_ROWS:
        served = {name: column.astype(np.float64) for name, column in served.items()}
        for column in served.values():
            column[hit] = np.nan
    return DamagedTicks(datetime_ns[rows], served)


@dataclass
class LineFault:
    """One fault of the line, and how many times it is still to happen."""

    kind: FaultKind
    symbol: str = ""
    day: date | None = None
    count: int = 1
    seconds: float = 0.0

    def concerns(self, symbol: str, day: date) -> bool:
        """Whether a window of a symbol that begins in a day meets it."""
        return self.count > 0 and self.symbol in ("", symbol) and self.day in (None, day)


@dataclass
class DataFaults:
    """Faults in force on downloads."""

    clock: Callable[[], float] = time.monotonic
    lines: list[LineFault] = field(default_factory=list)
    days: dict[tuple[str, date], FaultKind] = field(default_factory=dict)
    refuse_until: float = 0.0
    history_withheld: bool = False

    def set(
        self, kind: FaultKind, seconds: float = 0.0, count: int = 1, symbol: str = "", day: date | None = None
    ) -> None:
        """Put one of `DATA_FAULTS` in force; ValueError for nonsense."""
        if seconds < 0 or count < 0:
            raise ValueError("seconds and count cannot be negative")
        if kind in LINE_FAULTS:
            self.lines.append(LineFault(kind, symbol, day, count, float(seconds)))
        elif kind == FaultKind.WITHHOLD_HISTORY:
            self.history_withheld = True
        elif kind in LOGIN_FAULTS:
            self.refuse_until = self.clock() + seconds
        elif kind in DAY_FAULTS:
            if not symbol or day is None:
                raise ValueError(f"{kind} needs a symbol and a day")
            self.days[symbol, day] = kind
        else:
            raise ValueError(f"{kind} is no fault of downloads")

    def clear(self) -> None:
        """End them all."""
        self.lines, self.days, self.refuse_until, self.history_withheld = [], {}, 0.0, False

    def take(self, symbol: str, day: date) -> LineFault | None:
        """The fault that a window of a symbol meets now that begins in a day, which uses up one time of it."""
        for fault in self.lines:
            if fault.concerns(symbol, day):
                fault.count -= 1
                return fault
        return None

    def refuses_login(self) -> bool:
        """Whether nobody may log in now."""
        return self.clock() < self.refuse_until

    def days_of(self, symbol: str) -> dict[date, FaultKind]:
        """Day -> damage of one symbol."""
        return {day: kind for (name, day), kind in self.days.items() if name == symbol}

    def refuses_for(self) -> float:
        """For how many seconds more nobody may log in."""
        return max(0.0, self.refuse_until - self.clock())
