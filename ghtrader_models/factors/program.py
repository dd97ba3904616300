"""Expressions to one op table: lowered to what the kernel knows, equal parts computed once.

What belongs here: the table from expression class to op, the layout of the initial state, value numbering. The op codes
and the arithmetic are in `kernel`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.factors import expressions as ex
from ghtrader_models.factors import kernel as k
from ghtrader_models.factors import sources as src
from ghtrader_models.factors.expressions import Expression

_SIDE = {"bid": 0, "ask": 1}


@dataclass(frozen=True)
class Program:
    """A compiled factor set.

    Attributes
    ----------
    ops : numpy.ndarray
        int64[n_ops, 5], in an order that computes operands first (`kernel.OP_FIELDS`).
    params : numpy.ndarray
        float64[n_ops, 2].
    outputs : numpy.ndarray
        int64[n_factors]: the op whose value each factor is.
    initial_state : numpy.ndarray
        float64[*]: what a trading day starts from.
    """

    ops: np.ndarray
    params: np.ndarray
    outputs: np.ndarray
    initial_state: np.ndarray


@dataclass(frozen=True)
class _Op:
    """What one expression becomes, its operands apart."""

    code: int
    a: int = 0
    b: int = 0
    window: int = 0
    params: tuple[float, float] = (0.0, 0.0)
    state: Callable[[int, int], list[float]] = lambda window, place: []


def _before(size: int) -> Callable[[int, int], list[float]]:
    return lambda window, place: [np.nan] * size


def _lag_state(window: int, place: int) -> list[float]:
    return [place, *[np.nan] * window]


def _sum_state(window: int, place: int) -> list[float]:
    return [place, 0.0, 0.0, *[0.0] * (window + 1)]


def _extreme_state(window: int, place: int) -> list[float]:
    return [place, 0.0, -np.inf, *[-np.inf] * (window + 1)]


def _moments_state(window: int, place: int) -> list[float]:
    return [place, 0.0, 0.0, 0.0, 0.0, *[0.0] * (2 * window + 2)]


def _ema_state(window: int, place: int) -> list[float]:
    return [0.0, 0.0]


_RULES: dict[type[Expression], Callable[..., _Op]] = {
    ex.Const: lambda e: _Op(k.CONST, params=(e.value, 0.0)),
    src.BidPrice: lambda e: _Op(k.PRICE, e.level, 0),
    src.AskPrice: lambda e: _Op(k.PRICE, e.level, 1),
    src.BidVolume: lambda e: _Op(k.VOLUME, e.level, 0),
    src.AskVolume: lambda e: _Op(k.VOLUME, e.level, 1),
    src.LastPrice: lambda e: _Op(k.LAST, 1),
    src.Mid: lambda e: _Op(k.MID, 1),
    src.Spread: lambda e: _Op(k.SPREAD, 1),
    src.Microprice: lambda e: _Op(k.MICROPRICE, 1),
    src.Imbalance: lambda e: _Op(k.IMBALANCE, e.level),
    src.Depth: lambda e: _Op(k.DEPTH, e.levels, _SIDE[e.side]),
    src.Ofi: lambda e: _Op(k.OFI, e.level, state=_before(4)),
    src.VolumeDelta: lambda e: _Op(k.DELTA, k.ROW_VOLUME, 0, state=_before(1)),
    src.OpenInterestChange: lambda e: _Op(k.DELTA, k.ROW_OPEN_INTEREST, 1, state=_before(1)),
    src.VwapOffset: lambda e: _Op(k.VWAP_OFFSET, 1, state=_before(4)),
    src.SignedVolume: lambda e: _Op(k.SIGNED_VOLUME, 1, state=_before(4)),
    src.TickInterval: lambda e: _Op(k.INTERVAL, 1, state=_before(1)),
    src.SessionTime: lambda e: _Op(k.SESSION_TIME, 1),
    src.SessionAge: lambda e: _Op(k.SESSION_AGE, 1),
    ex.Add: lambda e: _Op(k.ADD),
    ex.Sub: lambda e: _Op(k.SUB),
    ex.Mul: lambda e: _Op(k.MUL),
    ex.Ratio: lambda e: _Op(k.RATIO, params=(e.zero, 0.0)),
    ex.Log: lambda e: _Op(k.LOG),
    ex.Abs: lambda e: _Op(k.ABS),
    ex.Sign: lambda e: _Op(k.SIGN),
    ex.Clip: lambda e: _Op(k.CLIP, params=(e.low, e.high)),
    ex.Lag: lambda e: _Op(k.LAG, window=e.lag, state=_lag_state),
    ex.Sum: lambda e: _Op(k.SUM, window=e.window, state=_sum_state),
    ex.Mean: lambda e: _Op(k.MEAN, window=e.window, state=_sum_state),
    ex.Std: lambda e: _Op(k.STD, window=e.window, state=_moments_state),
    ex.ZScore: lambda e: _Op(k.ZSCORE, window=e.window, state=_moments_state),
    ex.Min: lambda e: _Op(k.MIN, window=e.window, state=_extreme_state),
    ex.Max: lambda e: _Op(k.MAX, window=e.window, state=_extreme_state),
    ex.Ema: lambda e: _Op(k.EMA, window=e.span, params=(2.0 / (e.span + 1.0), 0.0), state=_ema_state),
    ex.AtChange: lambda e: _Op(k.AT_CHANGE, state=_before(2)),
}


class _Compiler:
    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.params: list[tuple[float, float]] = []
        self.state: list[float] = []
        self.slot_of: dict[bytes, int] = {}
        self.digest_of: list[bytes] = []

    def slot(self, expression: Expression) -> int:
        """The op that computes `expression`, added where no equal one is there yet."""
        while (simpler := expression.lower()) is not expression:
            expression = simpler
        rule = _RULES.get(type(expression))
        if rule is None:
            raise UsageError(f"{type(expression).__name__} is no expression the engine can compute")
        op = rule(expression)
        operands = [self.slot(operand) for operand in expression.operands()]
        digest = self._digest(op, operands)
        if digest not in self.slot_of:
            a, b = (*operands, op.a, op.b)[:2] if len(operands) != 1 else (operands[0], op.b)
            # a function of the expression alone, never of the set around it: the same factor has the same bits anywhere
            place = int.from_bytes(digest[:8], "little") % op.window if op.window else 0
            self.slot_of[digest] = len(self.rows)
            self.rows.append((op.code, a, b, op.window, len(self.state)))
            self.params.append(op.params)
            self.state.extend(op.state(op.window, place))
            self.digest_of.append(digest)
        return self.slot_of[digest]

    def _digest(self, op: _Op, operands: list[int]) -> bytes:
        text = f"{op.code} {op.a} {op.b} {op.window} {op.params!r}"
        return hashlib.sha256(text.encode() + b"".join(self.digest_of[slot] for slot in operands)).digest()


def compile_program(expressions: Mapping[str, Expression]) -> Program:
    """One op table for all expressions.

    Parameters
    ----------
    expressions : Mapping[str, Expression]
        Factor name to expression.

    Raises
    ------
    UsageError
        Some expression is of a class the engine does not know.
    """
    compiler = _Compiler()
    outputs = [compiler.slot(expression) for expression in expressions.values()]
    return Program(
        ops=np.array(compiler.rows, np.int64).reshape(-1, k.OP_FIELDS),
        params=np.array(compiler.params, np.float64).reshape(-1, k.PARAM_FIELDS),
        outputs=np.array(outputs, np.int64),
        initial_state=np.array([*compiler.state, 0.0], np.float64),
    )
