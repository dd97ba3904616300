"""Feeds windows to Lightning: the only file of the data sets that needs torch.

What belongs here: a map-style dataset that reads a whole batch at once, and the data module that holds the two sides of
a split. Shuffling happens among training windows alone; the normaliser is fitted on the training span alone and goes
into the bundle (`spec` of `WindowDataModule.normaliser`). The loaders are plain, so Lightning puts a DistributedSampler
into them by itself, and each rank reads its own part of the same mapped files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from ghtrader_base.errors import UsageError
from ghtrader_models.bundles.feature_scaler import FeatureScaler
from ghtrader_models.datasets.windows import WindowSet

Batch = tuple[torch.Tensor, torch.Tensor]


class NumberedWindows(Protocol):
    """Windows that are read by number: a `WindowSet`, or several of them."""

    def __len__(self) -> int: ...

    @property
    def targets(self) -> np.ndarray:
        """int8[k], or int8[k, 1 + horizons]: what is learned of each; -1 none."""
        ...

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """float32[b, length, F]: some of them, in any order, normalised."""
        ...


class WindowSides(Protocol):
    """What training needs of its two sides: `WindowDataModule`, or others that are made like it."""

    batch_size: int
    seed: int
    workers: int

    @property
    def train(self) -> NumberedWindows: ...

    @property
    def validation(self) -> NumberedWindows: ...

    @property
    def class_weights(self) -> torch.Tensor:
        """float32[3]."""
        ...


class WindowDataset(Dataset[Batch]):
    """Windows by number: ``x`` float32[B, length, F], ``y`` int64[B], or int64[B, 1 + horizons] where further ones are
    learned; a batch is copied once, straight from the files.

    Parameters
    ----------
    windows : NumberedWindows
    """

    def __init__(self, windows: NumberedWindows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Batch:
        x, y = self.__getitems__([index])
        return x[0], y[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """One batch; what torch asks where a sampler has chosen its members."""
        chosen = np.asarray(indices, np.int64)
        targets = self.windows.targets[chosen].astype(np.int64)
        return torch.from_numpy(self.windows.batch(chosen)), torch.from_numpy(targets)


class EpochShuffle(RandomSampler):
    """An order for each epoch, drawn from a seed and the epoch's number, so that a resumed run has the order it had.

    A `RandomSampler`, by which Lightning knows that several processes have to shuffle too.

    Parameters
    ----------
    windows : sized
    seed : int
    """

    def __init__(self, windows: NumberedWindows, seed: int) -> None:
        super().__init__(windows)
        self._size, self._seed, self._epoch = len(windows), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which one begins."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        self._epoch += 1
        yield from torch.randperm(self._size, generator=generator).tolist()


def as_it_is(batch: Batch) -> Batch:
    """The collate function: a batch is made whole already."""
    return batch


class WindowDataModule(lightning.LightningDataModule):
    """Training and validation windows of one split.

    Parameters
    ----------
    train, validation : WindowSet
        As `windows.split_windows` makes them; `validation` may be empty.
    batch_size : int
        Windows a batch.
    seed : int
        Of the shuffle: each epoch has an order of its own, and a run can be repeated.
    workers : int
        Loader processes; 0 reads in the training process, which is fastest where the files are in memory.

    Raises
    ------
    UsageError
        There is no window to train on, or the two sides have other factors.
    """

    def __init__(
        self, train: WindowSet, validation: WindowSet, *, batch_size: int = 256, seed: int = 0, workers: int = 0
    ) -> None:
        super().__init__()
        if not len(train):
            raise UsageError("there is no window to train on", "use more days, shorter windows or a longer gap limit")
        if train.names != validation.names:
            raise UsageError("training and validation windows have different factors", "build them alike")
        self.normaliser: FeatureScaler = train.fit_scaler()
        self.train, self.validation = (part.normalised(self.normaliser) for part in (train, validation))
        self.batch_size, self.seed, self.workers = batch_size, seed, workers

    @property
    def class_weights(self) -> torch.Tensor:
        """float32[3]: inverse frequency of DOWN, FLAT, UP among the training windows."""
        return torch.from_numpy(self.train.class_weights().astype(np.float32))

    @property
    def shape(self) -> tuple[int, int]:
        """Length of a window and number of factors."""
        return self.train.spec.length, len(self.train.names)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches of training windows."""
        return self._loader(self.train, sampler=EpochShuffle(self.train, self.seed))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation windows in their order."""
        return self._loader(self.validation, shuffle=False)

    def _loader(self, windows: WindowSet, **options: Any) -> DataLoader[Batch]:
        return DataLoader(
            WindowDataset(windows),
            batch_size=self.batch_size,
            collate_fn=as_it_is,  # type: ignore[arg-type]  # a batch comes whole from __getitems__
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            **options,
        )
