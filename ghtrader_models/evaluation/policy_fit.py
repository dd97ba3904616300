"""Fits a policy's numbers: from what a model says of its own training rows, and from how far the price went.

What belongs here: fitting. The rule itself is `policy`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.labels.labels import FLAT
from ghtrader_models.policy import PolicyParams

if TYPE_CHECKING:
    from ghtrader_models.datasets.load import Dataset

STRONGEST = 0.1
"""Share of the rows that enter which, where positions are sized, ask for the full size."""


@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """What is asked of a policy before a model is fitted.

    Parameters
    ----------
    quantile : float
        Share of training rows whose edge stays below the entry threshold, 0 to 1.
    leave_fraction : float
        Exit threshold as a share of the entry threshold, 0 to 1; near zero.
    max_lots : int
        Lots of an open position at the most, at least 1.
    sized : bool
        Lots grow with the edge; otherwise every position has `max_lots`.
    cost_aware : bool
        Enter only where the promised move exceeds spread and fees.
    cooldown : int
        Ticks after leaving in which nothing is entered.

    Raises
    ------
    UsageError
        A value out of its range, or ``sized`` with a single lot.
    """

    quantile: float = 0.90
    leave_fraction: float = 0.10
    max_lots: int = 1
    sized: bool = False
    cost_aware: bool = False
    cooldown: int = 0

    def __post_init__(self) -> None:
        if not (0.0 <= self.quantile <= 1.0 and 0.0 <= self.leave_fraction <= 1.0):
            raise UsageError("a policy's quantile and leave_fraction are between 0 and 1", "correct them")
        if self.max_lots < 1 or self.cooldown < 0:
            raise UsageError("a policy holds at least one lot and rests no negative number of ticks", "correct them")
        if self.sized and self.max_lots < 2:
            raise UsageError("a position of one lot cannot be sized", "give --max-lots 2 or more, or leave --sized out")

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> PolicyOptions:
        """From a run's configuration, where what is absent has its default; UsageError for a name there is not."""
        if unknown := sorted(set(given) - {item.name for item in fields(cls)}):
            names = ", ".join(item.name for item in fields(cls))
            raise UsageError(f"a policy has no option {', '.join(unknown)}", f"there are {names}")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: what differs from the defaults."""
        plain = asdict(PolicyOptions())
        return {name: value for name, value in asdict(self).items() if value != plain[name]}


def fit_policy(
    p_train: np.ndarray, options: PolicyOptions | None = None, *, move: float = 0.0, fee: float = 0.0
) -> PolicyParams:
    """Thresholds from the probabilities a model gave its own training rows.

    Parameters
    ----------
    p_train : float64[n, 3]
        DOWN, FLAT, UP; rows with NaN are left out.
    options : PolicyOptions, optional
        The defaults where absent.
    move, fee : float
        See `PolicyParams`.

    Raises
    ------
    UsageError
        No row with probabilities.
    """
    options = options or PolicyOptions()
    edge = np.abs(p_train[:, 2] - p_train[:, 0])
    edge = edge[np.isfinite(edge)]
    if edge.size == 0:
        raise UsageError("no training probabilities to fit a policy on", "check that the training days have labels")
    enter = float(np.quantile(edge, options.quantile))
    per_lot = 0.0
    if options.sized:
        strongest = float(np.quantile(edge, 1.0 - STRONGEST * (1.0 - options.quantile)))
        per_lot = (strongest - enter) / (options.max_lots - 1)
    return PolicyParams(
        enter=enter,
        leave=options.leave_fraction * enter,
        max_lots=options.max_lots,
        per_lot=per_lot,
        move=move,
        fee=fee,
        cooldown=options.cooldown,
    )


def fit_policy_on(dataset: Dataset, rows: np.ndarray, p_train: np.ndarray, options: PolicyOptions) -> PolicyParams:
    """`fit_policy` with what a move was worth and a round trip cost on the training rows, where costs are weighed.

    Parameters
    ----------
    dataset : Dataset
        With its quotes.
    rows : int64[n]
        Usable rows, and `p_train` float64[n, 3] what the model says of them.

    Raises
    ------
    UsageError
        Also where the training rows never moved: no move to weigh costs against.
    """
    if not options.cost_aware:
        return fit_policy(p_train, options)
    moved = rows[dataset.y[rows] != FLAT]
    later = np.minimum(moved + dataset.horizon, len(dataset) - 1)  # a usable row's label ends within its day
    sizes = np.abs(dataset.mid[later] - dataset.mid[moved])
    price = float(np.nanmedian(dataset.mid[rows]))
    if not np.isfinite(sizes).any() or not np.isfinite(price):
        raise UsageError("no price moved on the training rows: nothing to weigh costs against", "train on more days")
    return fit_policy(p_train, options, move=float(np.nanmean(sizes)), fee=_round_trip(dataset, int(rows[-1]), price))


def _round_trip(dataset: Dataset, row: int, price: float) -> float:
    """Fees of opening and closing one lot within the row's day, CNY for one unit of price."""
    from ghtrader_models.evaluation.policy_simulation import TradingCosts

    fact = dataset.facts[dataset.day_index[row]]
    variety = variety_of(fact.contract)
    costs = TradingCosts(rates=variety.fees(fact.contract, fact.day), multiplier=variety.multiplier)
    fees = costs.of(np.array([1, -1]), np.array([0, 1]), np.array([price, price]))
    return float(fees.sum()) / costs.multiplier
