"""Trains a temporal convolutional network on windows of factors; see `networks.tcn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import Preset
from ghtrader_models.families.window_config import EncoderConfig, on_all_windows, require_size
from ghtrader_models.families.window_family import WindowModel, fit_windows
from ghtrader_models.families.window_inputs import on_inputs

if TYPE_CHECKING:
    from torch import nn

    from ghtrader_models.families.networks.tcn import TCN


@dataclass(frozen=True, kw_only=True)
class TCNConfig(EncoderConfig):
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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_size(
            min(self.channels, self.levels, self.kernel) > 0, self, "channels, levels and kernel are 1 at least"
        )


class TCNFamily:
    """The family of the registry's name ``tcn``."""

    name = "tcn"

    def config(self, preset: Preset = Preset.SMALL) -> TCNConfig:
        """Within a window of 100 rows; `paper` has the width of the authors' sequential MNIST and all windows."""
        if preset is Preset.SMALL:
            return TCNConfig()
        return on_all_windows(TCNConfig(channels=25))

    def fit(self, samples: Samples, *, seed: int, config: TCNConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`. What sees no further than its window is stepped, row by row."""
        from ghtrader_models.inference.streaming.tcn import receptive_field

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

        chosen_build = on_inputs(build, samples, chosen)
        steps = within and chosen_build is build  # a network that chooses its columns has no stepped form
        return fit_windows(
            self.name, chosen_build, samples, chosen, seed=seed, arrays_of=arrays_of if steps else None
        )
