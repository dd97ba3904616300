"""Chooses the windows that an encoder learns from: whole days of all series that end before a moment.

What belongs here: which rows there are, and on what scale. Labels are not read. Each series has a normalisation of its
own, fitted on its days alone: a price step means another thing for gold than for copper, and what an encoder of several
series can share is how a book moves on its own scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_market.reference.varieties import get_variety
from ghtrader_models.datasets.sample_windows import training_and_validation
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.datasets.windows import WindowSet, WindowSpec
from ghtrader_models.families.window_config import EncoderConfig

_SHARE = 0.15
"""Part of a series' windows, the last by time, that says which epoch was best."""


class SeriesWindows:
    """Windows of several series under one numbering, each series on its own scale.

    Parameters
    ----------
    parts : sequence of WindowSet
        One a series, of equal length and factors.
    """

    def __init__(self, parts: Sequence[WindowSet]) -> None:
        self._parts = tuple(parts)
        self._edges = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self._edges[-1])

    @cached_property
    def targets(self) -> np.ndarray:
        """int8[k]: no label is learned, hence zeros."""
        return np.zeros(len(self), np.int8)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """float32[b, length, F]: windows in any order, normalised."""
        chosen = np.asarray(indices, np.int64)
        first = self._parts[0]
        out = np.empty((chosen.size, first.spec.length, len(first.names)), np.float32)
        series = np.searchsorted(self._edges, chosen, side="right") - 1
        for number in np.unique(series):
            own = series == number
            out[own] = self._parts[number].batch(chosen[own] - self._edges[number])
        return out


@dataclass(kw_only=True)
class PastSides:
    """Windows to learn from and windows to compare epochs on, as `lightning_data.WindowSides`."""

    train: SeriesWindows
    validation: SeriesWindows
    batch_size: int
    seed: int
    workers: int = 0

    @property
    def class_weights(self) -> torch.Tensor:
        """float32[3]: ones; there are no classes."""
        return torch.ones(3)


def past_of(samples: Samples, before_ns: int) -> Samples:
    """The tape cut behind its last day that ends before a moment, every row meant, without labels.

    Parameters
    ----------
    samples : Samples
        With `facts`.
    before_ns : int
        UTC epoch.

    Returns
    -------
    Samples
        Empty where no whole day ends before.

    Raises
    ------
    UsageError
        The tape does not say which days it is of.
    """
    if not samples.facts:
        raise UsageError("nothing says which days these rows are of", "pretrain on days of a data set")
    last = np.searchsorted(samples.day_index, np.arange(len(samples.facts)), side="right") - 1
    days = int(np.searchsorted(samples.datetime_ns[last], before_ns, side="left"))
    stop = int(last[days - 1]) + 1 if days else 0
    cut = replace(
        samples,
        y=np.zeros(stop, np.int8),
        datetime_ns=samples.datetime_ns[:stop],
        day_index=samples.day_index[:stop],
        warm=samples.warm[:stop],
        rows=np.arange(stop, dtype=np.int64),
        horizon=1,
        facts=samples.facts[:days],
        further_labels={},
        others=(),
    )
    if stop and cut.datetime_ns[-1] >= before_ns:
        raise IntegrityError("rows to pretrain on lie in the span that is held out", "report it with the data set")
    return cut


def past_series(samples: Samples, before_ns: int, varieties: Sequence[str] = ()) -> tuple[Samples, ...]:
    """Past days of the samples' own series, then of the others, each with one at least.

    Parameters
    ----------
    samples : Samples
    before_ns : int
        UTC epoch; see `past_of`.
    varieties : sequence of str
        Those whose rows have to be among the others, with or without a day before the moment.

    Raises
    ------
    UsageError
        No series has a whole day before, one has other factors, or rows of a variety are not there.
    """
    given = {other.symbol for other in samples.others}
    if missing := [key for key in varieties if get_variety(key).continuous_symbol not in given]:
        raise UsageError(
            f"an encoder is to learn from {', '.join(missing)}, and no rows of it were loaded",
            "train and benchmark load them (pretrain_varieties); leave it out elsewhere",
        )
    for other in samples.others:
        if other.names != samples.names:
            raise UsageError(f"{other.symbol} has other factors than {samples.symbol}", "build them alike (--factors)")
    found = tuple(past for tape in (samples, *samples.others) if (past := past_of(tape, before_ns)).facts)
    if not found:
        raise UsageError(
            f"no whole day of {samples.symbol} ends before the rows that are held out: there is nothing to pretrain on",
            "train on more days, or set pretrain to none",
        )
    return found


def past_sides(series: Sequence[Samples], config: EncoderConfig, seed: int) -> PastSides:
    """Windows of some past days; each series gives as many as another, where it has them.

    Raises
    ------
    UsageError
        A series has no whole window.
    """
    spec = WindowSpec(length=config.length, horizon=1)
    most = -(-config.max_windows // len(series))
    sides: tuple[list[WindowSet], list[WindowSet]] = ([], [])
    for past in series:
        pair = training_and_validation(past, spec, share=_SHARE, most=most)
        scaler = pair[0].fit_scaler()
        for side, windows in zip(sides, pair, strict=True):
            side.append(windows.normalised(scaler))
    train, validation = (SeriesWindows(side) for side in sides)
    return PastSides(train=train, validation=validation, batch_size=config.batch_size, seed=seed)
