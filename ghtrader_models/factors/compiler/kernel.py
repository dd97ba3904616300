"""The one compiled step: every op of a program over a block of ticks, or over one tick, with carried state.

What belongs here: the op codes and the arithmetic. Batch calls `run` with blocks of some hundred ticks, live with one
tick. What an op does to a tick is written once, as a function of numbers, and called by both: a block's loops go along
the ticks of an op, a single tick's along the ops of a code. So the results are equal to the last bit. All jitted code
of the factors is in this file, because numba's cache is keyed by file.

Why it looks like C: arrays handed around inside numba cost reference counting at every touch. `run` gets the address of
one int64 "frame" (see `FRAME`) that holds sizes and addresses; whoever calls keeps the arrays alive and has checked
their types and shapes. That is `engine`, and nobody else.

Why it is fast: each op writes a buffer of its own in the arena, which keeps as many earlier ticks as its readers look
back, all contiguous, so that ``x[t - lag]`` is a plain load. All buffers slide through the arena together, a number a
tick, so that one position says where everything is and nothing is moved for a hundred thousand ticks. Windows are
merged from two shorter ones (`chains`), never slid, so most loops over a block have no step that waits for the step
before: the compiler turns them into vector code. A single tick has buffers and rows of its own, as small as can be,
and rows of one code follow each other (`tick_plan`), which spares it most of its branching.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from ghtrader_base.numba_cache import intrinsic, njit, types

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

BOTH = range(100, 102)
"""Of single ticks alone: ops that always go together, in one row."""
MEANS, VARIANCES = BOTH

OP_FIELDS = 8
"""A row of the op table is int32[8]: places of its own buffer and of its operands a, b, c, d, a whole number, the
offset of its carried state, another number. A buffer's block begins at its place, counted from the position."""
OWN, A, B, C, D, ARG, STATE, ARG2 = range(OP_FIELDS)
PARAM_FIELDS = 2
"""Beside it float64[2], p and q: numbers of the expression."""
RUN_FIELDS = 4
"""Rows are run in int32[4] groups of one code: code, number of rows, where the first row and its numbers begin."""

FRAME = (
    "n_factors",
    "n_ticks",
    "block",
    "carry",
    "arena",
    "position",
    "slide",
    "extent",
    "plan",
    "values",
    "value_stride",
    "times",
    "bounds",
    "n_bounds",
    "out",
    "context",
    "tile",
)
"""What a frame holds, in order: counts and addresses.

A block of 0 means one tick by a plan for single ticks. carry float64[*], arena float64[extent + slide] and position
int64[1] (all read and written), extent numbers that all buffers take, slide ticks until they have slid through the
arena; a plan, values float64[27, n] with `value_stride` numbers a row, times int64[n], bounds int64[n_bounds, 2]
(session start and end), out float32[n, n_factors], context float64[2] (price tick and multiplier), tile
float32[TILE, n_factors] where rows are put together before they are streamed to an `out` that outgrows the caches,
or 0."""

FRAME_VALUES, FRAME_STRIDE, FRAME_TIMES, FRAME_BOUNDS, FRAME_N_BOUNDS, FRAME_OUT, FRAME_CONTEXT, FRAME_TILE = (
    FRAME.index(name) for name in ("values", "value_stride", "times", "bounds", "n_bounds", "out", "context", "tile")
)

PLAN = ("rows", "params", "runs", "n_runs", "outputs", "tables")
"""What a plan holds: addresses of rows int32[*], params float64[*] and runs int32[n_runs, 4], then the places of
outputs int32[n_factors] and tables int32[*] (buffers of the clock windows)."""

TILE = 16
"""Ticks that go to the output together: a cache line of float64 twice over."""

ROW_LAST, ROW_HIGHEST, ROW_LOWEST, ROW_VOLUME, ROW_AMOUNT, ROW_OPEN_INTEREST, ROW_BID1 = 0, 2, 3, 4, 5, 6, 7
"""Rows of the value matrix (`tick_schema.VALUE_COLUMNS`); a level is bid price, bid volume, ask price, ask volume, four
rows."""

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


@intrinsic
def _pick(typingctx, condition, yes, no):
    """`yes if condition else no` of two numbers without a branch, which the data would make a bad guess."""

    def codegen(context, builder, signature, args):
        return builder.select(args[0], args[1], args[2])

    return types.float64(types.boolean, types.float64, types.float64), codegen


# Where a row's numbers lie


@_jit
def _at(base, row, field):
    return _f64(base + 8 * row[field])


@_jit
def _row(rows, r):
    return _i32_at(rows, OP_FIELDS * r)


@_jit
def _one(base, row):
    return _at(base, row, OWN), _at(base, row, A)


@_jit
def _two(base, row):
    return _at(base, row, OWN), _at(base, row, A), _at(base, row, B)


@_jit
def _three(base, row):
    o, x, y = _two(base, row)
    return o, x, y, _at(base, row, C)


@_jit
def _parts(base, row):
    """The newer part, the older one as it was when it ended, and the operand after them."""
    o, x, y, z = _three(base, row)
    return o, x, _f64_at(y, -row[ARG]), z


@_jit
def _carried(carry, row):
    return _f64(carry + 8 * row[STATE])


# What an op does to a tick


@_jit
def _price(x, step):
    return np.rint(x / step)


@_jit
def _queue(price, lots):
    return lots + (price - price)


@_jit
def _ratio(x, y, zero):
    return _pick(y != 0.0, x / y, zero + (x - x))


@_jit
def _fill(v, p):
    return _pick(v - v == 0.0, v, p)


@_jit
def _sign(v):
    return _pick(v > 0.0, 1.0, _pick(v < 0.0, -1.0, v - v))


@_jit
def _log(x):
    return math.log(x) if x > 0.0 else np.nan


@_jit
def _sqrt(x):
    return math.sqrt(x) if x >= 0.0 else np.nan


@_jit
def _clip(v, p, q):
    return _pick(v < p, p, _pick(v > q, q, v))


@_jit
def _greater(x, y):
    return _pick((x == x) & (y == y), _pick(x > y, 1.0, 0.0), np.nan)


@_jit
def _equal(x, y):
    return _pick((x == x) & (y == y), _pick(x == y, 1.0, 0.0), np.nan)


@_jit
def _where(x, y, z):
    return _pick(x == x, _pick(x != 0.0, y, z), np.nan)


@_jit
def _larger(a, b):
    return _pick(a == a, _pick(a > b, a, b), a)  # b where either is NaN


@_jit
def _smaller(a, b):
    return _pick(a == a, _pick(a < b, a, b), a)


@_jit
def _delta(x, x1):
    """Of a total that only grows."""
    d = x - x1
    return _pick(d >= 0.0, d, np.nan)


@_jit
def _flow(x, x1, y, y1, p):
    """x price, y queue, p = 1 for bids and -1 for asks."""
    step = (x - x1) * p
    return (_pick(step >= 0.0, y, 0.0) - _pick(step <= 0.0, y1, 0.0)) + (step - step)


# Two parts of a window: x is of the newer, which ends now, y of the older, which ended `lag` ticks ago.


@_jit
def _gap(x, y, z, z1):
    """x, y: distances of the means from their present values; z, z1: these values."""
    return (y + (z1 - z)) - x


@_jit
def _shift(x, gap, p):
    """x: the newer mean from the present value; p: share of the older part."""
    return x + gap * p


@_jit
def _co(x, y, gap_x, gap_y, p):
    return (x + y) + (gap_x * gap_y) * p


@_jit
def _trend(x, y, gap, p):
    """Co-moment with time, whose gap is the constant in p."""
    return (x + y) + gap * p


@_jit
def _mix(x, y, p, q):
    return y * p - x * q


@_jit
def _cube(x, y, gap, mix, p, q):
    return (x + y) + gap * (gap * gap * p + mix * q)


@_jit
def _age(x, y, age, age1, lag, p):
    """x, y: extremes; p: 1 for maxima, -1 for minima."""
    a, b = x * p, y * p
    return _pick(b > a, age1 + lag, age) + ((a - a) + (b - b))


# Moments of a whole window, p: 1 / window


@_jit
def _deviation(x, p):
    return math.sqrt(x * p)


@_jit
def _standard(x, centre, p):
    d = math.sqrt(x * p)
    return _pick(d != 0.0, -centre / d, 0.0)


@_jit
def _skewness(x, y, p):
    v = x * p
    d = v * math.sqrt(v)
    return _pick(d != 0.0, y * p / d, 0.0)


@_jit
def _correlation(x, y, z):
    d = math.sqrt(y) * math.sqrt(z)
    return _clip(_pick(d != 0.0, x / d, 0.0 * (x + d)), -1.0, 1.0)


# Over a block: sources


@_jit
def _source(code, i, o, s, values, stride, times, bounds, n_bounds, context, p, n):
    if code == CONST:
        for t in range(n):
            o[t] = p
    elif code == PRICE:  # i = row
        x, step = _f64(values + 8 * stride * i), context[0]
        for t in range(n):
            o[t] = _price(x[t], step)
    elif code == QUEUE:  # i = row of the volume, the price is the one before
        price, x = _f64(values + 8 * stride * (i - 1)), _f64(values + 8 * stride * i)
        for t in range(n):
            o[t] = _queue(price[t], x[t])
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


# Over a block: an op's ticks one by one


@_jit
def _arithmetic(code, rows, params, count, base, n):
    if code == ADD:
        for r in range(count):
            o, x, y = _two(base, _row(rows, r))
            for t in range(n):
                o[t] = x[t] + y[t]
    elif code == SUB:
        for r in range(count):
            o, x, y = _two(base, _row(rows, r))
            for t in range(n):
                o[t] = x[t] - y[t]
    elif code == MUL:
        for r in range(count):
            o, x, y = _two(base, _row(rows, r))
            for t in range(n):
                o[t] = x[t] * y[t]
    elif code == RATIO:
        for r in range(count):
            o, x, y = _two(base, _row(rows, r))
            zero = params[PARAM_FIELDS * r]
            for t in range(n):
                o[t] = _ratio(x[t], y[t], zero)
    elif code == OVER:
        for r in range(count):
            o, x = _one(base, _row(rows, r))
            p = params[PARAM_FIELDS * r]
            for t in range(n):
                o[t] = x[t] / p
    elif code == ABS:
        for r in range(count):
            o, x = _one(base, _row(rows, r))
            for t in range(n):
                o[t] = abs(x[t])
    elif code == FINITE:
        for r in range(count):
            o, x = _one(base, _row(rows, r))
            for t in range(n):
                o[t] = _fill(x[t], np.nan)
    elif code == FILL:
        for r in range(count):
            o, x = _one(base, _row(rows, r))
            p = params[PARAM_FIELDS * r]
            for t in range(n):
                o[t] = _fill(x[t], p)
    elif code == SIGN:
        for r in range(count):
            o, x = _one(base, _row(rows, r))
            for t in range(n):
                o[t] = _sign(x[t])


@_jit
def _functions(code, rows, params, count, base, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y, z = _three(base, row)
        p, q = params[PARAM_FIELDS * r], params[PARAM_FIELDS * r + 1]
        if code == LOG:
            for t in range(n):
                o[t] = _log(x[t])
        elif code == SQRT:
            for t in range(n):
                o[t] = _sqrt(x[t])
        elif code == CLIP:
            for t in range(n):
                o[t] = _clip(x[t], p, q)
        elif code == GREATER:
            for t in range(n):
                o[t] = _greater(x[t], y[t])
        elif code == EQUAL:
            for t in range(n):
                o[t] = _equal(x[t], y[t])
        elif code == WHERE:
            for t in range(n):
                o[t] = _where(x[t], y[t], z[t])
        elif code == LARGER:
            for t in range(n):
                o[t] = _larger(x[t], y[t])
        elif code == SMALLER:
            for t in range(n):
                o[t] = _smaller(x[t], y[t])


@_jit
def _since_before(code, rows, params, count, base, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y = _two(base, row)
        lag = row[ARG]
        x1, y1, p = _f64_at(x, -lag), _f64_at(y, -lag), params[PARAM_FIELDS * r]
        if code == DELTA:
            for t in range(n):
                o[t] = _delta(x[t], x1[t])
        elif code == FLOW:
            for t in range(n):
                o[t] = _flow(x[t], x1[t], y[t], y1[t], p)


# Over a block: windows merged from two


@_jit
def _merge(code, rows, params, count, base, n):
    if code == PAIR_SUM:
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(base, row)
            for t in range(n):
                o[t] = x[t] + y[t]
    elif code == PAIR_MAX:
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(base, row)
            for t in range(n):
                o[t] = _larger(x[t], y[t])
    elif code == PAIR_MIN:
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(base, row)
            for t in range(n):
                o[t] = _smaller(x[t], y[t])
    elif code == PAIR_GAP:
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(base, row)
            z1 = _f64_at(z, -row[ARG])
            for t in range(n):
                o[t] = _gap(x[t], y[t], z[t], z1[t])
    elif code == PAIR_SHIFT:
        for r in range(count):
            o, x, z = _two(base, _row(rows, r))
            p = params[PARAM_FIELDS * r]
            for t in range(n):
                o[t] = _shift(x[t], z[t], p)
    elif code == PAIR_CO:
        for r in range(count):
            row = _row(rows, r)
            o, x, y, z = _parts(base, row)
            w, p = _at(base, row, D), params[PARAM_FIELDS * r]
            for t in range(n):
                o[t] = _co(x[t], y[t], z[t], w[t], p)


@_jit
def _merge_more(code, rows, params, count, base, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y, z = _parts(base, row)
        w, p, q = _at(base, row, D), params[PARAM_FIELDS * r], params[PARAM_FIELDS * r + 1]
        if code == PAIR_TREND:
            for t in range(n):
                o[t] = _trend(x[t], y[t], z[t], p)
        elif code == PAIR_MIX:
            for t in range(n):
                o[t] = _mix(x[t], y[t], p, q)
        elif code == PAIR_CUBE:
            for t in range(n):
                o[t] = _cube(x[t], y[t], z[t], w[t], p, q)
        elif code == PAIR_AGE:
            lag = row[ARG]
            w1 = _f64_at(w, -lag)
            for t in range(n):
                o[t] = _age(x[t], y[t], z[t], w1[t], float(lag), p)


@_jit
def _moments(code, rows, params, count, base, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y, z = _three(base, row)
        p = params[PARAM_FIELDS * r]
        if code == DEVIATION:
            for t in range(n):
                o[t] = _deviation(x[t], p)
        elif code == STANDARD:
            for t in range(n):
                o[t] = _standard(x[t], y[t], p)
        elif code == SKEWNESS:
            for t in range(n):
                o[t] = _skewness(x[t], y[t], p)
        elif code == CORRELATION:
            for t in range(n):
                o[t] = _correlation(x[t], y[t], z[t])


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
        v, count = x[t], 0
        past = _f64_at(x, t - w + 1)
        for k in range(w):
            count += (past[k] < v) + (past[k] <= v)
        rank = (float(count) - 1.0) / (2.0 * (w - 1))  # the present value is among the equal ones
        o[t] = rank if run[t] >= w else np.nan


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
        known = v - v == 0.0
        e = _pick(known, _pick(seen == 0.0, v, e + alpha * (v - e)), e)
        seen = _pick(known, seen + 1.0, seen)
        o[t] = _pick(known & (seen >= span), e, np.nan)
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
            new = (now == now) & (now != b)
            a, b = _pick(new, x[t], a), _pick(new, now, b)
            o[t] = _pick(now == now, a, np.nan)
    elif code == HELD:
        for t in range(n):
            v = x[t]
            a = _pick((v == v) & (v != 0.0), v, a)
            o[t] = a
    elif code == RUN_LENGTH:
        for t in range(n):
            v = x[t]
            a = _pick(v == b, a + 1.0, 1.0)
            b = v
            o[t] = _pick(v == v, a, np.nan)
    elif code == SINCE:
        for t in range(n):
            v = x[t]
            a = _pick((v == v) & (v != 0.0), 0.0, a + 1.0)
            o[t] = a
    elif code == DECAY_SINCE:
        for t in range(n):
            v = x[t]
            a = _pick((v == v) & (v != 0.0), 1.0, a * p)
            o[t] = a
    elif code == DECAY:
        for t in range(n):
            v = x[t]
            known = v - v == 0.0
            a = a * p
            a = _pick(known, a + v, a)
            o[t] = _pick(known, a, np.nan)
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
def _rung(base, table, level):
    return _f64(base + 8 * table[level])


@_jit
def _clock_sum(base, table, count, o, n):
    for t in range(n):
        c = count[t]
        if c != c:
            o[t] = np.nan
            continue
        left, level, back, total = int(c), 0, 0, 0.0
        while left > 0:
            if left & 1:
                total += _rung(base, table, level)[t - back]
                back += 1 << level
            left >>= 1
            level += 1
        o[t] = total


@_jit
def _clock_extreme(base, table, count, o, sign, n):
    for t in range(n):
        c = count[t]
        if c != c:
            o[t] = np.nan
            continue
        level = 0
        while (2 << level) <= int(c):
            level += 1
        part = _rung(base, table, level)
        a, b = part[t], part[t - (int(c) - (1 << level))]
        m = a if a * sign > b * sign else b
        o[t] = m if a == a else a


@_jit
def _clock_moments(code, base, table, levels, x, y, count, o, n):
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
                part_x = _rung(base, table, level)[at] + (x[at] - x[t])
                part_y, part_co = 0.0, 0.0
                if code == CLOCK_CO:
                    part_y = _rung(base, table, levels + level)[at] + (y[at] - y[t])
                    part_co = _rung(base, table, 2 * levels + level)[at]
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
def _ema_run(rows, params, count, base, carry, n):
    """Exponential means that do not feed each other: in blocks, four warm ones go side by side."""
    r = 0
    while r < count:
        row = _row(rows, r)
        if n > 1 and r + 4 <= count and _ready(row, base, carry, n):
            o0, x0 = _one(base, row)
            o1, x1 = _one(base, _row(row, 1))
            o2, x2 = _one(base, _row(row, 2))
            o3, x3 = _one(base, _row(row, 3))
            s0, s1 = _carried(carry, row), _carried(carry, _row(row, 1))
            s2, s3 = _carried(carry, _row(row, 2)), _carried(carry, _row(row, 3))
            p = PARAM_FIELDS * r
            a0, a1, a2, a3 = params[p], params[p + 2], params[p + 4], params[p + 6]
            _ema_lanes(x0, x1, x2, x3, o0, o1, o2, o3, s0, s1, s2, s3, a0, a1, a2, a3, n)
            r += 4
            continue
        o, x = _one(base, row)
        _ema(x, o, _carried(carry, row), row[ARG], params[PARAM_FIELDS * r], n)
        r += 1


@_jit
def _ready(row, base, carry, n):
    """Whether four exponential means are known already and meet nothing but finite values."""
    before = -1
    for lane in range(4):
        here = _row(row, lane)
        if _carried(carry, here)[1] < here[ARG]:
            return False
        if here[A] != before:
            before = here[A]
            if not _all_finite(_at(base, here, A), n):
                return False
    return True


@_jit
def _stateful(code, rows, params, count, base, carry, tables, n):
    for r in range(count):
        row = _row(rows, r)
        o, x, y, z = _three(base, row)
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
            _clock_sum(base, _i32(tables + 4 * i), z, o, n)
        elif code in (CLOCK_MAX, CLOCK_MIN):
            _clock_extreme(base, _i32(tables + 4 * i), z, o, 1.0 if code == CLOCK_MAX else -1.0, n)
        else:
            _clock_moments(code, base, _i32(tables + 4 * i), j, x, y, z, o, n)


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


@intrinsic
def _gather(typingctx, source, places, target):
    """Four numbers from four places to float32 side by side; every NaN becomes the same one."""

    def codegen(context, builder, signature, args):
        double, single = ir.VectorType(ir.DoubleType(), 4), ir.VectorType(ir.FloatType(), 4)
        nan = ir.Constant(double, [ir.Constant(ir.DoubleType(), float("nan"))] * 4)
        v = ir.Constant(double, ir.Undefined)
        for lane in range(4):
            lane = ir.Constant(ir.IntType(64), lane)
            place = builder.sext(builder.load(builder.gep(args[1], [lane])), ir.IntType(64))
            v = builder.insert_element(v, builder.load(builder.gep(args[0], [place])), lane)
        v = builder.fptrunc(builder.select(builder.fcmp_unordered("uno", v, v), nan, v), single)
        builder.store(v, builder.bitcast(args[2], single.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(_P_F64, _P_I32, _P_F32), codegen


@intrinsic
def _stream_eight(typingctx, source, target):
    """Eight numbers straight to memory, past the caches; `target` lies at a multiple of 32 bytes."""

    def codegen(context, builder, signature, args):
        eight = ir.VectorType(ir.FloatType(), 8).as_pointer()
        store = builder.store(
            builder.load(builder.bitcast(args[0], eight), align=4), builder.bitcast(args[1], eight), align=32
        )
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(_P_F32, _P_F32), codegen


@intrinsic
def _fence(typingctx):
    """What was streamed is in its place before anything that follows."""

    def codegen(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@_jit
def _stream(source, address, count):
    """Numbers to float32[count] at an address, which need not be read first: half the traffic with the memory."""
    target = _f32(address)
    first = min((-address) % 32 // 4, count)
    for t in range(first):
        target[t] = source[t]
    whole = first + (count - first) // 8 * 8
    for t in range(first, whole, 8):
        _stream_eight(_f32_at(source, t), _f32_at(target, t))
    for t in range(whole, count):
        target[t] = source[t]


@_jit
def _column(x, target, stride, n):
    """One op's ticks to every `stride`-th number."""
    for t in range(n):
        target[t * stride] = np.float32(x[t]) if x[t] == x[t] else np.float32(np.nan)


@_jit
def _emit(base, outputs, n_factors, address, n, tile):
    """Blocks to float32 rows. Every NaN leaves as the same one: which payload survives is the compiler's choice.

    With `tile`, an address, rows are put together there and streamed out: better where they outgrow the caches.
    """
    out = _f32(address)
    if n == 1:
        v = _f64(base)
        for j in range(0, n_factors - n_factors % 4, 4):
            _gather(v, _i32_at(outputs, j), _f32_at(out, j))
        for j in range(n_factors - n_factors % 4, n_factors):
            x = v[outputs[j]]
            out[j] = np.float32(_pick(x == x, x, np.nan))
        return
    ticks = n - n % TILE
    columns = n_factors - n_factors % 4
    for start in range(0, ticks, TILE):
        rows = _f32(tile) if tile else _f32_at(out, start * n_factors)
        for j in range(0, columns, 4):
            x0, x1 = _rung(base, outputs, j), _rung(base, outputs, j + 1)
            x2, x3 = _rung(base, outputs, j + 2), _rung(base, outputs, j + 3)
            for t in range(0, TILE, 4):
                target = _f32_at(rows, t * n_factors + j)
                at = start + t
                _transpose(_f64_at(x0, at), _f64_at(x1, at), _f64_at(x2, at), _f64_at(x3, at), target, n_factors)
        for j in range(columns, n_factors):
            _column(_f64_at(_rung(base, outputs, j), start), _f32_at(rows, j), n_factors, TILE)
        if tile:
            _stream(rows, address + 4 * start * n_factors, TILE * n_factors)
    for j in range(n_factors):
        _column(_f64_at(_rung(base, outputs, j), ticks), _f32_at(out, ticks * n_factors + j), n_factors, n - ticks)


# One tick: along the ops of a code, by narrow rows (`tick_plan.NARROW`)


@_jit
def _tick_elements(code, rows, params, count, v):
    """Ops that are few."""
    if code == FILL:
        for r in range(count):
            v[rows[2 * r]] = _fill(v[rows[2 * r + 1]], params[r])
    elif code == CLIP:
        for r in range(count):
            v[rows[2 * r]] = _clip(v[rows[2 * r + 1]], params[2 * r], params[2 * r + 1])
    elif code == WHERE:
        for r in range(count):
            v[rows[4 * r]] = _where(v[rows[4 * r + 1]], v[rows[4 * r + 2]], v[rows[4 * r + 3]])
    elif code <= SQRT:
        for r in range(count):
            o, x = rows[2 * r], v[rows[2 * r + 1]]
            if code == ABS:
                v[o] = abs(x)
            elif code == SIGN:
                v[o] = _sign(x)
            elif code == FINITE:
                v[o] = _fill(x, np.nan)
            elif code == LOG:
                v[o] = _log(x)
            else:
                v[o] = _sqrt(x)
    else:
        for r in range(count):
            o, x, y = rows[3 * r], v[rows[3 * r + 1]], v[rows[3 * r + 2]]
            if code == GREATER:
                v[o] = _greater(x, y)
            elif code == EQUAL:
                v[o] = _equal(x, y)
            elif code == LARGER:
                v[o] = _larger(x, y)
            else:
                v[o] = _smaller(x, y)


@_jit
def _tick_merge(code, rows, params, count, v):
    """Windows merged from two, and what is made of their moments."""
    if code == PAIR_GAP:
        for r in range(count):
            i = 5 * r
            v[rows[i]] = _gap(v[rows[i + 1]], v[rows[i + 2]], v[rows[i + 3]], v[rows[i + 4]])
    elif code == PAIR_SHIFT:
        for r in range(count):
            i = 3 * r
            v[rows[i]] = _shift(v[rows[i + 1]], v[rows[i + 2]], params[r])
    elif code == PAIR_CO:
        for r in range(count):
            i = 5 * r
            v[rows[i]] = _co(v[rows[i + 1]], v[rows[i + 2]], v[rows[i + 3]], v[rows[i + 4]], params[r])
    elif code == MEANS:
        for r in range(count):
            i = 6 * r
            x = v[rows[i + 2]]
            gap = _gap(x, v[rows[i + 3]], v[rows[i + 4]], v[rows[i + 5]])
            v[rows[i]] = gap
            v[rows[i + 1]] = _shift(x, gap, params[r])
    elif code == VARIANCES:
        for r in range(count):
            i = 9 * r
            x = v[rows[i + 3]]
            gap = _gap(x, v[rows[i + 4]], v[rows[i + 5]], v[rows[i + 6]])
            v[rows[i]] = gap
            v[rows[i + 1]] = _shift(x, gap, params[2 * r])
            v[rows[i + 2]] = _co(v[rows[i + 7]], v[rows[i + 8]], gap, gap, params[2 * r + 1])
    elif code == PAIR_TREND:
        for r in range(count):
            i = 4 * r
            v[rows[i]] = _trend(v[rows[i + 1]], v[rows[i + 2]], v[rows[i + 3]], params[r])
    elif code == PAIR_MIX:
        for r in range(count):
            i = 3 * r
            v[rows[i]] = _mix(v[rows[i + 1]], v[rows[i + 2]], params[2 * r], params[2 * r + 1])
    elif code == PAIR_CUBE:
        for r in range(count):
            i, p, q = 5 * r, params[2 * r], params[2 * r + 1]
            v[rows[i]] = _cube(v[rows[i + 1]], v[rows[i + 2]], v[rows[i + 3]], v[rows[i + 4]], p, q)
    elif code == PAIR_AGE:
        for r in range(count):
            i, p, q = 5 * r, params[2 * r], params[2 * r + 1]
            v[rows[i]] = _age(v[rows[i + 1]], v[rows[i + 2]], v[rows[i + 3]], v[rows[i + 4]], p, q)
    elif code == DEVIATION:
        for r in range(count):
            v[rows[2 * r]] = _deviation(v[rows[2 * r + 1]], params[r])
    elif code == CORRELATION:
        for r in range(count):
            i = 4 * r
            v[rows[i]] = _correlation(v[rows[i + 1]], v[rows[i + 2]], v[rows[i + 3]])
    else:
        for r in range(count):
            o, x, y = rows[3 * r], v[rows[3 * r + 1]], v[rows[3 * r + 2]]
            v[o] = _standard(x, y, params[r]) if code == STANDARD else _skewness(x, y, params[r])


@_jit
def _tick_source(code, rows, params, count, v, tick, step):
    if code == CONST:
        for r in range(count):
            v[rows[r]] = params[r]
    elif code == PRICE:
        for r in range(count):
            v[rows[2 * r]] = _price(tick[rows[2 * r + 1]], step)
    elif code == QUEUE:
        for r in range(count):
            i = rows[2 * r + 1]
            v[rows[2 * r]] = _queue(tick[i - 1], tick[i])
    else:
        for r in range(count):
            v[rows[2 * r]] = tick[rows[2 * r + 1]]


@_jit
def _tick(frame, base, plan, carry, values):
    v, all_rows, all_params, runs, tables = _f64(base), _i32(plan[0]), _f64(plan[1]), _i32(plan[2]), plan[5]
    for g in range(plan[3]):
        code, count = runs[RUN_FIELDS * g], runs[RUN_FIELDS * g + 1]
        rows = _i32_at(all_rows, runs[RUN_FIELDS * g + 2])
        params = _f64_at(all_params, runs[RUN_FIELDS * g + 3])
        if code == ADD:
            for r in range(count):
                v[rows[3 * r]] = v[rows[3 * r + 1]] + v[rows[3 * r + 2]]
        elif code == SUB:
            for r in range(count):
                v[rows[3 * r]] = v[rows[3 * r + 1]] - v[rows[3 * r + 2]]
        elif code == MUL:
            for r in range(count):
                v[rows[3 * r]] = v[rows[3 * r + 1]] * v[rows[3 * r + 2]]
        elif code == RATIO:
            for r in range(count):
                v[rows[3 * r]] = _ratio(v[rows[3 * r + 1]], v[rows[3 * r + 2]], params[r])
        elif code == OVER:
            for r in range(count):
                v[rows[2 * r]] = v[rows[2 * r + 1]] / params[r]
        elif code == EMA:
            for r in range(count):
                i = 4 * r
                s = _f64(carry + 8 * rows[i + 2])
                _ema(_f64_at(v, rows[i + 1]), _f64_at(v, rows[i]), s, rows[i + 3], params[r], 1)
        elif code == FLOW:
            for r in range(count):
                i = 5 * r
                v[rows[i]] = _flow(v[rows[i + 1]], v[rows[i + 2]], v[rows[i + 3]], v[rows[i + 4]], params[r])
        elif code <= RAW:
            _tick_source(code, rows, params, count, v, _f64(values), _f64(frame[FRAME_CONTEXT])[0])
        elif code < ADD:
            for r in range(count):
                _source_run(code, _row(rows, r), params[0], frame, base, carry, values, 0, 1)
        elif code <= SMALLER:
            _tick_elements(code, rows, params, count, v)
        elif code == DELTA:
            for r in range(count):
                v[rows[3 * r]] = _delta(v[rows[3 * r + 1]], v[rows[3 * r + 2]])
        elif PAIR_GAP <= code <= CORRELATION or code >= MEANS:
            _tick_merge(code, rows, params, count, v)
        else:
            _stateful(code, rows, params, count, base, carry, tables, 1)


# Over a block: the ops one by one


@_jit
def _source_run(code, row, p, frame, base, carry, values, first, n):
    o, s = _at(base, row, OWN), _carried(carry, row)
    times, stride = _i64(frame[FRAME_TIMES] + 8 * first), frame[FRAME_STRIDE]
    bounds, n_bounds, context = _i64(frame[FRAME_BOUNDS]), frame[FRAME_N_BOUNDS], _f64(frame[FRAME_CONTEXT])
    _source(code, row[ARG], o, s, values, stride, times, bounds, n_bounds, context, p, n)


@_jit
def _block(frame, base, plan, carry, first, n):
    all_rows, all_params, runs, tables = _i32(plan[0]), _f64(plan[1]), _i32(plan[2]), plan[5]
    values = frame[FRAME_VALUES] + 8 * first
    for g in range(plan[3]):
        code, count = runs[RUN_FIELDS * g], runs[RUN_FIELDS * g + 1]
        rows = _i32_at(all_rows, runs[RUN_FIELDS * g + 2])
        params = _f64_at(all_params, runs[RUN_FIELDS * g + 3])
        if code < ADD:
            for r in range(count):
                p = params[PARAM_FIELDS * r]
                _source_run(code, _row(rows, r), p, frame, base, carry, values, first, n)
        elif code <= FILL:
            _arithmetic(code, rows, params, count, base, n)
        elif code <= SMALLER:
            _functions(code, rows, params, count, base, n)
        elif code <= FLOW:
            _since_before(code, rows, params, count, base, n)
        elif code <= PAIR_CO:
            _merge(code, rows, params, count, base, n)
        elif code <= PAIR_CUBE:
            _merge_more(code, rows, params, count, base, n)
        elif code <= CORRELATION:
            _moments(code, rows, params, count, base, n)
        elif code == EMA:
            _ema_run(rows, params, count, base, carry, n)
        else:
            _stateful(code, rows, params, count, base, carry, tables, n)


@_jit
def _slide_back(arena, position, extent, slide, n):
    """Where the buffers would slide out of the arena, bring all of it to the front."""
    if position[0] + n > slide:
        source, target = _f64(arena + 8 * position[0]), _f64(arena)
        for t in range(extent):
            target[t] = source[t]
        position[0] = 0


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
    position, slide, extent, plan = _i64(frame[5]), frame[6], frame[7], _i64(frame[8])
    first = 0
    while first < n_ticks:
        n = min(max(block, 1), n_ticks - first)
        _slide_back(arena, position, extent, slide, n)
        base = arena + 8 * position[0]
        if block == 0:
            _tick(frame, base, plan, carry, frame[FRAME_VALUES])
        else:
            _block(frame, base, plan, carry, first, n)
        _emit(base, _i32(plan[4]), n_factors, frame[FRAME_OUT] + 4 * first * n_factors, n, frame[FRAME_TILE])
        position[0] += n
        first += n
    if frame[FRAME_TILE]:
        _fence()
