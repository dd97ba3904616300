"""Trains TLOB, attention over time and over factors, on windows; see `networks.tlob`."""

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
class TLOBConfig(WindowConfig):
    """Size and training of the network.

    Parameters
    ----------
    hidden, layers, heads : int
        Width of a row inside, pairs of attention layers, heads.
    """

    hidden: int = 16
    layers: int = 2
    heads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_size(
            self.hidden >= 4 and self.hidden % 2 == 0 and min(self.layers, self.heads) > 0 and self.length >= 4,
            self,
            "hidden is even and 4 at least, length 4, layers and heads 1",
        )


class TLOBFamily:
    """The family of the registry's name ``tlob``."""

    name = "tlob"

    def config(self, preset: Preset = Preset.SMALL) -> TLOBConfig:
        """Two pairs of layers of width 16; `paper` has its 128 rows of the book, width 40 and four pairs."""
        if preset is Preset.SMALL:
            return TLOBConfig()
        return on_all_windows(TLOBConfig(inputs=Inputs.BOOK.value, length=128, hidden=40, layers=4, learning_rate=1e-4))

    def fit(self, samples: Samples, *, seed: int, config: TLOBConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`."""
        chosen = config or self.config()

        def build(length: int, factors: int) -> nn.Module:
            from ghtrader_models.families.networks.tlob import TLOB

            return TLOB(length, factors, hidden=chosen.hidden, layers=chosen.layers, heads=chosen.heads)

        return fit_windows(self.name, on_inputs(build, samples, chosen), samples, chosen, seed=seed)
