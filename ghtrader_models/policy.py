"""Turns probabilities and a position into a target position: one compiled function for simulation and live.

What belongs here: the decision rule, its parameters, and the loop that runs the rule over recorded rows (compiled
functions that call each other share a file, because of numba's cache). What does not: how parameters are found
(`policy_fit`), what fills a target gets (`order_simulation`), fees, risk limits, the time of day. Nothing here imports
a training library.

The rule is hysteresis on the edge ``p_up - p_down``: enter when the edge is stronger than `enter`, hold until
it has faded to `leave` or less, reverse when it is as strong the other way. Entering and leaving at one
threshold trades on every wobble of the edge and loses the spread each time. Three things can be added, each off by
default:

- **Costs**: enter only when the move that the edge promises, ``|edge| * move``, is larger than the spread of the
  moment and the fees of a round trip.
- **Size**: one lot at `enter`, one more for every `per_lot` of edge beyond it, up to `max_lots`; a position that is
  held grows with the edge and does not shrink before it is left.
- **Cool-down**: after a position is left nothing is entered for so many ticks; a reversal leaves first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_base.numba_cache import njit


@njit(cache=True, error_model="numpy")
def decide(
    p_down: float,
    p_flat: float,
    p_up: float,
    position: int,
    spread: float,
    enter: float,
    leave: float,
    lots: int,
    per_lot: float,
    move: float,
    fee: float,
) -> int:
    """Target position in lots, signed, cool-down aside.

    Parameters
    ----------
    p_down, p_flat, p_up : float
        Probabilities of the next move. NaN in any of them is no opinion, and no opinion holds no position.
    position : int
        Lots held now, signed.
    spread : float
        Best ask less best bid, CNY; looked at where costs are weighed, and NaN then enters nothing.
    enter, leave, lots, per_lot, move, fee
        See `PolicyParams`.

    Returns
    -------
    int
        Between -lots and +lots.
    """
    edge = p_up - p_down
    if not (edge == edge and p_flat == p_flat):
        return 0
    side = 1 if edge > 0.0 else -1
    strength = abs(edge)
    held = position * side
    if strength > enter and (move <= 0.0 or strength * move > spread + fee):
        if per_lot <= 0.0:
            return side * lots
        return side * max(min(lots, 1 + int((strength - enter) / per_lot)), min(held, lots))
    if held > 0 and strength > leave:
        return side * lots if per_lot <= 0.0 else side * min(held, lots)
    return 0


@njit(cache=True, error_model="numpy")
def step(
    p_down: float,
    p_flat: float,
    p_up: float,
    position: int,
    rest: int,
    spread: float,
    enter: float,
    leave: float,
    lots: int,
    per_lot: float,
    move: float,
    fee: float,
    cooldown: int,
) -> tuple[int, int]:
    """`decide` with the cool-down: target position, and the ticks left in which nothing is entered."""
    if position == 0 and rest > 0:
        return 0, rest - 1
    target = decide(p_down, p_flat, p_up, position, spread, enter, leave, lots, per_lot, move, fee)
    if cooldown > 0 and position != 0 and target * position <= 0:
        return 0, cooldown
    return target, 0


@njit(cache=True, error_model="numpy")
def _target_path(
    p: np.ndarray,
    spread: np.ndarray,
    flat: np.ndarray,
    wanted: int,
    enter: float,
    leave: float,
    lots: int,
    per_lot: float,
    move: float,
    fee: float,
    cooldown: int,
    targets: np.ndarray,
) -> None:
    """Run `step` over one stretch of rows into `targets`."""
    rest = 0
    known = False
    for t in range(p.shape[0]):
        known = known or p[t, 0] == p[t, 0]
        if flat[t]:
            wanted = 0
        elif known:
            wanted, rest = step(
                p[t, 0], p[t, 1], p[t, 2], wanted, rest, spread[t], enter, leave, lots, per_lot, move, fee, cooldown
            )
        targets[t] = wanted


def target_path(
    p: np.ndarray, bid: np.ndarray, ask: np.ndarray, params: PolicyParams, flat: np.ndarray, held: int = 0
) -> np.ndarray:
    """What the policy wants to hold after each row of one stretch; no decision depends on a fill.

    Parameters
    ----------
    p : float64[n, 3]
        DOWN, FLAT, UP; NaN where there is no opinion. Before the first one what is held stays.
    bid, ask : float64[n]
        Best quotes, CNY, NaN where absent.
    params : PolicyParams
        Thresholds and lots.
    flat : bool[n]
        Rows that want no position, whatever the model says.
    held : int
        Net lots before the first row.

    Returns
    -------
    int64[n]
        Lots, negative short.
    """
    targets = np.empty(p.shape[0], np.int64)
    p = np.ascontiguousarray(p, np.float64)
    spread = np.ascontiguousarray(ask, np.float64) - bid
    _target_path(p, spread, np.ascontiguousarray(flat, np.bool_), held, *params.numbers, targets)
    return targets


@dataclass(frozen=True, kw_only=True)
class PolicyParams:
    """What `decide` needs besides the probabilities; travels inside the bundle.

    Parameters
    ----------
    enter : float
        Edge |p_up - p_down| that must be exceeded to open or reverse; probability, 0 to 1.
    leave : float
        Edge in the position's favour at or below which it is closed; 0 <= leave <= enter.
    max_lots : int
        Lots of an open position, at least 1.
    per_lot : float
        Edge beyond `enter` that one lot more needs; 0: always `max_lots`.
    move : float
        Size of a move, CNY, as it was on the training rows; 0: costs are not weighed.
    fee : float
        Fees of a round trip, CNY for one unit of price; weighed together with `move`.
    cooldown : int
        Ticks after leaving in which nothing is entered.

    Raises
    ------
    UsageError
        A value out of its range.
    """

    enter: float
    leave: float
    max_lots: int = 1
    per_lot: float = 0.0
    move: float = 0.0
    fee: float = 0.0
    cooldown: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.enter) and math.isfinite(self.leave) and 0.0 <= self.leave <= self.enter <= 1.0):
            raise UsageError(
                f"policy thresholds enter={self.enter}, leave={self.leave} are not 0 <= leave <= enter <= 1",
                "fit them with fit_policy, or correct the numbers",
            )
        if self.max_lots < 1:
            raise UsageError(f"policy max_lots={self.max_lots} is below 1", "a policy holds at least one lot")
        for name in ("per_lot", "move", "fee", "cooldown"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UsageError(f"policy {name}={getattr(self, name)} is no number of 0 or more", "correct it")

    @property
    def numbers(self) -> tuple[float, float, int, float, float, float, int]:
        """In the order in which `step` takes them."""
        return self.enter, self.leave, self.max_lots, self.per_lot, self.move, self.fee, self.cooldown

    def decide(self, p_down: float, p_flat: float, p_up: float, position: int, spread: float = math.nan) -> int:
        """Target position, cool-down aside; the compiled `decide`."""
        return int(decide(p_down, p_flat, p_up, position, spread, *self.numbers[:-1]))

    def step(
        self, p_down: float, p_flat: float, p_up: float, position: int, rest: int, spread: float
    ) -> tuple[int, int]:
        """Target position and ticks left to rest; the compiled `step`."""
        return step(p_down, p_flat, p_up, position, rest, spread, *self.numbers)

    def near(
        self, p_down: float, p_flat: float, p_up: float, position: int, rest: int, spread: float, reach: float
    ) -> tuple[int, ...]:
        """Other targets than `position` that `step` would give were the edge smaller or larger by `reach`."""
        half = reach / 2.0
        lower, _ = step(p_down + half, p_flat, p_up - half, position, rest, spread, *self.numbers)
        upper, _ = step(p_down - half, p_flat, p_up + half, position, rest, spread, *self.numbers)
        return tuple(target for target in (lower, upper) if target != position)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; `from_dict` takes it back exactly."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PolicyParams:
        """Back from `to_dict`.

        Raises
        ------
        IntegrityError
            A key is missing, unknown or not a number.
        """
        known: dict[str, type[Any]] = {item.name: type(item.default) for item in fields(cls)[2:]}
        try:
            rest = {name: kind(data[name]) for name, kind in known.items() if name in data or name == "max_lots"}
            unknown = set(data) - set(known) - {"enter", "leave"}
            if unknown:
                raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
            return cls(enter=float(data["enter"]), leave=float(data["leave"]), **rest)
        except (KeyError, TypeError, ValueError) as exc:
            raise IntegrityError(f"policy parameters do not read: {exc!r}", "train the model again") from exc
