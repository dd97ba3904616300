"""Takes from a recorded day of ticks what a fit needs: the snapshots of its sessions, in ticks."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError
from ghtrader_exchange.world.realistic.statistics import SnapshotDay
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of

_NEEDED = ("bid_price1", "ask_price1", "bid_volume1", "ask_volume1", "volume")
SHARE_WITH_QUOTES = 0.95


def snapshots_in_sessions(
    symbol: str, day: date, ticks: pa.Table, calendar: TradingCalendar
) -> tuple[SnapshotDay, float]:
    """The snapshots inside the day's sessions that have both quotes, and price tick over mean mid.

    Parameters
    ----------
    symbol : str, the contract. ticks : pa.Table of `RAW_TICK_SCHEMA`, one trading day in order of time.

    Raises
    ------
    BadRecordingError
        No snapshot lies in a session, or many have no quotes (a day at a price limit).
    """
    variety = variety_of(symbol)
    times = ticks.column("datetime_ns").to_numpy()
    # A simulated session prints nothing at its very end, so what a real one prints there is not fitted.
    inside = calendar.session_index(variety, day, times, closing_ns=0) >= 0
    bid, ask, bid_volume, ask_volume, volume = (ticks.column(name).to_numpy()[inside] for name in _NEEDED)
    quoted = np.isfinite(bid) & np.isfinite(ask) & (bid_volume > 0) & (ask_volume > 0)
    if not inside.any() or quoted.mean() < SHARE_WITH_QUOTES:
        raise BadRecordingError(
            f"{symbol} on {day} has {int(quoted.sum())} snapshots with both quotes, of {int(inside.sum())} in sessions",
            "give a day of continuous trading without a price limit",
        )
    tick = variety.price_tick(symbol, day)
    snapshots = SnapshotDay(
        bid=np.round(bid[quoted] / tick).astype(np.int64),
        ask=np.round(ask[quoted] / tick).astype(np.int64),
        bid_volume=bid_volume[quoted].astype(np.int64),
        ask_volume=ask_volume[quoted].astype(np.int64),
        volume=volume[quoted].astype(np.int64),
    )
    return snapshots, float(tick / np.mean((bid[quoted] + ask[quoted]) / 2.0))
