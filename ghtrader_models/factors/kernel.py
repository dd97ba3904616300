"""The one compiled step: every op of a program over a block of ticks, with carried state.

What belongs here: the op codes, the state layouts, and the arithmetic. Batch calls `run` with blocks of some hundred
ticks, live with one tick; a tick's arithmetic is the same in both, in the same order, so the results are equal to the
last bit. All jitted code of the factors is in this file, because numba's cache is keyed by file.

Why it looks like C: arrays handed around inside numba cost reference counting at every touch. `run` gets the address of
one int64 "frame" (see `FRAME`) that holds sizes and addresses; whoever calls keeps the arrays alive and has checked
their types and shapes. That is `engine`, and nobody else.

Windows without drift. A windowed op keeps its ring in place: the block being filled is raw and summed forward (the
prefix), the block before it was turned, when it was full, into sums from each place to its end (the suffixes). A window
is always one suffix plus the prefix: nothing is ever subtracted, so an old level leaves no residue however far it was,
and the rule depends on tick counts alone. Moments are taken about the last value of the block before, which lies inside
the window: the relative error of a variance stays near window * 2**-52. Each ring starts at a place that depends on the
expression's own hash, so that live ticks do not all meet the rebuild of equal windows at once.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# Op codes. Sources first; a = operand slot or argument, b likewise.
CONST, PRICE, VOLUME, MID, SPREAD, MICROPRICE, IMBALANCE, DEPTH, LAST = range(9)
OFI, DELTA, INTERVAL, VWAP_OFFSET, SIGNED_VOLUME, SESSION_TIME, SESSION_AGE = range(20, 27)
ADD, SUB, MUL, RATIO, LOG, ABS, SIGN, CLIP = range(40, 48)
LAG, SUM, MEAN, STD, ZSCORE, MIN, MAX, EMA, AT_CHANGE = range(60, 69)

OP_FIELDS = 5
"""An op is int64[5]: code, a, b, window (or lag, span), offset of its state."""
PARAM_FIELDS = 2
"""Beside it float64[2]: numbers of the expression."""

FRAME = (
    "n_ops",
    "n_factors",
    "n_ticks",
    "block",
    "ops",
    "params",
    "outputs",
    "state",
    "slots",
    "values",
    "value_stride",
    "times",
    "bounds",
    "n_bounds",
    "out",
    "context",
)
"""What a frame holds, in order: counts and addresses.

ops int64[n_ops, 5], params float64[n_ops, 2], outputs int64[n_factors] (slots), state float64[*] (read and written),
slots float64[n_ops, block + pad] (scratch), values float64[27, n] with `value_stride` numbers a row, times int64[n],
bounds int64[n_bounds, 2] (session start and end), out float32[n, n_factors], context float64[2] (price tick and
multiplier).
"""
SLOT_PAD = 8
"""Numbers of padding a slot, so that slots of a power-of-two block do not share cache sets."""

ROW_LAST, ROW_VOLUME, ROW_AMOUNT, ROW_OPEN_INTEREST, ROW_BID1 = 0, 4, 5, 6, 7
"""Rows of the value matrix (`ghtrader_market.ticks.VALUE_COLUMNS`); a level is bid price, bid volume, ask price, ask
volume, four rows."""

_P_F64 = types.CPointer(types.float64)
_P_F32 = types.CPointer(types.float32)
_P_I64 = types.CPointer(types.int64)


def _cast(pointer):
    def typed(typingctx, address):
        def codegen(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(pointer))

        return pointer(types.int64), codegen

    return intrinsic(typed)


_f64, _f32, _i64 = _cast(_P_F64), _cast(_P_F32), _cast(_P_I64)
_jit = njit(cache=True, error_model="numpy", nogil=True)


# Sources that carry the tick before: s holds it, NaN at the day's first tick.


@_jit
def _ofi(bid, bid_volume, ask, ask_volume, o, s, n):
    b0, qb0, a0, qa0 = s[0], s[1], s[2], s[3]
    for i in range(n):
        b, qb, a, qa = bid[i], bid_volume[i], ask[i], ask_volume[i]
        e = 0.0
        if b >= b0:
            e += qb
        if b <= b0:
            e -= qb0
        if a <= a0:
            e -= qa
        if a >= a0:
            e += qa0
        o[i] = e + (b - b) + (b0 - b0) + (a - a) + (a0 - a0)  # NaN where a price is
        b0, qb0, a0, qa0 = b, qb, a, qa
    s[0], s[1], s[2], s[3] = b0, qb0, a0, qa0


@_jit
def _delta(x, o, s, n, may_fall):
    before = s[0]
    for i in range(n):
        d = x[i] - before
        o[i] = d if d >= 0.0 or may_fall != 0 else np.nan
        before = x[i]
    s[0] = before


@_jit
def _interval(times, o, s, n):
    before = s[0]
    for i in range(n):
        now = float(times[i] // 1000)  # microseconds are exact in a float64, nanoseconds are not
        o[i] = (now - before) * 1e-6
        before = now
    s[0] = before


@_jit
def _trades(volume, amount, bid, ask, o, s, n, price_tick, multiplier, signed):
    volume0, amount0, mid0, spread0 = s[0], s[1], s[2], s[3]
    for i in range(n):
        b, a = np.rint(bid[i] / price_tick), np.rint(ask[i] / price_tick)
        mid, spread = (b + a) * 0.5, a - b
        lots = volume[i] - volume0
        if lots > 0.0:
            offset = (amount[i] - amount0) / lots / multiplier / price_tick - (mid0 + mid) * 0.5
            if signed != 0:
                share = offset / ((spread0 + spread) * 0.25)
                o[i] = lots * (1.0 if share > 1.0 else (-1.0 if share < -1.0 else share))
            else:
                o[i] = offset
        else:
            o[i] = 0.0 if lots == 0.0 else np.nan
        volume0, amount0, mid0, spread0 = volume[i], amount[i], mid, spread
    s[0], s[1], s[2], s[3] = volume0, amount0, mid0, spread0


@_jit
def _session_time(times, bounds, n_bounds, o, n):
    total = 0
    for j in range(n_bounds):
        total += bounds[2 * j + 1] - bounds[2 * j]
    for i in range(n):
        passed = 0
        for j in range(n_bounds):
            passed += max(0, min(times[i], bounds[2 * j + 1]) - bounds[2 * j])
        o[i] = float(passed) / float(total)


@_jit
def _session_age(times, bounds, n_bounds, o, n):
    for i in range(n):
        o[i] = np.nan
        for j in range(n_bounds):
            if bounds[2 * j] <= times[i] < bounds[2 * j + 1]:
                o[i] = float(times[i] - bounds[2 * j]) * 1e-9


# Operators with memory. Window state: s = place, finite run, (moments: reference,) prefix(es), ring(s) of window + 1;
# the ring's last place is the empty suffix and stays neutral.


@_jit
def _lag(x, o, s, w, n):
    place = int(s[0])
    for i in range(n):
        now = x[i]
        o[i] = s[1 + place]
        s[1 + place] = now
        place += 1
        if place == w:
            place = 0
    s[0] = float(place)


@_jit
def _sum(x, o, s, w, n, divisor):
    place, run, prefix = int(s[0]), int(s[1]), s[2]
    i = 0
    while i < n:
        end = min(n, i + w - place)
        while i < end:
            v = x[i]
            if v - v == 0.0:
                run += 1
            else:
                run, v = 0, 0.0
            s[3 + place] = v
            prefix += v
            place += 1
            o[i] = (prefix + s[3 + place]) / divisor if run >= w else np.nan
            i += 1
        if place == w:
            suffix = 0.0
            for j in range(w - 1, -1, -1):
                suffix += s[3 + j]
                s[3 + j] = suffix
            place, prefix = 0, 0.0
    s[0], s[1], s[2] = float(place), float(run), prefix


@_jit
def _extreme(x, o, s, w, n, sign):
    place, run, prefix = int(s[0]), int(s[1]), s[2]
    i = 0
    while i < n:
        end = min(n, i + w - place)
        while i < end:
            v = x[i] * sign
            if v - v == 0.0:
                run += 1
            else:
                run, v = 0, -np.inf
            s[3 + place] = v
            prefix = max(prefix, v)
            place += 1
            o[i] = max(prefix, s[3 + place]) * sign if run >= w else np.nan
            i += 1
        if place == w:
            suffix = -np.inf
            for j in range(w - 1, -1, -1):
                suffix = max(suffix, s[3 + j])
                s[3 + j] = suffix
            place, prefix = 0, -np.inf
    s[0], s[1], s[2] = float(place), float(run), prefix


@_jit
def _moments(x, o, s, w, n, zscore):
    place, run, reference, prefix1, prefix2 = int(s[0]), int(s[1]), s[2], s[3], s[4]
    ring1, ring2, share = 5, 6 + w, 1.0 / w
    i = 0
    while i < n:
        end = min(n, i + w - place)
        while i < end:
            v = x[i]
            if v - v == 0.0:
                run += 1
            else:
                run, v = 0, reference
            s[ring1 + place] = v
            d = v - reference
            prefix1 += d
            prefix2 += d * d
            place += 1
            if place == w:  # the block is full: a new reference, and suffixes about it
                reference = v
                suffix1, suffix2 = 0.0, 0.0
                for j in range(w - 1, -1, -1):
                    e = s[ring1 + j] - reference
                    suffix1 += e
                    suffix2 += e * e
                    s[ring1 + j] = suffix1
                    s[ring2 + j] = suffix2
                prefix1, prefix2 = 0.0, 0.0
                place = 0
                d = 0.0
                total1, total2 = suffix1, suffix2
            else:
                total1, total2 = prefix1 + s[ring1 + place], prefix2 + s[ring2 + place]
            if run < w:
                o[i] = np.nan
            else:
                mean = total1 * share
                variance = total2 * share - mean * mean
                deviation = math.sqrt(variance) if variance > 0.0 else 0.0
                if zscore == 0:
                    o[i] = deviation
                else:
                    o[i] = (d - mean) / deviation if deviation > 0.0 else 0.0
            i += 1
    s[0], s[1], s[2], s[3], s[4] = float(place), float(run), reference, prefix1, prefix2


@_jit
def _ema(x, o, s, span, n, alpha):
    e, seen = s[0], s[1]
    for i in range(n):
        v = x[i]
        if v - v == 0.0:
            e = v if seen == 0.0 else e + alpha * (v - e)
            seen += 1.0
            o[i] = e if seen >= span else np.nan
        else:
            o[i] = np.nan
    s[0], s[1] = e, seen


@_jit
def _at_change(x, y, o, s, n):
    held, before = s[0], s[1]
    for i in range(n):
        now = y[i]
        if now == now:
            if now != before:
                held, before = x[i], now
            o[i] = held
        else:
            o[i] = np.nan
    s[0], s[1] = held, before


@_jit
def _source(code, a, b, o, s, values, stride, times, bounds, n_bounds, context, n):
    price_tick = context[0]
    bid = _f64(values + 8 * stride * (ROW_BID1 + 4 * (a - 1)))
    bid_volume = _f64(values + 8 * stride * (ROW_BID1 + 4 * (a - 1) + 1))
    ask = _f64(values + 8 * stride * (ROW_BID1 + 4 * (a - 1) + 2))
    ask_volume = _f64(values + 8 * stride * (ROW_BID1 + 4 * (a - 1) + 3))
    if code == PRICE:
        price = bid if b == 0 else ask
        for i in range(n):
            o[i] = np.rint(price[i] / price_tick)
    elif code == VOLUME:
        price, volume = (bid, bid_volume) if b == 0 else (ask, ask_volume)
        for i in range(n):
            o[i] = volume[i] + (price[i] - price[i])
    elif code == MID:
        for i in range(n):
            o[i] = (np.rint(bid[i] / price_tick) + np.rint(ask[i] / price_tick)) * 0.5
    elif code == SPREAD:
        for i in range(n):
            o[i] = np.rint(ask[i] / price_tick) - np.rint(bid[i] / price_tick)
    elif code == MICROPRICE:
        for i in range(n):
            qb, qa = bid_volume[i], ask_volume[i]
            o[i] = (np.rint(bid[i] / price_tick) * qa + np.rint(ask[i] / price_tick) * qb) / (qb + qa)
    elif code == IMBALANCE:
        for i in range(n):
            qb, qa = bid_volume[i] + (bid[i] - bid[i]), ask_volume[i] + (ask[i] - ask[i])
            o[i] = (qb - qa) / (qb + qa)
    elif code == DEPTH:  # a = levels, b = side
        for i in range(n):
            o[i] = 0.0
        for level in range(a):
            row = ROW_BID1 + 4 * level + 2 * b
            price, volume = _f64(values + 8 * stride * row), _f64(values + 8 * stride * (row + 1))
            for i in range(n):
                o[i] += volume[i] + (price[i] - price[i])
    elif code == LAST:
        last = _f64(values + 8 * stride * ROW_LAST)
        for i in range(n):
            o[i] = np.rint(last[i] / price_tick)
    elif code == OFI:
        _ofi(bid, bid_volume, ask, ask_volume, o, s, n)
    elif code == DELTA:  # a = row, b = whether it may fall
        _delta(_f64(values + 8 * stride * a), o, s, n, b)
    elif code in (VWAP_OFFSET, SIGNED_VOLUME):
        volume, amount = _f64(values + 8 * stride * ROW_VOLUME), _f64(values + 8 * stride * ROW_AMOUNT)
        signed = 1 if code == SIGNED_VOLUME else 0
        _trades(volume, amount, bid, ask, o, s, n, price_tick, context[1], signed)
    elif code == INTERVAL:
        _interval(times, o, s, n)
    elif code == SESSION_TIME:
        _session_time(times, bounds, n_bounds, o, n)
    elif code == SESSION_AGE:
        _session_age(times, bounds, n_bounds, o, n)


@_jit
def _elementwise(code, x, y, o, p0, p1, n):
    if code == CONST:
        for i in range(n):
            o[i] = p0
    elif code == ADD:
        for i in range(n):
            o[i] = x[i] + y[i]
    elif code == SUB:
        for i in range(n):
            o[i] = x[i] - y[i]
    elif code == MUL:
        for i in range(n):
            o[i] = x[i] * y[i]
    elif code == RATIO:
        for i in range(n):
            d = y[i]
            o[i] = x[i] / d if d != 0.0 else p0 + (x[i] - x[i])
    elif code == LOG:
        for i in range(n):
            o[i] = math.log(x[i]) if x[i] > 0.0 else np.nan
    elif code == ABS:
        for i in range(n):
            o[i] = abs(x[i])
    elif code == SIGN:
        for i in range(n):
            v = x[i]
            o[i] = 1.0 if v > 0.0 else (-1.0 if v < 0.0 else v - v)
    elif code == CLIP:
        for i in range(n):
            v = x[i]
            o[i] = p0 if v < p0 else (p1 if v > p1 else v)


@_jit
def _op(code, a, b, w, p0, p1, slots, width, o, s, n):
    x, y = _f64(slots + 8 * width * a), _f64(slots + 8 * width * b)
    if code < LAG:
        _elementwise(code, x, y, o, p0, p1, n)
    elif code == SUM:
        _sum(x, o, s, w, n, 1.0)
    elif code == MEAN:
        _sum(x, o, s, w, n, float(w))
    elif code in (STD, ZSCORE):
        _moments(x, o, s, w, n, 1 if code == ZSCORE else 0)
    elif code in (MIN, MAX):
        _extreme(x, o, s, w, n, 1.0 if code == MAX else -1.0)
    elif code == EMA:
        _ema(x, o, s, w, n, p0)
    elif code == LAG:
        _lag(x, o, s, w, n)
    elif code == AT_CHANGE:
        _at_change(x, y, o, s, n)


@_jit
def _emit(slots, width, outputs, n_factors, out, n):
    """Slots to float32 rows, eight ticks at a time: a cache line of each slot against eight open rows.

    Every NaN leaves as the same one: which payload survives an addition is the compiler's choice.
    """
    for start in range(0, n, 8):
        end = min(n, start + 8)
        for j in range(n_factors):
            x = _f64(slots + 8 * width * outputs[j])
            for i in range(start, end):
                out[i * n_factors + j] = np.float32(x[i]) if x[i] == x[i] else np.float32(np.nan)


@_jit
def run(frame_address):
    """Take a program over all ticks of a frame (see `FRAME`), block by block; state is left where the ticks end.

    Parameters
    ----------
    frame_address : int
        Address of an int64 array laid out as `FRAME`. Nothing is checked here: a wrong frame is a crash.
    """
    frame = _i64(frame_address)
    n_ops, n_factors, n_ticks, block = frame[0], frame[1], frame[2], frame[3]
    ops, params, outputs = _i64(frame[4]), _f64(frame[5]), _i64(frame[6])
    state, slots, values, stride = frame[7], frame[8], frame[9], frame[10]
    bounds, n_bounds, out, context = _i64(frame[12]), frame[13], frame[14], _f64(frame[15])
    width = block + SLOT_PAD
    first = 0
    while first < n_ticks:
        n = min(block, n_ticks - first)
        for k in range(n_ops):
            code, a, b = ops[OP_FIELDS * k], ops[OP_FIELDS * k + 1], ops[OP_FIELDS * k + 2]
            o, s = _f64(slots + 8 * width * k), _f64(state + 8 * ops[OP_FIELDS * k + 4])
            if 0 < code < ADD:
                v, times = values + 8 * first, _i64(frame[11] + 8 * first)
                _source(code, a, b, o, s, v, stride, times, bounds, n_bounds, context, n)
            else:
                w, p0, p1 = ops[OP_FIELDS * k + 3], params[PARAM_FIELDS * k], params[PARAM_FIELDS * k + 1]
                _op(code, a, b, w, p0, p1, slots, width, o, s, n)
        _emit(slots, width, outputs, n_factors, _f32(out + 4 * first * n_factors), n)
        first += n
