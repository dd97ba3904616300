"""Event-time labels: where the mid is N ticks from now, DOWN, FLAT or UP.

What belongs here: the definition of a label, its spec and its hash. Labels look ahead by their nature; they end inside
the trading day they are given, which makes them end inside the segment too. Which rows enter training, and the purge
around a split, is `datasets`' and `evaluation.splits`' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.files import content_hash
from ghtrader_market.ticks import COLUMN_INDEX

DOWN, FLAT, UP, NO_LABEL = 0, 1, 2, -1
CLASS_NAMES = ("DOWN", "FLAT", "UP")
DEFINITIONS = ("mid_move",)
MAX_HORIZON = 100_000


@dataclass(frozen=True)
class LabelSpec:
    """What is labelled.

    Parameters
    ----------
    horizons : tuple of int
        Ticks ahead, ascending.
    threshold_ticks : int
        Price ticks that the mid must move, at least 1, for UP or DOWN.
    definition : str
        ``mid_move``: the move of the mid between now and the tick ``horizon`` rows on.

    Raises
    ------
    UsageError
        A field makes no sense.
    """

    horizons: tuple[int, ...] = (10, 50, 200)
    threshold_ticks: int = 1
    definition: str = "mid_move"

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizons", tuple(self.horizons))
        if not self.horizons or list(self.horizons) != sorted(set(self.horizons)):
            raise UsageError(f"label horizons must ascend and differ, not {self.horizons}", "for example 10, 50, 200")
        for horizon in self.horizons:
            _check(horizon, self.threshold_ticks)
        if self.definition not in DEFINITIONS:
            raise UsageError(f"unknown label definition {self.definition!r}", f"known: {', '.join(DEFINITIONS)}")

    def spec(self) -> dict[str, Any]:
        """The definition as JSON: what bundles and manifests keep."""
        return {
            "definition": self.definition,
            "horizons": list(self.horizons),
            "threshold_ticks": self.threshold_ticks,
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> LabelSpec:
        """The inverse of `spec`; UsageError where the document is none."""
        try:
            return cls(tuple(spec["horizons"]), spec["threshold_ticks"], spec["definition"])
        except (KeyError, TypeError) as exc:
            raise UsageError(f"this is no label spec: {exc!r}") from exc

    @cached_property
    def spec_hash(self) -> str:
        """Hex sha256 of the spec."""
        return content_hash(self.spec())

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names of the stored labels: ``label_10``..."""
        return tuple(label_column(horizon) for horizon in self.horizons)


def label_column(horizon: int) -> str:
    """Name of the column that holds the labels of a horizon."""
    return f"label_{horizon}"


def mid_prices(values: np.ndarray) -> np.ndarray:
    """``(bid_price1 + ask_price1) / 2`` in CNY, NaN where a side of the book is empty.

    Parameters
    ----------
    values : numpy.ndarray
        float64[27, n], rows as `ghtrader_market.ticks.VALUE_COLUMNS`.

    Returns
    -------
    numpy.ndarray
        float64[n].
    """
    return (values[COLUMN_INDEX["bid_price1"]] + values[COLUMN_INDEX["ask_price1"]]) / 2


def event_labels(mid: np.ndarray, horizon: int, threshold: int, *, price_tick: float) -> np.ndarray:
    """Labels of one trading day of one contract.

    The comparison is made in whole half-ticks, so that no rounding of a price decides a class.

    Parameters
    ----------
    mid : numpy.ndarray
        float64[n], CNY; NaN where a side of the book is empty.
    horizon : int
        Ticks (rows) ahead.
    threshold : int
        Price ticks: UP where the mid has risen by at least so many, DOWN where it has fallen.
    price_tick : float
        Price step of the contract, CNY.

    Returns
    -------
    numpy.ndarray
        int8[n]: 0 DOWN, 1 FLAT, 2 UP; -1 where there is none: the last `horizon` rows, and rows whose own or whose
        later mid is NaN.

    Raises
    ------
    UsageError
        Horizon, threshold or price tick makes no sense.

    Examples
    --------
    >>> event_labels(np.array([100.0, 100.5, 101.0, 100.0]), 1, 1, price_tick=0.5).tolist()
    [2, 2, 0, -1]
    """
    _check(horizon, threshold)
    if not price_tick > 0:
        raise UsageError(f"price tick must be positive, not {price_tick}")
    prices = np.asarray(mid, np.float64)
    labels = np.full(len(prices), NO_LABEL, np.int8)
    if len(prices) <= horizon:
        return labels
    half_ticks = np.rint(prices * (2.0 / price_tick))
    move = half_ticks[horizon:] - half_ticks[:-horizon]  # whole numbers in float64: exact, and NaN where unknown
    found = np.full(len(move), FLAT, np.int8)
    found[move >= 2 * threshold] = UP
    found[move <= -2 * threshold] = DOWN
    found[np.isnan(move)] = NO_LABEL
    labels[:-horizon] = found
    return labels


def _check(horizon: int, threshold: int) -> None:
    for name, value, high in (("horizon", horizon, MAX_HORIZON), ("threshold", threshold, 10_000)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= high:
            raise UsageError(f"label {name} must be a whole number from 1 to {high}, not {value!r}")
