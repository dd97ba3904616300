"""Profiles one day of ticks: ticks a session, spread, depth, update interval. Arrays in, figures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ghtrader_market.reference.tick_schema import COLUMN_INDEX, LEVELS

_NS = 1e9


@dataclass(frozen=True)
class Distribution:
    """Median, 95th percentile, largest; None where there is nothing to count."""

    median: float | None
    p95: float | None
    max: float | None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Figures of one contract-day.

    Attributes
    ----------
    rows, rows_outside : int
        Ticks, and those of them outside the sessions.
    levels : int
        5 where at least half of the rows that have a best price have a second level, else 1.
    session_rows : tuple of int
        Ticks of each session, the night session first where the day has one.
    session_seconds : tuple of float
        Length of each session.
    interval_s, spread_ticks : Distribution
        Time between neighbouring ticks of a session; best ask less best bid in price ticks, where both are there.
    depth_lots : tuple of float
        Mean lots at each level, both sides together, over the rows inside sessions.
    volume : int
        Lots traded, by the last row; 0 where the recording has no cumulative volume.
    """

    rows: int
    rows_outside: int
    levels: int
    session_rows: tuple[int, ...]
    session_seconds: tuple[float, ...]
    interval_s: Distribution
    spread_ticks: Distribution
    depth_lots: tuple[float, ...]
    volume: int

    def to_json(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


def profile_day(
    times: np.ndarray,
    values: np.ndarray,
    session_index: np.ndarray,
    sessions: Sequence[tuple[int, int]],
    price_tick: float,
) -> Profile:
    """The day's figures.

    Parameters
    ----------
    times : int64[n]
    values : float64[27, n]
        Rows as `ghtrader_market.reference.tick_schema.VALUE_COLUMNS`.
    session_index : int16[n]
        Position in `sessions`, -1 outside.
    sessions : sequence of (start_ns, end_ns)
    price_tick : float
        CNY; NaN leaves the spread out.
    """
    inside = session_index >= 0
    steps = np.diff(times)[(session_index[1:] == session_index[:-1]) & inside[1:]]
    bid, ask = (values[COLUMN_INDEX[f"{side}_price1"]] for side in ("bid", "ask"))
    spread = (ask - bid)[inside] / price_tick
    count = max(1, int(inside.sum()))
    depth = [
        float((values[COLUMN_INDEX[f"bid_volume{i}"]] + values[COLUMN_INDEX[f"ask_volume{i}"]])[inside].sum()) / count
        for i in range(1, LEVELS + 1)
    ]
    found = np.bincount(session_index[inside], minlength=len(sessions)) if inside.any() else np.zeros(len(sessions))
    return Profile(
        rows=len(times),
        rows_outside=len(times) - int(inside.sum()),
        levels=levels_of(values),
        session_rows=tuple(int(rows) for rows in found),
        session_seconds=tuple((end - start) / _NS for start, end in sessions),
        interval_s=_distribution(steps / _NS, 6),
        spread_ticks=_distribution(spread[np.isfinite(spread)], 3),
        depth_lots=tuple(round(lots, 2) for lots in depth),
        volume=int(np.nan_to_num(values[COLUMN_INDEX["volume"], -1])) if len(times) else 0,
    )


def levels_of(values: np.ndarray) -> int:
    """5 or 1, by the rule of `ghtrader_market.reference.tick_schema.has_depth`, from float64[27, n]."""
    first, deep = (
        ~(np.isnan(values[COLUMN_INDEX[f"bid_price{i}"]]) & np.isnan(values[COLUMN_INDEX[f"ask_price{i}"]]))
        for i in (1, 2)
    )
    return 5 if first.any() and (deep & first).sum() * 2 >= first.sum() else 1


def _distribution(values: np.ndarray, digits: int) -> Distribution:
    if not values.size:
        return Distribution(None, None, None)
    median, p95 = np.quantile(values, [0.5, 0.95])
    return Distribution(*(round(float(x), digits) for x in (median, p95, values.max())))
