"""Steps orders through recorded books: arrival, depth walk, queue position, fees, answers. Compiled; state outside.

What belongs here: what happens, event by event. What does not: how tapes are packed (`book_tape`), what the numbers
mean (`assumptions`), and who hands them over (`simulate`). All functions share this file because of numba's cache.

Time runs as follows. A row of the tape is a book that stands at the exchange from its time on; the strategy sees it a
feed latency later and decides then. Before it decides, the exchange handles all that came until that moment, in the
order of time: a row first, then what arrives at the same moment. An order is answered a response latency after each
fill and after its end; positions and money are known from then on. Orders and answers keep their order, as on one
connection, however their latencies vary.

Functions are handed one address, under which those of all arrays lie, and view what they need with `carray`: numba
counts references to arrays that are arguments, which costs ten times the simulation. The caller keeps them alive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ghtrader_base.numba_cache import carray, intrinsic, njit, types
from ghtrader_market.accounting.marks import NEAR

NEVER = (1 << 63) - 1
LEVELS = 5
MOST_ORDERS = 64
"""Orders of one run that may be under way or resting at once."""
_SAME = 1e-9
"""CNY by which a price may be beyond a limit, for want of bits; an order pays no more."""
FILL_ROOM = 2048
"""Places for fills that must be free for a row to be simulated."""

# Modes: what the rows of `wanted` are.
TARGETS, ORDERS, QUOTES = range(3)

# Times in force. A good-till-cancelled order rests with what it does not take at once; post-only is refused instead.
FAK, GTC, POST_ONLY = range(3)

# Places in the state of a run, int64[STATE_SIZE].
(
    ROW, CURSOR, ACTIVE, NEXT_ARRIVAL, LAST_ARRIVAL, LAST_ANSWER, NET, TODAY, FILLS, KNOWN_FILLS, KNOWN_NET, TAKEN_ROW,
    NEXT_ID, WANTED, STEP, STEP_FILLED, STREAM, BUY_QUOTE, SELL_QUOTE, SENT, REFUSED, CANCELLED, OVERFLOW,
) = range(23)  # fmt: skip
STATE_SIZE = 23

# Places in the money of a run, float64[4]: CNY of all fills, and of those that are known.
CASH, FEES, KNOWN_CASH, KNOWN_FEES = range(4)

# Columns of orders, int64[MOST_ORDERS, 11] and float64[MOST_ORDERS, 3].
O_ID, O_SIDE, O_LEFT, O_STATUS, O_ARRIVES, O_TIF, O_CANCEL, O_KNOWN, O_SENT_ROW, O_SHOWN, O_LAST_LEG = range(11)
O_PRICE, O_FRONT, O_TRADED = range(3)
ORDER_SIZE, ORDER_VALUES = 11, 3
_UNDER_WAY, _RESTING, ENDED = range(3)

# Columns of fills, int64[m, 7] and float64[m, 2].
F_ROW, F_TIME, F_KNOWN, F_ORDER, F_LOTS, F_OFFSET, F_MAKER = range(7)
F_PRICE, F_FEE = range(2)
FILL_SIZE, FILL_VALUES = 7, 2

# Columns of orders that are handed in, int64[k, 6]: row, what (0 new, 1 cancel), side, lots, time in force, order.
I_ROW, I_CANCEL, I_SIDE, I_LOTS, I_TIF, I_ORDER = range(6)
IN_SIZE = 6

# Integer settings.
(
    N_ROWS, N_SHOWN_LEVELS, N_MODE, N_NEXT_BOOK, N_QUEUE, N_RULE, N_MAX_ORDER, N_ONLY_CLOSED, N_FLAT_FROM, N_MOST,
    N_WATCH, N_STREAM, N_ROOM, N_ORDER_STEP, N_ANSWER_STEP, N_SKIP, N_QUOTE_TIF,
) = range(17)  # fmt: skip
SETTING_SIZE = 17

# Number settings.
(
    V_TOLERANCE, V_SLIP, V_POWER, V_MULTIPLIER, V_OPEN_RATIO, V_OPEN_LOT, V_CLOSE_RATIO, V_CLOSE_LOT, V_TODAY_RATIO,
    V_TODAY_LOT, V_LOWER, V_UPPER,
) = range(12)  # fmt: skip
VALUE_SIZE = 12

# Addresses.
(
    A_TIMES, A_PRICES, A_LOTS, A_SESSION, A_SESSION_END, A_TRADE_FIRST, A_TRADE_PRICE, A_TRADE_LOTS, A_SEEN, A_ORDER,
    A_ANSWER, A_TARGETS, A_SKIP, A_STREAM, A_STREAM_PRICE, A_QUOTE_PRICES, A_QUOTE_LOTS, A_SEEN_NET, A_SEEN_MONEY,
    A_STATE, A_MONEY, A_ORDERS, A_ORDER_VALUES, A_TAKEN, A_FILLS, A_FILL_VALUES, A_SETTINGS, A_VALUES, A_MARKS,
) = range(29)  # fmt: skip
ADDRESS_SIZE = 29


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@njit(cache=True, error_model="numpy")
def _record(w: int, order: int, row: int, at: int, known: int, maker: int, lots: int, offset: int, price: float,
            fee: float) -> None:  # fmt: skip
    """Write one fill down, and count its money."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    money = carray(_pointer(address[A_MONEY]), (4,), np.float64)
    fills = carray(_pointer(address[A_FILLS]), (1, FILL_SIZE), np.int64)
    fill_values = carray(_pointer(address[A_FILL_VALUES]), (1, FILL_VALUES), np.float64)
    k = s[FILLS]
    if k >= n[N_ROOM]:  # between two decisions: no place to go on from
        s[OVERFLOW] = NEVER
        return
    fills[k, F_ROW], fills[k, F_TIME], fills[k, F_KNOWN], fills[k, F_ORDER] = row, at, known, order
    fills[k, F_LOTS], fills[k, F_OFFSET], fills[k, F_MAKER] = lots, offset, maker
    fill_values[k, F_PRICE], fill_values[k, F_FEE] = price, fee
    money[CASH] -= lots * price * v[V_MULTIPLIER]
    money[FEES] += fee
    s[NET] += lots
    s[FILLS] = k + 1


@njit(cache=True, error_model="numpy")
def _fill(w: int, i: int, row: int, at: int, maker: int, lots: int, price: float) -> None:
    """Give order `i` some lots: what is held against it is closed by the exchange's rule, the rest opens."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    answers = carray(_pointer(address[A_ANSWER]), (1,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    side, order = orders[i, O_SIDE], orders[i, O_ID]
    known = max(s[LAST_ANSWER], at + answers[orders[i, O_SENT_ROW] * n[N_ANSWER_STEP]])
    s[LAST_ANSWER] = known
    orders[i, O_LEFT] -= lots
    held = abs(s[NET]) if s[NET] * side < 0 else 0
    closing = min(lots, held)
    notional = price * v[V_MULTIPLIER]
    if closing > 0:
        his = held - s[TODAY]
        todays = min(s[TODAY], closing) if n[N_RULE] == 1 else max(closing - his, 0)
        early = closing - todays
        early_fee = early * (notional * v[V_CLOSE_RATIO] + v[V_CLOSE_LOT])
        todays_fee = todays * (notional * v[V_TODAY_RATIO] + v[V_TODAY_LOT])
        s[TODAY] -= todays
        if n[N_RULE] != 0:
            _record(w, order, row, at, known, maker, side * closing, 1, price, early_fee + todays_fee)
        else:
            if early > 0:
                _record(w, order, row, at, known, maker, side * early, 1, price, early_fee)
            if todays > 0:
                _record(w, order, row, at, known, maker, side * todays, 2, price, todays_fee)
    opened = lots - closing
    if opened > 0:
        s[TODAY] += opened
        fee = opened * (notional * v[V_OPEN_RATIO] + v[V_OPEN_LOT])
        _record(w, order, row, at, known, maker, side * opened, 0, price, fee)


@njit(cache=True, error_model="numpy")
def _end(w: int, i: int, at: int) -> None:
    """Nothing more happens to order `i` at the exchange; the answer is on its way."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    answers = carray(_pointer(address[A_ANSWER]), (1,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    known = max(s[LAST_ANSWER], at + answers[orders[i, O_SENT_ROW] * n[N_ANSWER_STEP]])
    s[LAST_ANSWER] = known
    orders[i, O_STATUS], orders[i, O_KNOWN] = ENDED, known


@njit(cache=True, error_model="numpy")
def _forget_taken(w: int, row: int) -> None:
    """What was taken from the book of an earlier row counts no more."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    taken = carray(_pointer(address[A_TAKEN]), (2, LEVELS), np.int64)
    if s[TAKEN_ROW] != row:
        s[TAKEN_ROW] = row
        for side in range(2):
            for level in range(LEVELS):
                taken[side, level] = 0


@njit(cache=True, error_model="numpy")
def _walk(w: int, i: int, row: int, at: int, maker: int) -> None:
    """Let order `i` take what the other side of row `row` shows within its price; the last level shown is the end."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    prices = carray(_pointer(address[A_PRICES]), (1, 2 * LEVELS), np.float64)
    book_lots = carray(_pointer(address[A_LOTS]), (1, 2 * LEVELS), np.int32)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    taken = carray(_pointer(address[A_TAKEN]), (2, LEVELS), np.int64)
    _forget_taken(w, row)
    mark = carray(_pointer(address[A_MARKS]), (1,), np.float64)[row]
    side, limit = orders[i, O_SIDE], order_values[i, O_PRICE]
    book = 1 if side > 0 else 0
    for level in range(LEVELS):
        price = prices[row, book * LEVELS + level]
        if orders[i, O_LEFT] <= 0 or price != price or (price - limit) * side > _SAME:
            break
        if abs(price - mark) > NEAR * mark:  # nowhere near the market; no mark judges nothing
            break
        got = min(orders[i, O_LEFT], max(book_lots[row, book * LEVELS + level] - taken[book, level], 0))
        if got > 0:
            taken[book, level] += got
            _fill(w, i, row, at, maker, got, limit if maker else price)


@njit(cache=True, error_model="numpy")
def _shown(w: int, row: int, side: int, price: float) -> int:
    """Lots that row `row` shows at a price of a side; -1 where the price lies beyond what the source shows."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    prices = carray(_pointer(address[A_PRICES]), (1, 2 * LEVELS), np.float64)
    book_lots = carray(_pointer(address[A_LOTS]), (1, 2 * LEVELS), np.int32)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    book = 0 if side > 0 else LEVELS
    for level in range(n[N_SHOWN_LEVELS]):
        here = prices[row, book + level]
        if here != here:
            return 0  # fewer levels than the source can show: there is nothing beyond
        if abs(here - price) <= v[V_TOLERANCE]:
            return int(book_lots[row, book + level])
        if (price - here) * side > 0.0:
            return 0
    return -1


@njit(cache=True, error_model="numpy")
def _refused(w: int, i: int, row: int) -> bool:
    """Whether the exchange takes no such order: no session, beyond the limits, or opening where only closing is."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    session_of = carray(_pointer(address[A_SESSION]), (1,), np.int32)
    session_end = carray(_pointer(address[A_SESSION_END]), (1,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    side, price = orders[i, O_SIDE], order_values[i, O_PRICE]
    session = session_of[row]
    # What arrived before the end meets the session's last book, though that is stamped with the end or after it.
    if session != session_of[orders[i, O_SENT_ROW]] or orders[i, O_ARRIVES] >= session_end[session]:
        return True
    if orders[i, O_TIF] != FAK and (price < v[V_LOWER] or price > v[V_UPPER]):
        return True
    if n[N_ONLY_CLOSED] != 0:
        free = abs(s[NET]) if s[NET] * side < 0 else 0
        if orders[i, O_LEFT] > free:
            return True
    return False


@njit(cache=True, error_model="numpy")
def _arrive(w: int, i: int, row: int, at: int) -> None:
    """Order `i` meets the book of row `row`."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    prices = carray(_pointer(address[A_PRICES]), (1, 2 * LEVELS), np.float64)
    answers = carray(_pointer(address[A_ANSWER]), (1,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    if _refused(w, i, row):
        s[REFUSED] += 1
        _end(w, i, at)
        return
    side, limit, tif = orders[i, O_SIDE], order_values[i, O_PRICE], orders[i, O_TIF]
    best = prices[row, LEVELS if side > 0 else 0]
    if best == best and (best - limit) * side <= _SAME:
        if tif == POST_ONLY:
            s[REFUSED] += 1
            _end(w, i, at)
            return
        _walk(w, i, row, at, 0)
    if orders[i, O_LEFT] <= 0:
        _end(w, i, at)
    elif tif == FAK or abs(limit) == np.inf:  # there is no price at which it could rest
        s[CANCELLED] += 1
        _end(w, i, at)
    else:
        shown = _shown(w, row, side, limit)
        orders[i, O_STATUS], orders[i, O_SHOWN] = _RESTING, shown
        order_values[i, O_FRONT] = shown if shown >= 0 else np.inf  # behind all that ever shows there
        order_values[i, O_TRADED] = 0.0
        known = max(s[LAST_ANSWER], at + answers[orders[i, O_SENT_ROW] * n[N_ANSWER_STEP]])
        s[LAST_ANSWER] = orders[i, O_KNOWN] = known


@njit(cache=True, error_model="numpy")
def _next_arrival(w: int) -> None:
    """Work out when the exchange next receives something."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    soonest = NEVER
    for i in range(s[ACTIVE]):
        if orders[i, O_STATUS] == _UNDER_WAY:
            soonest = min(soonest, orders[i, O_ARRIVES])
        elif orders[i, O_STATUS] == _RESTING:
            soonest = min(soonest, orders[i, O_CANCEL])
    s[NEXT_ARRIVAL] = soonest


@njit(cache=True, error_model="numpy")
def _receive(w: int, row: int, now: int) -> None:
    """Handle what arrives first; it meets the book of row `row`."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    soonest, at = s[NEXT_ARRIVAL], max(s[NEXT_ARRIVAL], now)
    for i in range(s[ACTIVE]):
        if orders[i, O_STATUS] == _UNDER_WAY and orders[i, O_ARRIVES] == soonest:
            _arrive(w, i, row, at)
            break
        if orders[i, O_STATUS] == _RESTING and orders[i, O_CANCEL] == soonest:
            s[CANCELLED] += 1
            _end(w, i, at)
            break
    _next_arrival(w)


@njit(cache=True, error_model="numpy")
def _front_share(w: int, front: float, back: float) -> float:
    """The chance that a cancelled lot stood behind: f(back) / (f(back) + f(front)), f a power or log(1 + x)."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    if n[N_QUEUE] == 1:
        ahead, behind = front ** v[V_POWER], back ** v[V_POWER]
    else:
        ahead, behind = np.log(1.0 + front), np.log(1.0 + back)
    share = behind / (behind + ahead)
    # No number where more than a lot too many was taken off the front, or nobody is there: nobody stands before it.
    return share if abs(share) < np.inf else 1.0


@njit(cache=True, error_model="numpy")
def _requeue(w: int, i: int, shown: int) -> None:
    """Work out how many lots still stand before order `i` once its price shows `shown` lots."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    before, front, traded = orders[i, O_SHOWN], order_values[i, O_FRONT], order_values[i, O_TRADED]
    if shown == before:
        return  # what was traded explains a smaller queue later
    orders[i, O_SHOWN], order_values[i, O_TRADED] = shown, 0.0
    gone = before - shown - traded  # trades were taken off already
    if n[N_QUEUE] == 0 or before < 0 or gone < 0.0:
        order_values[i, O_FRONT] = min(front, float(shown))
        return
    back = before - front
    share = _front_share(w, front, back)
    left = front - (1.0 - share) * gone + min(back - share * gone, 0.0)
    order_values[i, O_FRONT] = min(left, float(shown))


@njit(cache=True, error_model="numpy")
def _trade(w: int, price: float, lots: int, row: int, at: int) -> None:
    """A trade of the tape meets resting orders, oldest first; `lots` is negative where the seller took."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    side, rest = (1 if lots < 0 else -1), float(abs(lots))
    for i in range(s[ACTIVE]):
        if orders[i, O_STATUS] != _RESTING or orders[i, O_SIDE] != side:
            continue
        better = (order_values[i, O_PRICE] - price) * side
        if better > v[V_TOLERANCE]:
            _fill(w, i, row, at, 1, orders[i, O_LEFT], order_values[i, O_PRICE])
        elif better >= -v[V_TOLERANCE]:
            order_values[i, O_FRONT] -= rest
            order_values[i, O_TRADED] += rest
            got = min(orders[i, O_LEFT], int(max(0.0, min(np.floor(0.5 - order_values[i, O_FRONT]), 1e15))))
            if got > 0:
                order_values[i, O_FRONT] = 0.0
                rest -= min(rest, float(got))
                _fill(w, i, row, at, 1, got, order_values[i, O_PRICE])
        if orders[i, O_LEFT] <= 0:
            _end(w, i, at)


@njit(cache=True, error_model="numpy")
def _row(w: int, row: int) -> None:
    """Resting orders meet the trades before row `row`, then its book."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    times = carray(_pointer(address[A_TIMES]), (1,), np.int64)
    prices = carray(_pointer(address[A_PRICES]), (1, 2 * LEVELS), np.float64)
    trade_first = carray(_pointer(address[A_TRADE_FIRST]), (1,), np.int64)
    trade_price = carray(_pointer(address[A_TRADE_PRICE]), (1,), np.float64)
    trade_lots = carray(_pointer(address[A_TRADE_LOTS]), (1,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    at = times[row]
    for k in range(trade_first[row], trade_first[row + 1]):
        _trade(w, trade_price[k], trade_lots[k], row, at)
    for i in range(s[ACTIVE]):
        if orders[i, O_STATUS] != _RESTING:
            continue
        side, price = orders[i, O_SIDE], order_values[i, O_PRICE]
        best = prices[row, LEVELS if side > 0 else 0]
        if best == best and (best - price) * side <= _SAME:
            _walk(w, i, row, at, 1)
            if orders[i, O_LEFT] <= 0:
                _end(w, i, at)
                continue
        shown = _shown(w, row, side, price)
        if shown >= 0:
            _requeue(w, i, shown)


@njit(cache=True, error_model="numpy")
def _advance(w: int, until: int) -> None:
    """Let the exchange handle everything up to a time: rows, and what arrives."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    times = carray(_pointer(address[A_TIMES]), (1,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    rows = n[N_ROWS]
    while True:
        e = s[CURSOR]
        following = times[e] if e < rows else NEVER
        soonest = s[NEXT_ARRIVAL]
        if soonest < NEVER and e > 0:
            if n[N_NEXT_BOOK] != 0:
                if soonest <= times[e - 1]:
                    _receive(w, e - 1, times[e - 1])
                    continue
            elif soonest <= until and soonest < following:
                _receive(w, e - 1, soonest)
                continue
        if e < rows and following <= until:
            if s[ACTIVE] > 0:
                _row(w, e)
                _next_arrival(w)
            s[CURSOR] = e + 1
            continue
        return


@njit(cache=True, error_model="numpy")
def _learn(w: int, now: int) -> None:
    """The strategy learns what was answered up to now; ended orders leave the table."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    money = carray(_pointer(address[A_MONEY]), (4,), np.float64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    fills = carray(_pointer(address[A_FILLS]), (1, FILL_SIZE), np.int64)
    fill_values = carray(_pointer(address[A_FILL_VALUES]), (1, FILL_VALUES), np.float64)
    while s[KNOWN_FILLS] < s[FILLS] and fills[s[KNOWN_FILLS], F_KNOWN] <= now:
        k = s[KNOWN_FILLS]
        lots = fills[k, F_LOTS]
        s[KNOWN_NET] += lots
        money[KNOWN_CASH] -= lots * fill_values[k, F_PRICE] * v[V_MULTIPLIER]
        money[KNOWN_FEES] += fill_values[k, F_FEE]
        s[KNOWN_FILLS] = k + 1
    kept = 0
    for i in range(s[ACTIVE]):
        if orders[i, O_STATUS] == ENDED and orders[i, O_KNOWN] <= now:
            if orders[i, O_ID] == s[STEP]:
                s[STEP] = -1
                s[STEP_FILLED] = 1 if orders[i, O_LEFT] < orders[i, O_LAST_LEG] else 0
            if orders[i, O_ID] == s[BUY_QUOTE]:
                s[BUY_QUOTE] = -1
            if orders[i, O_ID] == s[SELL_QUOTE]:
                s[SELL_QUOTE] = -1
            continue
        if kept != i:
            for column in range(ORDER_SIZE):
                orders[kept, column] = orders[i, column]
            for column in range(ORDER_VALUES):
                order_values[kept, column] = order_values[i, column]
        kept += 1
    s[ACTIVE] = kept


@njit(cache=True, error_model="numpy")
def _arrival(w: int, now: int, latency: int) -> int:
    """When what is sent now reaches the exchange: never before what was sent earlier."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    s[LAST_ARRIVAL] = max(s[LAST_ARRIVAL], now + latency)
    return int(s[LAST_ARRIVAL])


@njit(cache=True, error_model="numpy")
def _send(w: int, order: int, t: int, now: int, latency: int, side: int, lots: int, price: float, tif: int,
          last_leg: int) -> bool:  # fmt: skip
    """Send an order; False where the table is full."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    i = s[ACTIVE]
    if i >= MOST_ORDERS:
        s[OVERFLOW] = t + 1
        return False
    s[ACTIVE] = i + 1
    s[SENT] += 1
    arrives = _arrival(w, now, latency)
    orders[i, O_ID], orders[i, O_SIDE], orders[i, O_LEFT], orders[i, O_STATUS] = order, side, lots, _UNDER_WAY
    orders[i, O_ARRIVES], orders[i, O_TIF], orders[i, O_CANCEL], orders[i, O_KNOWN] = arrives, tif, NEVER, NEVER
    orders[i, O_SENT_ROW], orders[i, O_SHOWN], orders[i, O_LAST_LEG] = t, -1, last_leg
    order_values[i, O_PRICE], order_values[i, O_FRONT], order_values[i, O_TRADED] = price, np.inf, 0.0
    s[NEXT_ARRIVAL] = min(s[NEXT_ARRIVAL], arrives)
    return True


@njit(cache=True, error_model="numpy")
def _cancel(w: int, order: int, now: int, latency: int) -> bool:
    """Ask for the end of an order; whether it is one that is not known to have ended and was not asked before."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    for i in range(s[ACTIVE]):
        if orders[i, O_ID] == order:
            if orders[i, O_CANCEL] < NEVER:
                return False
            orders[i, O_CANCEL] = _arrival(w, now, latency)
            _next_arrival(w)
            return True
    return False


@njit(cache=True, error_model="numpy")
def _step_towards(w: int, t: int, now: int, latency: int, wanted: int) -> bool:
    """Send what takes the known position one step towards `wanted`, priced by row `t`; whether anything was sent."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    prices = carray(_pointer(address[A_PRICES]), (1, 2 * LEVELS), np.float64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    net = s[KNOWN_NET]
    if s[STEP] >= 0 or wanted == net:
        return False
    side = 1 if wanted > net else -1
    best = prices[t, LEVELS if side > 0 else 0]
    if best != best:
        return False
    need, his = abs(wanted - net), abs(net) - s[TODAY]
    lots = last = 0
    if net * side < 0:
        lots = min(abs(net), need)
        last = lots
        if n[N_RULE] == 0:
            last = lots - min(his, lots) if lots > his else lots
    elif n[N_ONLY_CLOSED] != 0:
        return False
    else:
        lots = last = need
    limit = side * np.inf
    if v[V_SLIP] < np.inf:
        limit = np.rint(best / (4.0 * v[V_TOLERANCE])) * (4.0 * v[V_TOLERANCE]) + side * v[V_SLIP]
        if limit <= 0.0:
            return False
    order = s[NEXT_ID]
    if not _send(w, order, t, now, latency, side, lots, limit, FAK,
                 (last - 1) % n[N_MAX_ORDER] + 1):  # fmt: skip
        return False
    s[NEXT_ID], s[STEP] = order + 1, order
    return True


@njit(cache=True, error_model="numpy")
def _close_all(w: int, t: int, now: int, latency: int) -> None:
    """Withdraw what rests, then close what is held."""
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    idle = True
    for i in range(s[ACTIVE]):
        if orders[i, O_ID] != s[STEP]:
            idle = False
            _cancel(w, orders[i, O_ID], now, latency)
    if idle:
        _step_towards(w, t, now, latency, 0)


@njit(cache=True, error_model="numpy")
def _quote(w: int, place: int, side: int, price: float, lots: int, t: int, now: int, latency: int) -> None:
    """Keep one quote of a side where it is wanted: another price is a cancel, and once that is answered a new order.

    A quote is not cancelled before the exchange has confirmed it.
    """
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    v = carray(_pointer(address[A_VALUES]), (VALUE_SIZE,), np.float64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    orders = carray(_pointer(address[A_ORDERS]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    order_values = carray(_pointer(address[A_ORDER_VALUES]), (MOST_ORDERS, ORDER_VALUES), np.float64)
    room = n[N_MOST] - side * s[KNOWN_NET]
    lots = min(lots, room)
    wanted = price == price and lots > 0
    order = s[place]
    if order < 0:
        if wanted and _send(w, s[NEXT_ID], t, now, latency, side, lots, price, n[N_QUOTE_TIF], 1):
            s[place] = s[NEXT_ID]
            s[NEXT_ID] += 1
        return
    for i in range(s[ACTIVE]):
        confirmed = orders[i, O_STATUS] == _RESTING and orders[i, O_KNOWN] <= now
        stays = wanted and abs(order_values[i, O_PRICE] - price) <= v[V_TOLERANCE]
        if orders[i, O_ID] == order and confirmed and not stays:
            _cancel(w, order, now, latency)


@njit(cache=True, error_model="numpy")
def run(w: int, until: int) -> int:
    """Simulate rows up to `until`, from where the state stands; the row that is next, earlier where fills need room.

    Parameters
    ----------
    w : int
        Address of int64[ADDRESS_SIZE], the addresses of all arrays; `simulate.SimulatedRun` says what each is.
    until : int
        Row after the last one.
    """
    address = carray(_pointer(w), (ADDRESS_SIZE,), np.int64)
    s = carray(_pointer(address[A_STATE]), (STATE_SIZE,), np.int64)
    n = carray(_pointer(address[A_SETTINGS]), (SETTING_SIZE,), np.int64)
    money = carray(_pointer(address[A_MONEY]), (4,), np.float64)
    rows = n[N_ROWS]
    times = carray(_pointer(address[A_TIMES]), (1,), np.int64)
    seen = carray(_pointer(address[A_SEEN]), (1,), np.int64)
    latencies = carray(_pointer(address[A_ORDER]), (1,), np.int64)
    targets = carray(_pointer(address[A_TARGETS]), (1,), np.int64)
    skip = carray(_pointer(address[A_SKIP]), (1,), np.int64)
    stream = carray(_pointer(address[A_STREAM]), (1, IN_SIZE), np.int64)
    stream_price = carray(_pointer(address[A_STREAM_PRICE]), (1,), np.float64)
    quote_prices = carray(_pointer(address[A_QUOTE_PRICES]), (1, 2), np.float64)
    quote_lots = carray(_pointer(address[A_QUOTE_LOTS]), (1, 2), np.int64)
    seen_net = carray(_pointer(address[A_SEEN_NET]), (1,), np.int64)
    seen_money = carray(_pointer(address[A_SEEN_MONEY]), (1, 2), np.float64)
    room, watch, mode, flat_from = n[N_ROOM], n[N_WATCH], n[N_MODE], n[N_FLAT_FROM]
    may_skip = mode == TARGETS and watch == 0
    t = s[ROW]
    while t < until:
        # Nothing is under way and what is wanted is held: until that changes there is nothing to do.
        if (
            may_skip
            and t < flat_from
            and s[ACTIVE] == 0
            and s[WANTED] == targets[t]
            and s[KNOWN_NET] == s[WANTED]
            and s[KNOWN_FILLS] == s[FILLS]
        ):
            t = min(skip[t], until, flat_from) if n[N_SKIP] != 0 else t + 1
            continue
        if s[FILLS] + FILL_ROOM > room or s[OVERFLOW] > 0:
            break
        if s[ACTIVE] == 0 and s[CURSOR] <= t:
            s[CURSOR] = t + 1
        now = seen[t]
        step_before = s[STEP]
        if s[ACTIVE] > 0 or s[CURSOR] < rows and times[s[CURSOR]] <= now:
            _advance(w, now)
        if s[ACTIVE] > 0 or s[KNOWN_FILLS] < s[FILLS]:
            _learn(w, now)
        if watch != 0:
            seen_net[t] = s[KNOWN_NET]
            seen_money[t, 0], seen_money[t, 1] = money[KNOWN_CASH], money[KNOWN_FEES]
        latency = latencies[t * n[N_ORDER_STEP]]
        if t >= flat_from:
            _close_all(w, t, now, latency)
        elif mode == TARGETS:
            # As the trading core: with the book of a tick it still wants what it was told with the one before.
            acts = s[STEP] < 0 and (step_before < 0 or s[STEP_FILLED] != 0)
            for told in range(2):
                if told == 1:
                    s[WANTED], acts = targets[t], True
                while acts and _step_towards(w, t, now, latency, s[WANTED]):
                    _advance(w, now)
                    _learn(w, now)
                    acts = s[STEP] < 0 and s[STEP_FILLED] != 0
        elif mode == ORDERS:
            while s[STREAM] < n[N_STREAM] and stream[s[STREAM], I_ROW] <= t:
                k = s[STREAM]
                s[STREAM] = k + 1
                if stream[k, I_CANCEL] != 0:
                    _cancel(w, stream[k, I_ORDER], now, latency)
                else:
                    _send(w, stream[k, I_ORDER], t, now, latency, stream[k, I_SIDE], stream[k, I_LOTS], stream_price[k],
                          stream[k, I_TIF], 1)  # fmt: skip
        else:
            _quote(w, BUY_QUOTE, 1, quote_prices[t, 0], quote_lots[t, 0], t, now, latency)
            _quote(w, SELL_QUOTE, -1, quote_prices[t, 1], quote_lots[t, 1], t, now, latency)
        if s[NEXT_ARRIVAL] <= now:
            _advance(w, now)  # what took no time to arrive
        t += 1
    s[ROW] = t
    return t
