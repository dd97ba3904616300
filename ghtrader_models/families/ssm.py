"""Trains a state-space model, linear in the length of the window; see `networks.ssm` and `networks.mamba`.

Two kinds. `diagonal` (S4D) is the default: its recurrence does not depend on the input, so that it trains by FFT, is
exported as one convolution, and a live step carries a few complex numbers a channel; on two cores it trains 6,400
windows a second where a selective one trains 900, and is exported in seconds. `selective` (Mamba) chooses from each row
what to keep, which no fixed recurrence can; it trains and is exported by a scan of log2(length) steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import Preset
from ghtrader_models.families.window_config import EncoderConfig, on_all_windows, require_size
from ghtrader_models.families.window_family import WindowModel, fit_windows
from ghtrader_models.families.window_inputs import on_inputs

if TYPE_CHECKING:
    from torch import nn

    from ghtrader_models.families.networks.ssm import SSM


class StateSpace(StrEnum):
    """Kind of recurrence."""

    DIAGONAL = "diagonal"
    """S4D: the same at every row."""
    SELECTIVE = "selective"
    """Mamba: step and read-outs depend on the row."""


@dataclass(frozen=True, kw_only=True)
class SSMConfig(EncoderConfig):
    """Size and training of the network.

    Parameters
    ----------
    kind : str
        `StateSpace`.
    width, states, layers : int
        Width of a row inside, states of each channel (real ones, even for `diagonal`), layers.
    dropout : float
    """

    kind: str = StateSpace.DIAGONAL.value
    width: int = 32
    states: int = 16
    layers: int = 1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_size(min(self.width, self.states, self.layers) > 0, self, "width, states and layers are 1 at least")
        if self.kind not in tuple(StateSpace):
            raise UsageError(f"no state space of kind {self.kind!r}", f"there are: {', '.join(StateSpace)}")
        if self.kind == StateSpace.DIAGONAL and self.states % 2:
            raise UsageError(f"{self.states} states of a diagonal state space", "give an even number")


class SSMFamily:
    """The family of the registry's name ``ssm``."""

    name = "ssm"

    def config(self, preset: Preset = Preset.SMALL) -> SSMConfig:
        """One diagonal layer of width 32; `paper` has the four layers of 128 of the authors' example."""
        if preset is Preset.SMALL:
            return SSMConfig()
        return on_all_windows(SSMConfig(width=128, states=64, layers=4))

    def fit(self, samples: Samples, *, seed: int, config: SSMConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`. A single diagonal layer is stepped row by row."""
        chosen = config or self.config()

        def build(length: int, factors: int) -> nn.Module:
            from ghtrader_models.families.networks.mamba import Mamba
            from ghtrader_models.families.networks.ssm import SSM

            network = SSM if chosen.kind == StateSpace.DIAGONAL else Mamba
            return network(
                factors, width=chosen.width, states=chosen.states, layers=chosen.layers, dropout=chosen.dropout
            )

        def arrays_of(network: SSM, length: int) -> dict[str, np.ndarray]:
            from ghtrader_models.families.stepped_export import ssm_arrays

            return ssm_arrays(network, length)

        chosen_build = on_inputs(build, samples, chosen)
        steps = chosen.kind == StateSpace.DIAGONAL and chosen.layers == 1 and chosen_build is build
        return fit_windows(
            self.name, chosen_build, samples, chosen, seed=seed, arrays_of=arrays_of if steps else None
        )
