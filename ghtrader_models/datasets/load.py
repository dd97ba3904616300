"""Loads days of features and labels from the lake as one table, every row kept in its place.

What belongs here: reading, leaving out the days that do not go with the others (`day_selection` says which), refusing
those that were changed since they were built (`day_integrity`), and saying which rows may be learned from. Rows that
are not warm or have no label stay in: the simulation and the persistence baseline need the tape whole. Which rows train
and which test is `evaluation.splits`' business.

With a cache the factors stay in its mapped files, a year as well as a day; labels, times and quotes, 50 bytes a row,
are held. A day has one contract and one segment, labels end with the day and factors start cold at its first tick, so
no row knows anything of another segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import IntegrityError, RefusedError, UsageError
from ghtrader_market.reference.tick_origin import require_one_origin
from ghtrader_market.reference.tick_schema import PROVENANCE_COLUMNS
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.stores.day_details import stated
from ghtrader_models.bundles.left_out_days import LeftOutDay, describe_left_out
from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.built_day import (
    BUILD_AGAIN,
    FEATURES,
    LABELS,
    day_facts,
    day_manifests,
    require_provenance,
)
from ghtrader_models.datasets.day_cache import map_day, require_cache_room
from ghtrader_models.datasets.day_integrity import require_content, require_labels, require_unchanged, schedule_of
from ghtrader_models.datasets.day_selection import DayTraits, select_days, without_rows
from ghtrader_models.datasets.mapped_rows import FactorRows, HeldRows, MappedRows, RowArray
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.factors.factor_set import FactorSetSpec
from ghtrader_models.inference.predictors import WarmTracker
from ghtrader_models.labels.labels import NO_LABEL, LabelSpec, label_column, no_horizon

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import DayManifest


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Rows of one series in time order, one a tick.

    Attributes
    ----------
    symbol : str
        Series, for example KQ.m@SHFE.cu.
    horizon : int
        Ticks ahead that `y` looks.
    facts : tuple of DayFacts
        One a day, ascending.
    names : tuple of str
        Factor names, in the order of the columns of `X`.
    X : float32[n, F]
        Factors; NaN where unknown. An array, or `MappedRows`, which gives out rows by number and holds none.
    y : int8[n]
        0 DOWN, 1 FLAT, 2 UP, -1 none.
    datetime_ns : int64[n]
        UTC epoch.
    day_index : int32[n]
        Index into `facts`.
    row_in_day : int32[n]
        0 at the day's first tick.
    segment_id : int32[n]
        Segment of the row.
    mid, bid, ask : float64[n]
        CNY, NaN where a side of the book is empty.
    warm : bool[n]
        Every factor has had a value that day, at or before the row. A single NaN after that is a missing value, which
        each model family knows how to take; it does not make the row unusable.
    factor_set_spec : FactorSetSpec
    label_spec : LabelSpec
        As the manifests have them.
    levels : int
        Book levels the factors need: 5 or 1.
    left_out : tuple of LeftOutDay
        Days that were asked for and take no part, ascending.
    further_labels : mapping of int to int8[n]
        Other horizon -> its labels, as `y`; those that every day was built for.
    others : tuple of Samples
        Tapes of other series that a network may learn from without labels; see `datasets.other_series`.
    """

    symbol: str
    horizon: int
    facts: tuple[DayFacts, ...]
    names: tuple[str, ...]
    X: FactorRows
    y: np.ndarray
    datetime_ns: np.ndarray
    day_index: np.ndarray
    row_in_day: np.ndarray
    segment_id: np.ndarray
    mid: np.ndarray
    bid: np.ndarray
    ask: np.ndarray
    warm: np.ndarray
    factor_set_spec: FactorSetSpec
    label_spec: LabelSpec
    levels: int
    left_out: tuple[LeftOutDay, ...] = ()
    further_labels: Mapping[int, np.ndarray] = field(default_factory=dict)
    others: tuple[Samples, ...] = ()

    def __len__(self) -> int:
        return self.y.size

    @property
    def days(self) -> tuple[date, ...]:
        """Trading days, ascending."""
        return tuple(fact.day for fact in self.facts)

    @property
    def usable(self) -> np.ndarray:
        """bool[n]: rows that may be learned from and scored: warm and labelled."""
        usable: np.ndarray = self.warm & (self.y != NO_LABEL)
        return usable

    @property
    def price_tick(self) -> float:
        """Price step of the last day's contract, CNY."""
        return self.facts[-1].price_tick

    @property
    def multiplier(self) -> int:
        """Units of the product a lot."""
        return self.facts[-1].multiplier

    def last_realised(self) -> np.ndarray:
        """int8[n]: the newest label of the same day whose outcome is known at the row, that of N rows ago; -1 none."""
        n = self.horizon
        last = np.full(self.y.shape, NO_LABEL, np.int8)
        if self.y.size > n:
            last[n:] = np.where(self.row_in_day[n:] >= n, self.y[:-n], NO_LABEL)
        return last

    def samples(self, rows: np.ndarray) -> Samples:
        """Some of the rows, int64[k] ascending, as a family takes them."""
        return Samples(
            X=self.X,
            y=self.y,
            datetime_ns=self.datetime_ns,
            day_index=self.day_index,
            warm=self.warm,
            rows=rows,
            horizon=self.horizon,
            names=self.names,
            further_labels=self.further_labels,
            symbol=self.symbol,
            facts=self.facts,
            others=self.others,
        )

    def with_labels(self, y: np.ndarray) -> Dataset:
        """The same rows with other labels, int8[n], and none of further horizons, which tell of those that were."""
        return replace(self, y=y, further_labels={})

    def rows_of_day(self, day: date) -> slice:
        """Rows of one trading day; `UsageError` where it is not in the set."""
        if day not in self.days:
            raise UsageError(f"{day} is not in this data set", f"it has {self.days[0]} to {self.days[-1]}")
        number = self.days.index(day)
        first, stop = np.searchsorted(self.day_index, [number, number + 1]).tolist()
        return slice(first, stop)


def load_dataset(
    lake: Lake,
    symbol: str,
    days: Sequence[date],
    horizon: int,
    *,
    entry: str = "train",
    strict: bool = False,
    mix: bool = False,
    calendar: TradingCalendar | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Read the days that belong together and put them side by side.

    Parameters
    ----------
    lake : Lake
        Where features, labels and the ticks they were built from (for the quotes) lie.
    symbol : str
        Series: KQ.m@SHFE.cu, or one contract.
    days : sequence of date
        Trading days, in any order; each counts once.
    horizon : int
        One of the horizons the labels were built for.
    entry : str
        Who asks: "train" or "benchmark", for the check of schema versions.
    strict : bool
        Refuse where a day does not go with the others, instead of leaving it out.
    mix : bool
        Take days of different markets together.
    calendar : TradingCalendar, optional
        Days that it calls holidays are left out; none are where it is absent.
    cache : Path, optional
        ``<home>/cache``, where factors are mapped from: memory then does not grow with them. Where absent they are
        held, 60 MB a full day of 269.

    Raises
    ------
    UsageError
        No days, a horizon that was not built, or no row that could be learned from.
    FailedError
        A day is not built.
    IntegrityError
        Features, labels and ticks of a day do not belong together or were changed since they were built, a day mixes
        segments, or a stored day has a schema version that `entry` does not read.
    RefusedError
        `strict`, and a day does not go with the others: names it and why. Or days are of different markets.
    NoRoomError
        The cache's file system has no room for the days.
    """
    wanted = sorted(set(days))
    if not wanted:
        raise UsageError(f"no days of {symbol} to load", "build features and labels first: ghtrader build")
    built = {day: day_manifests(lake, symbol, day, entry) for day in wanted}
    chosen = select_days([traits_of(*manifests, calendar) for manifests in built.values()], horizon)
    horizons = {each for _, labels in built.values() for each in labels.label_spec.horizons}
    if horizon not in horizons:
        raise no_horizon(symbol, horizon, horizons)
    if not chosen.kept:
        raise UsageError(f"no day of {symbol} may be used: {describe_left_out(chosen.left_out)}", "choose other days")
    if strict:
        _refuse_odd(symbol, chosen.left_out)
    if not mix:
        require_one_origin(symbol, {day: built[day][0].details.origin for day in chosen.kept})
    if cache is not None:
        require_cache_room(lake, cache, symbol, chosen.kept, entry)
    schedule = schedule_of(lake, symbol)
    for day in chosen.kept:
        require_unchanged(lake, built[day], schedule)
    read = [_read_day(lake, symbol, day, horizon, *built[day], cache) for day in chosen.kept]
    parts = [part for part in read if (part.warm & (part.y != NO_LABEL)).any()]
    if not parts:
        never = never_known(read[0].names, MappedRows([part.X for part in read]).blocks())
        hint = f"never known on these days: {', '.join(never[:5])}" if never else "take more days"
        raise UsageError(f"no row of {symbol} at horizon {horizon} to learn from", hint)
    used = {part.facts.day for part in parts}
    unusable = [without_rows(day) for day in chosen.kept if day not in used]
    if strict:
        _refuse_odd(symbol, unusable)
    return _side_by_side(symbol, horizon, parts, sorted((*chosen.left_out, *unusable), key=lambda found: found.day))


def _refuse_odd(symbol: str, left_out: Sequence[LeftOutDay]) -> None:
    """RefusedError where there are any."""
    if left_out:
        raise RefusedError(
            f"{len(left_out)} days of {symbol} do not go with the others: {describe_left_out(left_out)}",
            "without --strict the others are used; or build these days like the others: ghtrader build --overwrite",
        )


def traits_of(features: DayManifest, labels: DayManifest, calendar: TradingCalendar | None) -> DayTraits:
    """What the manifests of a built day say of whether it goes with others."""
    day = date.fromisoformat(features.day)
    factors, spec = features.factor_set, labels.label_spec
    return DayTraits(
        day=day,
        levels=stated(features.features.levels, f"the book levels of {features}"),
        language=factors.language,
        factors=factors.factors,
        labels=(spec.definition, float(spec.threshold_ticks)),
        horizons=spec.horizons,
        trading=calendar is None or not calendar.speaks_for(day) or calendar.is_trading_day(day),
    )


def never_known(names: tuple[str, ...], blocks: Iterable[np.ndarray]) -> list[str]:
    """Factors that have no finite value in blocks of rows, float32[b, F] each."""
    known = np.zeros(len(names), np.bool_)
    for rows in blocks:
        known |= np.isfinite(rows).any(axis=0)
    return [name for name, found in zip(names, known, strict=True) if not found]


def _side_by_side(symbol: str, horizon: int, parts: Sequence[_Day], left_out: Sequence[LeftOutDay]) -> Dataset:
    """One data set of days that belong together, ascending."""
    sizes = [part.y.size for part in parts]
    times = np.concatenate([part.datetime_ns for part in parts])
    if np.any(np.diff(times) < 0):
        raise IntegrityError(f"ticks of {symbol} run backwards in time", BUILD_AGAIN)
    return Dataset(
        symbol=symbol,
        horizon=horizon,
        facts=tuple(part.facts for part in parts),
        names=parts[-1].names,
        X=_one_table([part.X for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        datetime_ns=times,
        day_index=np.repeat(np.arange(len(parts), dtype=np.int32), sizes),
        row_in_day=np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
        segment_id=np.repeat(np.array([part.facts.segment_id for part in parts], np.int32), sizes),
        mid=np.concatenate([part.mid for part in parts]),
        bid=np.concatenate([part.bid for part in parts]),
        ask=np.concatenate([part.ask for part in parts]),
        warm=np.concatenate([part.warm for part in parts]),
        factor_set_spec=parts[-1].factor_set_spec,
        label_spec=parts[-1].label_spec,
        levels=min(part.levels for part in parts),
        left_out=tuple(left_out),
        further_labels=_further_labels(parts),
    )


def _further_labels(parts: Sequence[_Day]) -> dict[int, np.ndarray]:
    """Labels of the horizons, beside the data set's, that every day was built for."""
    everywhere = set.intersection(*(set(part.further_labels) for part in parts))
    return {horizon: np.concatenate([part.further_labels[horizon] for part in parts]) for horizon in sorted(everywhere)}


def _one_table(days: Sequence[RowArray]) -> FactorRows:
    """Days in memory as one array; mapped ones stay where they are."""
    if all(isinstance(day, HeldRows) for day in days):
        return np.concatenate([day.array for day in days])
    return MappedRows(days)


def _quotes(lake: Lake, source: str, symbol: str, times: np.ndarray, day: date) -> tuple[np.ndarray, np.ndarray]:
    """Best bid and ask, float64[n] each, of the ticks that features were built from; raw ticks hold others too."""
    table = lake.read_day(source, symbol, day, columns=["datetime_ns", "bid_price1", "ask_price1"])
    found = _numpy(table, "datetime_ns")
    bid, ask = _numpy(table, "bid_price1"), _numpy(table, "ask_price1")
    if found.size != times.size:
        inside = np.isin(found, times)  # ticks outside the sessions are no examples
        found, bid, ask = found[inside], bid[inside], ask[inside]
    if not np.array_equal(times, found):
        raise IntegrityError(f"{symbol} on {day}: features and {source} are not the same ticks", BUILD_AGAIN)
    return bid, ask


@dataclass(frozen=True, kw_only=True)
class _Day:
    """One day's part of a `Dataset`, whose fields these are."""

    facts: DayFacts
    names: tuple[str, ...]
    X: RowArray
    y: np.ndarray
    datetime_ns: np.ndarray
    mid: np.ndarray
    bid: np.ndarray
    ask: np.ndarray
    warm: np.ndarray
    factor_set_spec: FactorSetSpec
    label_spec: LabelSpec
    levels: int
    further_labels: Mapping[int, np.ndarray]


def _read_day(
    lake: Lake, symbol: str, day: date, horizon: int, made: DayManifest, labelled: DayManifest, cache: Path | None
) -> _Day:
    mapped = map_day(lake, cache, symbol, day, made, labelled) if cache is not None else None
    # what is mapped was made of these very files, and their content was looked at then
    few = ["datetime_ns", *PROVENANCE_COLUMNS] if mapped is not None else None
    features = lake.read_day(FEATURES, symbol, day, columns=few)
    labels = lake.read_day(LABELS, symbol, day)
    times = _numpy(features, "datetime_ns")
    if not np.array_equal(times, _numpy(labels, "datetime_ns")):
        raise IntegrityError(f"{symbol} on {day}: features and labels are not the same ticks", BUILD_AGAIN)
    bid, ask = _quotes(lake, made.source, symbol, times, day)
    require_provenance(features, made, labels, labelled)
    if mapped is None:
        require_content(features, made)
    require_content(labels, labelled)
    require_labels(labels, labelled, (bid + ask) / 2)
    factor_set_spec = FactorSetSpec.from_dict(made.factor_set.to_json())
    names = factor_set_spec.names
    label_spec = LabelSpec.from_dict(labelled.label_spec.to_json())
    if mapped is None:
        rows = np.empty((times.size, len(names)), np.float32)
        for index, name in enumerate(names):
            rows[:, index] = _numpy(features, name)
    found: RowArray = HeldRows(rows) if mapped is None else mapped.X
    return _Day(
        facts=day_facts(day, made, labelled),
        names=names,
        X=found,
        y=_numpy(labels, label_column(horizon)).astype(np.int8),
        datetime_ns=times,
        mid=_numpy(labels, "mid"),
        bid=bid,
        ask=ask,
        warm=WarmTracker(len(names)).batch(rows) if mapped is None else np.array(mapped.warm),
        factor_set_spec=factor_set_spec,
        label_spec=label_spec,
        levels=stated(made.features.levels, f"the book levels of {symbol} on {day}"),
        further_labels={
            other: _numpy(labels, label_column(other)).astype(np.int8)
            for other in label_spec.horizons
            if other != horizon
        },
    )


def _numpy(table: pa.Table, column: str) -> np.ndarray:
    values: np.ndarray = table.column(column).combine_chunks().to_numpy(zero_copy_only=False)
    return values
