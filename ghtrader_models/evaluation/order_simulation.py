"""Works out the fills that a path of targets gets from recorded books, as the trading core and a paper account do.

Compiled, so that a benchmark can afford it; `tests/integration/runtime/test_benchmark_parity.py` holds it equal to the
real processes, fill by fill. The steps are the core's (`ghtrader_runtime/core/order_planning.py`): one step at a time,
close before open, limit orders at the opposite best price plus the slip, and what does not fill at once is cancelled
(FAK); when they meet a book is `ExecutionModel`. What a fill costs is not worked out here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ghtrader_base.numba_cache import njit
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.fill import Offset
from ghtrader_market.accounting.marks import is_price
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.closing_rules import ClosingRule

OFFSETS = (Offset.OPEN, Offset.CLOSE, Offset.CLOSETODAY)
"""By the numbers that the compiled code uses."""
_RULES = {ClosingRule.BY_OFFSET: 0, ClosingRule.TODAY_FIRST: 1, ClosingRule.YESTERDAY_FIRST: 2}
_MOST_LEGS = 256
_UNLIMITED = 1 << 60


class Depth(NamedTuple):
    """Books of n rows and L levels, best first: prices in CNY, lots; float64[n, L] and int64[n, L]."""

    bid: np.ndarray
    bid_volume: np.ndarray
    ask: np.ndarray
    ask_volume: np.ndarray

    @classmethod
    def of_quotes(cls, bid: np.ndarray, ask: np.ndarray) -> Depth:
        """Of best quotes alone, float64[n] each: whatever is wanted is there at the best price."""
        lots = np.full((bid.size, 1), _UNLIMITED, np.int64)
        return cls(np.ascontiguousarray(bid[:, None]), lots, np.ascontiguousarray(ask[:, None]), lots)


class SimulatedFills(NamedTuple):
    """Fills in the order they happened: row of the book, lots (sold negative), place in `OFFSETS`, price in CNY."""

    row: np.ndarray
    volume: np.ndarray
    offset: np.ndarray
    price: np.ndarray


_is_price = njit(cache=True, error_model="numpy")(is_price)
"""The rule of marks, compiled."""


# Places in the state of a simulation, int64[6].
_NET, _TODAY, _LEGS, _SIDE, _ARRIVES, _COUNT = range(6)


@njit(cache=True, error_model="numpy")
def _place(
    t: int,
    wanted: int,
    times: np.ndarray,
    prices: np.ndarray,
    price_tick: float,
    slip_ticks: int,
    latency: int,
    max_order: int,
    rule: int,
    only_closed: bool,
    state: np.ndarray,
    legs: np.ndarray,
    limit: np.ndarray,
) -> bool:
    """Send what takes the position towards `wanted`, priced by row `t`; whether anything was sent."""
    net, today = state[_NET], state[_TODAY]
    if state[_LEGS] > 0 or wanted == net:
        return False
    side = 1 if wanted > net else -1
    best = prices[1 if side > 0 else 0, t, 0]
    if not _is_price(best, price_tick):
        return False
    # A whole price tick, as the core has it, also where a quote lies beside the grid; without a grid any price.
    limit[0] = (np.rint(best / price_tick) + side * slip_ticks) * price_tick if price_tick > 0 else side * np.inf
    if side < 0 and price_tick > 0 and limit[0] <= 0.0:
        return False
    need, his = abs(wanted - net), abs(net) - today
    earlier = todays = 0
    if net * side < 0:
        earlier = min(his if rule == 0 else his + today, need)
        todays = min(today, need - earlier) if rule == 0 else 0
    opened = 0 if earlier + todays > 0 else need
    if opened > 0 and only_closed:
        return False
    count = 0
    for offset, part in ((1, earlier), (2, todays), (0, opened)):
        while part > 0 and count < _MOST_LEGS:
            legs[count, 0], legs[count, 1] = offset, min(part, max_order)
            part -= legs[count, 1]
            count += 1
    state[_LEGS], state[_SIDE], state[_ARRIVES] = count, side, times[t] + latency
    return True


@njit(cache=True, error_model="numpy")
def _match(
    t: int,
    prices: np.ndarray,
    lots: np.ndarray,
    marks: np.ndarray,
    price_tick: float,
    rule: int,
    state: np.ndarray,
    legs: np.ndarray,
    limit: np.ndarray,
    taken: np.ndarray,
    fills: np.ndarray,
    paid: np.ndarray,
) -> bool:
    """Let the orders on their way meet the book of row `t`; whether the last of them had a fill. None is left."""
    side, filled = state[_SIDE], False
    book = 1 if side > 0 else 0
    for leg in range(state[_LEGS]):
        filled, left = False, legs[leg, 1]
        for level in range(prices.shape[2]):
            price = prices[book, t, level]
            if left <= 0 or not _is_price(price, price_tick, np.nan, np.nan, marks[t]):
                break
            if (price - limit[0]) * side > 1e-9:
                break
            got = min(left, max(lots[book, t, level] - taken[book, level], 0))
            if got == 0:
                continue
            taken[book, level] += got
            left -= got
            count = state[_COUNT]
            if count < fills.shape[0]:
                fills[count, 0], fills[count, 1], fills[count, 2], paid[count] = t, side * got, legs[leg, 0], price
            state[_COUNT] = count + 1
            filled = True
            if legs[leg, 0] == 0:
                state[_TODAY] += got
            elif legs[leg, 0] == 2:
                state[_TODAY] -= got
            elif rule == 1:
                state[_TODAY] -= min(got, state[_TODAY])
            elif rule == 2:
                state[_TODAY] -= max(got - (abs(state[_NET]) - state[_TODAY]), 0)
            state[_NET] += side * got
    state[_LEGS] = 0
    return filled


@njit(cache=True, error_model="numpy")
def _fill_targets(
    targets: np.ndarray,
    times: np.ndarray,
    prices: np.ndarray,
    lots: np.ndarray,
    marks: np.ndarray,
    may_send: np.ndarray,
    price_tick: float,
    slip_ticks: int,
    latency: int,
    max_order: int,
    rule: int,
    only_closed: bool,
    state: np.ndarray,
    wanted: int,
    fills: np.ndarray,
    paid: np.ndarray,
) -> int:
    """How many fills there are; the first of them in `fills` int64[m, 3] and `paid` float64[m].

    `prices`, `lots`: [2, n, L], [0] what is bid and [1] what is asked.
    """
    legs, limit = np.empty((_MOST_LEGS, 2), np.int64), np.empty(1)
    taken = np.zeros((2, prices.shape[2]), np.int64)
    for t in range(prices.shape[1]):
        taken[:, :] = 0
        # With the book of a tick the core still wants what it was told to want with the one before; while an order is
        # on its way it sends nothing, and what did not fill is tried again with the next event, not in a tight loop.
        acts = state[_LEGS] == 0
        if not acts and times[t] >= state[_ARRIVES]:
            acts = _match(t, prices, lots, marks, price_tick, rule, state, legs, limit, taken, fills, paid)
        for told in range(2):
            if told == 1:
                wanted, acts = targets[t], True
            while acts and may_send[t] and _place(
                t, wanted, times, prices, price_tick, slip_ticks, latency, max_order, rule, only_closed, state, legs,
                limit,
            ):  # fmt: skip
                acts = times[t] >= state[_ARRIVES] and _match(
                    t, prices, lots, marks, price_tick, rule, state, legs, limit, taken, fills, paid
                )
    return int(state[_COUNT])


def fill_targets(
    targets: np.ndarray,
    datetime_ns: np.ndarray,
    depth: Depth,
    price_tick: float,
    rule: ClosingRule,
    model: ExecutionModel,
    opening: Position,
    only_closed: bool = False,
    may_send: np.ndarray | None = None,
    marks: np.ndarray | None = None,
) -> SimulatedFills:
    """The fills of a path of targets on one contract and day.

    Parameters
    ----------
    targets : int[n]
        Net lots wanted after each row.
    datetime_ns : int64[n]
        Times of the rows, UTC epoch ns, ascending.
    depth : Depth
        Of the same rows; what cannot be a price fills nothing.
    price_tick : float
        CNY; NaN where it is not known: then nothing is judged by it, and an order pays any price.
    rule : ClosingRule
        Of the contract's exchange.
    model : ExecutionModel
    opening : Position
        Held before the first row, on one side alone.
    only_closed : bool
        Nothing is opened.
    may_send : bool[n], optional
        Rows with which an order may leave: those within a session. One that is on its way still meets the others, as
        the snapshot that is stamped with the very end. Where absent all of them.
    marks : float64[n], optional
        What the contract is valued at after each row, CNY (`marks.mark_path`): a price nowhere near it fills nothing.
    """
    prices = np.stack([depth.bid, depth.ask]).astype(np.float64)
    lots = np.stack([depth.bid_volume, depth.ask_volume]).astype(np.int64)
    open_rows = np.ones(len(datetime_ns), np.bool_) if may_send is None else np.ascontiguousarray(may_send, np.bool_)
    valued = np.full(len(datetime_ns), np.nan) if marks is None else np.ascontiguousarray(marks, np.float64)
    times, wanted = np.ascontiguousarray(datetime_ns, np.int64), np.ascontiguousarray(targets, np.int64)
    room = 256
    while True:
        fills, paid = np.empty((room, 3), np.int64), np.empty(room)
        state = np.array([opening.net, opening.long_today + opening.short_today, 0, 1, 0, 0], np.int64)
        count = _fill_targets(
            wanted, times, prices, lots, valued, open_rows, float(price_tick), model.slip_ticks, model.latency_ns,
            model.max_order, _RULES[rule], only_closed, state, opening.net, fills, paid,
        )  # fmt: skip
        if count <= room:
            return SimulatedFills(fills[:count, 0], fills[:count, 1], fills[:count, 2], paid[:count])
        room = count
