"""Splits rows walk-forward: train on the past, test on what follows, with a gap where labels would overlap.

What belongs here: row numbers in, row numbers out. A label at row t looks at the rows t..t+N (N the horizon), so a
training row less than N+1 rows before the first test row would look into the test: it is purged. Rows after a test
are used only where `expanding` is off, and then not before `embargo` rows past its last label window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import UsageError

if TYPE_CHECKING:
    from ghtrader_models.datasets.load import Dataset

MIN_TRAIN_DAYS = 3
BLOCKS, MIN_TRAIN_BLOCKS = 12, 4
_LEAST_TESTS = 2


@dataclass(frozen=True, kw_only=True)
class Split:
    """One fold.

    Attributes
    ----------
    index : int
        0 for the earliest test.
    name : str
        The test day, or the block.
    start, stop : int
        The test's stretch of rows, unusable ones included: what the simulation runs over.
    train, test : int64[k]
        Rows to learn from and rows to score, ascending.
    """

    index: int
    name: str
    start: int
    stop: int
    train: np.ndarray
    test: np.ndarray


def training_rows(
    usable: np.ndarray, start: int, stop: int, horizon: int, *, purge: int, embargo: int, expanding: bool = True
) -> np.ndarray:
    """Rows that may be learned from when [start, stop) is the test.

    Parameters
    ----------
    usable : bool[n]
        Warm and labelled rows.
    start, stop : int
        The test's rows.
    horizon : int
        Rows a label looks ahead.
    purge : int
        Rows left out before the test, at least the horizon.
    embargo : int
        Rows left out after the last label window of the test.
    expanding : bool
        Only rows before the test.

    Returns
    -------
    int64[k]
        Ascending row numbers.
    """
    if purge < horizon or embargo < 0:
        raise UsageError(f"purge {purge} is below the horizon {horizon}", "labels would look into the test")
    kept = usable.copy()
    kept[max(0, start - purge) : min(usable.size, stop + horizon + embargo)] = False
    if expanding:
        kept[start:] = False
    return np.flatnonzero(kept)


def walk_forward_days(
    day_index: np.ndarray,
    usable: np.ndarray,
    horizon: int,
    *,
    min_train_days: int = MIN_TRAIN_DAYS,
    purge: int | None = None,
    embargo: int | None = None,
    expanding: bool = True,
    names: tuple[str, ...] | None = None,
) -> list[Split]:
    """One test a day, from day `min_train_days` on, each trained on the days before.

    Parameters
    ----------
    day_index : int32[n]
        Ascending from 0.
    usable : bool[n]
        Warm and labelled rows.
    horizon : int
        Rows a label looks ahead; also purge and embargo where they are not given.
    min_train_days : int
        Days before the first test, at least 1.
    names : tuple of str, optional
        Names of the days.

    Raises
    ------
    UsageError
        Fewer days than `min_train_days` + 2: no interval can be made from one test.
    """
    days = int(day_index[-1]) + 1 if day_index.size else 0
    if min_train_days < 1 or days < min_train_days + _LEAST_TESTS:
        raise UsageError(
            f"{days} days are too few for {min_train_days} training days and {_LEAST_TESTS} tests", "build more days"
        )
    edges = np.searchsorted(day_index, np.arange(days + 1))
    bounds = [(int(edges[d]), int(edges[d + 1]), names[d] if names else f"day {d}") for d in range(days)]
    return _splits(bounds[min_train_days:], usable, horizon, purge, embargo, expanding)


def block_edges(rows: int, blocks: int = BLOCKS) -> np.ndarray:
    """Where blocks of nearly equal size begin: int64[blocks + 1], the last is `rows`."""
    return np.arange(blocks + 1, dtype=np.int64) * rows // blocks


def walk_forward_blocks(
    usable: np.ndarray,
    horizon: int,
    *,
    blocks: int = BLOCKS,
    min_train_blocks: int = MIN_TRAIN_BLOCKS,
    purge: int | None = None,
    embargo: int | None = None,
    expanding: bool = True,
) -> list[Split]:
    """One test a block of rows, for a recording of a single day; by default 12 blocks, the last 8 tested.

    Raises
    ------
    UsageError
        Fewer than 8 test blocks, or blocks no longer than the horizon.
    """
    if blocks - min_train_blocks < 8 or min_train_blocks < 1:
        raise UsageError(f"{blocks} blocks with {min_train_blocks} for training leave fewer than 8 tests")
    edges = block_edges(usable.size, blocks)
    if usable.size // blocks <= 2 * horizon:
        raise UsageError(
            f"{usable.size} rows are too few for {blocks} blocks at horizon {horizon}", "use a longer recording"
        )
    bounds = [(int(edges[b]), int(edges[b + 1]), f"block {b + 1}/{blocks}") for b in range(blocks)]
    return _splits(bounds[min_train_blocks:], usable, horizon, purge, embargo, expanding)


def make_splits(dataset: Dataset, *, min_train_days: int = MIN_TRAIN_DAYS, blocks: int = BLOCKS) -> list[Split]:
    """Splits by day where there are days enough, else by block."""
    if len(dataset.days) >= min_train_days + _LEAST_TESTS:
        names = tuple(day.isoformat() for day in dataset.days)
        return walk_forward_days(
            dataset.day_index, dataset.usable, dataset.horizon, min_train_days=min_train_days, names=names
        )
    return walk_forward_blocks(dataset.usable, dataset.horizon, blocks=blocks)


def _splits(
    bounds: list[tuple[int, int, str]],
    usable: np.ndarray,
    horizon: int,
    purge: int | None,
    embargo: int | None,
    expanding: bool,
) -> list[Split]:
    found: list[Split] = []
    for start, stop, name in bounds:
        train = training_rows(
            usable,
            start,
            stop,
            horizon,
            purge=horizon if purge is None else purge,
            embargo=horizon if embargo is None else embargo,
            expanding=expanding,
        )
        test = np.flatnonzero(usable[start:stop]) + start
        if train.size == 0 or test.size == 0:
            raise UsageError(
                f"{name} leaves {train.size} rows to train on and {test.size} to test",
                "check the labels and the factors' warm-up of these days",
            )
        found.append(Split(index=len(found), name=name, start=start, stop=stop, train=train, test=test))
    return found
