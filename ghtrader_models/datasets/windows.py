"""Chooses windows of factor rows over memory-mapped days, and reads them without a copy each.

What belongs here: choosing windows and handing them out. A window is `length` rows that end at the row it is labelled
by. It lies inside one trading day, hence inside one contract and segment; no two of its ticks are further apart than
`max_gap_s`, so a session break ends a run of windows; its rows and the rows its label looks at lie inside one span, so
that a split never runs through it. `length=1` gives plain rows. torch stays out; see `lightning_data`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_market.reference.tick_origin import require_one_origin
from ghtrader_models.bundles.feature_scaler import FeatureScaler, fit_scaler
from ghtrader_models.datasets.day_cache import CachedDay, open_day, require_cache_room
from ghtrader_models.datasets.mapped_rows import CHUNK_BITS, Resident, RowArray
from ghtrader_models.labels.labels import NO_LABEL

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

MAX_GAP_S = 120.0
_BLOCK = 16_384


@dataclass(frozen=True)
class WindowSpec:
    """What a window is.

    Attributes
    ----------
    length : int
        Rows.
    stride : int
        Rows from the end of one window to the end of the next.
    horizon : int
        Ticks ahead that the label looks.
    max_gap_s : float or None
        Longest time between two neighbouring ticks of a window; None: a window may span a break.
    """

    length: int
    stride: int = 1
    horizon: int = 50
    max_gap_s: float | None = MAX_GAP_S

    def __post_init__(self) -> None:
        gap = self.max_gap_s
        if self.length < 1 or self.stride < 1 or self.horizon < 1 or (gap is not None and not gap > 0):
            raise UsageError(f"a window needs length, stride, horizon and gap above zero, not {self}")


def window_ends(
    datetime_ns: np.ndarray,
    y: np.ndarray,
    warm: np.ndarray,
    spec: WindowSpec,
    start: int = 0,
    stop: int | None = None,
) -> np.ndarray:
    """Last rows of the windows of one day that lie inside a span.

    Parameters
    ----------
    datetime_ns : int64[n]
    y : int8[n]
        Labels; -1 none.
    warm : bool[n]
        Rows whose factors are known.
    spec : WindowSpec
    start, stop : int
        The span: rows of the window, and those its label looks at, are inside.

    Returns
    -------
    int64[k]
        Ascending. `stride` counts from the first window after each gap.
    """
    n = y.size
    stop = n if stop is None else min(stop, n)
    run = np.zeros(n, np.int64)  # row at which the run of close ticks began
    if spec.max_gap_s is not None and n:
        late = np.flatnonzero(np.diff(datetime_ns) > spec.max_gap_s * 1e9) + 1
        run[late] = late
        run = np.maximum.accumulate(run)
    last = np.arange(n)
    first = last - spec.length + 1
    good = (first >= np.maximum(run, start)) & (last + spec.horizon < stop) & (y != NO_LABEL)
    good[good] = warm[first[good]]
    ends: np.ndarray = np.flatnonzero(good)
    if spec.stride == 1 or not ends.size:
        return ends
    begins = np.r_[True, run[ends[1:]] != run[ends[:-1]]]
    origin = np.maximum.accumulate(np.where(begins, ends, 0))
    strided: np.ndarray = ends[(ends - origin) % spec.stride == 0]
    return strided


class DayRows(Protocol):
    """What windows need of a day: `CachedDay`, or rows in memory (`sample_windows`)."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def X(self) -> RowArray: ...  # noqa: N802  (the name that rows of factors have everywhere)

    @property
    def warm(self) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class WindowSet:
    """Windows of some days.

    Attributes
    ----------
    days : tuple of DayRows
        In order.
    spec : WindowSpec
    day_index : int32[k]
        Day of each window.
    end : int32[k]
        Its last row in that day.
    y : int8[k]
        Its label.
    spans : tuple of (int, int)
        Rows of each day that windows may use.
    resident : Resident
        Keeps what is read from staying in memory.
    normaliser : FeatureScaler or None
        Applied where batches are read; views are never changed.
    further : int8[k, H] or None
        Labels of further horizons, which training may learn beside `y`; -1 none.
    """

    days: tuple[DayRows, ...]
    spec: WindowSpec
    day_index: np.ndarray
    end: np.ndarray
    y: np.ndarray
    spans: tuple[tuple[int, int], ...]
    resident: Resident
    normaliser: FeatureScaler | None = None
    further: np.ndarray | None = None

    def __len__(self) -> int:
        return self.y.size

    @property
    def names(self) -> tuple[str, ...]:
        """Factors, in column order."""
        return self.days[0].names

    @property
    def rows(self) -> int:
        """Rows of all days."""
        return sum(day.X.array.shape[0] for day in self.days)

    @cached_property
    def targets(self) -> np.ndarray:
        """int8[k], or int8[k, 1 + H]: what is learned of each window."""
        return self.y if self.further is None else np.column_stack([self.y, self.further])

    def window(self, index: int) -> np.ndarray:
        """float32[length, F]: one window as it lies in the file; a view, not normalised."""
        end = int(self.end[index])
        rows: np.ndarray = self.days[self.day_index[index]].X.array[end - self.spec.length + 1 : end + 1]
        return rows

    def day_view(self, day: int) -> np.ndarray:
        """float32[n - length + 1, length, F]: every window of one day as one strided view; nothing is copied."""
        view = np.lib.stride_tricks.sliding_window_view(self.days[day].X.array, self.spec.length, axis=0)
        return view.transpose(0, 2, 1)

    def views(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches in order, as views: (float32[b, length, F], int8[b]); a batch ends where its run of windows does."""
        step = self.spec.stride
        breaks = np.flatnonzero((np.diff(self.day_index) != 0) | (np.diff(self.end) != step)) + 1
        edges = [0, *breaks.tolist(), len(self)] if len(self) else []
        for a, b in zip(edges[:-1], edges[1:], strict=True):
            day = int(self.day_index[a])
            view, first = self.day_view(day), int(self.end[a]) - self.spec.length + 1
            for low in range(a, b, size):
                high = min(low + size, b)
                begin = first + (low - a) * step
                self.resident.touch((high - low) * step * view.shape[2] * 4)
                yield view[begin : begin + (high - low - 1) * step + 1 : step], self.y[low:high]

    def batch(self, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Windows in any order as one array, normalised where the set has a normaliser.

        Parameters
        ----------
        indices : int[b]
        out : float32[b, length, F], optional
            Filled instead of a new array.

        Returns
        -------
        float32[b, length, F]
            C-contiguous. An unknown or infinite value is 0, with or without a normaliser.
        """
        from ghtrader_models.datasets.windows_kernel import gather

        chosen = np.asarray(indices, np.int64)
        width = len(self.names)
        shape = (chosen.size, self.spec.length, width)
        out = np.empty(shape, np.float32) if out is None else out
        if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise UsageError(f"a batch of these windows is float32{list(shape)}, not {out.dtype}{list(out.shape)}")
        mean, scale, clip = self._scale
        flat = out.reshape(chosen.size, -1)
        day, first = self.day_index[chosen], self.end[chosen].astype(np.int64) - self.spec.length + 1
        chunk = (first * (4 * width)) >> CHUNK_BITS
        self.resident.touch((np.unique(day.astype(np.int64) << 32 | chunk).size + 1) << CHUNK_BITS)
        order = np.argsort(day, kind="stable")
        edges = np.flatnonzero(np.r_[True, np.diff(day[order]) != 0, True])
        for a, b in zip(edges[:-1], edges[1:], strict=True):
            places = order[a:b]
            gather(self.days[day[places[0]]].X.array, first[places], places, mean, scale, clip, flat)
        return out

    def batches(
        self, size: int, *, seed: int | None = None, reuse: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All windows once: in order, or shuffled over the whole set by `seed`.

        Parameters
        ----------
        size : int
            Windows a batch; the last may have fewer.
        seed : int, optional
            Of the shuffle.
        reuse : bool
            Every batch is written over the one before: half the time, for who is done with a batch when the next comes.

        Yields
        ------
        float32[b, length, F], int8[b]
            As `batch`, and the labels.
        """
        order = np.arange(len(self)) if seed is None else np.random.default_rng(seed).permutation(len(self))
        buffer = np.empty((size if reuse else 0, self.spec.length, len(self.names)), np.float32)
        for low in range(0, order.size, size):
            chosen = order[low : low + size]
            yield self.batch(chosen, buffer[: chosen.size] if reuse else None), self.y[chosen]

    def blocks(self) -> Iterator[np.ndarray]:
        """float32[m, F]: the rows of the spans that are warm, piece by piece; what a normaliser is fitted on."""
        for day, (start, stop) in zip(self.days, self.spans, strict=True):
            for low in range(start, stop, _BLOCK):
                high = min(low + _BLOCK, stop)
                self.resident.touch((high - low) * len(self.names) * 4)
                yield day.X.array[low:high][day.warm[low:high]]

    def fit_scaler(self) -> FeatureScaler:
        """Mean and deviation of the spans' warm rows; give it to every other set of the same split."""
        return fit_scaler(self.blocks(), self.names)

    def normalised(self, normaliser: FeatureScaler) -> WindowSet:
        """The same windows, with batches on the normaliser's scale."""
        if normaliser.names != self.names:
            raise UsageError("the normaliser is of other factors than these windows", "fit it on the same factor set")
        return replace(self, normaliser=normaliser)

    def class_counts(self) -> np.ndarray:
        """int64[3]: windows labelled DOWN, FLAT, UP."""
        return np.bincount(self.y, minlength=3).astype(np.int64)

    def class_weights(self) -> np.ndarray:
        """float64[3]: inverse frequency, so that the classes weigh the same together; their mean over rows is 1."""
        counts = np.maximum(self.class_counts(), 1)
        weights: np.ndarray = counts.sum() / (3.0 * counts)
        return weights

    @cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray, np.float32]:
        """Mean and scale of each value of a window, float32[length * F], and the clip."""
        mean, scale, clip = np.zeros(len(self.names)), np.ones(len(self.names)), np.inf
        if self.normaliser is not None:
            mean, scale, clip = self.normaliser.mean, self.normaliser.scale, self.normaliser.clip
        means, scales = (np.tile(np.asarray(part, np.float32), self.spec.length) for part in (mean, scale))
        return means, scales, np.float32(clip)


def open_windows(
    lake: Lake,
    cache: Path,
    symbol: str,
    days: Sequence[date],
    spec: WindowSpec,
    *,
    entry: str = "train",
    spans: Sequence[tuple[int, int]] | None = None,
    mix: bool = False,
) -> WindowSet:
    """Map the days and find their windows.

    Parameters
    ----------
    lake : Lake
        Holds features and labels.
    cache : Path
        ``<home>/cache``.
    symbol : str
        Series: KQ.m@SHFE.cu, or one contract.
    days : sequence of date
        Trading days, each counts once.
    spec : WindowSpec
    entry : str
        "train" or "benchmark", for the check of schema versions.
    spans : sequence of (int, int), optional
        Rows of each day (ascending by day) that windows and their labels may use; whole days by default.
    mix : bool
        Take days of different markets together.

    Raises
    ------
    UsageError
        No days, or a horizon that was not built.
    RefusedError
        Days are of different markets.
    FailedError
        A day is not built.
    IntegrityError
        Days were built with different factors or labels, or a day's parts do not belong together.
    """
    wanted = sorted(set(days))
    if not wanted:
        raise UsageError(f"no days of {symbol} to open", "build features and labels first: ghtrader build")
    require_cache_room(lake, cache, symbol, wanted, entry)
    opened = tuple(open_day(lake, cache, symbol, day, entry=entry) for day in wanted)
    for day in opened[1:]:
        for key in ("factor_set_spec", "label_spec"):
            if getattr(day, key) != getattr(opened[0], key):
                what = key.split("_")[0]
                raise IntegrityError(
                    f"{symbol}: {what}s of {day.facts.day} and {opened[0].facts.day} were built differently",
                    "build the days again: ghtrader build with --overwrite",
                )
    if not mix:
        require_one_origin(symbol, {day.facts.day: day.facts.origin for day in opened})
    return windows_of(opened, spec, spans)


def windows_of(
    days: Sequence[CachedDay], spec: WindowSpec, spans: Sequence[tuple[int, int]] | None = None
) -> WindowSet:
    """Windows of days that are open already, inside the spans of each (whole days by default)."""
    limits = tuple(spans) if spans is not None else tuple((0, day.facts.rows) for day in days)
    if len(limits) != len(days):
        raise UsageError(f"{len(limits)} spans for {len(days)} days", "give one a day")
    found: list[Any] = []
    for day, (start, stop) in zip(days, limits, strict=True):
        found.append(window_ends(day.datetime_ns, day.y(spec.horizon), day.warm, spec, start, stop).astype(np.int32))
    sizes = [ends.size for ends in found]
    labels = [day.y(spec.horizon)[ends] for day, ends in zip(days, found, strict=True)]
    return WindowSet(
        days=tuple(days),
        spec=spec,
        day_index=np.repeat(np.arange(len(days), dtype=np.int32), sizes),
        end=np.concatenate(found) if found else np.empty(0, np.int32),
        y=np.concatenate(labels).astype(np.int8) if labels else np.empty(0, np.int8),
        spans=limits,
        resident=Resident([day.X for day in days]),
    )


def split_windows(
    days: Sequence[CachedDay], spec: WindowSpec, train: float | Sequence[date]
) -> tuple[WindowSet, WindowSet]:
    """Windows to train on and windows to validate on, in time order; none shares a row with the other side.

    Parameters
    ----------
    days : sequence of CachedDay
        Ascending.
    spec : WindowSpec
    train : float or sequence of date
        The training days; or the part of all rows that comes first, which may end inside a day.
    """
    rows = [day.facts.rows for day in days]
    if isinstance(train, float):
        if not 0 < train < 1:
            raise UsageError(f"the training part must lie between 0 and 1, not {train}")
        cut = int(sum(rows) * train)
        before = np.clip(cut - np.r_[0, np.cumsum(rows)[:-1]], 0, rows).tolist()
    else:
        before = [size if day.facts.day in set(train) else 0 for day, size in zip(days, rows, strict=True)]
    first = windows_of(days, spec, [(0, cut) for cut in before])
    second = windows_of(days, spec, list(zip(before, rows, strict=True)))
    return first, second
