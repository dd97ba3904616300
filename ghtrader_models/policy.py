"""From probabilities and a position to a target position: one compiled function for simulation and live.

What belongs here: the decision rule, its parameters, how they are fitted from training probabilities, and the loop
that runs the rule over recorded rows (compiled functions that call each other share a file, because of numba's
cache). What does not: orders, fees, risk limits, the time of day. Nothing here imports a training library.

The rule is hysteresis on the edge ``p_up - p_down``: enter when the edge is stronger than `enter`, hold until
it has faded to `leave` or less, reverse when it is as strong the other way. Entering and leaving at one
threshold trades on every wobble of the edge and loses the spread each time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ghtrader_base.compiled import njit
from ghtrader_base.errors import IntegrityError, UsageError

ENTER_QUANTILE = 0.90
LEAVE_FRACTION = 0.10


@njit(cache=True, error_model="numpy")
def decide(
    p_down: float, p_flat: float, p_up: float, position: int, enter: float, leave: float, lots: int
) -> int:
    """Target position in lots, signed.

    Parameters
    ----------
    p_down, p_flat, p_up : float
        Probabilities of the next move. NaN in any of them is no opinion, and no opinion holds no position.
    position : int
        Lots held now, signed.
    enter, leave : float
        Edges, in probability; `leave` below `enter`.
    lots : int
        Size of a position that is held, at least 1.

    Returns
    -------
    int
        -lots, 0 or +lots.
    """
    edge = p_up - p_down
    if not (edge == edge and p_flat == p_flat):
        return 0
    if edge > enter:
        return lots
    if edge < -enter:
        return -lots
    if position > 0 and edge > leave:
        return lots
    if position < 0 and edge < -leave:
        return -lots
    return 0


@njit(cache=True, error_model="numpy")
def _replay(p, bid, ask, enter, leave, lots, row, volume, closed, price):
    """Run `decide` over one stretch of rows; fills into the last four arrays, returns how many."""
    n = p.shape[0]
    position = 0
    wanted = 0
    count = 0
    for t in range(n):
        change = wanted - position
        quote = ask[t] if change > 0 else bid[t]
        if change != 0 and quote == quote:
            row[count] = t
            volume[count] = change
            closed[count] = min(abs(change), abs(position)) if position * change < 0 else 0
            price[count] = quote
            count += 1
            position = wanted
        wanted = 0 if t >= n - 2 else decide(p[t, 0], p[t, 1], p[t, 2], wanted, enter, leave, lots)
    return count


def replay(
    p: np.ndarray, bid: np.ndarray, ask: np.ndarray, params: PolicyParams
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The policy over one stretch of rows, filled at the opposite quote of the row after the decision.

    Starts flat and is flat again at the last row. Every order fills whole, whatever the depth, and moves nothing; a
    row without the quote needed fills nothing, and the decision is taken anew.

    Parameters
    ----------
    p : float64[n, 3]
        DOWN, FLAT, UP; NaN where there is no opinion.
    bid, ask : float64[n]
        Best quotes, CNY, NaN where absent.
    params : PolicyParams
        Thresholds and lots.

    Returns
    -------
    row : int64[k]
        Row of each fill.
    volume : int64[k]
        Lots, bought positive, sold negative.
    closed : int64[k]
        Lots of it that closed a position; the rest opened one.
    price : float64[k]
        CNY.
    """
    n = p.shape[0]
    row, volume, closed = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    price = np.empty(n)
    arrays = [np.ascontiguousarray(a, np.float64) for a in (p, bid, ask)]
    count = _replay(*arrays, params.enter, params.leave, params.max_lots, row, volume, closed, price)
    return row[:count], volume[:count], closed[:count], price[:count]


@dataclass(frozen=True)
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

    Raises
    ------
    UsageError
        A value out of its range.
    """

    enter: float
    leave: float
    max_lots: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.enter) and math.isfinite(self.leave) and 0.0 <= self.leave <= self.enter <= 1.0):
            raise UsageError(
                f"policy thresholds enter={self.enter}, leave={self.leave} are not 0 <= leave <= enter <= 1",
                "fit them with fit_policy, or correct the numbers",
            )
        if self.max_lots < 1:
            raise UsageError(f"policy max_lots={self.max_lots} is below 1", "a policy holds at least one lot")

    def decide(self, p_down: float, p_flat: float, p_up: float, position: int) -> int:
        """Target position of these parameters; the compiled `decide`."""
        return int(decide(p_down, p_flat, p_up, position, self.enter, self.leave, self.max_lots))

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
        try:
            return cls(enter=float(data["enter"]), leave=float(data["leave"]), max_lots=int(data["max_lots"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise IntegrityError(f"policy parameters do not read: {exc!r}", "train the model again") from exc


def fit_policy(
    p_train: np.ndarray,
    *,
    quantile: float = ENTER_QUANTILE,
    leave_fraction: float = LEAVE_FRACTION,
    max_lots: int = 1,
) -> PolicyParams:
    """Thresholds from the probabilities a model gave its own training rows.

    Parameters
    ----------
    p_train : float64[n, 3]
        DOWN, FLAT, UP; rows with NaN are left out.
    quantile : float
        Share of training rows whose edge stays below the entry threshold.
    leave_fraction : float
        Exit threshold as a share of the entry threshold; near zero.
    max_lots : int
        Lots of an open position.

    Raises
    ------
    UsageError
        No row with probabilities.
    """
    edge = np.abs(p_train[:, 2] - p_train[:, 0])
    edge = edge[np.isfinite(edge)]
    if edge.size == 0:
        raise UsageError("no training probabilities to fit a policy on", "check that the training days have labels")
    enter = float(np.quantile(edge, quantile))
    return PolicyParams(enter=enter, leave=leave_fraction * enter, max_lots=max_lots)
