"""Labels ticks in event time: where the mid is N ticks from now, DOWN, FLAT or UP.

What belongs here: the definitions of a label, its spec and its hash. Labels look ahead by their nature; they end inside
the trading day and the segment they are given. Which rows enter training, and the purge around a split, is `datasets`'
and `evaluation.splits`' business; the compiled loops are in `labels.kernel`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.files import content_hash
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_market.reference.varieties import FeeRates

DOWN, FLAT, UP, NO_LABEL = 0, 1, 2, -1
CLASS_NAMES = ("DOWN", "FLAT", "UP")
MID_MOVE, SMOOTHED, SMOOTHED_MID, COST_AWARE = "mid_move", "smoothed", "smoothed_mid", "cost_aware"
DEFINITIONS: dict[str, str] = {
    MID_MOVE: "mid[t+N] - mid[t] of at least k price ticks.",
    SMOOTHED: "Mean of the next N mids less the mean of the last N, of at least k price ticks (m_+ - m_- of Zhang, "
    "Zohren, Roberts 2019, 'DeepLOB', IEEE Transactions on Signal Processing 67(11)).",
    SMOOTHED_MID: "Mean of the next N mids less the mid now, of at least k price ticks (m_+ - p_t; the same paper).",
    COST_AWARE: "A lot bought at the ask now and sold at the bid N ticks on (or sold and bought back) leaves more than "
    "k price ticks after the fees of the contract and date: the move exceeds spread plus fees.",
}
"""Definitions by name, and what each says; k is `LabelSpec.threshold_ticks`."""
_DEFAULT_THRESHOLD = {MID_MOVE: 1, SMOOTHED: 0.5, SMOOTHED_MID: 0.5, COST_AWARE: 0}
MAX_HORIZON, _MAX_THRESHOLD = 100_000, 10_000


@dataclass(frozen=True)
class LabelSpec:
    """What is labelled.

    Parameters
    ----------
    horizons : tuple of int
        Ticks ahead, ascending.
    threshold_ticks : int or float
        Price ticks, k of the definition. ``mid_move``: a whole number from 1; the smoothed ones: above 0;
        ``cost_aware``: 0 or more, what must be left after costs.
    definition : str
        A key of `DEFINITIONS`.

    Raises
    ------
    UsageError
        A field makes no sense.
    """

    horizons: tuple[int, ...] = (10, 50, 200)
    threshold_ticks: float = 1
    definition: str = MID_MOVE

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizons", tuple(self.horizons))
        if self.definition not in DEFINITIONS:
            raise UsageError(f"unknown label definition {self.definition!r}", f"known: {', '.join(DEFINITIONS)}")
        if not self.horizons or list(self.horizons) != sorted(set(self.horizons)):
            raise UsageError(f"label horizons must ascend and differ, not {self.horizons}", "for example 10, 50, 200")
        for horizon in self.horizons:
            _check_horizon(horizon)
        object.__setattr__(self, "threshold_ticks", _threshold(self.definition, self.threshold_ticks))

    @classmethod
    def named(
        cls, definition: str, horizons: tuple[int, ...] = (10, 50, 200), threshold: float | None = None
    ) -> LabelSpec:
        """A definition by its name, with its usual threshold where none is given."""
        if threshold is None:
            threshold = _DEFAULT_THRESHOLD.get(definition, 1)
        return cls(horizons, threshold, definition)

    @property
    def needs_fees(self) -> bool:
        """Whether the labels depend on the contract's fees."""
        return self.definition == COST_AWARE

    def to_dict(self) -> dict[str, Any]:
        """The definition as JSON: what bundles and manifests keep."""
        return {
            "definition": self.definition,
            "horizons": list(self.horizons),
            "threshold_ticks": self.threshold_ticks,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LabelSpec:
        """The inverse of `to_dict`; UsageError where the document is none."""
        try:
            return cls(tuple(document["horizons"]), document["threshold_ticks"], document["definition"])
        except (KeyError, TypeError) as exc:
            raise UsageError(f"this is no label spec: {exc!r}") from exc

    @cached_property
    def spec_hash(self) -> str:
        """Hex sha256 of the spec."""
        return content_hash(self.to_dict())

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names of the stored labels: ``label_10``..."""
        return tuple(label_column(horizon) for horizon in self.horizons)


def no_horizon(symbol: str, horizon: int, built: Iterable[int]) -> UsageError:
    """What to say where a series has no labels at a horizon: which there are, and how to build it too."""
    there = sorted(set(built))
    if not there:
        build = f"ghtrader build --symbol {symbol} --horizons {horizon}"
        return UsageError(f"no labels of {symbol} are built, at horizon {horizon} or any other", f"first: {build}")
    wanted = ",".join(map(str, sorted({*there, horizon})))
    return UsageError(
        f"no labels at horizon {horizon} for {symbol}; built are {', '.join(map(str, there))}",
        f"build it too: ghtrader build --symbol {symbol} --horizons {wanted} --overwrite",
    )


def label_column(horizon: int) -> str:
    """Name of the column that holds the labels of a horizon."""
    return f"label_{horizon}"


def mid_prices(values: np.ndarray) -> np.ndarray:
    """``(bid_price1 + ask_price1) / 2`` in CNY, NaN where a side of the book is empty.

    Parameters
    ----------
    values : numpy.ndarray
        float64[27, n], rows as `ghtrader_market.reference.tick_schema.VALUE_COLUMNS`.

    Returns
    -------
    numpy.ndarray
        float64[n].
    """
    mid: np.ndarray = (values[COLUMN_INDEX["bid_price1"]] + values[COLUMN_INDEX["ask_price1"]]) / 2
    return mid


def compute_labels(
    spec: LabelSpec,
    bid: np.ndarray,
    ask: np.ndarray,
    *,
    price_tick: float,
    fees: FeeRates | None = None,
    multiplier: float = 1.0,
    group: np.ndarray | None = None,
) -> np.ndarray:
    """Labels of every horizon of a spec.

    Parameters
    ----------
    spec : LabelSpec
        What to label.
    bid, ask : numpy.ndarray
        float64[n], best quotes in CNY; NaN where a side of the book is empty.
    price_tick : float
        Price step of the contract, CNY.
    fees : FeeRates, optional
        Of the contract and date; needed by ``cost_aware``, which opens and closes on the same day.
    multiplier : float
        Units a lot; used with `fees`.
    group : numpy.ndarray, optional
        int[n], one value a run of rows that belong together (day, segment): no label looks from one run into the next.
        All rows are one run where it is absent.

    Returns
    -------
    numpy.ndarray
        int8[H, n], a row a horizon: 0 DOWN, 1 FLAT, 2 UP, -1 none. The last N rows of a run have none, nor has a row
        one of whose prices is unknown.

    Raises
    ------
    UsageError
        Price tick makes no sense, shapes disagree, or fees are needed and not given.

    Examples
    --------
    >>> bid = np.array([100.0, 100.5, 101.0, 100.0])
    >>> compute_labels(LabelSpec((1,)), bid, bid + 0.5, price_tick=0.5).tolist()
    [[2, 2, 0, -1]]
    """
    from ghtrader_models.labels import kernel

    if not price_tick > 0:
        raise UsageError(f"price tick must be positive, not {price_tick}")
    bids, asks = np.ascontiguousarray(bid, np.float64), np.ascontiguousarray(ask, np.float64)
    if bids.shape != asks.shape or bids.ndim != 1 or (group is not None and np.shape(group) != bids.shape):
        raise UsageError(f"quotes and groups must be alike in shape, not {bids.shape} and {asks.shape}")
    out = np.empty((len(spec.horizons), bids.size), np.int8)
    if spec.needs_fees:
        if fees is None or not multiplier > 0:
            raise UsageError("cost-aware labels need the fees of the contract and date", "pass fees and multiplier")
        quotes = np.rint(bids / price_tick), np.rint(asks / price_tick)
        fixed = (fees.open_lot + fees.close_today_lot) / multiplier / price_tick
        for a, b in _runs(bids.size, group):
            for row, horizon in zip(out, spec.horizons, strict=True):
                kernel.cost_aware(
                    quotes[0][a:b], quotes[1][a:b], horizon, float(spec.threshold_ticks),
                    fees.open_ratio, fees.close_today_ratio, fixed, row[a:b],
                )  # fmt: skip
        return out
    _label_mid(spec, np.rint((bids + asks) * (1.0 / price_tick)), group, out)
    return out


def event_labels(mid: np.ndarray, horizon: int, threshold: int, *, price_tick: float) -> np.ndarray:
    """``mid_move`` labels of one horizon over one trading day of one contract.

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
    spec = LabelSpec((horizon,), threshold)
    if not price_tick > 0:
        raise UsageError(f"price tick must be positive, not {price_tick}")
    out = np.empty((1, len(mid)), np.int8)
    _label_mid(spec, np.rint(np.asarray(mid, np.float64) * (2.0 / price_tick)), None, out)
    labels: np.ndarray = out[0]
    return labels


def _label_mid(spec: LabelSpec, half: np.ndarray, group: np.ndarray | None, out: np.ndarray) -> None:
    """Fill int8[H, n] from the mid in half-ticks."""
    from ghtrader_models.labels import kernel

    threshold = 2.0 * spec.threshold_ticks
    for a, b in _runs(half.size, group):
        if spec.definition != MID_MOVE:
            total, unknown = np.empty(b - a + 1, np.int64), np.empty(b - a + 1, np.int64)
            kernel.running_sums(half[a:b], total, unknown)
        for row, horizon in zip(out, spec.horizons, strict=True):
            if spec.definition == MID_MOVE:
                kernel.mid_move(half[a:b], horizon, threshold, row[a:b])
            else:
                past = horizon if spec.definition == SMOOTHED else 1
                kernel.smoothed(total, unknown, horizon, threshold, past, row[a:b])


def _runs(rows: int, group: np.ndarray | None) -> list[tuple[int, int]]:
    """Bounds of the runs of equal values, in order."""
    if rows == 0:
        return []
    if group is None:
        return [(0, rows)]
    found = np.asarray(group)
    edges = [0, *(np.flatnonzero(found[1:] != found[:-1]) + 1).tolist(), rows]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _check_horizon(horizon: Any) -> None:
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or not 1 <= horizon <= MAX_HORIZON:
        raise UsageError(f"label horizon must be a whole number from 1 to {MAX_HORIZON}, not {horizon!r}")


def _threshold(definition: str, threshold: Any) -> float:
    """The threshold as JSON keeps it: a whole number as int, so that 1 and 1.0 have one hash."""
    whole, low = definition == MID_MOVE, 1 if definition == MID_MOVE else 0
    number = isinstance(threshold, (int, float, np.integer, np.floating)) and not isinstance(threshold, bool)
    if (
        not number
        or not low <= threshold <= _MAX_THRESHOLD
        or (whole and threshold != int(threshold))
        or (threshold == 0 and definition != COST_AWARE)
    ):
        kind = "a whole number from 1" if whole else "0 or more" if definition == COST_AWARE else "above 0"
        raise UsageError(f"label threshold of {definition} must be {kind} to {_MAX_THRESHOLD}, not {threshold!r}")
    return int(threshold) if threshold == int(threshold) else float(threshold)
