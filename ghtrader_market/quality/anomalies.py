"""Finds anomalies in one day of ticks: arrays in, counts and first examples out.

The kinds, and the one pass over the rows that finds them. What an anomaly means for the day is decided in `readiness`,
whether a stored file is what its manifest says `audit`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np

from ghtrader_base.numba_cache import njit
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, LEVELS

ROW_KINDS = (
    "disordered_time",
    "duplicate_time",
    "duplicate_row",
    "negative_value",
    "volume_backwards",
    "crossed_book",
    "locked_book",
    "off_grid",
    "absent_book",
    "limit_move",
    "price_jump",
)
"""Counted in rows."""
STRETCH_KINDS = ("gap", "stale_quotes", "session_missing", "night_missing")
"""Counted in stretches of time, which have seconds."""
KINDS = ROW_KINDS + STRETCH_KINDS
MEANING = {
    "disordered_time": "the time is before that of the row before",
    "duplicate_time": "the time is that of the row before, as where a clock shows whole seconds",
    "duplicate_row": "the row says what the row before said, at the same time of a clock finer than seconds",
    "negative_value": "a count or a price is below 0, or a level's price is 0",
    "volume_backwards": "cumulative volume or amount falls",
    "crossed_book": "inside a session the best bid is above the best ask",
    "locked_book": "inside a session the best bid is the best ask",
    "off_grid": "a price is no multiple of the contract's price tick",
    "absent_book": "inside a session neither side has a best price",
    "limit_move": "inside a session one side of the book is empty, or the price is far from the day's first",
    "price_jump": "inside a session the price jumps from one tick to the next",
    "gap": "no tick for too long inside a session",
    "stale_quotes": "lots are traded over a book that does not move",
    "session_missing": "no tick at all in a day session",
    "night_missing": "no tick at all in the night session",
}
EXAMPLES = 3
_SHANGHAI = timezone(timedelta(hours=8))
_NS = 1_000_000_000
_GRID_TOLERANCE = 1e-3
_PRICES = np.array(
    [COLUMN_INDEX[n] for n in ("last_price", "highest", "lowest")]
    + [COLUMN_INDEX[f"{side}_price{i}"] for i in range(1, LEVELS + 1) for side in ("bid", "ask")]
)
_BOOK = np.array(
    [
        COLUMN_INDEX[f"{side}_{w}{i}"]
        for i in range(1, LEVELS + 1)
        for side in ("bid", "ask")
        for w in ("price", "volume")
    ]
)
_COUNTS = np.array(
    [COLUMN_INDEX[n] for n in ("volume", "amount", "open_interest")]
    + [COLUMN_INDEX[f"{side}_volume{i}"] for i in range(1, LEVELS + 1) for side in ("bid", "ask")]
)
_LAST, _VOLUME, _AMOUNT = COLUMN_INDEX["last_price"], COLUMN_INDEX["volume"], COLUMN_INDEX["amount"]
_BID, _ASK = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"]
(
    _DISORDERED, _DUPLICATE, _DUPLICATE_ROW, _NEGATIVE, _BACKWARDS, _CROSSED, _LOCKED, _OFF_GRID, _ABSENT, _LIMIT,
    _JUMP, _GAP, _STALE, _SESSION_MISSING, _NIGHT_MISSING,
) = range(len(KINDS))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From where on something is an anomaly.

    Attributes
    ----------
    gap_s : float
        Seconds without a tick inside a session.
    gap_intervals : float
        And at least so many of the day's median update intervals, so that a thin contract is not one long gap.
    stale_s : float
        Seconds (and `gap_intervals` median intervals) of an unchanged book ...
    stale_trades : int
        ... while the volume of so many ticks rose.
    limit_move : float
        Part of the day's first price that the price is away from it.
    jump : float
        Part of the price that it moves from one tick to the next.
    """

    gap_s: float = 60.0
    gap_intervals: float = 30.0
    stale_s: float = 30.0
    stale_trades: int = 3
    limit_move: float = 0.15
    jump: float = 0.03


@dataclass(frozen=True)
class Anomaly:
    """One kind of anomaly of one day.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    count : int
        Rows or, for `STRETCH_KINDS`, stretches.
    seconds : float
        Session time the stretches take; 0.0 for rows.
    examples : tuple of (int, int)
        Row and UTC epoch ns of the first few. The row of a stretch is its first (of a gap: the row before it, -1
        before the first row).
    """

    kind: str
    count: int
    seconds: float
    examples: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """For reports: times as a person in Shanghai reads them."""
        return {
            "kind": self.kind,
            "meaning": MEANING[self.kind],
            "count": self.count,
            "seconds": round(self.seconds, 3),
            "first": [{"row": row, "time": shanghai_time(ns), "datetime_ns": ns} for row, ns in self.examples],
        }


def shanghai_time(ns: int) -> str:
    """``2025-02-10 09:00:00.500``, Asia/Shanghai."""
    moment = datetime.fromtimestamp(ns // _NS, UTC).astimezone(_SHANGHAI)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ns % _NS // 1_000_000:03d}"


def median_interval(times: np.ndarray, session_index: np.ndarray) -> float:
    """Median ns between neighbouring ticks of one session; 0.0 where there are none.

    Parameters
    ----------
    times : int64[n]
    session_index : int16[n]
        -1 outside the sessions.
    """
    steps = np.diff(times)[(session_index[1:] == session_index[:-1]) & (session_index[1:] >= 0)]
    return float(np.median(steps)) if steps.size else 0.0


def find_anomalies(
    times: np.ndarray,
    values: np.ndarray,
    session_index: np.ndarray,
    sessions: Sequence[tuple[int, int]],
    price_tick: float,
    has_night: bool,
    limits: Limits | None = None,
) -> list[Anomaly]:
    """Every kind of anomaly that the day has, in the order of `KINDS`.

    Parameters
    ----------
    times : int64[n]
        UTC epoch ns, as stored.
    values : float64[27, n]
        C-contiguous, rows as `ghtrader_market.reference.tick_schema.VALUE_COLUMNS`.
    session_index : int16[n]
        Position in `sessions`, -1 outside.
    sessions : sequence of (start_ns, end_ns)
        Of this day and variety; the first is the night session where `has_night`.
    price_tick : float
        CNY; NaN leaves the grid unchecked.
    has_night : bool
    limits : Limits, optional
    """
    limits = limits or Limits()
    bounds = np.array(sessions, dtype=np.int64).reshape(-1, 2)
    median = median_interval(times, session_index)
    gap = round(max(limits.gap_s * _NS, limits.gap_intervals * median))
    stale = round(max(limits.stale_s * _NS, limits.gap_intervals * median))
    fine_clock = bool((times % _NS).any())  # to the second, a snapshot in which nothing changed looks like a row twice
    counts, span, rows, moments = _scan(
        np.ascontiguousarray(times), np.ascontiguousarray(values), np.ascontiguousarray(session_index), bounds,
        float(price_tick), has_night, gap, stale, limits.stale_trades, limits.limit_move, limits.jump, fine_clock,
    )  # fmt: skip
    return [
        Anomaly(
            kind,
            int(counts[k]),
            float(span[k]) / _NS,
            tuple((int(rows[k, i]), int(moments[k, i])) for i in range(min(int(counts[k]), EXAMPLES))),
        )
        for k, kind in enumerate(KINDS)
        if counts[k]
    ]


@njit(cache=True, error_model="numpy", nogil=True)
def _note(
    counts: np.ndarray, rows: np.ndarray, moments: np.ndarray, kind: int, row: int, moment: int
) -> None:  # pragma: no cover - compiled
    seen = counts[kind]
    if seen < rows.shape[1]:
        rows[kind, seen] = row
        moments[kind, seen] = moment
    counts[kind] = seen + 1


@njit(cache=True, error_model="numpy", nogil=True)
def _same_book(values: np.ndarray, a: int, b: int) -> bool:  # pragma: no cover - compiled
    for column in _BOOK:
        before, now = values[column, a], values[column, b]
        if before != now and not (np.isnan(before) and np.isnan(now)):
            return False
    return True


@njit(cache=True, error_model="numpy", nogil=True)
def _same_row(values: np.ndarray, a: int, b: int) -> bool:  # pragma: no cover - compiled
    for column in range(values.shape[0]):
        before, now = values[column, a], values[column, b]
        if before != now and not (np.isnan(before) and np.isnan(now)):
            return False
    return True


@njit(cache=True, error_model="numpy", nogil=True)
def _scan(
    times: np.ndarray,
    values: np.ndarray,
    session: np.ndarray,
    bounds: np.ndarray,
    price_tick: float,
    has_night: bool,
    gap: int,
    stale: int,
    stale_trades: int,
    limit_move: float,
    jump: float,
    fine_clock: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    kinds = _NIGHT_MISSING + 1
    counts = np.zeros(kinds, np.int64)
    span = np.zeros(kinds, np.int64)
    rows = np.zeros((kinds, EXAMPLES), np.int64)
    moments = np.zeros((kinds, EXAMPLES), np.int64)
    n = times.size
    n_sessions = bounds.shape[0]
    seen = np.zeros(n_sessions, np.int64)
    first_price = np.nan
    per_tick = 1.0 / price_tick
    previous = -1  # the last row inside a session
    book_since = -1  # the first row of the book as it is now
    traded = 0
    stale_told = False
    for i in range(n):
        t, s = times[i], session[i]
        if i > 0:
            if t < times[i - 1]:
                _note(counts, rows, moments, _DISORDERED, i, t)
            elif t == times[i - 1]:
                _note(counts, rows, moments, _DUPLICATE, i, t)
                if fine_clock and _same_row(values, i - 1, i):
                    _note(counts, rows, moments, _DUPLICATE_ROW, i, t)
            if values[_VOLUME, i] < values[_VOLUME, i - 1] or values[_AMOUNT, i] < values[_AMOUNT, i - 1]:
                _note(counts, rows, moments, _BACKWARDS, i, t)
        negative = False
        for column in _COUNTS:
            negative |= values[column, i] < 0
        off_grid = False
        for column in _PRICES:
            price = values[column, i]
            # Some vendors print 0 for "no trade yet"; a level of price 0 is none.
            negative |= price < 0 or (price == 0 and column >= _BID)
            steps = price * per_tick
            off_grid |= abs(steps - np.rint(steps)) > _GRID_TOLERANCE
        if negative:
            _note(counts, rows, moments, _NEGATIVE, i, t)
        if off_grid:
            _note(counts, rows, moments, _OFF_GRID, i, t)
        if s < 0:
            continue
        bid, ask, last = values[_BID, i], values[_ASK, i], values[_LAST, i]
        if bid > ask:
            _note(counts, rows, moments, _CROSSED, i, t)
        elif bid == ask:
            _note(counts, rows, moments, _LOCKED, i, t)
        if np.isnan(bid) and np.isnan(ask):
            _note(counts, rows, moments, _ABSENT, i, t)
        if np.isnan(first_price):
            first_price = last
        if np.isnan(bid) != np.isnan(ask) or abs(last - first_price) > limit_move * first_price:
            _note(counts, rows, moments, _LIMIT, i, t)
        same_session = previous >= 0 and session[previous] == s
        if same_session:
            before = values[_LAST, previous]
            if abs(last - before) > jump * before:
                _note(counts, rows, moments, _JUMP, i, t)
        since = times[previous] if same_session else bounds[s, 0]
        if t - since > gap:
            _note(counts, rows, moments, _GAP, previous if same_session else i - 1, since)
            span[_GAP] += t - since
        # A book that stands still over a gap is no stale book: nothing was printed.
        if not same_session or t - since > gap or not _same_book(values, previous, i):
            book_since, traded, stale_told = i, 0, False
        else:
            traded += values[_VOLUME, i] > values[_VOLUME, previous]
            if t - times[book_since] > stale and traded >= stale_trades:
                if stale_told:
                    span[_STALE] += t - times[previous]
                else:
                    _note(counts, rows, moments, _STALE, book_since, times[book_since])
                    span[_STALE] += t - times[book_since]
                    stale_told = True
        if previous >= 0 and not same_session:
            end = bounds[session[previous], 1]
            if end - times[previous] > gap:
                _note(counts, rows, moments, _GAP, previous, times[previous])
                span[_GAP] += end - times[previous]
        seen[s] += 1
        previous = i
    if previous >= 0:
        end = bounds[session[previous], 1]
        if end - times[previous] > gap:
            _note(counts, rows, moments, _GAP, previous, times[previous])
            span[_GAP] += end - times[previous]
    for s in range(n_sessions):
        if seen[s] == 0:
            kind = _NIGHT_MISSING if has_night and s == 0 else _SESSION_MISSING
            _note(counts, rows, moments, kind, -1, bounds[s, 0])
            span[kind] += bounds[s, 1] - bounds[s, 0]
    return counts, span, rows, moments
