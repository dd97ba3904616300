"""Splits rows walk-forward: train on the past, test on what follows, with a gap where labels would overlap.

What belongs here: row numbers in, row numbers out. A label at row t looks at the rows t..t+N (N the horizon), so a
training row less than N+1 rows before the first test row would look into the test: it is purged. Factors remember, so
an embargo leaves out some more rows before that. Nothing after a test is ever learned from.

How many fits there are does not grow with the data: tests are blocks of whole trading days, `MIN_TESTS` to `BLOCKS` of
them. Fewer days than that takes give fewer tests, and very few give blocks of rows; `SplitPlan.words` says which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.files import arrays_hash, content_hash

if TYPE_CHECKING:
    from ghtrader_models.datasets.load import Dataset

MIN_TRAIN_DAYS = 3
BLOCKS, MIN_TRAIN_BLOCKS = 12, 4
MIN_TESTS = 5
"""What a plan by whole days aims at; below `MIN_TRAIN_DAYS` + this many days it has one test a day."""
_LEAST_TESTS = 2
_FIRST_TRAINING_PART = 4
"""The first fit has a fourth of the days: each of many blocks is then tested by a model that has seen something."""


class TrainingWindow(StrEnum):
    """Which of the days before a test are learned from."""

    EXPANDING = "expanding"
    ROLLING = "rolling"


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How rows are split.

    Parameters
    ----------
    blocks : int
        Most tests, hence most fits, `MIN_TESTS` at least.
    min_train_days : int
        Days before the first test, at least 1.
    window : TrainingWindow
        All days before the test, or the last of them.
    rolling_days : int
        Days of a rolling window; 0 for as many as the first fit has.
    purge : int or None
        Rows left out before a test because their labels look into it; at least the horizon, which None stands for.
    embargo : int or None
        Rows left out before those; None for the horizon.
    """

    blocks: int = BLOCKS
    min_train_days: int = MIN_TRAIN_DAYS
    window: TrainingWindow = TrainingWindow.EXPANDING
    rolling_days: int = 0
    purge: int | None = None
    embargo: int | None = None

    def __post_init__(self) -> None:
        if self.blocks < MIN_TESTS or self.min_train_days < 1:
            raise UsageError(
                f"{self.blocks} tests after {self.min_train_days} training days",
                f"ask for {MIN_TESTS} tests and 1 training day at least",
            )
        if self.rolling_days < 0 or (self.rolling_days and self.window is not TrainingWindow.ROLLING):
            raise UsageError(f"a window of {self.rolling_days} days that is {self.window.value}", "choose rolling")
        if (self.purge or 0) < 0 or (self.embargo or 0) < 0:
            raise UsageError(f"purge {self.purge} and embargo {self.embargo} are rows, not below 0")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: what differs from the defaults."""
        usual, own = asdict(SplitOptions()), asdict(self)
        return {name: getattr(value, "value", value) for name, value in own.items() if value != usual[name]}

    @classmethod
    def from_dict(cls, changes: Mapping[str, Any]) -> SplitOptions:
        """The defaults with some fields replaced; UsageError for an unknown field or a wrong value."""
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(changes) - set(known)):
            raise UsageError(f"splits have no setting {', '.join(unknown)}", f"they have: {', '.join(known)}")
        try:
            return msgspec.convert(dict(changes), cls)
        except msgspec.ValidationError as exc:
            raise UsageError(f"these are no settings of splits: {exc}") from exc

    def gap(self, horizon: int) -> int:
        """Rows between the last one learned from and the first one tested; UsageError where labels would overlap."""
        purge = horizon if self.purge is None else self.purge
        if purge < horizon:
            raise UsageError(f"purge {purge} is below the horizon {horizon}", "labels would look into the test")
        return purge + (horizon if self.embargo is None else self.embargo)


@dataclass(frozen=True, kw_only=True)
class Split:
    """One fold.

    Attributes
    ----------
    index : int
        0 for the earliest test.
    name : str
        The test's day, its first and last day, or its block.
    train_start, train_stop : int
        The stretch of rows learned from.
    start, stop : int
        The test's stretch of rows, unusable ones included: what the simulation runs over.
    usable : bool[n]
        Warm and labelled rows of the whole data set, shared by all folds.
    """

    index: int
    name: str
    train_start: int
    train_stop: int
    start: int
    stop: int
    usable: np.ndarray

    @property
    def train(self) -> np.ndarray:
        """int64[k]: rows to learn from, ascending; found anew each time, so that folds hold no rows."""
        return np.flatnonzero(self.usable[self.train_start : self.train_stop]) + self.train_start

    @property
    def test(self) -> np.ndarray:
        """int64[k]: rows to score, ascending; found anew each time."""
        return np.flatnonzero(self.usable[self.start : self.stop]) + self.start


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """The folds of a data set.

    Attributes
    ----------
    splits : tuple of Split
        By time.
    options : SplitOptions
        What was asked for.
    words : str
        What the tests are, for people; says where there are fewer than `MIN_TESTS` whole days to test.
    """

    splits: tuple[Split, ...]
    options: SplitOptions
    words: str

    @property
    def splits_hash(self) -> str:
        """Hex sha256 of which rows are learned from and tested, fold by fold, and of their names."""
        bounds = [[s.name, s.train_start, s.train_stop, s.start, s.stop] for s in self.splits]
        usable = self.splits[0].usable
        rows = arrays_hash(np.packbits(usable), np.array([usable.size]))
        return content_hash({"options": self.options.to_dict(), "splits": bounds, "usable": rows})


def training_stop(start: int, horizon: int, options: SplitOptions | None = None) -> int:
    """The first row that is not learned from when the test begins at `start`.

    Raises
    ------
    UsageError
        The purge is below the horizon.
    """
    return max(0, start - (options or SplitOptions()).gap(horizon))


def walk_forward_days(
    day_index: np.ndarray,
    usable: np.ndarray,
    horizon: int,
    options: SplitOptions | None = None,
    *,
    names: Sequence[str] | None = None,
) -> SplitPlan:
    """Tests of whole trading days, as many as there are blocks, each trained on days before.

    Up to `min_train_days` + `blocks` days each test is one day. From there on the first fit has a fourth of the days,
    or `min_train_days` if that is more, and the others are cut into blocks of nearly equal numbers of days.

    Parameters
    ----------
    day_index : int32[n]
        Ascending from 0.
    usable : bool[n]
        Warm and labelled rows.
    horizon : int
        Rows a label looks ahead.
    options : SplitOptions, optional
        The defaults where absent.
    names : sequence of str, optional
        Names of the days.

    Raises
    ------
    UsageError
        Fewer days than `min_train_days` + 2: no interval can be made from one test. Or a block has no row to train on
        or to test.
    """
    options = options or SplitOptions()
    days = int(day_index[-1]) + 1 if day_index.size else 0
    if days < options.min_train_days + _LEAST_TESTS:
        raise UsageError(
            f"{days} days are too few for {options.min_train_days} training days and {_LEAST_TESTS} tests",
            "build more days",
        )
    titles = list(names) if names is not None else [f"day {d}" for d in range(days)]
    first = max(options.min_train_days, days // _FIRST_TRAINING_PART)
    first = min(first, max(options.min_train_days, days - options.blocks))
    tests = min(options.blocks, days - first)
    starts = first + np.arange(tests + 1) * (days - first) // tests
    rows = np.searchsorted(day_index, np.arange(days + 1))
    rolling = options.window is TrainingWindow.ROLLING
    kept = (options.rolling_days or first) if rolling else days
    bounds = [
        (
            int(rows[max(0, a - kept)]),
            int(rows[a]),
            int(rows[b]),
            titles[a] if b - a == 1 else f"{titles[a]} to {titles[b - 1]}",
        )
        for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]
    words = f"{tests} tests, {days - first} of {days} days, {options.window.value} training from {first} days on"
    if tests < MIN_TESTS:
        words += f"; fewer than {MIN_TESTS} tests, so the interval is wide: {first + MIN_TESTS} days give {MIN_TESTS}"
    return SplitPlan(splits=_splits(bounds, usable, horizon, options), options=options, words=words)


def block_edges(rows: int, blocks: int = BLOCKS) -> np.ndarray:
    """Where blocks of nearly equal size begin: int64[blocks + 1], the last is `rows`."""
    return np.arange(blocks + 1, dtype=np.int64) * rows // blocks


def walk_forward_blocks(usable: np.ndarray, horizon: int, options: SplitOptions | None = None) -> SplitPlan:
    """One test a block of rows, for a recording of very few days; by default 12 blocks, the last 8 tested.

    Raises
    ------
    UsageError
        Fewer than 8 test blocks, blocks too short for the horizon and the gap, or a rolling window, which counts days.
    """
    options = options or SplitOptions()
    blocks = options.blocks
    if blocks - MIN_TRAIN_BLOCKS < 8:
        raise UsageError(f"{blocks} blocks with {MIN_TRAIN_BLOCKS} for training leave fewer than 8 tests")
    if options.window is not TrainingWindow.EXPANDING:
        raise UsageError("a rolling window counts days, of which there are too few", "use the expanding one")
    if usable.size // blocks <= max(2 * horizon, options.gap(horizon)):
        raise UsageError(
            f"{usable.size} rows are too few for {blocks} blocks at horizon {horizon}", "use a longer recording"
        )
    edges = block_edges(usable.size, blocks).tolist()
    bounds = [(0, edges[b], edges[b + 1], f"block {b + 1}/{blocks}") for b in range(MIN_TRAIN_BLOCKS, blocks)]
    words = (
        f"{len(bounds)} tests of a {blocks}th of all rows each, for want of days; parts of one day are not quite "
        "independent, so the interval is somewhat narrow"
    )
    return SplitPlan(splits=_splits(bounds, usable, horizon, options), options=options, words=words)


def make_splits(dataset: Dataset, options: SplitOptions | None = None) -> SplitPlan:
    """Splits by days where there are enough of them, else by blocks of rows; see `walk_forward_days`."""
    options = options or SplitOptions()
    if len(dataset.days) >= options.min_train_days + _LEAST_TESTS:
        names = [day.isoformat() for day in dataset.days]
        return walk_forward_days(dataset.day_index, dataset.usable, dataset.horizon, options, names=names)
    return walk_forward_blocks(dataset.usable, dataset.horizon, options)


def _splits(
    bounds: Sequence[tuple[int, int, int, str]], usable: np.ndarray, horizon: int, options: SplitOptions
) -> tuple[Split, ...]:
    """Folds of (first training row, test start, test stop, name)."""
    found: list[Split] = []
    for train_start, start, stop, name in bounds:
        split = Split(
            index=len(found),
            name=name,
            train_start=train_start,
            train_stop=max(train_start, training_stop(start, horizon, options)),
            start=start,
            stop=stop,
            usable=usable,
        )
        if split.train.size == 0 or split.test.size == 0:
            raise UsageError(
                f"{name} leaves {split.train.size} rows to train on and {split.test.size} to test",
                "check the labels and the factors' warm-up of these days",
            )
        found.append(split)
    return tuple(found)
