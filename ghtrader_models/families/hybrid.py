"""Trains a hybrid on windows: convolutions first, then a TCN, Transformer or state space; see `networks.hybrid`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ghtrader_base.errors import UsageError
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import Preset
from ghtrader_models.families.window_config import WindowConfig, on_all_windows, require_size
from ghtrader_models.families.window_family import WindowModel, fit_windows
from ghtrader_models.families.window_inputs import on_inputs

if TYPE_CHECKING:
    from torch import nn


class Body(StrEnum):
    """What reads the rows that the convolutions give."""

    TCN = "tcn"
    TRANSFORMER = "transformer"
    SSM = "ssm"


@dataclass(frozen=True, kw_only=True)
class HybridConfig(WindowConfig):
    """Size and training of the network.

    Parameters
    ----------
    body : str
        `Body`.
    width : int
        Of a row between the parts and inside them.
    layers : int
        Residual blocks of a TCN, layers of a Transformer or state space.
    kernel, heads, states : int
        Taps of a TCN, attention heads of a Transformer, real states of a channel of a state space. The convolutions see
        six rows, and a TCN of four blocks with four taps 91.
    dropout : float
    """

    body: str = Body.TCN.value
    width: int = 16
    layers: int = 4
    kernel: int = 4
    heads: int = 4
    states: int = 16
    dropout: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.body not in tuple(Body):
            raise UsageError(f"a hybrid has no body {self.body!r}", f"there are: {', '.join(Body)}")
        sizes = (self.width, self.layers, self.kernel, self.heads, self.states)
        good = min(sizes) > 0 and self.states % 2 == 0 and self.width % (2 * self.heads) == 0
        require_size(good, self, "all are 1 at least, states even, width a multiple of twice the heads")


class HybridFamily:
    """The family of the registry's name ``hybrid``."""

    name = "hybrid"

    def config(self, preset: Preset = Preset.SMALL) -> HybridConfig:
        """A TCN of 16 channels behind the convolutions; `paper` is twice as wide, for want of one."""
        if preset is Preset.SMALL:
            return HybridConfig()
        return on_all_windows(HybridConfig(width=32))

    def fit(self, samples: Samples, *, seed: int, config: HybridConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`."""
        chosen = config or self.config()

        def build(length: int, factors: int) -> nn.Module:
            from ghtrader_models.families.networks.hybrid import Hybrid

            body = _body(chosen, length)
            return Hybrid(factors, width=chosen.width, body=body, dropout=chosen.dropout)

        return fit_windows(self.name, on_inputs(build, samples, chosen), samples, chosen, seed=seed)


def _body(config: HybridConfig, length: int) -> nn.Module:
    """float32[B, length, width] -> the same shape."""
    from ghtrader_models.families.networks.ssm import SSMBody
    from ghtrader_models.families.networks.tcn import TCNBody
    from ghtrader_models.families.networks.transformer import TransformerBody

    width, layers, dropout = config.width, config.layers, config.dropout
    if config.body == Body.TCN:
        return TCNBody(width, channels=width, levels=layers, kernel=config.kernel, dropout=dropout)
    if config.body == Body.SSM:
        return SSMBody(width, states=config.states, layers=layers, dropout=dropout)
    return TransformerBody(length, width, heads=config.heads, layers=layers, hidden=2 * width, dropout=dropout)
