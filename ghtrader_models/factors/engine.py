"""Computes a factor set on one contract's ticks, a day at once or tick by tick, with the same bits.

What belongs here: `FactorEngine`, which checks and keeps the arrays that the kernel works on, and the state of a day.
The arithmetic is in `kernel`; which day is fed and when it begins is decided by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_models.factors.compiler import kernel
from ghtrader_models.factors.compiler.buffer_layout import SLIDE, Layout
from ghtrader_models.factors.compiler.op_table import Program, compile_program
from ghtrader_models.factors.factor_set import FactorSet

ROWS = len(VALUE_COLUMNS)
BLOCK = 256
STREAM_ABOVE = 1 << 22
"""Bytes of factors that no cache holds for whoever reads them next: they are written past the caches."""


class _Buffers:
    """An arena, and the layout by which it keeps the ticks of a program."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.slide = max(SLIDE, layout.block)
        self.arena = np.full(len(layout.start) + self.slide, np.nan)
        self.position = np.zeros(1, np.int64)
        self.reset()

    def reset(self) -> None:
        """As a trading day starts."""
        self.position[0] = 0
        self.arena[: len(self.layout.start)] = self.layout.start

    def past(self) -> np.ndarray:
        """The earlier ticks that the next ones need: float64[*], the same in every layout."""
        kept: np.ndarray = self.arena[self.layout.kept + self.position[0]]
        return kept

    def take(self, past: np.ndarray) -> None:
        """Go on from what `past` gave."""
        self.reset()
        self.arena[self.layout.kept] = past


@dataclass(frozen=True, kw_only=True)
class EngineState:
    """What a restart of a `FactorEngine` needs.

    Attributes
    ----------
    spec_hash : str
        Of the factor set.
    program : str
        Digest of what computes it.
    price_tick, multiplier : float
        CNY; units of the product a lot.
    session_bounds_ns : list of [int, int]
        UTC epoch ns.
    values : float64[n]
        Memory of the factors, a copy.
    """

    spec_hash: str
    program: str
    price_tick: float
    multiplier: float
    session_bounds_ns: list[list[int]]
    values: np.ndarray


class FactorEngine:
    """Computes a factor set, causally, with state carried from tick to tick.

    A new engine, and one after `reset`, is cold: call `reset` at each trading day's first tick. `batch` and `update`
    may be mixed freely; each goes on where the last one ended. Factors are NaN until they are warm.

    Parameters
    ----------
    factor_set : FactorSet
        What to compute.
    price_tick : float
        Price step of the contract, CNY.
    multiplier : float
        Units a lot.
    session_bounds_ns : sequence of (int, int), optional
        Start and end of each session of the trading day, UTC ns, in order; needed by `SessionTime` and `SessionAge`.

    Raises
    ------
    UsageError
        Price tick or multiplier is not positive, or session bounds are needed and not given, or run backwards.

    Examples
    --------
    >>> from ghtrader_models.factors.language.parser import parse
    >>> engine = FactorEngine(FactorSet("two", {"spread": parse("Spread()"), "ret": parse("MidReturn(1)")}), 10.0, 5)
    >>> values = np.full((27, 2), np.nan)
    >>> values[7], values[9] = [70000.0, 70010.0], [70010.0, 70020.0]
    >>> engine.batch(np.array([0, 500_000_000]), values).tolist()
    [[1.0, nan], [1.0, 1.0]]
    """

    def __init__(
        self,
        factor_set: FactorSet,
        price_tick: float,
        multiplier: float,
        session_bounds_ns: Any = None,
    ) -> None:
        if not price_tick > 0 or not multiplier > 0:
            raise UsageError(f"price tick and multiplier must be positive, not {price_tick} and {multiplier}")
        self.factor_set = factor_set
        self.price_tick = float(price_tick)
        self.multiplier = float(multiplier)
        self._program: Program = compile_program(factor_set.expressions)
        self._context = np.array([price_tick, multiplier], np.float64)
        self._carry = self._program.carry.copy()
        self._tick = np.full(ROWS, np.nan)
        self._time = np.zeros(1, np.int64)
        self._row = np.full(len(factor_set), np.nan, np.float32)
        self._bounds = np.zeros((0, 2), np.int64)
        self._block = 0
        self._all_buffers = {0: _Buffers(self._program.layout(0))}
        self._set_bounds(session_bounds_ns)

    def __reduce__(self) -> tuple[Any, ...]:
        # the frame holds addresses: a copy must be built, never cloned
        bounds = self._bounds.tolist() or None
        return type(self), (self.factor_set, self.price_tick, self.multiplier, bounds), self.state()

    def __setstate__(self, state: EngineState) -> None:
        self.load_state(state)

    @property
    def names(self) -> tuple[str, ...]:
        """Factor names, in column order."""
        return self.factor_set.names

    def _set_bounds(self, session_bounds_ns: Any) -> None:
        bounds = np.array([] if session_bounds_ns is None else session_bounds_ns, np.int64).reshape(-1, 2)
        if self.factor_set.needs_session and not len(bounds):
            raise UsageError(
                f"factor set {self.factor_set.name!r} needs the session bounds of the trading day",
                "pass session_bounds_ns=calendar.sessions(variety, day)",
            )
        flat = bounds.ravel()
        if len(flat) and ((np.diff(flat) < 0).any() or (bounds[:, 0] == bounds[:, 1]).any()):
            raise UsageError("session bounds overlap or run backwards", "pass [(start_ns, end_ns), ...] in order")
        self._bounds = np.ascontiguousarray(bounds)
        self._point_live()

    def _use(self, block: int) -> None:
        """Go on in the buffers for blocks of so many ticks, or with 0 in those for single ticks."""
        if block not in self._all_buffers:
            self._all_buffers[block] = _Buffers(self._program.layout(block))
        if block != self._block:
            self._all_buffers[block].take(self._all_buffers[self._block].past())
            self._block = block

    def _point_live(self) -> None:
        self._live_frame = self._frame(self._all_buffers[0], 1, 0, self._tick, 1, self._time, self._row)
        self._live_address = self._live_frame.ctypes.data

    def _frame(
        self,
        buffers: _Buffers,
        n_ticks: int,
        block: int,
        values: np.ndarray,
        stride: int,
        times: np.ndarray,
        out: np.ndarray,
        tile: int = 0,
    ) -> np.ndarray:
        fields = {
            "n_factors": len(self.factor_set),
            "n_ticks": n_ticks,
            "block": block,
            "carry": self._carry.ctypes.data,
            "arena": buffers.arena.ctypes.data,
            "position": buffers.position.ctypes.data,
            "slide": buffers.slide,
            "extent": len(buffers.layout.start),
            "plan": buffers.layout.addresses.ctypes.data,
            "values": values.ctypes.data,
            "value_stride": stride,
            "times": times.ctypes.data,
            "bounds": self._bounds.ctypes.data,
            "n_bounds": len(self._bounds),
            "out": out.ctypes.data,
            "context": self._context.ctypes.data,
            "tile": tile,
        }
        return np.array([fields[name] for name in kernel.FRAME], np.int64)

    def reset(self, session_bounds_ns: Any = None) -> None:
        """Forget the day so far: what follows is a trading day's first tick.

        Parameters
        ----------
        session_bounds_ns : sequence of (int, int), optional
            Sessions of the new day; the ones in force stay where none are given.
        """
        if session_bounds_ns is not None:
            self._set_bounds(session_bounds_ns)
        self._carry[:] = self._program.carry
        self._all_buffers[self._block].reset()

    def batch(
        self, datetime_ns: np.ndarray, values: np.ndarray, *, block: int = BLOCK, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Factors of many ticks, going on from the state there is.

        Parameters
        ----------
        datetime_ns : numpy.ndarray
            int64[n], UTC ns.
        values : numpy.ndarray
            float64[27, n], rows as `ghtrader_market.reference.tick_schema.VALUE_COLUMNS`.
        block : int
            Ticks an op takes at a time; no result depends on it.
        out : numpy.ndarray, optional
            float32[n, F], C order, to write into: fresh memory for every day may cost as much as the factors.

        Returns
        -------
        numpy.ndarray
            float32[n, F], C order; `out` where it is given.

        Raises
        ------
        UsageError
            Shapes disagree, or `out` is not such an array.
        """
        times = np.ascontiguousarray(datetime_ns, np.int64)
        matrix = np.ascontiguousarray(values, np.float64)
        if times.ndim != 1 or matrix.shape != (ROWS, len(times)):
            raise UsageError(f"ticks must be int64[n] and float64[{ROWS}, n], not {times.shape} and {matrix.shape}")
        shape = (len(times), len(self.factor_set))
        if out is None:
            out = np.empty(shape, np.float32)
        elif out.shape != shape or out.dtype != np.float32 or not out.flags.carray:
            raise UsageError(f"out must be float32{list(shape)}, C order and writable", "leave it out: one is made")
        block = max(block, 1)
        self._use(max(block, BLOCK))
        tile = np.empty((kernel.TILE, shape[1]), np.float32)
        frame = self._frame(
            self._all_buffers[self._block], len(times), block, matrix, len(times), times, out,
            tile.ctypes.data if out.nbytes > STREAM_ABOVE else 0,
        )  # fmt: skip
        kernel.run(frame.ctypes.data)
        return out

    def update(self, datetime_ns: int, values: np.ndarray) -> np.ndarray:
        """Factors of the next tick.

        Parameters
        ----------
        datetime_ns : int
            UTC ns.
        values : numpy.ndarray
            float64[27].

        Returns
        -------
        numpy.ndarray
            float32[F]: the engine's own buffer, overwritten by the next call. Copy what you keep.
        """
        if len(values) != ROWS:
            raise UsageError(f"a tick has {ROWS} values, not {len(values)}")
        if self._block:
            self._use(0)
        self._tick[:] = values
        self._time[0] = datetime_ns
        kernel.run(self._live_address)
        return self._row

    def warm_up(self, datetime_ns: np.ndarray, values: np.ndarray) -> None:
        """Take in the trading day so far (shapes as in `batch`) without keeping its factors: a start in mid-session."""
        self.batch(datetime_ns, values)

    def _past(self) -> np.ndarray:
        return np.concatenate([self._carry, self._all_buffers[self._block].past()])

    def state(self) -> EngineState:
        """All that a restart needs: `load_state` of it into an engine of the same set gives the same bits on."""
        return EngineState(
            spec_hash=self.factor_set.spec_hash,
            program=self._program.digest,
            price_tick=self.price_tick,
            multiplier=self.multiplier,
            session_bounds_ns=self._bounds.tolist(),
            values=self._past(),
        )

    def load_state(self, state: EngineState) -> None:
        """Go on from a saved state.

        Raises
        ------
        IntegrityError
            It belongs to another factor set, price tick or multiplier, was saved by another version of the engine, or
            is damaged; the engine is as before.
        """
        mine = (self.factor_set.spec_hash, self.price_tick, self.multiplier)
        if (state.spec_hash, state.price_tick, state.multiplier) != mine:
            raise IntegrityError(
                "this factor state belongs to another factor set or contract", "replay the trading day so far instead"
            )
        if state.program != self._program.digest:
            raise IntegrityError(
                "this factor state was saved by another version of the factor engine",
                "replay the trading day so far instead",
            )
        values = np.asarray(state.values, np.float64)
        if values.shape != self._past().shape:
            raise IntegrityError("this factor state is damaged", "replay the trading day so far instead")
        self._set_bounds(state.session_bounds_ns or None)
        self._carry[:] = values[: len(self._carry)]
        self._all_buffers[self._block].take(values[len(self._carry) :])
