"""Defines what a model family is, and registers those there are.

What belongs here: the protocol that benchmark, training and bundles rely on. Each family has its own file; a new one
is registered with one line in `_FAMILIES`.

Every family promises: the same rows, configuration and seed give the same model to the last bit on one machine;
`predict_proba` is the bundle's own route (`inference`), so that offline and live numbers are equal; a factor that
is NaN or infinite counts as missing, in training and after.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ghtrader_base.errors import UsageError

_FAMILIES = {
    "logistic": ("ghtrader_models.families.linear", "LogisticFamily"),
    "xgboost": ("ghtrader_models.families.boosting", "XGBoostFamily"),
}


class Model(Protocol):
    """A trained model.

    Attributes
    ----------
    kind : str
        Name of its family, hence of its route in `inference.predictors`.
    n_features : int
        Length of a row.
    """

    kind: str
    n_features: int

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """float32[n, F] -> float64[n, 3] (DOWN, FLAT, UP)."""
        ...

    def save(self, directory: Path) -> None:
        """Write the model's files, without pickle, into `directory`."""
        ...

    def importance(self, names: tuple[str, ...]) -> dict[str, float]:
        """Share of each factor in what the model does: not negative, adding up to 1 (or all 0)."""
        ...


class FamilyConfig(Protocol):
    """How a family is trained: a frozen dataclass of numbers, each family's own.

    Attributes
    ----------
    stride : int
        Every how many-th training row is used.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def stride(self) -> int: ...


class ModelFamily(Protocol):
    """How one kind of model is trained.

    Attributes
    ----------
    name : str
        As the registry and the command line have it.
    """

    name: str

    def default_config(self) -> FamilyConfig:
        """The family's configuration."""
        ...

    def fit(self, rows: np.ndarray, y: np.ndarray, *, horizon: int, seed: int, config: Any = None) -> Model:
        """Train.

        Parameters
        ----------
        rows : float32[n, F]
            Warm rows in time order; single NaN allowed.
        y : int8[n]
            0 DOWN, 1 FLAT, 2 UP.
        horizon : int
            Ticks ahead that y looks.
        seed : int
            Of whatever the family draws.
        config : dataclass, optional
            The family's own; its default where absent.

        Raises
        ------
        UsageError
            No rows, or a class outside 0..2.
        """
        ...


def family_names() -> tuple[str, ...]:
    """Names of all families."""
    return tuple(_FAMILIES)


def get_family(name: str) -> ModelFamily:
    """The family of a name; `UsageError` listing the known ones."""
    if name not in _FAMILIES:
        raise UsageError(f"no model family {name!r}", f"known: {', '.join(_FAMILIES)}")
    module, cls = _FAMILIES[name]
    family: ModelFamily = getattr(importlib.import_module(module), cls)()
    return family


def make_config(family: ModelFamily, changes: Mapping[str, bool | int | float | str]) -> FamilyConfig:
    """The family's default configuration with some fields replaced; `UsageError` for a field it does not have."""
    config = family.default_config()
    known = {field.name for field in dataclasses.fields(config)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise UsageError(
            f"{family.name} has no setting {', '.join(unknown)}", f"it has: {', '.join(sorted(known))}"
        )
    return dataclasses.replace(config, **changes)


def row_weight(horizon: int, memory: int, stride: int) -> float:
    """What one kept training row counts, in independent observations.

    Labels of neighbouring rows share most of the `horizon` ticks they look at, and factors most of their `memory`: so
    many rows say about as much as one independent observation would. Penalties and least leaf sizes are given in
    independent observations and mean the same at any horizon, stride and pace of ticks.
    """
    return stride / (horizon + memory)


def check_training_rows(rows: np.ndarray, y: np.ndarray) -> None:
    """Shapes, class codes and that there is something to learn from; `UsageError` otherwise."""
    if rows.ndim != 2 or y.shape != (rows.shape[0],) or rows.shape[0] == 0 or rows.shape[1] == 0:
        raise UsageError(
            f"training rows of shape {rows.shape} with labels of shape {y.shape}", "build more days before training"
        )
    if y.min() < 0 or y.max() > 2:
        raise UsageError(f"labels run from {y.min()} to {y.max()}, not 0 to 2", "leave unlabelled rows out")


def without_infinite(rows: np.ndarray) -> np.ndarray:
    """A copy, float32[n, F], in which every infinite value is NaN: missing in training as it is afterwards."""
    return np.where(np.isfinite(rows), rows, np.float32(np.nan)).astype(np.float32, copy=False)
