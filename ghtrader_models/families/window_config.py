"""Says how a family of windows is trained: what all of them have in common, without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from ghtrader_base.errors import UsageError
from ghtrader_models.families.base import require_numbers


class Loss(StrEnum):
    """What training makes small; validation is log-loss always."""

    LOG = "log"
    """Log-loss: its probabilities are the data's."""
    WEIGHTED = "weighted"
    """Log-loss with classes of equal weight: rare moves count as much as standing still."""
    FOCAL = "focal"
    """Focal loss: what is known already counts less."""


class Inputs(StrEnum):
    """Which columns of a data set a network reads; see `window_inputs`."""

    BOOK = "book"
    """Prices and volumes of the levels: the columns of the factor set ``book``."""
    FACTORS = "factors"
    """All others."""
    BOTH = "both"
    """All there are."""


class Pretraining(StrEnum):
    """What an encoder learns from rows without labels before a network is trained on those that have one."""

    NONE = "none"
    NEXT_SNAPSHOT = "next_snapshot"
    """To say the next row of normalised inputs from all rows before it."""


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How a network is trained; each family adds the size of its own.

    Parameters
    ----------
    inputs : str
        `Inputs`.
    length : int
        Rows of a window.
    max_windows : int
        Training windows of a fit at the most, drawn evenly.
    validation_share : float
        Part of the windows, the last by time, that stops training early.
    batch_size : int
        Windows a step.
    max_epochs, patience : int
        Epochs at the most, and without a better validation log-loss.
    learning_rate, weight_decay, gradient_clip : float
        Of AdamW: the highest rate, the decay, the largest norm of a gradient.
    loss : str
        `Loss`.
    nthread : int
        Threads of training. One keeps the sums in one order.
    stride : int
        Every how many-th training row the policy is fitted on.
    auxiliary_horizons : str
        Further horizons, as "10,200", that a head each learns beside the model's own: they shape the network in
        training and are no part of the model. Empty for none.
    auxiliary_weight : float
        What their mean loss counts beside the loss of the model's own horizon.
    """

    inputs: str = Inputs.BOTH.value
    length: int = 100
    max_windows: int = 20_000
    validation_share: float = 0.15
    batch_size: int = 256
    max_epochs: int = 8
    patience: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    gradient_clip: float = 1.0
    loss: str = Loss.LOG.value
    nthread: int = 1
    stride: int = 5
    auxiliary_horizons: str = ""
    auxiliary_weight: float = 0.3

    def __post_init__(self) -> None:
        counts = (
            self.length, self.max_windows, self.batch_size, self.max_epochs, self.patience, self.nthread, self.stride,
        )  # fmt: skip
        rates = (self.learning_rate, self.gradient_clip)
        if min(counts) < 1 or not 0 < self.validation_share < 1 or not min(rates) > 0 or self.weight_decay < 0:
            raise UsageError(f"this trains nothing: {self}", "counts are 1 at least, rates above 0, a share below 1")
        require_numbers(self, below_one=("dropout",))  # which most networks have
        if self.loss not in tuple(Loss):
            raise UsageError(f"no loss {self.loss!r}", f"there are: {', '.join(Loss)}")
        if self.inputs not in tuple(Inputs):
            raise UsageError(f"no inputs {self.inputs!r}", f"there are: {', '.join(Inputs)}")
        require_numbers(self, above={"auxiliary_weight": 0})
        _horizons(self.auxiliary_horizons)

    @property
    def further_horizons(self) -> tuple[int, ...]:
        """`auxiliary_horizons` as numbers, ascending."""
        return _horizons(self.auxiliary_horizons)


def _horizons(text: str) -> tuple[int, ...]:
    """Horizons of a text like "10,200", ascending; `UsageError` where it is none, or names one twice."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if any(not (part.isascii() and part.isdigit() and len(part) < 10 and int(part) > 0) for part in parts):
        raise UsageError(f"auxiliary_horizons is {text!r}", "name horizons in ticks, as 10,200")
    found = sorted(int(part) for part in parts)
    if len(set(found)) < len(found):
        raise UsageError(f"auxiliary_horizons {text!r} names one twice", "name each once")
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(WindowConfig):
    """How a network is trained whose encoder may learn from rows without labels first.

    Parameters
    ----------
    pretrain : str
        `Pretraining`.
    pretrain_varieties : str
        Other varieties to learn from beside the model's own series, as "au,ag"; empty for none.
    pretrain_epochs : int
        Epochs at the most.
    pretrain_windows : int
        Windows of all series together at the most, drawn evenly.
    pretrain_rate : float
        The highest learning rate.
    """

    pretrain: str = Pretraining.NONE.value
    pretrain_varieties: str = ""
    pretrain_epochs: int = 8
    pretrain_windows: int = 20_000
    pretrain_rate: float = 2e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pretrain not in tuple(Pretraining):
            raise UsageError(f"no pretraining {self.pretrain!r}", f"there are: {', '.join(Pretraining)}")
        require_numbers(self, least={"pretrain_epochs": 1, "pretrain_windows": 1}, above={"pretrain_rate": 0})
        if self.pretrain != Pretraining.NONE and self.length < 2:
            raise UsageError("a window of one row has no next one to learn", "set length to 2 at least")
        if self.pretrain == Pretraining.NONE and self.pretrain_varieties:
            raise UsageError(
                f"pretrain_varieties is {self.pretrain_varieties!r}, and nothing is pretrained",
                f"set pretrain to {Pretraining.NEXT_SNAPSHOT}, or leave pretrain_varieties out",
            )


def pretraining_varieties(config: object) -> tuple[str, ...]:
    """Other varieties that a family's configuration wants rows of; none where it knows no pretraining."""
    return split_varieties(config.pretrain_varieties if isinstance(config, EncoderConfig) else "")


def split_varieties(text: str) -> tuple[str, ...]:
    """Keys of a text like "au,ag", in its order."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def require_size(good: bool, config: WindowConfig, hint: str) -> None:
    """UsageError with the hint, where no network can have the size of a configuration."""
    if not good:
        raise UsageError(f"no network has this size: {config}", hint)


Config = TypeVar("Config", bound=WindowConfig)


def on_all_windows(config: Config) -> Config:
    """The same network trained on every window there is, until it learns nothing more: what presets `paper` share."""
    return replace(config, max_windows=1_000_000, max_epochs=40, patience=5, stride=1)


def require_devices(family: str, config: object, devices: int) -> None:
    """`UsageError` where several processes are to train a family that is no network."""
    if devices > 1 and not isinstance(config, WindowConfig):
        raise UsageError(f"{family} does not train on several devices", "leave --devices out: it takes seconds")
