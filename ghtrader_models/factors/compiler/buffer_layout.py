"""Lays out where the ops of a program keep their ticks, and in which order blocks of ticks run them.

What belongs here: what makes the same arithmetic fast over blocks. No result depends on it. The order and the rows of
a single tick are in `single_tick_plan`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ghtrader_models.factors.compiler import kernel as k
from ghtrader_models.factors.compiler.window_merging import Row

PAD = 8
"""Numbers between the buffers of blocks, so that buffers of a power-of-two length do not share cache sets."""
SLIDE = 1 << 17
"""Ticks until the buffers have slid through the arena and are brought back to its front: more than a trading day."""


class Ops(NamedTuple):
    """The ops of a program, as `window_merging.Builder` collects them; outputs are the ops that are factors."""

    rows: Sequence[Row]
    params: Sequence[tuple[float, float]]
    history: Sequence[int]
    outputs: Sequence[int]
    tables: Sequence[int]


class Views:
    """Which op's buffer each op is read from, and how much earlier: a lag needs no buffer of its own.

    Attributes
    ----------
    root, lag : list of int
        Of each op.
    history : list of int
        Ticks that each buffer keeps; 0 for lags.
    """

    def __init__(self, ops: Ops) -> None:
        self.root, self.lag = list(range(len(ops.rows))), [0] * len(ops.rows)
        self.history = list(ops.history)
        for op, row in enumerate(ops.rows):
            if row.code == k.LAG:
                self.root[op], self.lag[op] = self.root[row.operands[0]], self.lag[row.operands[0]] + row.i
        for op, row in enumerate(ops.rows):
            if row.code == k.LAG:
                root = self.root[op]
                self.history[root] = max(self.history[root], self.history[op] + self.lag[op])
                self.history[op] = 0

    def places(self, place: dict[int, int]) -> list[int]:
        """Where each op is read, from where the buffers are."""
        return [place[root] - lag for root, lag in zip(self.root, self.lag, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Buffers, and the rows that go over them.

    Attributes
    ----------
    start : numpy.ndarray
        float64[extent]: all buffers, as a trading day starts.
    kept : numpy.ndarray
        int64[*]: where the earlier ticks lie that the next ones need, op by op; the same ones in every layout.
    rows, params, runs, outputs, tables : numpy.ndarray
        The plan, see `kernel.PLAN`.
    block : int
        Ticks that are computed at a time, at most; 0: single ticks.
    """

    start: np.ndarray
    kept: np.ndarray
    rows: np.ndarray
    params: np.ndarray
    runs: np.ndarray
    outputs: np.ndarray
    tables: np.ndarray
    block: int

    @cached_property
    def addresses(self) -> np.ndarray:
        """int64[6]: the plan as the kernel takes it."""
        found = [array.ctypes.data for array in (self.rows, self.params, self.runs)]
        return np.array([*found, len(self.runs), self.outputs.ctypes.data, self.tables.ctypes.data], np.int64)


def cold(ops: Ops, views: Views, place: dict[int, int], extent: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """`start` and `kept` of a layout."""
    start = np.full(extent, np.nan)
    kept = [np.zeros(0, np.int64)]
    for op, row in enumerate(ops.rows):
        history = views.history[op]
        if row.code == k.CONST:
            start[place[op] - history : place[op] + block] = ops.params[op][0]
        elif history:
            kept.append(np.arange(place[op] - history, place[op]))
    return start, np.concatenate(kept)


def for_blocks(ops: Ops, block: int) -> Layout:
    """Orders and buffers for blocks of so many ticks at most."""
    rows, views = ops.rows, Views(ops)
    order = [op for op in _order(rows) if rows[op].code != k.LAG]
    place, end = {}, PAD
    for op in sorted((op for op in order if views.history[op]), key=lambda op: views.history[op]):
        place[op] = end + views.history[op]
        end = place[op] + block + PAD
    end = _share(ops, views, order, place, block, end)
    at = views.places(place)
    runs = _runs(rows, order, views.root)
    start, kept = cold(ops, views, place, end, block)
    table = np.zeros((len(order), k.OP_FIELDS), np.int32)
    for line, op in zip(table, order, strict=True):
        row = rows[op]
        for field, operand in zip((k.OWN, k.A, k.B, k.C, k.D), (op, *row.operands), strict=False):
            line[field] = at[operand]
        line[[k.ARG, k.STATE, k.ARG2]] = row.i, row.state, row.j
    return Layout(
        start=start,
        kept=kept,
        rows=table,
        params=np.array([ops.params[op] for op in order], np.float64).reshape(-1, k.PARAM_FIELDS),
        runs=np.array(
            [(code, number, k.OP_FIELDS * first, k.PARAM_FIELDS * first) for code, first, number in runs], np.int32
        ).reshape(-1, k.RUN_FIELDS),
        outputs=np.array([at[op] for op in ops.outputs], np.int32),
        tables=np.array([*(at[op] for op in ops.tables), 0], np.int32),
        block=block,
    )


def _order(rows: Sequence[Row]) -> list[int]:
    """As built, operands just before their readers while the caches hold them; but exponential means in a row."""
    means = [op for op, row in enumerate(rows) if row.code == k.EMA]
    placed: set[int] = set()
    order: list[int] = []
    for op, row in enumerate(rows):
        if op in placed:
            continue
        group = [op]
        if row.code == k.EMA:
            group += [m for m in means if m > op and m not in placed and rows[m].operands[0] < op]
        placed.update(group)
        order += group
    return order


def _runs(rows: Sequence[Row], order: Sequence[int], root: Sequence[int]) -> list[list[int]]:
    """Groups of one code: code, first, number. Exponential means of one group do not feed each other."""
    runs: list[list[int]] = []
    members: set[int] = set()
    for op in order:
        code = rows[op].code
        fed = code == k.EMA and root[rows[op].operands[0]] in members
        if runs and runs[-1][0] == code and not fed:
            runs[-1][2] += 1
        else:
            runs.append([code, sum(runs[-1][1:]) if runs else 0, 1])
            members.clear()
        members.add(op)
    return runs


def _share(ops: Ops, views: Views, order: Sequence[int], place: dict[int, int], block: int, end: int) -> int:
    """Buffers of ops nobody looks back on, used again once the last reader is done; where the arena goes on."""
    last: dict[int, int] = {}
    for _, first, number in _runs(ops.rows, order, views.root):
        for op in order[first : first + number]:
            last.update(dict.fromkeys(ops.rows[op].reads, first + number))  # a group may go side by side
    last.update(dict.fromkeys(ops.outputs, len(order) + 1))
    free: list[tuple[int, int]] = []
    for at, op in enumerate(order):
        if op in place:
            continue
        if free and free[0][0] < at:
            _, base = heapq.heappop(free)
        else:
            base, end = end, end + block + PAD
        place[op] = base
        heapq.heappush(free, (last.get(op, at), base))
    return end
