"""Plans the ops of a single tick: narrow rows, buffers as small as can be, ops of one code after each other.

What belongs here: what makes the same arithmetic fast for one tick. No result depends on it. A tick passes through the
whole program, so what counts is how many bytes it touches and how often it has to branch: a row holds the places its
code needs and nothing else, ops that always go together are one row, and the order has few changes of code.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ghtrader_models.factors.compiler import kernel as k
from ghtrader_models.factors.compiler.buffer_layout import Layout, Ops, Views, cold

NARROW: dict[int, tuple[int, str, str]] = {
    k.CONST: (k.CONST, "o", "p"),
    **{code: (code, "oi", "") for code in (k.PRICE, k.QUEUE, k.RAW)},
    **{code: (code, "oa", "") for code in (k.ABS, k.SIGN, k.FINITE, k.LOG, k.SQRT)},
    **{code: (code, "oa", "p") for code in (k.OVER, k.FILL, k.DEVIATION)},
    k.CLIP: (k.CLIP, "oa", "pq"),
    **{code: (code, "oab", "") for code in (k.ADD, k.SUB, k.MUL, k.GREATER, k.EQUAL, k.LARGER, k.SMALLER)},
    **{code: (code, "oab", "p") for code in (k.RATIO, k.STANDARD, k.SKEWNESS, k.PAIR_SHIFT)},
    **{code: (code, "oabc", "") for code in (k.WHERE, k.CORRELATION)},
    k.FLOW: (k.FLOW, "oaAbB", "p"),
    k.DELTA: (k.DELTA, "oaA", ""),
    k.PAIR_SUM: (k.ADD, "oaB", ""),
    k.PAIR_MAX: (k.LARGER, "oaB", ""),
    k.PAIR_MIN: (k.SMALLER, "oaB", ""),
    k.PAIR_GAP: (k.PAIR_GAP, "oaBcC", ""),
    k.PAIR_CO: (k.PAIR_CO, "oaBcd", "p"),
    k.PAIR_TREND: (k.PAIR_TREND, "oaBc", "p"),
    k.PAIR_MIX: (k.PAIR_MIX, "oaB", "pq"),
    k.PAIR_CUBE: (k.PAIR_CUBE, "oaBcd", "pq"),
    k.PAIR_AGE: (k.PAIR_AGE, "oaBcD", "ip"),
    k.EMA: (k.EMA, "oasi", "p"),
}
"""Code of an op -> code at a single tick, int32 fields, float64 fields.

o: its own place; a, b, c, d: places of operands, a capital one its place i ticks ago; i: the whole number; s: offset of
the state; p, q: numbers. Other codes have whole rows (`kernel.OP_FIELDS`) and are run like a block of one tick."""


class Step(NamedTuple):
    """What one row does: the ops that it computes, first the one whose operands come first in it."""

    code: int
    ops: tuple[int, ...]


def for_ticks(ops: Ops) -> Layout:
    """Order and buffers for single ticks."""
    views = Views(ops)
    steps = _ordered(ops, _steps(ops))
    place, end = {}, 0
    computed = [op for step in steps for op in step.ops]
    for op in sorted(computed, key=lambda op: views.history[op]):
        place[op] = end + views.history[op]
        end = place[op] + 1
    at = views.places(place)
    start, kept = cold(ops, views, place, end, 1)
    rows: list[int] = []
    params: list[float] = []
    runs: list[list[int]] = []
    for step in steps:
        if not runs or runs[-1][0] != step.code:
            runs.append([step.code, 0, len(rows), len(params)])
        runs[-1][1] += 1
        fields, numbers = _row(ops, step, at)
        rows += fields
        params += numbers
    return Layout(
        start=start,
        kept=kept,
        rows=np.array([*rows, 0], np.int32),
        params=np.array([*params, 0.0], np.float64),
        runs=np.array(runs, np.int32).reshape(-1, k.RUN_FIELDS),
        outputs=np.array([at[op] for op in ops.outputs], np.int32),
        tables=np.array([*(at[op] for op in ops.tables), 0], np.int32),
        block=0,
    )


def _steps(ops: Ops) -> list[Step]:
    """One a row: the ops but for lags, those that always go together as one."""
    rows = ops.rows
    gap_of: dict[int, int] = {}
    centre: dict[int, int] = {}
    squares: dict[int, int] = {}
    for op, row in enumerate(rows):
        if row.code == k.PAIR_SHIFT:
            centre[row.operands[1]] = op
        elif row.code == k.PAIR_CO and row.operands[2] == row.operands[3]:
            squares[row.operands[2]] = op
    for gap, op in (*centre.items(), *((gap, op) for gap, op in squares.items() if gap in centre)):
        gap_of[op] = gap
    steps = []
    for op, row in enumerate(rows):
        if row.code == k.LAG or op in gap_of:
            continue
        if row.code == k.PAIR_GAP and op in centre:
            both = (op, centre[op])
            steps.append(Step(k.VARIANCES, (*both, squares[op])) if op in squares else Step(k.MEANS, both))
        else:
            steps.append(Step(NARROW.get(row.code, (row.code,))[0], (op,)))
    return steps


def _row(ops: Ops, step: Step, at: Sequence[int]) -> tuple[list[int], list[float]]:
    op = step.ops[0]
    row = ops.rows[op]
    if step.code in k.BOTH:
        fields = [at[op] for op in step.ops] + _fields(ops, op, "aBcC", at)
        fields += [field for square in step.ops[2:] for field in _fields(ops, square, "aB", at)]
        return fields, [ops.params[op][0] for op in step.ops[1:]]
    if row.code in NARROW:
        _, letters, numbers = NARROW[row.code]
        p, q = ops.params[op]
        return _fields(ops, op, letters, at), [{"p": p, "q": q, "i": float(row.i)}[number] for number in numbers]
    whole = [0] * k.OP_FIELDS
    for field, operand in zip((k.OWN, k.A, k.B, k.C, k.D), (op, *row.operands), strict=False):
        whole[field] = at[operand]
    whole[k.ARG], whole[k.STATE], whole[k.ARG2] = row.i, row.state, row.j
    return whole, list(ops.params[op])


def _fields(ops: Ops, op: int, fields: str, at: Sequence[int]) -> list[int]:
    row = ops.rows[op]
    operands = dict(zip("abcd", row.operands, strict=False))
    known = {"o": at[op], "i": row.i, "s": row.state}
    found = []
    for field in fields:
        if field in known:
            found.append(known[field])
        else:
            found.append(at[operands[field.lower()]] - (row.i if field.isupper() else 0))
    return found


def _ordered(ops: Ops, steps: Sequence[Step]) -> list[Step]:
    """As few groups as a greedy choice finds: the code with the most steps ready goes next, until it has none."""
    number = {op: step for step, found in enumerate(steps) for op in found.ops}
    reads = [_reads(ops, step, number) for step in steps]
    readers: list[list[int]] = [[] for _ in steps]
    ready: dict[int, list[int]] = {}
    for step, needed in enumerate(reads):
        for read in needed:
            readers[read].append(step)
        if not needed:
            heapq.heappush(ready.setdefault(steps[step].code, []), step)
    waiting = [len(needed) for needed in reads]
    order: list[Step] = []
    while any(ready.values()):
        code = max(ready, key=lambda c: (len(ready[c]), -c))
        while ready[code]:
            step = heapq.heappop(ready[code])
            order.append(steps[step])
            for reader in readers[step]:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heapq.heappush(ready.setdefault(steps[reader].code, []), reader)
    return order


def _reads(ops: Ops, step: Step, number: dict[int, int]) -> set[int]:
    """Numbers of the steps that must come before one: what it reads at the tick itself, not earlier."""
    found: set[int] = set()
    for op in step.ops:
        row = ops.rows[op]
        if row.code in NARROW:
            found.update(op for name, op in zip("abcd", row.operands, strict=False) if name in NARROW[row.code][1])
        else:
            found.update(row.reads)
    return {number[op] for op in found if ops.rows[op].code != k.LAG} - {number[step.ops[0]]}
