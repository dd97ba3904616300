"""Trains DeepLOB on windows of the book or of factors; see `networks.deeplob`.

Its convolutions halve the columns twice, price with volume and bid with ask, which means something for the columns of
the book in their order. Of anything else it reads `columns` learned mixtures (`networks.selected_columns`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import Preset
from ghtrader_models.families.window_config import Inputs, WindowConfig, on_all_windows, require_size
from ghtrader_models.families.window_family import WindowModel, fit_windows
from ghtrader_models.families.window_inputs import on_inputs, reads_the_book

if TYPE_CHECKING:
    from torch import nn

LEAST_LENGTH, LEAST_COLUMNS = 19, 4
"""What the unpadded convolutions of `networks.deeplob` leave something of."""


@dataclass(frozen=True, kw_only=True)
class DeepLOBConfig(WindowConfig):
    """Size and training of the network.

    Parameters
    ----------
    columns : int
        Learned columns where a row is not the book's alone, 4 at least.
    """

    length: int = 50
    columns: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        require_size(
            self.length >= LEAST_LENGTH and self.columns >= LEAST_COLUMNS, self, "length is 19 at least, columns 4"
        )


class DeepLOBFamily:
    """The family of the registry's name ``deeplob``."""

    name = "deeplob"

    def config(self, preset: Preset = Preset.SMALL) -> DeepLOBConfig:
        """Half the paper's window; `paper` has its 100 rows of the book alone."""
        if preset is Preset.SMALL:
            return DeepLOBConfig()
        return on_all_windows(DeepLOBConfig(inputs=Inputs.BOOK.value, length=100, columns=40, learning_rate=1e-3))

    def fit(self, samples: Samples, *, seed: int, config: DeepLOBConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`."""
        chosen = config or self.config()
        of_the_book = reads_the_book(samples.names, chosen.inputs)

        def build(length: int, factors: int) -> nn.Module:
            from ghtrader_models.families.networks.deeplob import DeepLOB
            from ghtrader_models.families.networks.selected_columns import MixedColumns

            if of_the_book:
                return DeepLOB(length, factors)
            return MixedColumns(DeepLOB(length, chosen.columns), factors, chosen.columns)

        return fit_windows(self.name, on_inputs(build, samples, chosen), samples, chosen, seed=seed)
