"""Calls the compiled simulation of the fitted world: one variety-day's path, one contract-day's tape.

Every function here is pure: equal arguments give equal arrays, in any order and on any thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghtrader_base.errors import FailedError
from ghtrader_exchange.world.order_book_kernel import STATE, TRADE, Tape
from ghtrader_exchange.world.realistic import snapshot_kernel
from ghtrader_exchange.world.realistic.market_fit import (
    DRIVER_MEMORY,
    LEVEL_PROFILE,
    RealisticWorld,
    cumulative,
    mean_by_time,
    scaled_spreads,
)
from ghtrader_exchange.world.realistic.statistics import SnapshotDay


@dataclass(frozen=True)
class RealisticPath:
    """The mid's path of one variety-day, from its opening price, and what is hidden behind it.

    driver: float64[n], standard normal, skews the sign of the moves. regime: int16[n], which volatility components
    are high. mean_move: float64[n], half ticks, before the regime. mid_moves: int32[n], half ticks. scale: ticks of a
    move or spread here for each where the fit was made.
    """

    driver: np.ndarray
    regime: np.ndarray
    mean_move: np.ndarray
    mid_moves: np.ndarray
    scale: float

    @property
    def net(self) -> int:
        """Ticks from the day's opening price to its last, rounded down."""
        return (snapshot_kernel.OPENING_MID + int(self.mid_moves.sum()) - 1) >> 1

    def truth(self) -> dict[str, np.ndarray]:
        """The arrays that an oracle needs, under the names of the truth files."""
        return {"x": self.driver, "regime": self.regime, "mean_move": self.mean_move}


def draw_path(world: RealisticWorld, key: np.uint64, snapshots: int, base_ticks: int) -> RealisticPath:
    """The path of one variety-day.

    Parameters
    ----------
    key : the random key of world, seed, variety and day.
    base_ticks : int, about how many ticks the price is. Moves are as large a part of it as they were of the recorded
        price; at 0 they are as many ticks.

    Raises
    ------
    FailedError
        The price would move by more than half of what it is.
    """
    fit = world.fit
    scale = fit.tick_share * base_ticks if base_ticks else 1.0
    mean_move = mean_by_time(fit.mean_move * scale, fit.move_season, snapshots)
    state = np.zeros(1, STATE)
    driver, regime, mid_moves = snapshot_kernel.draw_moves(state, key, fit.moves, mean_move, DRIVER_MEMORY, world.skew)
    path = RealisticPath(driver, regime, mean_move, mid_moves, scale)
    reach = int(np.abs(np.cumsum(path.mid_moves)).max(initial=0))
    if base_ticks and reach > base_ticks:
        raise FailedError(f"the price moves by {reach // 2} of {base_ticks} ticks in a day", "lower mean_move in [fit]")
    return path


def render(
    world: RealisticWorld,
    key: np.uint64,
    path: RealisticPath,
    activity: float,
    opening_interest: int,
    closing_interest: int,
) -> Tape:
    """Play one contract-day around a path, which all contracts of the variety share.

    Parameters
    ----------
    key : the random key of world, seed, contract and day.
    activity : float, multiplies the volume. opening_interest, closing_interest : lots.

    Returns
    -------
    Tape
        Prices as offsets in ticks from the day's opening price.
    """
    fit, rows = world.fit, path.driver.size
    spreads = scaled_spreads(fit.spread_share, path.scale)
    arrays = snapshot_kernel.play_snapshots(
        np.zeros(1, STATE),
        key,
        np.zeros(4 * rows + 4, TRADE),
        fit.book,
        fit.volumes,
        path.driver,
        path.regime,
        path.mid_moves,
        mean_by_time(fit.mean_volume * activity, fit.volume_season, rows),
        cumulative(spreads[0::2]),
        cumulative(spreads[1::2]),
        np.array(fit.depth_lots, np.int64),
        cumulative(np.array(fit.depth_share)),
        np.array(LEVEL_PROFILE),
        opening_interest,
        closing_interest,
    )
    return Tape(*arrays)


def snapshots_of(tape: Tape) -> SnapshotDay:
    """A played day as the statistics need it."""
    return SnapshotDay(
        bid=tape.bid_price[:, 0].astype(np.int64),
        ask=tape.ask_price[:, 0].astype(np.int64),
        bid_volume=tape.bid_volume[:, 0].astype(np.int64),
        ask_volume=tape.ask_volume[:, 0].astype(np.int64),
        volume=tape.volume,
    )
