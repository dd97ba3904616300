"""Data sets that no family may learn from, each with what it must be told; and a tiny configuration of each family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_models.bundles.bundle import bundles_dir
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.families.base import FamilyConfig, get_family, make_config
from ghtrader_models.families.table import window_family_names
from ghtrader_models.training import train_on

_WINDOWS: dict[str, bool | int | float | str] = {
    "length": 20, "max_windows": 600, "max_epochs": 2, "batch_size": 64, "stride": 5, "learning_rate": 0.01,
}  # fmt: skip
_SIZES: dict[str, dict[str, bool | int | float | str]] = {
    "deeplob": {"columns": 8},
    "transformer": {"width": 16, "heads": 2, "hidden": 16},
    "tlob": {"hidden": 8, "layers": 1},
    "mlplob": {"hidden": 8, "layers": 1},
    "binctabl": {"first": 8, "second": 8, "middle": 4, "last": 2},
    "tcn": {"channels": 8, "levels": 2, "kernel": 2},
    "ssm": {"width": 8, "states": 8},
    "hybrid": {"width": 8, "layers": 2, "kernel": 2, "heads": 2, "states": 8},
    "logistic": {"stride": 1},
    "xgboost": {"stride": 1, "rounds": 5},
    "lightgbm": {"stride": 1, "rounds": 5},
}
DAY_ROWS = 200


def tiny(name: str, **changes: bool | int | float | str) -> FamilyConfig:
    """A configuration that trains within a second."""
    windows = _WINDOWS if name in window_family_names() else {}
    return make_config(get_family(name), {**windows, **_SIZES[name], **changes})


def _flat(found: Dataset) -> Dataset:
    return found.with_labels(np.where(found.y >= 0, 1, -1).astype(np.int8))


def _unlabelled(found: Dataset) -> Dataset:
    return found.with_labels(np.full(found.y.shape, -1, np.int8))


def _constant(found: Dataset) -> Dataset:
    return replace(found, X=np.where(np.isfinite(found.X), np.float32(7), np.float32(np.nan)))


def _unknown(found: Dataset) -> Dataset:
    return replace(found, X=np.full_like(found.X, np.nan))


def _few(found: Dataset) -> Dataset:
    return replace(found, warm=found.warm & (np.arange(len(found)) < 30))


BAD: dict[str, tuple[Callable[[Dataset], Dataset], str, str]] = {
    "one class": (_flat, "rows are FLAT", "more days"),
    "never labelled": (_unlabelled, "no row of .* to learn from", "no row is labelled at horizon 10"),
    "constant factors": (_constant, "none of .* varies", "these days"),
    "unknown factors": (_unknown, "none of .* varies", "these days"),
    "too few rows": (_few, "10 training rows", "more days"),
}
"""What is wrong -> how a data set comes to it, the message and the hint of the `UsageError`."""


def refused(name: str, dataset: Dataset, folder: Path, message: str, hint: str, config: FamilyConfig) -> None:
    """That training says so, and leaves no bundle and no part of one."""
    with pytest.raises(UsageError, match=message) as caught:
        train_on(dataset, folder, name, config=config)
    assert hint in caught.value.hint
    assert not bundles_dir(folder).exists() or not list(bundles_dir(folder).iterdir())
