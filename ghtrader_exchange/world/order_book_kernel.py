"""Simulates, compiled: random numbers, the efficient price's path, and the price-time-priority book that follows it.

All jitted functions that call each other live in this file, because numba's cache is keyed by file. Prices are
whole ticks. Inside the book they are grid indices with the day's opening efficient price at `CENTRE`; what leaves the
book is an offset from that opening price, so that a day is rendered without knowing the days before it.

The best bid is the efficient price E and the best ask E + 1, except while the quotes are widened (E - 1, E + 2): the
mid is E + 1/2 at every snapshot.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from ghtrader_base.numba_cache import njit

GRID = 1 << 14
CENTRE = GRID // 2
MARGIN = 64
MAX_ORDERS = 1 << 15
STEP_SECONDS = 0.5
LEVELS = 10
"""Levels a side on which limit orders arrive; the five best are printed."""
KEPT_LEVELS = 7
"""Levels a side that never lose their last order to a cancel."""
PRINTED_LEVELS = 5
BID, ASK = 0, 1
BUY, SELL = 0, 1

_i4, _i8, _u8, _f8 = np.int32, np.int64, np.uint64, np.float64
ORDER = np.dtype(
    [("size", _i4), ("next", _i4), ("previous", _i4), ("price", _i4), ("side", _i4), ("slot", _i4)], align=True
)
LEVEL = np.dtype([("head", _i4), ("tail", _i4), ("quantity", _i4), ("count", _i4)], align=True)
STATE = np.dtype(
    [("s0", _u8), ("s1", _u8), ("s2", _u8), ("s3", _u8)]
    + [(name, _i8) for name in ("live", "best_bid", "best_ask", "volume", "turnover", "last", "high", "low")]
    + [(name, _i8) for name in ("open_interest", "trades", "row", "sign", "sign_left", "pattern_sign")]
    + [("steer", _f8), ("drift", _f8)],
    align=True,
)
TRADE = np.dtype([("row", _i4), ("price", _i4), ("volume", _i4), ("side", _i4)], align=True)

Book = namedtuple("Book", "orders levels live state trades")
"""`orders` is a pool; `live[:state.live]` are the indices in use, in no order, the rest are free."""
Tape = namedtuple(
    "Tape",
    "bid_price bid_volume ask_price ask_volume last high low volume turnover open_interest efficient trades",
)
"""One contract-day as printed; prices are ticks from the day's opening efficient price, rows are snapshots.

bid_price, bid_volume, ask_price, ask_volume: int32[n, 5]; last, high, low: int32[n]; volume, turnover (ticks x lots),
open_interest: int64[n], cumulative over the day; efficient: int32[n]; trades: TRADE[m].
"""

_ROTATE_23, _ROTATE_41, _ROTATE_45, _ROTATE_19 = _u8(23), _u8(41), _u8(45), _u8(19)
_SHIFT_11, _SHIFT_17 = _u8(11), _u8(17)
_TO_UNIT = 1.0 / 9007199254740992.0


# ---- random numbers: xoshiro256++ seeded by splitmix64, our own so that no library's version changes a day ----


@njit(cache=True, error_model="numpy", nogil=True)
def seed(state, key):
    """Set the generator from a 64-bit key."""
    z = key
    words = np.empty(4, np.uint64)
    for i in range(4):
        z += _u8(0x9E3779B97F4A7C15)
        y = z
        y = (y ^ (y >> _u8(30))) * _u8(0xBF58476D1CE4E5B9)
        y = (y ^ (y >> _u8(27))) * _u8(0x94D049BB133111EB)
        words[i] = y ^ (y >> _u8(31))
    state.s0, state.s1, state.s2, state.s3 = words[0], words[1], words[2], words[3]


@njit(cache=True, error_model="numpy", nogil=True)
def uniform(state):
    """A number inside (0, 1), neither end included."""
    s0, s1, s2, s3 = state.s0, state.s1, state.s2, state.s3
    total = s0 + s3
    result = ((total << _ROTATE_23) | (total >> _ROTATE_41)) + s0
    shifted = s1 << _SHIFT_17
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    state.s0, state.s1, state.s2 = s0, s1, s2
    state.s3 = (s3 << _ROTATE_45) | (s3 >> _ROTATE_19)
    return (float(result >> _SHIFT_11) + 0.5) * _TO_UNIT


@njit(cache=True, error_model="numpy", nogil=True)
def exponential(state):
    """Exponential with mean 1."""
    return -math.log(uniform(state))


@njit(cache=True, error_model="numpy", nogil=True)
def gaussian(state):
    """Standard normal (Box-Muller)."""
    return math.sqrt(2.0 * exponential(state)) * math.cos(6.283185307179586 * uniform(state))


@njit(cache=True, error_model="numpy", nogil=True)
def draw_gaussian(states, key):
    """The first standard normal number of a key; `states` is STATE[1], scratch."""
    seed(states[0], key)
    return gaussian(states[0])


@njit(cache=True, error_model="numpy", nogil=True)
def random_sign(state):
    """1 or -1, each as likely."""
    return 1 if uniform(state) < 0.5 else -1


@njit(cache=True, error_model="numpy", nogil=True)
def limit_size(state):
    """Lots of a limit order: 1, 2, 3, 5, 10 or 20."""
    u = uniform(state)
    if u < 0.45:
        return 1
    if u < 0.65:
        return 2
    if u < 0.77:
        return 3
    if u < 0.89:
        return 5
    return 10 if u < 0.97 else 20


@njit(cache=True, error_model="numpy", nogil=True)
def market_size(state):
    """Lots a noise market order wants: heavy-tailed, at most 200."""
    return min(int(math.pow(uniform(state), -0.7)), 200)


# ---- the efficient price and its driver: one path a variety and day, shared by the contracts ----


@njit(cache=True, error_model="numpy", nogil=True)
def draw_path(states, key, path, steps):
    """The hidden truth after each step and the jumps of E, over `steps` half-seconds.

    Parameters
    ----------
    states : STATE[1], scratch. key : uint64. path : PathParameters. steps : int.

    Returns
    -------
    driver : float64[steps], standard normal at every step, AR(1) between them; with blocks the sign of the block before
    code : int8[steps], the sign that the present block's orders spell; 0 without blocks
    age : int32[steps], steps since the block began; 0 without blocks
    jump_time : float64[m], engine seconds from the day's start, increasing
    jump_ticks : int32[m], signed, never 0

    The number of random numbers drawn does not depend on the skew: worlds that differ in strength alone share their
    driver and their jump times.
    """
    state = states[0]
    seed(state, key)
    driver = np.empty(steps)
    code, age = np.zeros(steps, np.int8), np.zeros(steps, np.int32)
    expected = path.jump_rate * STEP_SECONDS * steps
    room = int(expected + 12.0 * math.sqrt(expected) + 64)
    jump_time = np.empty(room)
    jump_ticks = np.empty(room, np.int32)
    jumps = 0
    persistence = 1.0 - 1.0 / path.driver_memory
    innovation = math.sqrt(1.0 - persistence * persistence)
    x, spelt, since = 0.0, 0, 0
    if path.block > 0:
        since = int(uniform(state) * path.block)
        x, spelt = float(random_sign(state)), random_sign(state)
    else:
        x = gaussian(state)
    following = exponential(state) / path.jump_rate
    for step in range(steps):
        if path.block > 0:
            if since == path.block:
                x, spelt, since = float(spelt), random_sign(state), 0
            code[step], age[step] = spelt, since
            since += 1
            tilt = x
        else:
            x = persistence * x + innovation * gaussian(state)
            tilt = math.tanh(x)
        driver[step] = x
        up = 0.5 * (1.0 + path.skew * tilt)
        while following < (step + 1) * STEP_SECONDS and jumps < room:
            sign = 1 if uniform(state) < up else -1
            u = uniform(state)
            width = 3 if u < path.three_ticks else (2 if u < path.three_ticks + path.two_ticks else 1)
            jump_time[jumps] = following
            jump_ticks[jumps] = sign * width
            jumps += 1
            following += exponential(state) / path.jump_rate
    return driver, code, age, jump_time[:jumps].copy(), jump_ticks[:jumps].copy()


# ---- the book: a FIFO list of orders a side and price ----


@njit(cache=True, error_model="numpy", nogil=True)
def add_order(book, side, price, size):
    """Put a limit order at the end of its queue."""
    state = book.state[0]
    slot = state.live
    index = book.live[slot]
    state.live = slot + 1
    level = book.levels[side, price]
    order = book.orders[index]
    order.size = size
    order.next = -1
    order.previous = level.tail
    order.price = price
    order.side = side
    order.slot = slot
    if level.count == 0:
        level.head = index
    else:
        book.orders[level.tail].next = index
    level.tail = index
    level.quantity += size
    level.count += 1
    if side == BID:
        if price > state.best_bid:
            state.best_bid = price
    elif price < state.best_ask:
        state.best_ask = price


@njit(cache=True, error_model="numpy", nogil=True)
def remove_order(book, index):
    """Take an order out of its queue, wherever it stands, and move the best price if the queue is empty now."""
    state = book.state[0]
    order = book.orders[index]
    level = book.levels[order.side, order.price]
    if order.previous >= 0:
        book.orders[order.previous].next = order.next
    else:
        level.head = order.next
    if order.next >= 0:
        book.orders[order.next].previous = order.previous
    else:
        level.tail = order.previous
    level.quantity -= order.size
    level.count -= 1
    last_slot = state.live - 1
    moved = book.live[last_slot]
    book.live[order.slot] = moved
    book.orders[moved].slot = order.slot
    book.live[last_slot] = index
    state.live = last_slot
    if level.count == 0:
        if order.side == BID and order.price == state.best_bid:
            price = order.price - 1
            while price > 0 and book.levels[BID, price].count == 0:
                price -= 1
            state.best_bid = price
        elif order.side == ASK and order.price == state.best_ask:
            price = order.price + 1
            while price < GRID - 1 and book.levels[ASK, price].count == 0:
                price += 1
            state.best_ask = price


@njit(cache=True, error_model="numpy", nogil=True)
def clear_level(book, side, price):
    """Cancel every order at one price, the youngest first."""
    while book.levels[side, price].count > 0:
        remove_order(book, book.levels[side, price].tail)


@njit(cache=True, error_model="numpy", nogil=True)
def clear_book(book):
    """Cancel everything."""
    state = book.state[0]
    while state.live > 0:
        remove_order(book, book.live[state.live - 1])
    state.best_bid = 0
    state.best_ask = GRID - 1


@njit(cache=True, error_model="numpy", nogil=True)
def fresh_queue(book, side, price, mean_orders):
    """Orders on a price that has just become worth quoting: 1 + floor(Exp(mean)), at most 60."""
    state = book.state[0]
    for _ in range(min(1 + int(exponential(state) * mean_orders), 60)):
        add_order(book, side, price, limit_size(state))


@njit(cache=True, error_model="numpy", nogil=True)
def fill_gaps(book, bid):
    """One order on every empty level of the `KEPT_LEVELS` behind best bid `bid` and best ask `bid + 1`."""
    state = book.state[0]
    for k in range(KEPT_LEVELS):
        if book.levels[BID, bid - k].count == 0:
            add_order(book, BID, bid - k, limit_size(state))
        if book.levels[ASK, bid + 1 + k].count == 0:
            add_order(book, ASK, bid + 1 + k, limit_size(state))


@njit(cache=True, error_model="numpy", nogil=True)
def market_order(book, aggressor, size, open_fraction):
    """Trade `size` lots at the best price of the other side; the caller asks for no more than stands there."""
    state = book.state[0]
    side = ASK if aggressor == BUY else BID
    price = state.best_ask if aggressor == BUY else state.best_bid
    left = size
    while left > 0:
        index = book.levels[side, price].head
        filled = min(book.orders[index].size, left)
        u = uniform(state)
        if u < open_fraction + state.steer:
            state.open_interest += filled
        elif u < 2.0 * open_fraction and state.open_interest >= filled:
            state.open_interest -= filled
        left -= filled
        if filled == book.orders[index].size:
            remove_order(book, index)
        else:
            book.orders[index].size -= filled
            book.levels[side, price].quantity -= filled
    if state.volume == 0:
        state.high = price
        state.low = price
    state.high = max(state.high, price)
    state.low = min(state.low, price)
    state.last = price
    state.volume += size
    state.turnover += size * price
    trade = book.trades[state.trades]
    trade.row = state.row
    trade.price = price
    trade.volume = size
    trade.side = aggressor
    state.trades += 1


# ---- what can happen ----


@njit(cache=True, error_model="numpy", nogil=True)
def limit_order_arrives(book, flow, arrival, tilt, bid, widened):
    """A limit order `k` levels behind the efficient best of its side; nobody quotes inside while widened."""
    state = book.state[0]
    side = BID if uniform(state) < 0.5 * (1.0 + flow.limit_mark * tilt) else ASK
    pick = uniform(state) * arrival[LEVELS - 1]
    k = 0
    while arrival[k] < pick:
        k += 1
    if widened and k == 0:
        return
    add_order(book, side, bid - k if side == BID else bid + 1 + k, limit_size(state))


@njit(cache=True, error_model="numpy", nogil=True)
def random_cancel(book, bid):
    """Cancel one live order, each as likely; never the last of a level near the best."""
    state = book.state[0]
    index = book.live[int(uniform(state) * state.live)]
    side, price = book.orders[index].side, book.orders[index].price
    distance = bid - price if side == BID else price - bid - 1
    if distance >= KEPT_LEVELS or book.levels[side, price].count > 1:
        remove_order(book, index)


@njit(cache=True, error_model="numpy", nogil=True)
def noise_market_order(book, flow, tilt):
    """A market order that never empties the best queue, its sign independent of where the price goes in `none`."""
    state = book.state[0]
    if state.sign_left <= 0:
        state.sign = 1 if uniform(state) < 0.5 * (1.0 + flow.market_mark * tilt) else -1
        state.sign_left = 1
        if flow.metaorder_tail > 0.0:
            state.sign_left = int(min(math.pow(uniform(state), -1.0 / flow.metaorder_tail), 2000.0))
    state.sign_left -= 1
    aggressor = BUY if state.sign > 0 else SELL
    side = ASK if aggressor == BUY else BID
    price = state.best_ask if aggressor == BUY else state.best_bid
    size = min(market_size(state), book.levels[side, price].quantity - 1)
    if size <= 0:
        add_order(book, side, price, limit_size(state) + 1)
        size = 1
    market_order(book, aggressor, size, flow.open_fraction)


@njit(cache=True, error_model="numpy", nogil=True)
def pattern_order(book, flow, code):
    """A market order of 3 to 6 lots whose sign repeats (`code` 1) or turns (-1) that of the one before, nearly always.

    The queue is filled up first where it would not survive.
    """
    state = book.state[0]
    if state.pattern_sign == 0:
        state.pattern_sign = random_sign(state)
    if uniform(state) < flow.pattern_echo:
        state.pattern_sign *= code
    else:
        state.pattern_sign *= -code
    buys = state.pattern_sign > 0
    side, price = (ASK, state.best_ask) if buys else (BID, state.best_bid)
    size = 3 + int(4.0 * uniform(state))
    if book.levels[side, price].quantity <= size:
        add_order(book, side, price, size + 1)
    market_order(book, BUY if buys else SELL, size, flow.open_fraction)


@njit(cache=True, error_model="numpy", nogil=True)
def restore_quotes(book, bid, mean_orders):
    """Quote again at the efficient bests after a widening."""
    if book.levels[BID, bid].count == 0:
        fresh_queue(book, BID, bid, mean_orders)
    if book.levels[ASK, bid + 1].count == 0:
        fresh_queue(book, ASK, bid + 1, mean_orders)


@njit(cache=True, error_model="numpy", nogil=True)
def jump(book, flow, ticks, tilt, bid, activity):
    """Move the efficient price tick by tick, by a sweep of each queue on the way or by its cancellation.

    Returns the new efficient bid.
    """
    state = book.state[0]
    sweep = uniform(state) < flow.sweep * activity
    depth = activity * flow.fresh_depth
    bid_depth = depth * (1.0 + flow.depth_mark * tilt)
    ask_depth = depth * (1.0 - flow.depth_mark * tilt)
    for _ in range(abs(ticks)):
        side = ASK if ticks > 0 else BID
        price = bid + 1 if ticks > 0 else bid
        if sweep:
            market_order(book, BUY if ticks > 0 else SELL, book.levels[side, price].quantity, flow.open_fraction)
        else:
            clear_level(book, side, price)
        bid += 1 if ticks > 0 else -1
        if ticks > 0:
            fresh_queue(book, BID, bid, bid_depth)
            if book.levels[ASK, bid + 1].count == 0:
                fresh_queue(book, ASK, bid + 1, ask_depth)
        else:
            fresh_queue(book, ASK, bid + 1, ask_depth)
            if book.levels[BID, bid].count == 0:
                fresh_queue(book, BID, bid, bid_depth)
    if flow.redraw:
        for k in range(KEPT_LEVELS):
            clear_level(book, BID, bid - k)
            clear_level(book, ASK, bid + 1 + k)
        for k in range(KEPT_LEVELS):
            fresh_queue(book, BID, bid - k, depth)
            fresh_queue(book, ASK, bid + 1 + k, depth)
    fill_gaps(book, bid)
    return bid


@njit(cache=True, error_model="numpy", nogil=True)
def open_session(book, flow, bid, activity):
    """A new book after an opening auction."""
    clear_book(book)
    for k in range(LEVELS):
        fresh_queue(book, BID, bid - k, activity * flow.fresh_depth)
        fresh_queue(book, ASK, bid + 1 + k, activity * flow.fresh_depth)


@njit(cache=True, error_model="numpy", nogil=True)
def print_side(book, side, prices, volumes, row):
    """Write the five best levels of one side as offsets from the day's opening price."""
    state = book.state[0]
    price = state.best_bid if side == BID else state.best_ask
    step = -1 if side == BID else 1
    k = 0
    while k < PRINTED_LEVELS and 0 < price < GRID - 1:
        if book.levels[side, price].count > 0:
            prices[row, k] = price - CENTRE
            volumes[row, k] = book.levels[side, price].quantity
            k += 1
        price += step


@njit(cache=True, error_model="numpy", nogil=True)
def half_second(book, flow, arrival, tilt, code, bid, widened, activity, time, end, jump_time, jump_ticks, jumps):
    """Everything that happens until engine second `end`.

    Returns the efficient bid, whether quotes are widened, and the number of jumps used up.
    """
    state = book.state[0]
    limit_rate = 2.0 * arrival[LEVELS - 1]
    market_rate = activity * flow.market_rate
    pattern_time = math.inf
    if flow.pattern_chance > 0.0 and uniform(state) < activity * flow.pattern_chance:
        pattern_time = end - STEP_SECONDS * uniform(state)
    while True:
        cancel_rate = flow.cancel_rate * state.live
        turn_rate = flow.restore_rate if widened else flow.widen_rate
        total = limit_rate + cancel_rate + market_rate + turn_rate
        following = time + exponential(state) / total
        jump_at = jump_time[jumps] if jumps < jump_time.size and jump_time[jumps] < end else math.inf
        # Rates are memoryless: what would have come after a jump or a pattern order is drawn anew.
        if pattern_time <= min(jump_at, following):
            time = pattern_time
            pattern_time = math.inf
            pattern_order(book, flow, code)
            continue
        if jump_at <= following:
            time = jump_at
            if widened:
                restore_quotes(book, bid, activity * flow.fresh_depth)
                widened = False
            bid = jump(book, flow, jump_ticks[jumps], tilt, bid, activity)
            jumps += 1
            continue
        if following >= end:
            return bid, widened, jumps
        time = following
        pick = uniform(state) * total
        if pick < limit_rate:
            limit_order_arrives(book, flow, arrival, tilt, bid, widened)
        elif pick < limit_rate + cancel_rate:
            random_cancel(book, bid)
        elif pick < limit_rate + cancel_rate + market_rate:
            noise_market_order(book, flow, tilt)
        elif widened:
            restore_quotes(book, bid, activity * flow.fresh_depth)
            widened = False
        else:
            clear_level(book, BID, bid)
            clear_level(book, ASK, bid + 1)
            widened = True


@njit(cache=True, error_model="numpy", nogil=True)
def steer_open_interest(state, flow, target, row, rows, prior_volume):
    """Make open interest drift to its closing target, knowing nothing of the volume still to come.

    The next fills lean to opening or to closing. What they cannot carry (contracts that hardly trade) comes in even
    steps, a step a snapshot, and the last snapshots close what is left.
    """
    rows_left = rows - row
    gap = target - state.open_interest
    # The volume still to come is guessed from the volume so far, at first from `prior_volume` a snapshot.
    volume_left = (state.volume + 120.0 * prior_volume) / (row + 120.0) * rows_left
    state.steer = min(max(0.5 * gap / (volume_left + 1.0), -flow.open_fraction), flow.open_fraction)
    if rows_left <= max(20, rows // 50):
        state.open_interest += int(round(gap / rows_left))
        return
    carried = 2.0 * flow.open_fraction * volume_left
    if abs(gap) > carried:
        state.drift += (gap - carried if gap > 0 else gap + carried) / rows_left
        whole = int(state.drift)
        state.drift -= whole
        state.open_interest = max(0, state.open_interest + whole)


@njit(cache=True, error_model="numpy", nogil=True)
def play_day(
    book, key, flow, activity, tilt, code, jump_time, jump_ticks, session_rows, opening_interest, closing_interest
):
    """One contract-day.

    Parameters
    ----------
    book : Book, as `engine.empty_book` makes it. key : uint64. flow : FlowParameters. activity : float, 0.02 to 1.
    tilt : float64[n], tanh of the driver at each snapshot.
    code, jump_time, jump_ticks : int8[n], float64[m], int32[m], as `draw_path` returns them.
    session_rows : int64[s], first snapshot of each session; session_rows[0] == 0.
    opening_interest, closing_interest : int, lots at the day's start and after its last snapshot.

    Returns
    -------
    Tape
    """
    rows = tilt.size
    bid_price = np.zeros((rows, PRINTED_LEVELS), np.int32)
    bid_volume = np.zeros((rows, PRINTED_LEVELS), np.int32)
    ask_price = np.zeros((rows, PRINTED_LEVELS), np.int32)
    ask_volume = np.zeros((rows, PRINTED_LEVELS), np.int32)
    last, high, low = np.zeros(rows, np.int32), np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    volume, turnover = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    interest, efficient = np.zeros(rows, np.int64), np.zeros(rows, np.int32)
    arrival = np.empty(LEVELS)
    total = 0.0
    for k in range(LEVELS):
        total += activity * (flow.limit_rate * math.exp(-flow.limit_decay * k) + flow.limit_floor)
        arrival[k] = total

    state = book.state[0]
    seed(state, key)
    state.open_interest = opening_interest
    bid, widened, jumps, session = CENTRE, False, 0, 0
    for row in range(rows):
        state.row = row
        start, end = row * STEP_SECONDS, (row + 1) * STEP_SECONDS
        if session < session_rows.size and row == session_rows[session]:
            open_session(book, flow, bid, activity)
            widened = False
            session += 1
            if row == 0:
                # The opening auction trades, so that no snapshot is without a last price.
                noise_market_order(book, flow, tilt[0])
        bid, widened, jumps = half_second(
            book, flow, arrival, tilt[row], code[row], bid, widened, activity, start, end, jump_time, jump_ticks, jumps
        )
        steer_open_interest(state, flow, closing_interest, row, rows, 4.5 * activity)
        print_side(book, BID, bid_price, bid_volume, row)
        print_side(book, ASK, ask_price, ask_volume, row)
        last[row], high[row], low[row] = state.last - CENTRE, state.high - CENTRE, state.low - CENTRE
        volume[row] = state.volume
        turnover[row] = state.turnover - CENTRE * state.volume
        interest[row] = state.open_interest
        efficient[row] = bid - CENTRE
    trades = book.trades[: state.trades].copy()
    for i in range(trades.size):
        trades[i].price -= CENTRE
    return (
        bid_price, bid_volume, ask_price, ask_volume, last, high, low, volume, turnover, interest, efficient, trades
    )  # fmt: skip
