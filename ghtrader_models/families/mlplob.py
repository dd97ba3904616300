"""Trains MLPLOB, perceptrons over time and over factors, on windows; see `networks.mlplob`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import Preset
from ghtrader_models.families.window_config import Inputs, WindowConfig, on_all_windows, require_size
from ghtrader_models.families.window_family import WindowModel, fit_windows
from ghtrader_models.families.window_inputs import on_inputs

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class MLPLOBConfig(WindowConfig):
    """Size and training of the network.

    Parameters
    ----------
    hidden, layers : int
        Width of a row inside, pairs of perceptrons.
    """

    hidden: int = 16
    layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_size(
            min(self.hidden, self.length) >= 4 and self.layers > 0, self, "hidden and length are 4 at least, layers 1"
        )


class MLPLOBFamily:
    """The family of the registry's name ``mlplob``."""

    name = "mlplob"

    def config(self, preset: Preset = Preset.SMALL) -> MLPLOBConfig:
        """Two pairs of perceptrons of width 16; `paper` has its 384 rows of the book, width 40 and three pairs."""
        if preset is Preset.SMALL:
            return MLPLOBConfig()
        return on_all_windows(
            MLPLOBConfig(inputs=Inputs.BOOK.value, length=384, hidden=40, layers=3, learning_rate=1e-4)
        )

    def fit(self, samples: Samples, *, seed: int, config: MLPLOBConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`."""
        chosen = config or self.config()

        def build(length: int, factors: int) -> nn.Module:
            from ghtrader_models.families.networks.mlplob import MLPLOB

            return MLPLOB(length, factors, hidden=chosen.hidden, layers=chosen.layers)

        return fit_windows(self.name, on_inputs(build, samples, chosen), samples, chosen, seed=seed)
