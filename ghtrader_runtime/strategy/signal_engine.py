"""Turns ticks into decisions for one contract: factors, model, policy, and when to be flat. No socket, no clock.

The same for replay, paper, sim and live. A trading day stands alone: factors start cold at its first tick.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np

from ghtrader_base.errors import RefusedError
from ghtrader_market.reference.session_times import factor_clock, factor_clock_at, in_sessions
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.bundle import Bundle
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.inference.predictors import Predictor, WarmTracker

_BID, _ASK = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"]
_NO_OPINION = np.full(3, np.nan)
_SWING_WEIGHT, _REACH = 0.05, 2.5
"""How far the edge may move until the next tick: so many times what it moved lately, exponentially weighted."""


@dataclass(kw_only=True)
class Decision:
    """What the strategy makes of one tick.

    `marks_ns` is when factors, model and decision were done, `near` what else it may well want after the next tick.
    """

    target: int
    reason: str
    factors: np.ndarray
    probabilities: np.ndarray
    marks_ns: tuple[int, int, int] = (0, 0, 0)
    near: tuple[int, ...] = ()


class SignalEngine:
    """Ticks in, decisions out, one contract; no socket and no clock in it.

    Parameters
    ----------
    bundle : Bundle
        Model, factor list, policy.
    calendar, symbol, price_tick, multiplier
        The contract's.
    flat_before_end_ns : int
        Market time before the end of the day's last session from which the target is flat.
    flat_from_ns : int
        Moment from which the target is flat; 0 for none.
    position : int
        Lots held at the start.
    clock : callable
        Where stages are to be timed, in ns; never looked at for a decision.

    Raises
    ------
    RefusedError
        The bundle's factor list is not what this installation would compute under its hash.
    """

    def __init__(
        self,
        bundle: Bundle,
        calendar: TradingCalendar,
        symbol: str,
        price_tick: float,
        multiplier: int,
        flat_before_end_ns: int = 0,
        flat_from_ns: int = 0,
        position: int = 0,
        clock: Callable[[], int] = lambda: 0,
    ) -> None:
        self._calendar, self._variety = calendar, variety_of(symbol)
        self._price_tick, self._multiplier = price_tick, multiplier
        self._factor_set = matching_factor_set(bundle)
        self._predictor = Predictor.from_bundle(bundle)
        self._policy = bundle.policy
        self._flat_before_ns, self._flat_from_ns = flat_before_end_ns, flat_from_ns
        self._clock = clock
        self._engine: FactorEngine | None = None
        self._warm = WarmTracker(len(self._factor_set))
        self._bounds: list[tuple[int, int]] = []
        self.day = ""
        self.target = position
        self._rest = 0
        self._edge, self._swing = math.nan, 0.0
        self.stop_trading = False
        """Set when the strategy is about to leave: from then on the target is flat."""
        self.width = len(self._factor_set)
        self._compile()

    def _compile(self) -> None:
        """Load every compiled kernel now and not at the first tick; leaves no trace in the day's state."""
        engine = FactorEngine(self._factor_set, self._price_tick, self._multiplier, [(0, 1)])
        engine.update(0, np.full(len(VALUE_COLUMNS), np.nan))
        self._policy.step(0.0, 1.0, 0.0, 0, 0, 0.0)

    def _start_day(self, day: str) -> None:
        self.day = day
        self._bounds = self._calendar.sessions(self._variety, date.fromisoformat(day))
        if self._engine is None:
            self._engine = FactorEngine(self._factor_set, self._price_tick, self._multiplier, self._bounds)
        else:
            self._engine.reset(self._bounds)
        self._warm.reset()
        self._predictor.reset()
        self._rest = 0
        self._edge, self._swing = math.nan, 0.0

    def forget(self, position: int) -> None:
        """What was decided over history was not done: this is held, and nothing was left just now."""
        self.target, self._rest = position, 0

    def on_tick(self, day: str, datetime_ns: int, values: np.ndarray) -> Decision | None:
        """The decision after one tick; None for a tick outside the sessions (it is no part of main_l5 either).

        The arrays of a decision belong to the engine: copy what is kept.
        """
        if day != self.day:
            self._start_day(day)
        clock_ns = factor_clock_at(datetime_ns, self._bounds)
        if clock_ns is None:
            return None
        assert self._engine is not None
        factors = self._engine.update(clock_ns, values)
        computed_ns = self._clock()
        if not self._warm.update(factors):
            self._predictor.observe(factors)
            wanted = 0 if self._ends_soon(datetime_ns) else self.target
            return self._decide(wanted, "cold", factors, _NO_OPINION, computed_ns, computed_ns)
        probabilities = self._predictor.predict_row(factors)
        inferred_ns = self._clock()
        if self._ends_soon(datetime_ns):
            return self._decide(0, "flat before the end", factors, probabilities, computed_ns, inferred_ns)
        down, flat, up = probabilities.tolist()
        spread = float(values[_ASK] - values[_BID])
        wanted, self._rest = self._policy.step(down, flat, up, self.target, self._rest, spread)
        reason = "hold" if wanted == self.target else "signal"
        decision = self._decide(wanted, reason, factors, probabilities, computed_ns, inferred_ns)
        decision.near = self._near(down, flat, up, spread)
        return decision

    def _near(self, down: float, flat: float, up: float, spread: float) -> tuple[int, ...]:
        """Targets that the next tick may well bring, should the edge move as it did lately."""
        edge = up - down
        moved = abs(edge - self._edge)
        if moved == moved:  # a tick without an opinion says nothing of how it moves
            self._swing += _SWING_WEIGHT * (moved - self._swing)
        self._edge = edge
        return self._policy.near(down, flat, up, self.target, self._rest, spread, _REACH * self._swing)

    def on_day(self, day: str, datetime_ns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The target after each tick of a whole day, as `on_tick` gives it, factors and model computed in one go.

        Parameters
        ----------
        datetime_ns : int64[n]
        values : float64[27, n]

        Returns
        -------
        int32[n]
            Lots, negative short. The same as tick by tick: no decision depends on a fill. Of a network that onnxruntime
            runs on windows probabilities agree to 1e-6, and a decision at a threshold may differ.
        """
        self._start_day(day)
        assert self._engine is not None
        inside = in_sessions(datetime_ns, self._bounds)
        clock = factor_clock(datetime_ns[inside], self._bounds)
        rows = self._engine.batch(clock, np.ascontiguousarray(values[:, inside]))
        warm = self._warm.batch(rows)
        probabilities = self._predictor.predict_day(rows, warm)
        spreads = (values[_ASK, inside] - values[_BID, inside]).tolist()
        targets = np.empty(len(datetime_ns), np.int32)
        place = 0
        for i, (moment, known) in enumerate(zip(datetime_ns.tolist(), inside.tolist(), strict=True)):
            if known:
                if self._ends_soon(moment):
                    self.target = 0
                elif warm[place]:
                    down, flat, up = probabilities[place].tolist()
                    self.target, self._rest = self._policy.step(down, flat, up, self.target, self._rest, spreads[place])
                place += 1
            targets[i] = self.target
        return targets

    def _ends_soon(self, datetime_ns: int) -> bool:
        if self.stop_trading or (self._flat_from_ns and datetime_ns >= self._flat_from_ns):
            return True
        return bool(self._flat_before_ns) and datetime_ns >= self._bounds[-1][1] - self._flat_before_ns

    def _decide(
        self, target: int, reason: str, factors: np.ndarray, probabilities: np.ndarray, computed_ns: int,
        inferred_ns: int,
    ) -> Decision:  # fmt: skip
        self.target = target
        return Decision(
            target=target,
            reason=reason,
            factors=factors,
            probabilities=probabilities,
            marks_ns=(computed_ns, inferred_ns, self._clock()),
        )


def matching_factor_set(bundle: Bundle) -> FactorSet:
    """The bundle's factor set, if this installation computes the same under that name and hash.

    Raises
    ------
    RefusedError
        It does not: a model must never see other numbers than it was trained on.
    """
    hint = "train the model again with this version"
    try:
        factor_set = FactorSet.from_spec(bundle.factor_set_spec)
    except Exception as exc:
        raise RefusedError(f"bundle {bundle.bundle_id}: its factor list cannot be computed here: {exc}", hint) from exc
    if factor_set.spec_hash != bundle.factor_spec_hash or tuple(factor_set.names) != tuple(bundle.factor_names):
        raise RefusedError(f"bundle {bundle.bundle_id}: its factor list does not match its hash", hint)
    return factor_set
