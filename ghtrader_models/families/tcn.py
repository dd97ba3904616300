"""Trains a temporal convolutional network on windows of factors; see `networks.tcn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import Preset
from ghtrader_models.families.window_config import WindowConfig
from ghtrader_models.families.window_family import WindowModel, fit_windows
from ghtrader_models.inference.streaming.tcn import receptive_field

if TYPE_CHECKING:
    from torch import nn

    from ghtrader_models.families.networks.tcn import TCN


@dataclass(frozen=True, kw_only=True)
class TCNConfig(WindowConfig):
    """Size and training of the network.

    Parameters
    ----------
    channels, levels, kernel : int
        Width, residual blocks, taps of each convolution; it sees 1 + 2 (kernel - 1) (2^levels - 1) rows, 91 by default.
    dropout : float
    """

    channels: int = 16
    levels: int = 4
    kernel: int = 4
    dropout: float = 0.05


class TCNFamily:
    """The family of the registry's name ``tcn``."""

    name = "tcn"

    def config(self, preset: Preset = Preset.SMALL) -> TCNConfig:
        """Within a window of 100 rows; `paper` has the width of the authors' sequential MNIST and all windows."""
        if preset is Preset.SMALL:
            return TCNConfig()
        return TCNConfig(channels=25, max_windows=1_000_000, max_epochs=40, patience=5, stride=1)

    def fit(self, samples: Samples, *, seed: int, config: TCNConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`. What sees no further than its window is stepped, row by row."""
        chosen = config or self.config()
        within = receptive_field(chosen.kernel, chosen.levels) <= chosen.length

        def build(length: int, factors: int) -> nn.Module:
            from ghtrader_models.families.networks.tcn import TCN

            return TCN(
                factors, channels=chosen.channels, levels=chosen.levels, kernel=chosen.kernel, dropout=chosen.dropout
            )

        def arrays_of(network: TCN, length: int) -> dict[str, np.ndarray]:
            from ghtrader_models.families.stepped_export import tcn_arrays

            return tcn_arrays(network, length)

        return fit_windows(self.name, build, samples, chosen, seed=seed, arrays_of=arrays_of if within else None)
