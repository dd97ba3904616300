"""Defines what a model family is: the interface that benchmark, training and bundles rely on.

What belongs here: the protocols, and what all families do alike. Each family has a file of its own and an entry in
`table`, by which commands, benchmark and asset graph have it.

Every family promises: the same samples, configuration and seed give the same model to the last bit on one machine;
`predict_proba` is the bundle's own route (`inference`), so that offline and live numbers are equal; a factor that
is NaN or infinite counts as missing, in training and after.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.bundles.provenance import PretrainingRecord
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.table import FAMILIES
from ghtrader_models.labels.labels import CLASS_NAMES

LEAST_ROWS = 30
"""Below this no family is asked: neighbouring rows share their labels, and whatever it found would be chance."""
MOST_MEMORY = 1_000_000
"""Ticks, some twenty days: factors that say the same for longer say nothing."""
SMALLEST, LARGEST = 1e-12, 1e9
"""Sizes of numbers in a configuration: libraries keep them as float32 and int32, and multiply them."""
_BLOCK = 4096


class Preset(StrEnum):
    """How much a family may cost."""

    SMALL = "small"
    """What two cores train in minutes: the default."""
    PAPER = "paper"
    """The size its authors published, or the largest sensible one of a family without a paper."""


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

    def predict_proba(self, samples: Samples) -> np.ndarray:
        """float64[k, 3] (DOWN, FLAT, UP): one of each row meant."""
        ...

    def save(self, directory: Path) -> None:
        """Write the model's files, without pickle, into `directory`."""
        ...

    def importance(self, names: tuple[str, ...]) -> dict[str, float]:
        """Share of each factor in what the model does: not negative, adding up to 1 (or all 0)."""
        ...


@runtime_checkable
class ValidatedModel(Model, Protocol):
    """A model that has held out a span at the end of its training rows, for instance to stop early.

    Attributes
    ----------
    validation_rows : int64[k]
        Rows of the span that it was asked about, ascending: of the tape that its samples name rows of.
    learning_curve : tuple of float
        Log-loss of the span after each epoch, nats.
    """

    validation_rows: np.ndarray
    learning_curve: tuple[float, ...]


@runtime_checkable
class PretrainedModel(Model, Protocol):
    """A model whose encoder may have learned from rows without labels first.

    Attributes
    ----------
    pretraining : PretrainingRecord or None
        What from; None where nothing was pretrained.
    pretraining_curve : tuple of float
        Loss of the span held out after each epoch of it, in squared standard deviations (Huber beyond one).
    """

    pretraining: PretrainingRecord | None
    pretraining_curve: tuple[float, ...]


class FamilyConfig(Protocol):
    """How a family is trained: a frozen dataclass of numbers and words, each family's own.

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
        As `FAMILIES` and the command line have it.
    """

    name: str

    def config(self, preset: Preset = Preset.SMALL) -> FamilyConfig:
        """The family's configuration of a size."""
        ...

    def fit(self, samples: Samples, *, seed: int, config: Any = None) -> Model:
        """Train.

        Parameters
        ----------
        samples : Samples
            Warm and labelled rows in time order; single NaN allowed.
        seed : int
            Of whatever the family draws.
        config : dataclass, optional
            The family's own; its small one where absent.

        Raises
        ------
        UsageError
            As `check_training_samples`.
        """
        ...


def get_family(name: str) -> ModelFamily:
    """The family of a name; `UsageError` listing the known ones."""
    if name not in FAMILIES:
        raise UsageError(f"no model family {name!r}", f"known: {', '.join(FAMILIES)}")
    entry = FAMILIES[name]
    family: ModelFamily = getattr(importlib.import_module(entry.module), entry.cls)()
    return family


def preset_of(name: str) -> Preset:
    """The preset of a name; `UsageError` listing the known ones."""
    if name not in tuple(Preset):
        raise UsageError(f"no preset {name!r}", f"there are: {', '.join(Preset)}")
    return Preset(name)


def make_config(family: ModelFamily, changes: Mapping[str, bool | int | float | str]) -> FamilyConfig:
    """The family's configuration with some fields replaced; `preset` among them names the size to start from.

    Raises
    ------
    UsageError
        A field the family does not have, a value of another type than the field's, or no such preset.
    """
    wanted = dict(changes)
    config = family.config(preset_of(str(wanted.pop("preset", Preset.SMALL))))
    known = {field.name for field in dataclasses.fields(config)}
    if unknown := sorted(set(wanted) - known):
        raise UsageError(f"{family.name} has no setting {', '.join(unknown)}", f"it has: {', '.join(sorted(known))}")
    for name, value in wanted.items():
        usual = getattr(config, name)
        if type(usual) is str and type(value) is int:  # a list of one number is written like a number
            wanted[name] = value = str(value)
        fits = type(value) is type(usual) or (type(usual) is float and type(value) is int)
        if not fits:
            raise UsageError(f"{family.name}: {name} is {value!r}", f"give it like the default, {usual!r}")
    return dataclasses.replace(config, **wanted)


def require_numbers(
    config: Any,
    *,
    least: Mapping[str, float] = {},
    most: Mapping[str, float] = {},
    above: Mapping[str, float] = {},
    shares: tuple[str, ...] = (),
    below_one: tuple[str, ...] = (),
) -> None:
    """Refuse numbers of a family's configuration that no training can mean.

    A library takes some of them without a word, and the model that comes out looks like any other: a negative stride
    turns the weights of the rows around, a penalty that is no number switches learning off.

    Parameters
    ----------
    config : dataclass
        All its numbers have to be finite, and of a size that libraries can count with.
    least, most, above : mapping of str to float
        Field -> the least and the largest value it may have; the value it has to lie above.
    shares : tuple of str
        Fields above 0 and at most 1.
    below_one : tuple of str
        Fields from 0 on, below 1.

    Raises
    ------
    UsageError
        Names the first such field, its value and what it may be.
    """
    for field in dataclasses.fields(config):
        value, rule = getattr(config, field.name), ""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not math.isfinite(value):
            rule = "a finite number"
        elif number and abs(value) > LARGEST:
            rule = f"{LARGEST:g} in size at most"
        elif isinstance(value, float) and 0 < abs(value) < SMALLEST:
            rule = f"0, or {SMALLEST:g} in size at least"
        elif field.name in least and value < least[field.name]:
            rule = f"{least[field.name]:g} at least"
        elif field.name in most and value > most[field.name]:
            rule = f"{most[field.name]:g} at most"
        elif field.name in above and value <= above[field.name]:
            rule = f"above {above[field.name]:g}"
        elif field.name in shares and not 0 < value <= 1:
            rule = "above 0 and 1 at most"
        elif field.name in below_one and not 0 <= value < 1:
            rule = "0 or more, and below 1"
        if rule:
            raise UsageError(f"{field.name} is {value!r}", f"it has to be {rule}")


def library_refusal(family: str, error: Exception) -> UsageError:
    """A training library's refusal of settings as an error of ours: its first line without places in its sources."""
    said = str(error).strip().splitlines()[0].rsplit("src/", 1)[-1]
    return UsageError(f"{family} does not train with these settings: {said}", "look at what --set changed")


def row_weight(horizon: int, memory: int, stride: int) -> float:
    """What one kept training row counts, in independent observations.

    Labels of neighbouring rows share most of the `horizon` ticks they look at, and factors most of their `memory`: so
    many rows say about as much as one independent observation would. Penalties and least leaf sizes are given in
    independent observations and mean the same at any horizon, stride and pace of ticks.
    """
    return stride / (horizon + memory)


def rows_to_learn(samples: Samples, stride: int) -> Samples:
    """Every `stride`-th row meant, with something to learn from in what is left.

    Raises
    ------
    UsageError
        As `check_training_samples`; of what `stride` leaves, with the stride named.
    """
    learned = samples.every(stride)
    try:
        check_training_samples(learned)
    except UsageError as exc:
        if stride == 1:
            raise
        check_training_samples(samples)  # where all rows would not do either, the stride is not what is wrong
        raise UsageError(f"with a stride of {stride}, {exc}", f"give a smaller stride, or {exc.hint}") from exc
    return learned


def check_training_samples(samples: Samples) -> None:
    """That there is something to learn from, and its class codes.

    Raises
    ------
    UsageError
        Too few rows or no factor, a label outside 0..2, one class alone, or no factor that varies.
    """
    if len(samples) < LEAST_ROWS or samples.X.shape[1] == 0:
        raise UsageError(
            f"{len(samples)} training rows of {samples.X.shape[1]} factors, {LEAST_ROWS} rows are the least",
            "build more days before training",
        )
    y = samples.labels
    if y.min() < 0 or y.max() > 2:
        raise UsageError(f"labels run from {y.min()} to {y.max()}, not 0 to 2", "leave unlabelled rows out")
    if y.min() == y.max():
        raise UsageError(
            f"all {y.size} training rows are {CLASS_NAMES[y[0]]}: there is nothing to tell apart",
            "train on more days, at a longer horizon, or build labels with a smaller --threshold",
        )
    if not _something_varies(samples):
        raise UsageError(
            f"none of {samples.X.shape[1]} factors varies over the {len(samples)} training rows",
            "look at the ticks of these days (ghtrader data quality), or train on other days",
        )


def _something_varies(samples: Samples) -> bool:
    """Whether one factor has two finite values; reads no more rows than it takes to find them."""
    least = np.full(samples.X.shape[1], np.inf, np.float32)
    most = -least
    for low in range(0, len(samples), _BLOCK):
        rows = samples.X[samples.rows[low : low + _BLOCK]]
        known = np.isfinite(rows)
        least = np.minimum(least, np.where(known, rows, np.inf).min(axis=0))
        most = np.maximum(most, np.where(known, rows, -np.inf).max(axis=0))
        if (least < most).any():
            return True
    return False


def drop_infinite(rows: np.ndarray) -> np.ndarray:
    """The same array, float32[n, F], in which every infinite value has become NaN: missing in training as after."""
    rows[np.isinf(rows)] = np.nan
    return rows


def learning_curves(model: Model) -> dict[str, list[float]]:
    """Score -> its value after each epoch; empty of a family without epochs."""
    found = {"validation_logloss": list(model.learning_curve)} if isinstance(model, ValidatedModel) else {}
    if isinstance(model, PretrainedModel) and model.pretraining_curve:
        found["pretraining_loss"] = list(model.pretraining_curve)
    return found


def pretraining_of(model: Model) -> PretrainingRecord | None:
    """What the model's encoder learned from before; None where nothing was pretrained."""
    return model.pretraining if isinstance(model, PretrainedModel) else None
