"""In which order the ops of a program run, and where each keeps its ticks.

What belongs here: what makes the same arithmetic fast, for blocks and for single ticks. No result depends on it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ghtrader_models.factors import kernel as k
from ghtrader_models.factors.chains import Row

PAD = 8
"""Numbers between buffers, so that buffers of a power-of-two length do not share cache sets."""
GROUP = 24
"""Buffers that move together: few enough that a live tick hardly feels it."""
LEAST_ROOM, MOST_ROOM = 256, 8192
"""Ticks between two moves: as many as the history has, within these."""


@dataclass(frozen=True)
class Plan:
    """Rows of the op table in an order of computing, with places; see `kernel.PLAN`.

    Attributes
    ----------
    rows : numpy.ndarray
        int32[n_ops, 16].
    params : numpy.ndarray
        float64[n_ops, 2].
    runs : numpy.ndarray
        int32[n_runs, 3].
    outputs : numpy.ndarray
        int32[n_factors, 2].
    tables : numpy.ndarray
        int32[*, 2].
    """

    rows: np.ndarray
    params: np.ndarray
    runs: np.ndarray
    outputs: np.ndarray
    tables: np.ndarray

    def addresses(self) -> np.ndarray:
        """int64[6]: the plan as the kernel takes it."""
        arrays = (self.rows, self.params, self.runs)
        found = [array.ctypes.data for array in arrays] + [len(self.runs)]
        return np.array([*found, self.outputs.ctypes.data, self.tables.ctypes.data], np.int64)


@dataclass(frozen=True)
class Layout:
    """Where everything lies, for blocks of at most `block` ticks.

    Attributes
    ----------
    block : int
        Ticks.
    arena : numpy.ndarray
        float64[*]: all buffers, as a trading day starts.
    room : numpy.ndarray
        int32[n_groups]: ticks that fit between two moves; group 0 never moves.
    position : numpy.ndarray
        int32[n_groups]: where each group starts, all somewhere else, so that they move at different ticks.
    moves : numpy.ndarray
        int32[n_moves, 3]: place, history and group of each buffer that moves.
    blocks, ticks : Plan
        What is run over blocks, and at single ticks.
    """

    block: int
    arena: np.ndarray
    room: np.ndarray
    position: np.ndarray
    moves: np.ndarray
    blocks: Plan
    ticks: Plan


def lay_out(
    rows: Sequence[Row],
    params: Sequence[tuple[float, float]],
    history: Sequence[int],
    outputs: Sequence[int],
    tables: Sequence[int],
    block: int,
) -> Layout:
    """Orders and buffers of the ops of a program.

    Parameters
    ----------
    rows, params, history, outputs, tables : sequences
        As `chains.Builder` collects them; outputs are the ops that are factors.
    block : int
        Ticks that are computed at a time, at most.
    """
    in_blocks, in_ticks = _block_order(rows), _tick_order(rows)
    place, fixed = PAD, {}
    constants: list[tuple[int, int, float]] = []
    for op, row in enumerate(rows):
        if row.code == k.CONST:
            fixed[op] = (place + history[op], 0)
            constants.append((place, place + history[op] + block, params[op][0]))
            place += history[op] + block + PAD
    moving = sorted((op for op, row in enumerate(rows) if history[op] and op not in fixed), key=lambda op: history[op])
    room, position, moves = [0], [0], []
    for first in range(0, len(moving), GROUP):
        members = moving[first : first + GROUP]
        number = len(room)
        room.append(block + min(max(history[members[-1]], LEAST_ROOM), MOST_ROOM))
        position.append(number * 97 % (room[-1] - block))
        for op in members:
            fixed[op] = (place + history[op], number)
            moves.append((*fixed[op][:1], history[op], number))
            place += history[op] + room[-1] + PAD
    scratch, place = _share(rows, in_blocks, outputs, fixed, block, place)
    alone = [op for op in range(len(rows)) if op not in fixed]
    single = {op: (place + number, 0) for number, op in enumerate(alone)}
    arena = np.full(place + len(alone) + PAD, np.nan)
    for start, end, value in constants:
        arena[start:end] = value
    plans = [
        _plan(rows, params, order, outputs, tables, {**fixed, **rest})
        for order, rest in ((in_blocks, scratch), (in_ticks, single))
    ]
    return Layout(
        block=block,
        arena=arena,
        room=np.array(room, np.int32),
        position=np.array(position, np.int32),
        moves=np.array(moves, np.int32).reshape(-1, k.MOVE_FIELDS),
        blocks=plans[0],
        ticks=plans[1],
    )


def _block_order(rows: Sequence[Row]) -> list[int]:
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


def _tick_order(rows: Sequence[Row]) -> list[int]:
    """As few groups as a greedy choice finds: the code with the most ops ready goes next, until it has none."""
    waiting = [len(set(row.reads)) for row in rows]
    readers: list[list[int]] = [[] for _ in rows]
    for op, row in enumerate(rows):
        for read in set(row.reads):
            readers[read].append(op)
    ready: dict[int, list[int]] = {}
    for op, row in enumerate(rows):
        if waiting[op] == 0:
            heapq.heappush(ready.setdefault(row.code, []), op)
    order: list[int] = []
    while any(ready.values()):
        code = max(ready, key=lambda c: (len(ready[c]), -c))
        while ready[code]:
            op = heapq.heappop(ready[code])
            order.append(op)
            for reader in readers[op]:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heapq.heappush(ready.setdefault(rows[reader].code, []), reader)
    return order


def _runs(rows: Sequence[Row], order: Sequence[int]) -> list[list[int]]:
    """Groups of one code: code, first, number. Exponential means of one group do not feed each other."""
    runs: list[list[int]] = []
    members: set[int] = set()
    for op in order:
        code = rows[op].code
        fed = code == k.EMA and rows[op].operands[0] in members
        if runs and runs[-1][0] == code and not fed:
            runs[-1][2] += 1
        else:
            runs.append([code, sum(runs[-1][1:]) if runs else 0, 1])
            members.clear()
        members.add(op)
    return runs


def _share(
    rows: Sequence[Row],
    order: Sequence[int],
    outputs: Iterable[int],
    fixed: dict[int, tuple[int, int]],
    block: int,
    place: int,
) -> tuple[dict[int, tuple[int, int]], int]:
    """Block buffers of ops nobody looks back on, used again once the last reader is done; where the arena goes on."""
    last: dict[int, int] = {}
    for _, first, number in _runs(rows, order):
        for op in order[first : first + number]:
            last.update(dict.fromkeys(rows[op].reads, first + number))  # a group may go side by side
    last.update(dict.fromkeys(outputs, len(rows) + 1))
    found: dict[int, tuple[int, int]] = {}
    free: list[tuple[int, int]] = []
    for at, op in enumerate(order):
        if op in fixed:
            continue
        if free and free[0][0] < at:
            _, base = heapq.heappop(free)
        else:
            base, place = place, place + block + PAD
        found[op] = (base, 0)
        heapq.heappush(free, (last[op], base))
    return found, place


def _plan(
    rows: Sequence[Row],
    params: Sequence[tuple[float, float]],
    order: Sequence[int],
    outputs: Sequence[int],
    tables: Sequence[int],
    place: dict[int, tuple[int, int]],
) -> Plan:
    order = [op for op in order if rows[op].code != k.CONST]
    table = np.zeros((len(order), k.OP_FIELDS), np.int32)
    for line, op in zip(table, order, strict=True):
        row = rows[op]
        for field, operand in zip((k.OWN, k.A, k.B, k.C, k.D), (op, *row.operands), strict=False):
            line[field : field + 2] = place[operand]
        line[[k.ARG, k.STATE, k.ARG2]] = row.i, row.state, row.j
    return Plan(
        rows=table,
        params=np.array([params[op] for op in order], np.float64).reshape(-1, k.PARAM_FIELDS),
        runs=np.array(_runs(rows, order), np.int32).reshape(-1, k.RUN_FIELDS),
        outputs=np.array([place[op] for op in outputs], np.int32),
        tables=np.array([*(place[op] for op in tables), (0, 0)], np.int32),
    )
