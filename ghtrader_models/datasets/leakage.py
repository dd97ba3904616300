"""Catches factors and labels that see what they may not: cuts a day at random ticks and computes it up to there.

A factor up to the cut must be what it is on the whole day, to the bit. A label up to the cut less its horizon too;
after that it must not be known yet, and it must answer where the price goes after the cut: one that does not is of the
past. Where a day is built already, it is the stored rows that are held against the cut ones.

What belongs here: the check of one day from arrays, and which days and ticks are taken. What is done about a leak is
the caller's business: a build stops, the gate refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_base.plain_str_enum import PlainStrEnum
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, has_depth, unrecorded_columns, values_matrix
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_models.datasets.build_day import FEATURES, LABELS, build_context, fees_of_labels
from ghtrader_models.datasets.tick_input import read_source, times_of
from ghtrader_models.factors.factor_set import FactorSet, FactorSetSpec
from ghtrader_models.labels.labels import NO_LABEL, LabelSpec, compute_labels, label_column

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_market.reference.varieties import FeeRates
    from ghtrader_market.stores.day_details import BuildContext
    from ghtrader_market.stores.lake.lake import Lake

CUTS, DAYS = 5, 3
_UP = 2
_NAMED = 3
ComputeLabels = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Best bids and asks, float64[n] each -> int8[H, n], a row a horizon."""


class LeakKind(PlainStrEnum):
    """What is wrong with a factor or label."""

    FACTOR = "factor"
    """It is another up to the cut than on the whole day."""
    LABEL_DIFFERS = "label differs"
    """It is another up to the cut less its horizon."""
    LABEL_KNOWN_EARLY = "label known early"
    """It is known before its horizon has passed."""
    LABEL_OF_THE_PAST = "label of the past"
    """It does not answer where the price goes."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One factor or label that sees what it may not.

    Attributes
    ----------
    day : date
        Trading day.
    kind : LeakKind
    name : str
        Of the factor, or the label's column.
    cut : int
        Row after which the day was cut.
    row : int
        First row that is not as it must be.
    """

    day: date
    kind: LeakKind
    name: str
    cut: int
    row: int

    def __str__(self) -> str:
        what = {
            LeakKind.FACTOR: "is another where the day ends at row",
            LeakKind.LABEL_DIFFERS: "is another, its horizon over, where the day ends at row",
            LeakKind.LABEL_KNOWN_EARLY: "is known before its horizon is over, where the day ends at row",
            LeakKind.LABEL_OF_THE_PAST: "is the same wherever the price goes after row",
        }[self.kind]
        return f"{self.name} of row {self.row} on {self.day} {what} {self.cut}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "day": self.day.isoformat(), "kind": self.kind.value}


@dataclass(frozen=True, kw_only=True)
class CheckedDay:
    """A day that was looked at: its rows, the rows it was cut after, and whether its stored rows were compared."""

    day: date
    rows: int
    cuts: tuple[int, ...]
    stored: bool
    factors: int
    leaks: tuple[Leak, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, without the leaks."""
        found = {**asdict(self), "day": self.day.isoformat(), "cuts": list(self.cuts)}
        del found["leaks"]
        return found


@dataclass(frozen=True, kw_only=True)
class LeakageReport:
    """What cutting some days of a series showed."""

    symbol: str
    seed: int
    days: tuple[CheckedDay, ...]
    labels: tuple[str, ...]

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """Of all days."""
        return tuple(leak for day in self.days for leak in day.leaks)

    @property
    def ok(self) -> bool:
        """Whether nothing sees what it may not."""
        return not self.leaks

    @property
    def words(self) -> str:
        """What was looked at and what was found, as a sentence."""
        cuts = sum(len(day.cuts) for day in self.days)
        factors = max((day.factors for day in self.days), default=0)
        looked = f"{self.symbol} cut at {cuts} ticks of {len(self.days)} days"
        if self.ok:
            return f"{looked}: {factors} factors and {len(self.labels)} labels are what they were."
        names = list(dict.fromkeys(leak.name for leak in self.leaks))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{looked}: {', '.join(names[:_NAMED])}{more} see what they may not: {self.leaks[0]}."

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "ok": self.ok,
            "symbol": self.symbol,
            "seed": self.seed,
            "labels": list(self.labels),
            "days": [day.to_dict() for day in self.days],
            "leaks": [leak.to_dict() for leak in self.leaks],
        }


# ---- one day, from arrays --------------------------------------------------------------------------------------------


def cuts_of(rows: int, day: date, seed: int, count: int = CUTS) -> tuple[int, ...]:
    """Rows after which a day of so many rows is cut: drawn by seed and day, ascending, never the last row."""
    if rows < 2:
        return ()
    drawn = np.random.default_rng([seed, day.toordinal()]).choice(rows - 1, size=min(count, rows - 1), replace=False)
    return tuple(int(row) for row in np.sort(drawn))


def factor_leaks(
    factor_set: FactorSet,
    times: np.ndarray,
    values: np.ndarray,
    context: BuildContext,
    cuts: Sequence[int],
    day: date,
    stored: np.ndarray | None = None,
) -> list[Leak]:
    """Factors that are others where the day ends at a cut; each is named once.

    Parameters
    ----------
    factor_set : FactorSet
    times : int64[n]
        UTC epoch ns.
    values : float64[27, n]
        Rows as `tick_schema.VALUE_COLUMNS`.
    context : BuildContext
    cuts : sequence of int
        Last row of each shorter day.
    day : date
    stored : float32[n, F], optional
        The factors of the whole day as they are kept; computed here where absent.
    """
    from ghtrader_models.factors.engine import FactorEngine

    def computed(rows: int) -> np.ndarray:
        engine = FactorEngine(factor_set, context.price_tick, context.multiplier, context.sessions or None)
        return engine.batch(times[:rows], np.ascontiguousarray(values[:, :rows]))

    whole = computed(len(times)) if stored is None else stored
    found: dict[int, Leak] = {}
    for cut in cuts:
        part, there = computed(cut + 1), whole[: cut + 1]
        both_unknown = np.isnan(part) & np.isnan(there)
        differs = (part.view(np.int32) != np.ascontiguousarray(there).view(np.int32)) & ~both_unknown
        for index in np.flatnonzero(differs.any(axis=0)):
            row = int(differs[:, index].argmax())
            leak = Leak(day=day, kind=LeakKind.FACTOR, name=factor_set.names[index], cut=cut, row=row)
            found.setdefault(int(index), leak)
    return [found[index] for index in sorted(found)]


def label_leaks(
    compute: ComputeLabels,
    horizons: Sequence[int],
    bid: np.ndarray,
    ask: np.ndarray,
    lift: float,
    cuts: Sequence[int],
    day: date,
    stored: np.ndarray | None = None,
) -> list[Leak]:
    """Labels that see what they may not; each fault of a label is named once.

    Parameters
    ----------
    compute : callable
        Labels of quotes.
    horizons : sequence of int
        Ticks ahead, one a row of what `compute` gives.
    bid, ask : float64[n]
        Best quotes, CNY.
    lift : float
        CNY: a rise of every later quote that makes any label UP.
    cuts, day
        As `factor_leaks`.
    stored : int8[H, n], optional
        The labels of the whole day as they are kept.
    """
    whole = compute(bid, ask) if stored is None else stored
    found: dict[tuple[int, LeakKind], Leak] = {}

    def note(place: int, kind: LeakKind, cut: int, first: int, wrong: np.ndarray) -> None:
        if wrong.any():
            row, name = first + int(wrong.argmax()), label_column(horizons[place])
            found.setdefault((place, kind), Leak(day=day, kind=kind, name=name, cut=cut, row=row))

    for cut in cuts:
        part = compute(bid[: cut + 1], ask[: cut + 1])
        higher = [np.concatenate([side[: cut + 1], side[cut + 1 :] + lift]) for side in (bid, ask)]
        lifted = compute(*higher)
        for place, horizon in enumerate(horizons):
            known = max(0, cut + 1 - horizon)
            note(place, LeakKind.LABEL_DIFFERS, cut, 0, part[place, :known] != whole[place, :known])
            note(place, LeakKind.LABEL_KNOWN_EARLY, cut, known, part[place, known:] != NO_LABEL)
            asked = lifted[place, known : cut + 1]
            note(place, LeakKind.LABEL_OF_THE_PAST, cut, known, (asked != NO_LABEL) & (asked != _UP))
    for place, horizon in enumerate(horizons):
        first = max(0, bid.size - horizon)
        note(place, LeakKind.LABEL_KNOWN_EARLY, bid.size - 1, first, whole[place, first:] != NO_LABEL)
    return [found[key] for key in sorted(found)]


def _lift(spec: LabelSpec, bid: np.ndarray, ask: np.ndarray, price_tick: float) -> float:
    """A rise that makes every label UP whose window it touches, whatever the day's prices were: whole price ticks."""
    prices = np.concatenate([bid, ask])
    prices = prices[np.isfinite(prices)]
    highest = float(np.abs(prices).max()) if prices.size else 0.0
    steps = 2 * highest / price_tick + float(spec.threshold_ticks) + 1
    return float(np.ceil(steps) * max(spec.horizons) * price_tick)


# ---- days of a series ------------------------------------------------------------------------------------------------


def check_day(
    lake: Lake,
    calendar: TradingCalendar,
    kind: str,
    symbol: str,
    day: date,
    *,
    factor_set: FactorSet | None = None,
    label_spec: LabelSpec | None = None,
    seed: int = 0,
) -> CheckedDay:
    """Cut one day of the lake.

    Parameters
    ----------
    lake, calendar
        Where the ticks are, and their sessions.
    kind : str
        ``main_l5``, or ``ticks`` for one contract.
    symbol, day
        Of the series.
    factor_set, label_spec : optional
        What to compute. Both absent: what the day was built with, and its stored rows are compared.
    seed : int
        Of the cuts.

    Raises
    ------
    UsageError
        One of factors and labels is given without the other.
    FailedError, IntegrityError
        The day is not here, is not whole, or is to be compared and is not built.
    """
    if (factor_set is None) != (label_spec is None):
        raise UsageError("factors and labels are looked at together", "give both, or neither for what is built")
    source = read_source(lake, kind, symbol, day, calendar)
    times, values = times_of(source.table), values_matrix(source.table)
    features = labels = None
    if factor_set is None or label_spec is None:
        factor_set, label_spec, features, labels = _as_built(lake, symbol, day, times)
    else:
        factor_set, _ = factor_set.restrict_levels(5 if has_depth(source.table) else 1)
        factor_set, _ = factor_set.restrict_columns(unrecorded_columns(source.table))
    context = build_context(source.contract, day, factor_set, calendar)
    fees = fees_of_labels(source.contract, day, label_spec)
    cuts = cuts_of(len(times), day, seed)
    bid, ask = values[COLUMN_INDEX["bid_price1"]], values[COLUMN_INDEX["ask_price1"]]
    leaks = factor_leaks(factor_set, times, values, context, cuts, day, features)
    leaks += label_leaks(
        _labels_by(label_spec, context, fees), label_spec.horizons, bid, ask,
        _lift(label_spec, bid, ask, float(context.price_tick)), cuts, day, labels,
    )  # fmt: skip
    return CheckedDay(
        day=day, rows=len(times), cuts=cuts, stored=features is not None, factors=len(factor_set), leaks=tuple(leaks)
    )


def check_series(
    lake: Lake,
    calendar: TradingCalendar,
    kind: str,
    symbol: str,
    days: Sequence[date],
    *,
    factor_set: FactorSet | None = None,
    label_spec: LabelSpec | None = None,
    seed: int = 0,
    most: int = DAYS,
) -> LeakageReport:
    """Cut some days of a series, drawn by seed; parameters and errors as `check_day`.

    Parameters
    ----------
    days : sequence of date
        Of which at most `most` are taken.
    """
    there = sorted(set(days))
    if not there:
        raise UsageError(f"no days of {symbol} to look at", "build or download some first")
    drawn = np.random.default_rng(seed).choice(len(there), size=min(most, len(there)), replace=False)
    checked = tuple(
        check_day(
            lake, calendar, kind, symbol, there[index], factor_set=factor_set, label_spec=label_spec, seed=seed
        )
        for index in np.sort(drawn)
    )
    spec = label_spec or _spec_of(lake, symbol, checked[0].day)
    return LeakageReport(symbol=symbol, seed=seed, days=checked, labels=spec.columns)


def _labels_by(spec: LabelSpec, context: BuildContext, fees: FeeRates | None) -> ComputeLabels:
    def compute(bid: np.ndarray, ask: np.ndarray) -> np.ndarray:
        return compute_labels(
            spec, bid, ask, price_tick=float(context.price_tick), fees=fees, multiplier=context.multiplier
        )

    return compute


def _spec_of(lake: Lake, symbol: str, day: date) -> LabelSpec:
    found = lake.manifest(LABELS, symbol, day)
    if found is None:
        raise FailedError(f"labels of {symbol} on {day} are not built", f"first: ghtrader build --symbol {symbol}")
    return LabelSpec.from_dict(found.label_spec.to_json())


def _as_built(
    lake: Lake, symbol: str, day: date, times: np.ndarray
) -> tuple[FactorSet, LabelSpec, np.ndarray, np.ndarray]:
    """Factors and labels a day was built with, and its rows, float32[n, F] and int8[H, n]."""
    made = lake.manifest(FEATURES, symbol, day)
    if made is None:
        raise FailedError(f"features of {symbol} on {day} are not built", f"first: ghtrader build --symbol {symbol}")
    factor_set = FactorSet.from_spec(FactorSetSpec.from_dict(made.factor_set.to_json()))
    spec = _spec_of(lake, symbol, day)
    features, labels = lake.read_day(FEATURES, symbol, day), lake.read_day(LABELS, symbol, day)
    for name, table in ((FEATURES, features), (LABELS, labels)):
        if not np.array_equal(times_of(table), times):
            raise FailedError(
                f"{name} of {symbol} on {day} are not of the ticks that are here", "build the day again: --overwrite"
            )
    rows = np.column_stack([_column(features, name) for name in factor_set.names]).astype(np.float32, copy=False)
    return factor_set, spec, np.ascontiguousarray(rows), np.stack([_column(labels, name) for name in spec.columns])


def _column(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return values
