"""Simulates, compiled: the mid's path and the printed snapshots of the world fitted to a recorded day.

Everything but the signs of the moves is drawn first: the volatility regime, how far the mid moves, the spread's
parity. The signs are coins of their own, skewed by the hidden driver alone; so with no skew the mid is a martingale
whatever a model has seen, though its volatility can be predicted.

The random numbers are those of `order_book_kernel`, whose bits a test holds. Mids are counted in half ticks from the
day's opening price, prices in ticks.
"""

from __future__ import annotations

import math

import numpy as np

from ghtrader_base.numba_cache import njit
from ghtrader_exchange.world.order_book_kernel import BUY, SELL, gaussian, seed, uniform

PRINTED_LEVELS = 5
OPENING_MID = 1
"""Half ticks: the day opens at a spread of one tick around the opening price plus half a tick."""
INTEREST_NOISE = 0.3
"""Chance that a row's volume opens interest on both sides; the same chance that it closes."""


@njit(cache=True, error_model="numpy", nogil=True)
def stochastic_round(state, value):
    """`value` >= 0 rounded down or up at random, so that the mean stays."""
    return int(value + uniform(state))


@njit(cache=True, error_model="numpy", nogil=True)
def draw_size(state, mean, shape, zero_chance):
    """A whole number with that mean: 0 with chance `zero_chance`, else a gamma variable of whole shape, rounded.

    The number of random numbers drawn depends on nothing but the random numbers.
    """
    if uniform(state) < zero_chance:
        return 0
    total = 0.0
    for _ in range(shape):
        total -= math.log(uniform(state))
    return stochastic_round(state, mean * total / (shape * (1.0 - zero_chance)))


@njit(cache=True, error_model="numpy", nogil=True)
def draw_moves(states, key, moves, mean_move, driver_memory, skew):
    """One variety-day: the volatility regime, the hidden driver, and the mid's moves.

    Parameters
    ----------
    states : STATE[1], scratch. key : uint64. moves : MoveLaw.
    mean_move : float64[n], half ticks, the time of day included.
    driver_memory : float, snapshots. skew : float, P(up) = (1 + skew * tanh(driver)) / 2.

    Returns
    -------
    driver : float64[n], standard normal at every snapshot, AR(1) between them
    regime : int16[n], bit k is set while component k is high
    mid_moves : int32[n], half ticks, signed; that of a snapshot goes with its own driver and regime
    """
    state = states[0]
    seed(state, key)
    rows, parts = mean_move.size, len(moves.renewal)
    driver, regime, mid_moves = np.empty(rows), np.empty(rows, np.int16), np.empty(rows, np.int32)
    persistence = 1.0 - 1.0 / driver_memory
    innovation = math.sqrt(1.0 - persistence * persistence)
    x, bits = gaussian(state), 0
    for k in range(parts):
        if uniform(state) < moves.high_chance[k]:
            bits |= 1 << k
    for row in range(rows):
        x = persistence * x + innovation * gaussian(state)
        mean = mean_move[row]
        for k in range(parts):
            if uniform(state) < moves.renewal[k]:
                bits = (bits | (1 << k)) if uniform(state) < moves.high_chance[k] else (bits & ~(1 << k))
            mean *= moves.up[k] if bits >> k & 1 else moves.down[k]
        driver[row], regime[row] = x, bits
        size = draw_size(state, mean, moves.shape, moves.zero_chance)
        up = uniform(state) < 0.5 * (1.0 + skew * math.tanh(x))
        mid_moves[row] = size if up else -size
    return driver, regime, mid_moves


@njit(cache=True, error_model="numpy", nogil=True)
def normal_share(z):
    """P(standard normal < z)."""
    return 0.5 * math.erfc(-z * 0.7071067811865476)


@njit(cache=True, error_model="numpy", nogil=True)
def step_latent(state, latent, row, persistence):
    """Move the AR(1) parts of one standard normal quantity by a snapshot; the first row draws them anew."""
    for k in range(len(persistence)):
        keep = persistence[k] if row > 0 else 0.0
        latent[k] = keep * latent[k] + math.sqrt(1.0 - keep * keep) * gaussian(state)


@njit(cache=True, error_model="numpy", nogil=True)
def combine(state, latent, weight):
    """The quantity itself: its parts with their shares of the variance, the rest fresh noise."""
    total, left = 0.0, 1.0
    for k in range(len(weight)):
        total += math.sqrt(weight[k]) * latent[k]
        left -= weight[k]
    return total + math.sqrt(max(left, 0.0)) * gaussian(state)


@njit(cache=True, error_model="numpy", nogil=True)
def quantile_index(table, share):
    """Index of the first entry of a cumulative table that reaches `share`."""
    low, high = 0, table.size - 1
    while low < high:
        middle = (low + high) // 2
        if table[middle] < share:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, error_model="numpy", nogil=True)
def add_trade(trades, count, row, price, volume, side):
    """Write one trade, or none where there is no volume; the number of trades."""
    if volume == 0:
        return count
    trade = trades[count]
    trade.row = row
    trade.price = price
    trade.volume = volume
    trade.side = side
    return count + 1


@njit(cache=True, error_model="numpy", nogil=True)
def play_snapshots(
    states, key, trades, law, volumes, driver, regime, mid_moves, mean_volume, odd_spread, even_spread, depth_lots,
    depth_table, level_profile, opening_interest, closing_interest,
):  # fmt: skip
    """One contract-day.

    Parameters
    ----------
    states : STATE[1], scratch. key : uint64. trades : TRADE[4 n + 4], scratch.
    law : BookLaw. volumes : VolumeLaw.
    driver, regime, mid_moves : as `draw_moves` returns them.
    mean_volume : float64[n], lots, the time of day and the contract's activity included.
    odd_spread, even_spread : float64[s], cumulative shares of the spreads 1, 3, 5 ... and 2, 4, 6 ... ticks.
    depth_lots, depth_table : int64[d] lots on the first level, float64[d] their cumulative shares.
    level_profile : float64[5], mean volume of each level over that of the first.
    opening_interest, closing_interest : int, lots at the day's start and after its last snapshot.

    Returns
    -------
    the fields of a `Tape`, in its order
    """
    state = states[0]
    seed(state, key)
    rows, parts = driver.size, len(volumes.up)
    bid_price = np.empty((rows, PRINTED_LEVELS), np.int32)
    bid_volume = np.empty((rows, PRINTED_LEVELS), np.int32)
    ask_price = np.empty((rows, PRINTED_LEVELS), np.int32)
    ask_volume = np.empty((rows, PRINTED_LEVELS), np.int32)
    last, high, low = np.empty(rows, np.int32), np.empty(rows, np.int32), np.empty(rows, np.int32)
    volume, turnover = np.empty(rows, np.int64), np.empty(rows, np.int64)
    interest, efficient = np.empty(rows, np.int64), np.empty(rows, np.int32)

    spread_latent = np.zeros(len(law.spread_persistence))
    depth_latent = np.zeros((2, PRINTED_LEVELS, len(law.depth_persistence)))
    fresh = math.sqrt(1.0 - law.depth_mark * law.depth_mark)
    mid, bid, ask = OPENING_MID, 0, 1
    traded, amount, open_interest, count = 0, 0, opening_interest, 0
    last_price, highest, lowest = 0, 0, 0
    for row in range(rows):
        mid += mid_moves[row]
        step_latent(state, spread_latent, row, law.spread_persistence)
        share = normal_share(combine(state, spread_latent, law.spread_weight))
        spread = 2 * quantile_index(odd_spread, share) + 1 if mid & 1 else 2 * quantile_index(even_spread, share) + 2
        bid_before, ask_before = bid, ask
        bid, ask = (mid - spread) >> 1, (mid + spread) >> 1
        if row == 0:
            bid_before, ask_before = bid, ask

        for side in range(2):
            mark = law.depth_mark * driver[row] * (1.0 if side == 0 else -1.0)
            for level in range(PRINTED_LEVELS):
                latent = depth_latent[side, level]
                step_latent(state, latent, row, law.depth_persistence)
                share = normal_share(fresh * combine(state, latent, law.depth_weight) + mark)
                lots = depth_lots[quantile_index(depth_table, share)]
                displayed = lots if level == 0 else max(1, stochastic_round(state, lots * level_profile[level]))
                if side == 0:
                    bid_price[row, level], bid_volume[row, level] = bid - level, displayed
                else:
                    ask_price[row, level], ask_volume[row, level] = ask + level, displayed

        mean = mean_volume[row]
        for k in range(parts):
            mean *= volumes.up[k] if regime[row] >> k & 1 else volumes.down[k]
        lots = draw_size(state, mean, volumes.shape, volumes.zero_chance)
        if row == 0:
            lots = max(lots, 1)  # the opening auction trades, so that no snapshot is without a last price
        tilt = law.side_mark * math.tanh(driver[row])
        if mid_moves[row] != 0:
            tilt += law.side_follow if mid_moves[row] > 0 else -law.side_follow
        bought = 0
        for _ in range(min(lots, 20)):  # in twenty parts at most: a large volume has about the expected share
            bought += 1 if uniform(state) < 0.5 * (1.0 + tilt) else 0
        if lots > 20:
            bought = int(lots * (bought / 20.0))
        sold = lots - bought
        # Buyers pay the ask before the move, then what the ask has become, or as far as a rising bid has followed.
        buy_late = min(ask, max(ask_before, bid))
        sell_late = max(bid, min(bid_before, ask))
        first = count
        count = add_trade(trades, count, row, ask_before, (bought + 1) // 2, BUY)
        count = add_trade(trades, count, row, bid_before, (sold + 1) // 2, SELL)
        if uniform(state) < 0.5:
            count = add_trade(trades, count, row, buy_late, bought // 2, BUY)
            count = add_trade(trades, count, row, sell_late, sold // 2, SELL)
        else:
            count = add_trade(trades, count, row, sell_late, sold // 2, SELL)
            count = add_trade(trades, count, row, buy_late, bought // 2, BUY)
        if traded == 0 and count > first:
            highest = lowest = trades[first].price
        for i in range(first, count):
            last_price = trades[i].price
            highest, lowest = max(highest, last_price), min(lowest, last_price)
            traded += trades[i].volume
            amount += trades[i].volume * last_price

        # Open interest drifts evenly to its closing value, around which a row's volume lets it wander.
        pull = (closing_interest - open_interest) / (rows - row)
        step = stochastic_round(state, abs(pull))
        open_interest += step if pull > 0 else -step
        if row < rows - 1:
            chance = uniform(state)
            if chance < INTEREST_NOISE:
                open_interest += lots
            elif chance < 2.0 * INTEREST_NOISE:
                open_interest -= lots
            open_interest = max(0, open_interest)
        else:
            open_interest = closing_interest

        last[row], high[row], low[row] = last_price, highest, lowest
        volume[row], turnover[row] = traded, amount
        interest[row], efficient[row] = open_interest, (mid - 1) >> 1
    return (
        bid_price, bid_volume, ask_price, ask_volume, last, high, low, volume, turnover, interest, efficient,
        trades[:count].copy(),
    )  # fmt: skip
