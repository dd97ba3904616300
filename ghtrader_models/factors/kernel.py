"""The one compiled step: every op of a program over a block of ticks, with carried state.

What belongs here: the op codes and the arithmetic. Batch calls `run` with blocks of some hundred ticks, live with one
tick; a tick's arithmetic is the same in both, in the same order, so the results are equal to the last bit. All jitted
code of the factors is in this file, because numba's cache is keyed by file.

Why it looks like C: arrays handed around inside numba cost reference counting at every touch. `run` gets the address of
one int64 "frame" (see `FRAME`) that holds sizes and addresses; whoever calls keeps the arrays alive and has checked
their types and shapes. That is `engine`, and nobody else.

Why it is fast: each op writes a buffer of its own in the arena, which keeps as many earlier ticks as its readers look
back, all contiguous, so that ``x[t - lag]`` is a plain load. Most loops have no step that waits for the step before, so
the compiler turns them into vector code: windows are merged from two shorter ones (`chains`), never slid. Rows of the
op table lie in the order of computing, with the places of all they touch, and rows of one code follow each other
(`layout`), which spares a live tick most of its branching. Buffers that are full move their history to the front, group
by group.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from ghtrader_base.compiled import intrinsic, njit, types

# Op codes, in the ranges that `run` tells apart. Sources read the tick; a, b, c, d are operands, i and j whole numbers,
# p and q numbers of the expression.
CONST, PRICE, QUEUE, RAW, TURNOVER, MICROSECONDS, SECONDS, SESSION_TIME, SESSION_AGE, SESSION_LEFT = range(10)
ADD, SUB, MUL, RATIO, OVER, ABS, SIGN, FINITE, FILL = range(20, 29)
LOG, SQRT, CLIP, GREATER, EQUAL, WHERE, LARGER, SMALLER = range(30, 38)
LAG, DELTA, FLOW = range(40, 43)
PAIR_SUM, PAIR_MAX, PAIR_MIN, PAIR_GAP, PAIR_SHIFT, PAIR_CO, PAIR_TREND, PAIR_MIX, PAIR_AGE, PAIR_CUBE = range(50, 60)
DEVIATION, STANDARD, SKEWNESS, CORRELATION = range(60, 64)
RUN_FINITE, RANK, QUANTILE = range(70, 73)
EMA, EMA_OF, EWVAR, AT_CHANGE, HELD, RUN_LENGTH, SINCE, DECAY_SINCE, DECAY = range(80, 89)
CLOCK_COUNT, CLOCK_ALPHA, CLOCK_LAG, CLOCK_SUM, CLOCK_MAX, CLOCK_MIN, CLOCK_MEAN, CLOCK_CO = range(90, 98)

OP_FIELDS = 16
"""A row of the op table is int32[16], a cache line: places of its own buffer and of its operands a, b, c, d, each with
the number of the group that the buffer moves with, a whole number, the offset of its carried state, another number.
A buffer's block begins at its place plus the position of its group."""
OWN, A, B, C, D, ARG, STATE, ARG2 = 0, 2, 4, 6, 8, 10, 11, 12
PARAM_FIELDS = 2
"""Beside it float64[2], p and q: numbers of the expression."""
RUN_FIELDS = 3
"""Rows are run in int32[3] groups of one code: code, first row, number of rows."""
MOVE_FIELDS = 3
"""A buffer with history: place, ticks that stay, the group; in the order of groups."""

FRAME = (
    "n_factors",
    "n_ticks",
    "block",
    "carry",
    "arena",
    "position",
    "room",
    "n_groups",
    "moves",
    "n_moves",
    "block_plan",
    "tick_plan",
    "values",
    "value_stride",
    "times",
    "bounds",
    "n_bounds",
    "out",
    "context",
)
"""What a frame holds, in order: counts and addresses.

carry float64[*], arena float64[*] and position int32[n_groups] (all read and written; group 0 never moves), room
int32[n_groups] (ticks a group's buffers hold beyond their history), moves int32[n_moves, 3], two plans, values
float64[27, n] with `value_stride` numbers a row, times int64[n], bounds int64[n_bounds, 2] (session start and end), out
float32[n, n_factors], context float64[2] (price tick and multiplier)."""

PLAN = ("rows", "params", "runs", "n_runs", "outputs", "tables")
"""What a plan holds: addresses of rows int32[n_ops, 16], params float64[n_ops, 2] and runs int32[n_runs, 3], then of
outputs int32[n_factors, 2] and tables int32[*, 2] (buffers of the clock windows): place and group."""

TILE = 16
"""Ticks that go to the output together: a cache line of float64 twice over."""

ROW_LAST, ROW_HIGHEST, ROW_LOWEST, ROW_VOLUME, ROW_AMOUNT, ROW_OPEN_INTEREST, ROW_BID1 = 0, 2, 3, 4, 5, 6, 7
"""Rows of the value matrix (`ghtrader_market.ticks.VALUE_COLUMNS`); a level is bid price, bid volume, ask price, ask
volume, four rows."""

_P_F64 = types.CPointer(types.float64)
_P_F32 = types.CPointer(types.float32)
_P_I64 = types.CPointer(types.int64)
_P_I32 = types.CPointer(types.int32)


def _cast(pointer):
    def typed(typingctx, address):
        def codegen(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(pointer))

        return pointer(types.int64), codegen

    return intrinsic(typed)


_f64, _f32, _i64, _i32 = _cast(_P_F64), _cast(_P_F32), _cast(_P_I64), _cast(_P_I32)
_jit = njit(cache=True, error_model="numpy", nogil=True)


@intrinsic
def _f64_at(typingctx, pointer, offset):
    """The pointer so many numbers on."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return _P_F64(pointer, types.int64), codegen


@intrinsic
def _i32_at(typingctx, pointer, offset):
    """The pointer so many numbers on."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return _P_I32(pointer, types.int64), codegen


@intrinsic
def _f32_at(typingctx, pointer, offset):
    """The pointer so many numbers on."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return _P_F32(pointer, types.int64), codegen


# Where a row's numbers lie


@_jit
def _at(arena, position, row, field):
    return _f64(arena + 8 * (row[field] + position[row[field + 1]]))


@_jit
def _row(rows, r):
    return _i32_at(rows, OP_FIELDS * r)


@_jit
def _one(arena, position, row):
    return _at(arena, position, row, OWN), _at(arena, position, row, A)


@_jit
def _two(arena, position, row):
    return _at(arena, position, row, OWN), _at(arena, position, row, A), _at(arena, position, row, B)


@_jit
def _three(arena, position, row):
    o, x, y = _two(arena, position, row)
    return o, x, y, _at(arena, position, row, C)


@_jit
def _parts(arena, position, row):
    """The newer part, the older one as it was when it ended, and the operand after them."""
    o, x, y, z = _three(arena, position, row)
    return o, x, _f64_at(y, -row[ARG]), z


# Sources


@_jit
def _source(code, i, o, s, values, stride, times, bounds, n_bounds, context, n):
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
def _arithmetic(code, rows, params, count, arena, position, n):
    if code == ADD:
        for r in range(count):
            o, x, y = _two(arena, position, _row(rows, r))
            for t in range(n):
                o[t] = x[t] + y[t]
    elif code == SUB:
        for r in range(count):
            o, x, y = _two(arena, position, _row(rows, r))
            for t in range(n):
                o[t] = x[t] - y[t]
    elif code == MUL:
        for r in range(count):
            o, x, y = _two(arena, position, _row(rows, r))
            for t in range(n):
                o[t] = x[t] * y[t]
    elif code == RATIO:
        for r in range(count):
            o, x, y = _two(arena, position, _row(rows, r))
            zero = params[PARAM_FIELDS * r]
            for t in range(n):
                d = y[t]
                v = x[t] / d
                o[t] = v if d != 0.0 else zero + (x[t] - x[t])
    elif code == OVER:
        for r in range(count):
            o, x = _one(arena, position, _row(rows, r))
            p = params[PARAM_FIELDS * r]
            for t in range(n):
                o[t] = x[t] / p
    elif code == ABS:
        for r in range(count):
            o, x = _one(arena, position, _row(rows, r))
            for t in range(n):
                o[t] = abs(x[t])
    elif code == FINITE:
        for r in range(count):
            o, x = _one(arena, position, _row(rows, r))
            for t in range(n):
                v = x[t]
                o[t] = v if v - v == 0.0 else np.nan
    elif code == FILL:
        for r in range(count):
            o, x = _one(arena, position, _row(rows, r))
            p = params[PARAM_FIELDS * r]
            for t in range(n):
                v = x[t]
                o[t] = v if v - v == 0.0 else p
    elif code == SIGN:
        for r in range(count):
            o, x = _one(arena, position, _row(rows, r))
            for t in range(n):
                v = x[t]
                o[t] = 1.0 if v > 0.0 else (-1.0 if v < 0.0 else v - v)


@_jit
def _functions(code, rows, params, count, arena, position, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y, z = _three(arena, position, row)
        p, q = params[PARAM_FIELDS * r], params[PARAM_FIELDS * r + 1]
        if code == LOG:
            for t in range(n):
                o[t] = math.log(x[t]) if x[t] > 0.0 else np.nan
        elif code == SQRT:
            for t in range(n):
                o[t] = math.sqrt(x[t]) if x[t] >= 0.0 else np.nan
        elif code == CLIP:
            for t in range(n):
                v = x[t]
                o[t] = p if v < p else (q if v > q else v)
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
def _since_before(code, rows, params, count, arena, position, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y = _two(arena, position, row)
        lag = row[ARG]
        x1, y1, p = _f64_at(x, -lag), _f64_at(y, -lag), params[PARAM_FIELDS * r]
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
def _merge(code, rows, params, count, arena, position, n):
    if code == PAIR_SUM:
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(arena, position, row)
            for t in range(n):
                o[t] = x[t] + y[t]
    elif code == PAIR_MAX:
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(arena, position, row)
            _larger(x, y, o, n)
    elif code == PAIR_MIN:
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(arena, position, row)
            _smaller(x, y, o, n)
    elif code == PAIR_GAP:  # x, y: distances of the means from their present values; z: the values
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(arena, position, row)
            z1 = _f64_at(z, -row[ARG])
            for t in range(n):
                o[t] = (y[t] + (z1[t] - z[t])) - x[t]
    elif code == PAIR_SHIFT:  # x: the newer mean from the present value; z: the gap; p: share of the older part
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(arena, position, row)
            p = params[PARAM_FIELDS * r]
            for t in range(n):
                o[t] = x[t] + z[t] * p
    elif code == PAIR_CO:  # x, y: the parts' co-moments; z, w: the gaps
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(arena, position, row)
            w, p = _at(arena, position, row, D), params[PARAM_FIELDS * r]
            for t in range(n):
                o[t] = (x[t] + y[t]) + (z[t] * w[t]) * p


@_jit
def _merge_more(code, rows, params, count, arena, position, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y, z = _parts(arena, position, row)
        w, p, q = _at(arena, position, row, D), params[PARAM_FIELDS * r], params[PARAM_FIELDS * r + 1]
        if code == PAIR_TREND:  # co-moment with time, whose gap is the constant in p
            for t in range(n):
                o[t] = (x[t] + y[t]) + z[t] * p
        elif code == PAIR_MIX:
            for t in range(n):
                o[t] = y[t] * p - x[t] * q
        elif code == PAIR_CUBE:  # x, y: third moments; z: the gap; w: the mix of second moments
            for t in range(n):
                g = z[t]
                o[t] = (x[t] + y[t]) + g * (g * g * p + w[t] * q)
        elif code == PAIR_AGE:  # x, y: extremes; z, w: their ages; p: 1 for maxima, -1 for minima
            lag = row[ARG]
            w1 = _f64_at(w, -lag)
            for t in range(n):
                a, b = x[t] * p, y[t] * p
                age = w1[t] + lag if b > a else z[t]
                o[t] = age + ((a - a) + (b - b))


@_jit
def _moments(code, rows, params, count, arena, position, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y, z = _three(arena, position, row)
        p = params[PARAM_FIELDS * r]
        if code == DEVIATION:  # x: sum of squares, p: 1 / window
            for t in range(n):
                o[t] = math.sqrt(x[t] * p)
        elif code == STANDARD:  # y: the mean from the present value
            for t in range(n):
                d = math.sqrt(x[t] * p)
                v = -y[t] / d
                o[t] = v if d != 0.0 else 0.0
        elif code == SKEWNESS:
            for t in range(n):
                v = x[t] * p
                d = v * math.sqrt(v)
                v = y[t] * p / d
                o[t] = v if d != 0.0 else 0.0
        elif code == CORRELATION:
            for t in range(n):
                d = math.sqrt(y[t]) * math.sqrt(z[t])
                v = x[t] / d
                v = v if d != 0.0 else 0.0 * (x[t] + d)
                v = -1.0 if v < -1.0 else v
                o[t] = 1.0 if v > 1.0 else v


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
    for s in (s0, s1, s2, s3):
        s[1] += n


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
def _rung(arena, position, table, level):
    return _f64(arena + 8 * (table[2 * level] + position[table[2 * level + 1]]))


@_jit
def _clock_sum(arena, position, table, count, o, n):
    for t in range(n):
        c = count[t]
        if c != c:
            o[t] = np.nan
            continue
        left, level, back, total = int(c), 0, 0, 0.0
        while left > 0:
            if left & 1:
                total += _rung(arena, position, table, level)[t - back]
                back += 1 << level
            left >>= 1
            level += 1
        o[t] = total


@_jit
def _clock_extreme(arena, position, table, count, o, sign, n):
    for t in range(n):
        c = count[t]
        if c != c:
            o[t] = np.nan
            continue
        level = 0
        while (2 << level) <= int(c):
            level += 1
        part = _rung(arena, position, table, level)
        a, b = part[t], part[t - (int(c) - (1 << level))]
        m = a if a * sign > b * sign else b
        o[t] = m if a == a else a


@_jit
def _clock_moments(code, arena, position, table, levels, x, y, count, o, n):
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
                part_x = _rung(arena, position, table, level)[at] + (x[at] - x[t])
                part_y, part_co = 0.0, 0.0
                if code == CLOCK_CO:
                    part_y = _rung(arena, position, table, levels + level)[at] + (y[at] - y[t])
                    part_co = _rung(arena, position, table, 2 * levels + level)[at]
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
        o[t] = co + ((mean_x - mean_x) + (mean_y - mean_y)) if code == CLOCK_CO else mean_x


# The step


@_jit
def _ema_run(rows, params, count, arena, position, carry, n):
    """Exponential means that do not feed each other: in blocks, four warm ones go side by side."""
    r = 0
    while r < count:
        row = _row(rows, r)
        if n > 1 and r + 4 <= count and _ready(row, arena, position, carry, n):
            o0, x0 = _one(arena, position, row)
            o1, x1 = _one(arena, position, _row(row, 1))
            o2, x2 = _one(arena, position, _row(row, 2))
            o3, x3 = _one(arena, position, _row(row, 3))
            s0, s1 = _carried(carry, row), _carried(carry, _row(row, 1))
            s2, s3 = _carried(carry, _row(row, 2)), _carried(carry, _row(row, 3))
            p = PARAM_FIELDS * r
            a0, a1, a2, a3 = params[p], params[p + 2], params[p + 4], params[p + 6]
            _ema_lanes(x0, x1, x2, x3, o0, o1, o2, o3, s0, s1, s2, s3, a0, a1, a2, a3, n)
            r += 4
            continue
        o, x = _one(arena, position, row)
        _ema(x, o, _carried(carry, row), row[ARG], params[PARAM_FIELDS * r], n)
        r += 1


@_jit
def _ready(row, arena, position, carry, n):
    """Whether four exponential means are known already and meet nothing but finite values."""
    before = -1
    for lane in range(4):
        here = _row(row, lane)
        if _carried(carry, here)[1] < here[ARG]:
            return False
        if here[A] != before:
            before = here[A]
            if not _all_finite(_at(arena, position, here, A), n):
                return False
    return True


@_jit
def _carried(carry, row):
    return _f64(carry + 8 * row[STATE])


@_jit
def _stateful(code, rows, params, count, arena, position, carry, tables, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y, z = _three(arena, position, row)
        p, i, j = params[PARAM_FIELDS * r], row[ARG], row[ARG2]
        s = _carried(carry, row)
        if code == RUN_FINITE:
            _run_finite(x, o, s, n)
        elif code == RANK:
            _rank(x, y, o, i, n)
        elif code == QUANTILE:
            _quantile(x, o, s, i, p, n)
        elif code <= EWVAR:
            _ema_of(code, x, y, z, o, s, i, n)
        elif code <= DECAY:
            _events(code, x, y, o, s, p, n)
        elif code == CLOCK_COUNT:
            _clock_count(x, o, s, p, j, n)
        elif code == CLOCK_ALPHA:
            _clock_alpha(x, o, s, p, n)
        elif code == CLOCK_LAG:
            _clock_lag(x, z, o, n)
        elif code == CLOCK_SUM:
            _clock_sum(arena, position, _i32(tables + 8 * i), z, o, n)
        elif code in (CLOCK_MAX, CLOCK_MIN):
            _clock_extreme(arena, position, _i32(tables + 8 * i), z, o, 1.0 if code == CLOCK_MAX else -1.0, n)
        else:
            _clock_moments(code, arena, position, _i32(tables + 8 * i), j, x, y, z, o, n)


@intrinsic
def _transpose(typingctx, x0, x1, x2, x3, target, stride):
    """Four ticks of four blocks to four rows of float32, `stride` numbers apart; every NaN becomes the same one."""

    def codegen(context, builder, signature, args):
        double, single = ir.VectorType(ir.DoubleType(), 4), ir.VectorType(ir.FloatType(), 4)
        nan = ir.Constant(double, [ir.Constant(ir.DoubleType(), float("nan"))] * 4)
        rows = []
        for pointer in args[:4]:
            v = builder.load(builder.bitcast(pointer, double.as_pointer()), align=8)
            v = builder.select(builder.fcmp_unordered("uno", v, v), nan, v)
            rows.append(builder.fptrunc(v, single))

        def mix(a, b, picks):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), 4), picks)
            return builder.shuffle_vector(a, b, mask)

        low01, high01 = mix(rows[0], rows[1], [0, 4, 1, 5]), mix(rows[0], rows[1], [2, 6, 3, 7])
        low23, high23 = mix(rows[2], rows[3], [0, 4, 1, 5]), mix(rows[2], rows[3], [2, 6, 3, 7])
        columns = [
            mix(low01, low23, [0, 1, 4, 5]),
            mix(low01, low23, [2, 3, 6, 7]),
            mix(high01, high23, [0, 1, 4, 5]),
            mix(high01, high23, [2, 3, 6, 7]),
        ]
        place = args[4]
        for column in columns:
            builder.store(column, builder.bitcast(place, single.as_pointer()), align=4)
            place = builder.gep(place, [args[5]])
        return context.get_dummy_value()

    return types.void(_P_F64, _P_F64, _P_F64, _P_F64, _P_F32, types.int64), codegen


@_jit
def _emit(arena, position, outputs, n_factors, out, n):
    """Blocks to float32 rows. Every NaN leaves as the same one: which payload survives is the compiler's choice."""
    ticks = n - n % TILE
    columns = n_factors - n_factors % 4
    for start in range(0, ticks, TILE):
        for j in range(0, columns, 4):
            x0, x1 = _rung(arena, position, outputs, j), _rung(arena, position, outputs, j + 1)
            x2, x3 = _rung(arena, position, outputs, j + 2), _rung(arena, position, outputs, j + 3)
            for t in range(start, start + TILE, 4):
                target = _f32_at(out, t * n_factors + j)
                _transpose(_f64_at(x0, t), _f64_at(x1, t), _f64_at(x2, t), _f64_at(x3, t), target, n_factors)
    for j in range(n_factors):
        x = _rung(arena, position, outputs, j)
        for t in range(ticks if j < columns else 0, n):
            out[t * n_factors + j] = np.float32(x[t]) if x[t] == x[t] else np.float32(np.nan)


@_jit
def _make_room(arena, position, room, n_groups, moves, n_moves, n):
    """In groups without room for `n` ticks, move each buffer's history to its front."""
    full = False
    for g in range(1, n_groups):
        full = full or position[g] + n > room[g]
    if not full:
        return
    for m in range(n_moves):
        place, history, g = moves[MOVE_FIELDS * m], moves[MOVE_FIELDS * m + 1], moves[MOVE_FIELDS * m + 2]
        if position[g] + n > room[g]:
            source, target = _f64(arena + 8 * (place + position[g] - history)), _f64(arena + 8 * (place - history))
            for t in range(history):
                target[t] = source[t]
    for g in range(1, n_groups):
        if position[g] + n > room[g]:
            position[g] = 0


@_jit
def run(frame_address):
    """Take a program over all ticks of a frame (see `FRAME`), block by block; state is left where the ticks end.

    Parameters
    ----------
    frame_address : int
        Address of an int64 array laid out as `FRAME`. Nothing is checked here: a wrong frame is a crash.
    """
    frame = _i64(frame_address)
    n_factors, n_ticks, block, carry, arena = frame[0], frame[1], frame[2], frame[3], frame[4]
    position, room, n_groups, moves, n_moves = _i32(frame[5]), _i32(frame[6]), frame[7], _i32(frame[8]), frame[9]
    values, stride, bounds, n_bounds = frame[12], frame[13], _i64(frame[15]), frame[16]
    out, context = frame[17], _f64(frame[18])
    first = 0
    while first < n_ticks:
        n = min(block, n_ticks - first)
        plan = _i64(frame[10] if n > 1 else frame[11])
        all_rows, all_params, runs, tables = _i32(plan[0]), _f64(plan[1]), _i32(plan[2]), plan[5]
        _make_room(arena, position, room, n_groups, moves, n_moves, n)
        for g in range(plan[3]):
            code, start, count = runs[RUN_FIELDS * g], runs[RUN_FIELDS * g + 1], runs[RUN_FIELDS * g + 2]
            rows, params = _row(all_rows, start), _f64_at(all_params, PARAM_FIELDS * start)
            if code < ADD:
                v, times = values + 8 * first, _i64(frame[14] + 8 * first)
                for r in range(count):
                    row = _row(rows, r)
                    o, s = _at(arena, position, row, OWN), _carried(carry, row)
                    _source(code, row[ARG], o, s, v, stride, times, bounds, n_bounds, context, n)
            elif code <= FILL:
                _arithmetic(code, rows, params, count, arena, position, n)
            elif code <= SMALLER:
                _functions(code, rows, params, count, arena, position, n)
            elif code <= FLOW:
                _since_before(code, rows, params, count, arena, position, n)
            elif code <= PAIR_CO:
                _merge(code, rows, params, count, arena, position, n)
            elif code <= PAIR_CUBE:
                _merge_more(code, rows, params, count, arena, position, n)
            elif code <= CORRELATION:
                _moments(code, rows, params, count, arena, position, n)
            elif code == EMA:
                _ema_run(rows, params, count, arena, position, carry, n)
            else:
                _stateful(code, rows, params, count, arena, position, carry, tables, n)
        _emit(arena, position, _i32(plan[4]), n_factors, _f32(out + 4 * first * n_factors), n)
        for g in range(1, n_groups):
            position[g] += n
        first += n
