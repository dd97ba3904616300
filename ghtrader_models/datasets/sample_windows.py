"""Finds windows among samples: those that end at the rows meant, a validation span at their end.

What belongs here: the edge between `samples` and `windows`. A window here is whole, as everywhere in `windows`; what a
model says of a row that has too few rows before it is `inference.onnx_windows`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.datasets.mapped_rows import MappedRows, Resident, RowArray, span_of
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.datasets.windows import WindowSet, WindowSpec, window_ends
from ghtrader_models.labels.labels import NO_LABEL


@dataclass(frozen=True)
class TapeDay:
    """One day of a tape, as `windows.DayRows` has it."""

    names: tuple[str, ...]
    X: RowArray
    warm: np.ndarray


def training_and_validation(
    samples: Samples, spec: WindowSpec, *, share: float, most: int, further: tuple[int, ...] = ()
) -> tuple[WindowSet, WindowSet]:
    """Windows to train on, and those of a span at the end of the rows meant to validate on.

    Between the two lie as many rows as a window and a label have together, so that they share neither.

    Parameters
    ----------
    samples : Samples
    spec : WindowSpec
        Of stride 1; windows are thinned evenly where there are too many.
    share : float
        Part of the windows, by time, that is validated on: above 0 and below 1.
    most : int
        Windows to train on at the most; the validation span is thinned alike.
    further : tuple of int
        Other horizons whose labels the training windows carry too. A longer one may look further than `spec.horizon`:
        what looks beyond the last row that the training windows' own labels look at counts as none.

    Raises
    ------
    UsageError
        No whole window on one of the sides, or a further horizon that was not built.
    """
    require_further(samples, further)
    edges = np.searchsorted(samples.day_index, np.arange(int(samples.day_index[-1]) + 2)) if len(samples.y) else [0]
    asked = np.zeros(samples.y.size, np.bool_)
    asked[samples.rows] = True
    found = []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        ends = window_ends(samples.datetime_ns[a:b], samples.y[a:b], samples.warm[a:b], spec) + a
        found.append(ends[asked[ends]])
    ends = np.concatenate([*found, np.empty(0, np.int64)])
    cut = int(ends.size * (1 - share))
    first = ends[cut] if cut < ends.size else 0
    train, validation = ends[:cut][ends[:cut] < first - spec.length - spec.horizon], ends[cut:]
    if not train.size or not validation.size:
        longest = int(np.diff(edges).max(initial=0))
        needed = spec.length + spec.horizon
        raise UsageError(
            f"{train.size} windows of {spec.length} rows to train on and {validation.size} to validate on",
            f"no day is long enough: the longest has {longest} rows, window and label take {needed}; shorten length"
            if needed >= longest
            else "use more days or shorter windows",
        )
    stride = -(-train.size // most)
    sets = [_set(samples, edges, part[::stride], spec) for part in (train, validation)]
    if further:
        known = int(train[-1]) + spec.horizon
        sets[0] = replace(sets[0], further=_known_labels(samples, train[::stride], further, known))
    return sets[0], sets[1]


def require_further(samples: Samples, horizons: Sequence[int]) -> None:
    """`UsageError` where labels of some horizons, beside the samples' own, are not there."""
    if samples.horizon in horizons:
        raise UsageError(
            f"horizon {samples.horizon} is the model's own", "leave it out of auxiliary_horizons, or train another"
        )
    if missing := [horizon for horizon in horizons if horizon not in samples.further_labels]:
        wanted = ",".join(map(str, sorted({*samples.further_labels, samples.horizon, *missing})))
        raise UsageError(
            f"not every day has labels at the auxiliary horizons {', '.join(map(str, missing))}; "
            f"beside {samples.horizon} all have {', '.join(map(str, samples.further_labels)) or 'none'}",
            f"build them too (ghtrader build --horizons {wanted} --overwrite), or leave them out of auxiliary_horizons",
        )


def _known_labels(samples: Samples, rows: np.ndarray, horizons: Sequence[int], known: int) -> np.ndarray:
    """int8[k, H]: labels of rows at some horizons; none where one looks beyond row `known`."""
    found = [np.where(rows + horizon <= known, samples.further_labels[horizon][rows], NO_LABEL) for horizon in horizons]
    return np.column_stack(found).astype(np.int8)


def _set(samples: Samples, edges: Sequence[int] | np.ndarray, ends: np.ndarray, spec: WindowSpec) -> WindowSet:
    """The windows that end at some rows of the tape; each day's span is what they reach."""
    names = tuple(str(i) for i in range(samples.X.shape[1]))
    days = tuple(
        TapeDay(names, span_of(samples.X, int(a), int(b)), samples.warm[a:b])
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    )
    day = samples.day_index[ends]
    inside = ends - np.asarray(edges)[day]
    spans = []
    for number in range(len(days)):
        own = inside[day == number]
        spans.append((int(own[0]) - spec.length + 1, int(own[-1]) + 1) if own.size else (0, 0))
    return WindowSet(
        days=days,
        spec=spec,
        day_index=day.astype(np.int32),
        end=inside.astype(np.int32),
        y=samples.y[ends],
        spans=tuple(spans),
        resident=samples.X.resident if isinstance(samples.X, MappedRows) else Resident([day.X for day in days]),
    )
