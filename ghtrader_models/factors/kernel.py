"""The one compiled step: every op of a program over a block of ticks, with carried state.

What belongs here: the op codes and the arithmetic. Batch calls `run` with blocks of some hundred ticks, live with one
tick; a tick's arithmetic is the same in both, in the same order, so the results are equal to the last bit. All jitted
code of the factors is in this file, because numba's cache is keyed by file.

Why it looks like C: arrays handed around inside numba cost reference counting at every touch. `run` gets the address of
one int64 "frame" (see `FRAME`) that holds sizes and addresses; whoever calls keeps the arrays alive and has checked
their types and shapes. That is `engine`, and nobody else.

Why it is fast: each op writes a buffer of its own in the arena, which keeps as many earlier ticks as its readers look
back, all contiguous: the present block of op ``k`` ends at ``ops[k].next``, and ``x[i - lag]`` is a plain load. When a
buffer is full its history moves to its front. Most loops have no step that waits for the step before, so the compiler
turns them into vector code: windows are merged from two shorter ones (`chains`), never slid.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# Op codes. Sources read the tick; a, b, c, d are operand ops, i and j whole numbers, p and q numbers of the expression.
CONST, PRICE, QUEUE, RAW, TURNOVER, MICROSECONDS, SECONDS, SESSION_TIME, SESSION_AGE, SESSION_LEFT = range(10)
ADD, SUB, MUL, RATIO, LOG, SQRT, ABS, SIGN, CLIP, FILL, FINITE = range(20, 31)
GREATER, EQUAL, WHERE, LARGER, SMALLER, OVER = range(31, 37)
LAG, DELTA, FLOW = range(40, 43)
PAIR_SUM, PAIR_MAX, PAIR_MIN, PAIR_AGE, PAIR_GAP, PAIR_SHIFT, PAIR_CO, PAIR_TREND, PAIR_MIX, PAIR_CUBE = range(50, 60)
DEVIATION, STANDARD, SKEWNESS, CORRELATION = range(60, 64)
RUN_FINITE, RANK, QUANTILE = range(70, 73)
EMA, EMA_OF, EWVAR, AT_CHANGE, HELD, RUN_LENGTH, SINCE, DECAY_SINCE, DECAY = range(80, 89)
CLOCK_COUNT, CLOCK_ALPHA, CLOCK_LAG, CLOCK_SUM, CLOCK_MAX, CLOCK_MIN, CLOCK_MEAN, CLOCK_CO = range(90, 98)

OP_FIELDS = 14
"""An op is int64[14]: code, a, b, c, d, i, j, offset of its carried state, lanes, history, base, capacity, next, spare.

The last four describe its buffer in the arena, in ticks: how many earlier ones stay, where it begins, how many it
holds,
where the next tick goes. Only ``next`` changes."""
CODE, A, B, C, D, ARG, ARG2, STATE, LANES, HISTORY, BASE, CAPACITY, NEXT, SPARE = range(OP_FIELDS)
PARAM_FIELDS = 2
"""Beside it float64[2], p and q: numbers of the expression."""
MAX_LANES = 4

FRAME = (
    "n_ops",
    "n_factors",
    "n_ticks",
    "block",
    "ops",
    "params",
    "outputs",
    "carry",
    "arena",
    "tables",
    "values",
    "value_stride",
    "times",
    "bounds",
    "n_bounds",
    "out",
    "context",
)
"""What a frame holds, in order: counts and addresses.

ops int64[n_ops, 14], params float64[n_ops, 2], outputs int64[n_factors] (ops), carry float64[*] and arena float64[*]
(both read and written), tables int64[*] (op lists of the clock windows), values float64[27, n] with `value_stride`
numbers a row, times int64[n], bounds int64[n_bounds, 2] (session start and end), out float32[n, n_factors], context
float64[2] (price tick and multiplier).
"""

ROW_LAST, ROW_HIGHEST, ROW_LOWEST, ROW_VOLUME, ROW_AMOUNT, ROW_OPEN_INTEREST, ROW_BID1 = 0, 1, 2, 4, 5, 6, 7
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


@intrinsic
def _f64_at(typingctx, pointer, offset):
    """The pointer so many numbers on."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return _P_F64(pointer, types.int64), codegen


# Sources


@_jit
def _source(code, i, j, o, s, values, stride, times, bounds, n_bounds, context, n):
    if code == PRICE:  # i = row
        x, step = _f64(values + 8 * stride * i), context[0]
        for t in range(n):
            o[t] = np.rint(x[t] / step)
    elif code == QUEUE:  # i = row of the volume, the price is the one before
        price, x = _f64(values + 8 * stride * (i - 1)), _f64(values + 8 * stride * i)
        for t in range(n):
            o[t] = x[t] + (price[t] - price[t])
    elif code == RAW:
        x = _f64(values + 8 * stride * i)
        for t in range(n):
            o[t] = x[t]
    elif code == TURNOVER:
        x, unit = _f64(values + 8 * stride * ROW_AMOUNT), context[0] * context[1]
        for t in range(n):
            o[t] = x[t] / unit
    elif code == MICROSECONDS:  # exact in a float64, as nanoseconds are not
        for t in range(n):
            o[t] = float(times[t] // 1000)
    elif code == SECONDS:  # s = the first tick's microseconds
        for t in range(n):
            now = float(times[t] // 1000)
            if s[0] != s[0]:
                s[0] = now
            o[t] = (now - s[0]) * 1e-6
    elif code == SESSION_TIME:
        total = 0
        for k in range(n_bounds):
            total += bounds[2 * k + 1] - bounds[2 * k]
        for t in range(n):
            passed = 0
            for k in range(n_bounds):
                passed += max(0, min(times[t], bounds[2 * k + 1]) - bounds[2 * k])
            o[t] = float(passed) / float(total)
    else:  # session age and what is left of it
        for t in range(n):
            o[t] = np.nan
            for k in range(n_bounds):
                if bounds[2 * k] <= times[t] < bounds[2 * k + 1]:
                    age = times[t] - bounds[2 * k] if code == SESSION_AGE else bounds[2 * k + 1] - times[t]
                    o[t] = float(age) * 1e-9


# One tick at a time


@_jit
def _arithmetic(code, x, y, o, p, q, n):
    if code == ADD:
        for t in range(n):
            o[t] = x[t] + y[t]
    elif code == SUB:
        for t in range(n):
            o[t] = x[t] - y[t]
    elif code == MUL:
        for t in range(n):
            o[t] = x[t] * y[t]
    elif code == RATIO:
        for t in range(n):
            d = y[t]
            o[t] = x[t] / d if d != 0.0 else p + (x[t] - x[t])
    elif code == OVER:
        for t in range(n):
            o[t] = x[t] / p
    elif code == LOG:
        for t in range(n):
            o[t] = math.log(x[t]) if x[t] > 0.0 else np.nan
    elif code == SQRT:
        for t in range(n):
            o[t] = math.sqrt(x[t]) if x[t] >= 0.0 else np.nan
    elif code == ABS:
        for t in range(n):
            o[t] = abs(x[t])
    elif code == SIGN:
        for t in range(n):
            v = x[t]
            o[t] = 1.0 if v > 0.0 else (-1.0 if v < 0.0 else v - v)


@_jit
def _choices(code, x, y, z, o, p, q, n):
    if code == CLIP:
        for t in range(n):
            v = x[t]
            o[t] = p if v < p else (q if v > q else v)
    elif code == FILL:
        for t in range(n):
            v = x[t]
            o[t] = v if v - v == 0.0 else p
    elif code == FINITE:
        for t in range(n):
            v = x[t]
            o[t] = v if v - v == 0.0 else np.nan
    elif code == GREATER:
        for t in range(n):
            v = 1.0 if x[t] > y[t] else 0.0
            o[t] = v if x[t] == x[t] and y[t] == y[t] else np.nan
    elif code == EQUAL:
        for t in range(n):
            v = 1.0 if x[t] == y[t] else 0.0
            o[t] = v if x[t] == x[t] and y[t] == y[t] else np.nan
    elif code == WHERE:
        for t in range(n):
            v = y[t] if x[t] != 0.0 else z[t]
            o[t] = v if x[t] == x[t] else np.nan
    elif code == LARGER:
        _larger(x, y, o, n)
    elif code == SMALLER:
        _smaller(x, y, o, n)


@_jit
def _larger(x, y, o, n):
    for t in range(n):
        a, b = x[t], y[t]
        m = a if a > b else b  # b where either is NaN
        o[t] = m if a == a else a


@_jit
def _smaller(x, y, o, n):
    for t in range(n):
        a, b = x[t], y[t]
        m = a if a < b else b
        o[t] = m if a == a else a


@_jit
def _since_before(code, x, y, x1, y1, o, p, n):
    if code == LAG:
        for t in range(n):
            o[t] = x1[t]
    elif code == DELTA:  # of a total that only grows
        for t in range(n):
            d = x[t] - x1[t]
            o[t] = d if d >= 0.0 else np.nan
    elif code == FLOW:  # x price, y queue, p = 1 for bids and -1 for asks
        for t in range(n):
            step = (x[t] - x1[t]) * p
            come = y[t] if step >= 0.0 else 0.0
            gone = y1[t] if step <= 0.0 else 0.0
            o[t] = (come - gone) + (step - step)


# Windows merged from two: the newer part ends now, the older one ended `lag` ticks ago.


@_jit
def _pair(code, x, y, z, x2, y2, z2, w, o, p, q, n):
    if code == PAIR_SUM:  # y2: the older part's sum
        for t in range(n):
            o[t] = x[t] + y2[t]
    elif code == PAIR_MAX:
        _larger(x, y2, o, n)
    elif code == PAIR_MIN:
        _smaller(x, y2, o, n)
    elif code == PAIR_GAP:  # x, y2: distances of the means from their present values; z: the values
        for t in range(n):
            o[t] = (y2[t] + (z2[t] - z[t])) - x[t]
    elif code == PAIR_SHIFT:  # mean from its present value; y: the gap between the means; p: share of the older part
        for t in range(n):
            o[t] = x[t] + y[t] * p
    elif code == PAIR_CO:  # x, y2: the parts' co-moments; z, w: the gaps
        for t in range(n):
            o[t] = (x[t] + y2[t]) + (z[t] * w[t]) * p
    elif code == PAIR_TREND:  # co-moment with time, whose gap is the constant in p
        for t in range(n):
            o[t] = (x[t] + y2[t]) + z[t] * p
    elif code == PAIR_MIX:
        for t in range(n):
            o[t] = y2[t] * p - x[t] * q
    elif code == PAIR_CUBE:  # x, y2: third moments; z: the gap; w: the mix of second moments
        for t in range(n):
            g = z[t]
            o[t] = (x[t] + y2[t]) + g * (g * g * p + w[t] * q)


@_jit
def _pair_age(x, y2, z, w2, o, sign, lag, n):
    for t in range(n):
        a, b = x[t] * sign, y2[t] * sign
        age = w2[t] + lag if b > a else z[t]
        o[t] = age + ((a - a) + (b - b))


@_jit
def _moments(code, x, y, z, o, p, n):
    if code == DEVIATION:  # x: sum of squares, p: 1 / window
        for t in range(n):
            o[t] = math.sqrt(x[t] * p)
    elif code == STANDARD:  # y: the mean from the present value
        for t in range(n):
            d = math.sqrt(x[t] * p)
            o[t] = -y[t] / d if d != 0.0 else 0.0
    elif code == SKEWNESS:
        for t in range(n):
            v = x[t] * p
            d = v * math.sqrt(v)
            o[t] = y[t] * p / d if d != 0.0 else 0.0
    elif code == CORRELATION:
        for t in range(n):
            d = math.sqrt(y[t]) * math.sqrt(z[t])
            r = x[t] / d if d != 0.0 else 0.0 * (x[t] + d)
            r = -1.0 if r < -1.0 else r
            o[t] = 1.0 if r > 1.0 else r


# Order within a window


@_jit
def _run_finite(x, o, s, n):
    run = s[0]
    for t in range(n):
        run = run + 1.0 if x[t] - x[t] == 0.0 else 0.0
        o[t] = run
    s[0] = run


@_jit
def _rank(x, run, o, w, n):
    for t in range(n):
        o[t] = 0.0
    if n < 8:
        for t in range(n):
            v, count = x[t], 0
            past = _f64_at(x, t - w + 1)
            for k in range(w):
                count += (past[k] < v) + (past[k] <= v)
            o[t] = float(count)
    else:
        for k in range(w):
            past = _f64_at(x, -k)
            for t in range(n):
                o[t] += (1.0 if past[t] < x[t] else 0.0) + (1.0 if past[t] <= x[t] else 0.0)
    for t in range(n):  # the present value is among the equal ones
        o[t] = (o[t] - 1.0) / (2.0 * (w - 1)) if run[t] >= w else np.nan


@_jit
def _place(sorted_values, count, v):
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if sorted_values[middle] < v:
            low = middle + 1
        else:
            high = middle
    return low


@_jit
def _quantile(x, o, s, w, q, n):
    """State: how many finite values the window holds, then these in order."""
    count, values = int(s[0]), _f64_at(s, 1)
    gone = _f64_at(x, -w)
    spot = q * (w - 1)
    below = int(math.floor(spot))
    above = min(below + 1, w - 1)
    share = spot - below
    for t in range(n):
        v, old = x[t], gone[t]
        come, leave = v - v == 0.0, old - old == 0.0
        place = _place(values, count, v) if come else count
        if leave:
            hole = _place(values, count, old)
            if come and place > hole:
                for k in range(hole, place - 1):
                    values[k] = values[k + 1]
                values[place - 1] = v
            elif come:
                for k in range(hole, place, -1):
                    values[k] = values[k - 1]
                values[place] = v
            else:
                for k in range(hole, count - 1):
                    values[k] = values[k + 1]
                count -= 1
        elif come:
            for k in range(count, place, -1):
                values[k] = values[k - 1]
            values[place] = v
            count += 1
        o[t] = values[below] + (values[above] - values[below]) * share if count == w else np.nan
    s[0] = float(count)


# Operators with a memory of their own


@_jit
def _all_finite(x, n):
    bad = 0
    for t in range(n):
        bad += 0 if x[t] - x[t] == 0.0 else 1
    return bad == 0


@_jit
def _ema(x, o, s, span, alpha, n):
    e, seen = s[0], s[1]
    for t in range(n):
        v = x[t]
        if v - v == 0.0:
            e = v if seen == 0.0 else e + alpha * (v - e)
            seen += 1.0
            o[t] = e if seen >= span else np.nan
        else:
            o[t] = np.nan
    s[0], s[1] = e, seen


@_jit
def _ema_lanes(x0, x1, x2, x3, o0, o1, o2, o3, s0, s1, s2, s3, a0, a1, a2, a3, n):
    """Four that are warm, side by side, since each waits for its own last step; the arithmetic is `_ema`'s."""
    e0, e1, e2, e3 = s0[0], s1[0], s2[0], s3[0]
    for t in range(n):
        e0 = e0 + a0 * (x0[t] - e0)
        e1 = e1 + a1 * (x1[t] - e1)
        e2 = e2 + a2 * (x2[t] - e2)
        e3 = e3 + a3 * (x3[t] - e3)
        o0[t] = e0
        o1[t] = e1
        o2[t] = e2
        o3[t] = e3
    s0[0], s1[0], s2[0], s3[0] = e0, e1, e2, e3


@_jit
def _ema_of(code, x, alpha, count, o, s, span, n):
    """The factor of each tick in `alpha`; known from `span` values on, or where `count` is (a clock window's)."""
    e, v, seen = s[0], s[1], s[2]
    for t in range(n):
        now = x[t]
        if now - now == 0.0:
            if seen == 0.0:
                e, v = now, 0.0
            else:
                d, a = now - e, alpha[t]
                e = e + a * d
                v = (1.0 - a) * (v + a * d * d)
            seen += 1.0
            known = seen >= span and count[t] == count[t]
            o[t] = (v if code == EWVAR else e) if known else np.nan
        else:
            o[t] = np.nan
    s[0], s[1], s[2] = e, v, seen


@_jit
def _events(code, x, y, o, s, p, n):
    a, b = s[0], s[1]
    if code == AT_CHANGE:  # a: what is held, b: the value before
        for t in range(n):
            now = y[t]
            if now == now and now != b:
                a, b = x[t], now
            o[t] = a if now == now else np.nan
    elif code == HELD:
        for t in range(n):
            v = x[t]
            if v == v and v != 0.0:
                a = v
            o[t] = a
    elif code == RUN_LENGTH:
        for t in range(n):
            v = x[t]
            a = a + 1.0 if v == b else 1.0
            b = v
            o[t] = a if v == v else np.nan
    elif code == SINCE:
        for t in range(n):
            v = x[t]
            a = 0.0 if v == v and v != 0.0 else a + 1.0
            o[t] = a
    elif code == DECAY_SINCE:
        for t in range(n):
            v = x[t]
            a = 1.0 if v == v and v != 0.0 else a * p
            o[t] = a
    elif code == DECAY:
        for t in range(n):
            v = x[t]
            if v - v == 0.0:
                a = a * p + v
                o[t] = a
            else:
                a = a * p
                o[t] = np.nan
    s[0], s[1] = a, b


# Windows of wall-clock time: how many ticks they hold, then merged from windows of 1, 2, 4, ... ticks (in `table`).


@_jit
def _clock_count(time, o, s, length, most, n):
    """State: ticks in the window, ticks of the day. NaN until one has left it."""
    count, seen = int(s[0]), s[1]
    for t in range(n):
        count, seen = count + 1, seen + 1.0
        first = _f64_at(time, t + 1 - count)
        drop = 0
        while drop < count - 1 and (first[drop] <= time[t] - length or count - drop > most):
            drop += 1
        count -= drop
        o[t] = float(count) if seen > count else np.nan
    s[0], s[1] = float(count), seen


@_jit
def _clock_alpha(time, o, s, length, n):
    before = s[0]
    for t in range(n):
        o[t] = -math.expm1((before - time[t]) / length)
        before = time[t]
    s[0] = before


@_jit
def _clock_lag(x, count, o, n):
    for t in range(n):
        c = count[t]
        o[t] = x[t - int(c)] if c == c else np.nan


@_jit
def _clock_sum(arena, ops, table, count, o, n):
    for t in range(n):
        c = count[t]
        if c != c:
            o[t] = np.nan
            continue
        left, level, back, total = int(c), 0, 0, 0.0
        while left > 0:
            if left & 1:
                total += _block(arena, ops, table[level], n)[t - back]
                back += 1 << level
            left >>= 1
            level += 1
        o[t] = total


@_jit
def _clock_extreme(arena, ops, table, count, o, sign, n):
    for t in range(n):
        c = count[t]
        if c != c:
            o[t] = np.nan
            continue
        level = 0
        while (2 << level) <= int(c):
            level += 1
        part = _block(arena, ops, table[level], n)
        a, b = part[t], part[t - (int(c) - (1 << level))]
        m = a if a * sign > b * sign else b
        o[t] = m if a == a else a


@_jit
def _clock_moments(code, arena, ops, table, levels, x, y, count, o, n):
    """Mean of x from its present value, or the co-moment of x and y; tables of both means, then of the co-moments."""
    for t in range(n):
        c = count[t]
        if c != c:
            o[t] = np.nan
            continue
        left, level, have = int(c), 0, 0
        mean_x, mean_y, co = 0.0, 0.0, 0.0
        while left > 0:
            if left & 1:
                size, at = 1 << level, t - have
                part_x = _block(arena, ops, table[level], n)[at] + (x[at] - x[t])
                part_y, part_co = 0.0, 0.0
                if code == CLOCK_CO:
                    part_y = _block(arena, ops, table[levels + level], n)[at] + (y[at] - y[t])
                    part_co = _block(arena, ops, table[2 * levels + level], n)[at]
                total = float(have + size)
                gap_x, gap_y, share = part_x - mean_x, part_y - mean_y, float(size) / total
                if have == 0:
                    mean_x, mean_y, co = part_x, part_y, part_co
                else:
                    co = (co + part_co) + gap_x * gap_y * (float(have) * share)
                    mean_x += gap_x * share
                    mean_y += gap_y * share
                have += size
            left >>= 1
            level += 1
        o[t] = co if code == CLOCK_CO else mean_x


# The step


@_jit
def _block(arena, ops, k, n):
    """Where op `k` has the present block."""
    return _f64(arena + 8 * (ops[OP_FIELDS * k + NEXT] - n))


@_jit
def _make_room(arena, ops, k, n):
    """Advance op `k` by `n` ticks; its history moves to the front where the buffer is full."""
    op = OP_FIELDS * k
    history, base, place = ops[op + HISTORY], ops[op + BASE], ops[op + NEXT]
    if history == 0:
        place = base
    elif place + n > base + ops[op + CAPACITY]:
        source, target = _f64(arena + 8 * (place - history)), _f64(arena + 8 * base)
        for t in range(history):
            target[t] = source[t]
        place = base + history
    ops[op + NEXT] = place + n


@_jit
def _ema_group(arena, ops, params, carry, k, n):
    op, lanes = OP_FIELDS * k, ops[OP_FIELDS * k + LANES]
    warm = n > 1 and lanes == MAX_LANES
    for lane in range(lanes):
        if lane > 0:
            _make_room(arena, ops, k + lane, n)
        s = _f64(carry + 8 * ops[op + OP_FIELDS * lane + STATE])
        if warm:
            warm = s[1] >= ops[op + OP_FIELDS * lane + ARG]
    if warm:
        for lane in range(lanes):
            a = ops[op + OP_FIELDS * lane + A]
            if lane == 0 or a != ops[op + OP_FIELDS * (lane - 1) + A]:
                warm = warm and _all_finite(_block(arena, ops, a, n), n)
    if warm:
        x0, x1 = _block(arena, ops, ops[op + A], n), _block(arena, ops, ops[op + OP_FIELDS + A], n)
        x2, x3 = (
            _block(arena, ops, ops[op + 2 * OP_FIELDS + A], n),
            _block(arena, ops, ops[op + 3 * OP_FIELDS + A], n),
        )
        s0, s1 = _f64(carry + 8 * ops[op + STATE]), _f64(carry + 8 * ops[op + OP_FIELDS + STATE])
        s2 = _f64(carry + 8 * ops[op + 2 * OP_FIELDS + STATE])
        s3 = _f64(carry + 8 * ops[op + 3 * OP_FIELDS + STATE])
        o0, o1 = _block(arena, ops, k, n), _block(arena, ops, k + 1, n)
        o2, o3 = _block(arena, ops, k + 2, n), _block(arena, ops, k + 3, n)
        p = PARAM_FIELDS * k
        a0, a1, a2, a3 = params[p], params[p + 2], params[p + 4], params[p + 6]
        _ema_lanes(x0, x1, x2, x3, o0, o1, o2, o3, s0, s1, s2, s3, a0, a1, a2, a3, n)
        for lane in range(lanes):
            _f64(carry + 8 * ops[op + OP_FIELDS * lane + STATE])[1] += n
        return
    for lane in range(lanes):
        here = op + OP_FIELDS * lane
        x, o = _block(arena, ops, ops[here + A], n), _block(arena, ops, k + lane, n)
        _ema(x, o, _f64(carry + 8 * ops[here + STATE]), ops[here + ARG], params[PARAM_FIELDS * (k + lane)], n)


@_jit
def _op(arena, ops, params, carry, tables, k, n):
    op = OP_FIELDS * k
    code, i, j = ops[op + CODE], ops[op + ARG], ops[op + ARG2]
    p, q = params[PARAM_FIELDS * k], params[PARAM_FIELDS * k + 1]
    o = _block(arena, ops, k, n)
    x, y = _block(arena, ops, ops[op + A], n), _block(arena, ops, ops[op + B], n)
    z, w = _block(arena, ops, ops[op + C], n), _block(arena, ops, ops[op + D], n)
    s = _f64(carry + 8 * ops[op + STATE])
    if code <= SIGN or code == OVER:
        _arithmetic(code, x, y, o, p, q, n)
    elif code <= SMALLER:
        _choices(code, x, y, z, o, p, q, n)
    elif code <= FLOW:
        _since_before(code, x, y, _f64_at(x, -i), _f64_at(y, -i), o, p, n)
    elif code == PAIR_AGE:
        _pair_age(x, _f64_at(y, -i), z, _f64_at(w, -i), o, p, i, n)
    elif code <= PAIR_CUBE:
        _pair(code, x, y, z, _f64_at(x, -i), _f64_at(y, -i), _f64_at(z, -i), w, o, p, q, n)
    elif code <= CORRELATION:
        _moments(code, x, y, z, o, p, n)
    elif code == RUN_FINITE:
        _run_finite(x, o, s, n)
    elif code == RANK:
        _rank(x, y, o, i, n)
    elif code == QUANTILE:
        _quantile(x, o, s, i, p, n)
    elif code <= EWVAR:
        _ema_of(code, x, y, z, o, s, i, n)
    elif code <= DECAY:
        _events(code, x, y, o, s, p, n)
    else:
        _clock(code, arena, ops, _i64(tables + 8 * i), j, x, y, z, o, s, p, n)


@_jit
def _clock(code, arena, ops, table, levels, x, y, z, o, s, p, n):
    if code == CLOCK_COUNT:
        _clock_count(x, o, s, p, levels, n)
    elif code == CLOCK_ALPHA:
        _clock_alpha(x, o, s, p, n)
    elif code == CLOCK_LAG:
        _clock_lag(x, z, o, n)
    elif code == CLOCK_SUM:
        _clock_sum(arena, ops, table, z, o, n)
    elif code in (CLOCK_MAX, CLOCK_MIN):
        _clock_extreme(arena, ops, table, z, o, 1.0 if code == CLOCK_MAX else -1.0, n)
    else:
        _clock_moments(code, arena, ops, table, levels, x, y, z, o, n)


@_jit
def _emit(arena, ops, outputs, n_factors, out, n):
    """Blocks to float32 rows, eight ticks at a time: a cache line of each block against eight open rows.

    Every NaN leaves as the same one: which payload survives an addition is the compiler's choice.
    """
    for start in range(0, n, 8):
        end = min(n, start + 8)
        for j in range(n_factors):
            x = _block(arena, ops, outputs[j], n)
            for t in range(start, end):
                out[t * n_factors + j] = np.float32(x[t]) if x[t] == x[t] else np.float32(np.nan)


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
    carry, arena, tables, values, stride = frame[7], frame[8], frame[9], frame[10], frame[11]
    bounds, n_bounds, out, context = _i64(frame[13]), frame[14], frame[15], _f64(frame[16])
    first = 0
    while first < n_ticks:
        n = min(block, n_ticks - first)
        for k in range(n_ops):
            op = OP_FIELDS * k
            code, lanes = ops[op + CODE], ops[op + LANES]
            if code == CONST:  # filled once, never moved
                ops[op + NEXT] = ops[op + BASE] + ops[op + HISTORY] + n
                continue
            if lanes == 0:  # another op's lane
                continue
            _make_room(arena, ops, k, n)
            if code < ADD:
                o, s = _block(arena, ops, k, n), _f64(carry + 8 * ops[op + STATE])
                v, times = values + 8 * first, _i64(frame[12] + 8 * first)
                _source(code, ops[op + ARG], ops[op + ARG2], o, s, v, stride, times, bounds, n_bounds, context, n)
            elif code == EMA:
                _ema_group(arena, ops, params, carry, k, n)
            else:
                _op(arena, ops, params, carry, tables, k, n)
        _emit(arena, ops, outputs, n_factors, _f32(out + 4 * first * n_factors), n)
        first += n
