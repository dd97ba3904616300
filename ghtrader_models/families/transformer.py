"""Trains a Transformer encoder on windows; see `networks.transformer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import Preset
from ghtrader_models.families.window_config import WindowConfig, on_all_windows, require_size
from ghtrader_models.families.window_family import WindowModel, fit_windows
from ghtrader_models.families.window_inputs import on_inputs

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(WindowConfig):
    """Size and training of the network.

    Parameters
    ----------
    width, heads, layers, hidden : int
        Of a row inside, attention heads, encoder layers, units of the feed-forward part.
    dropout : float
    """

    width: int = 32
    heads: int = 4
    layers: int = 1
    hidden: int = 64
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_size(
            min(self.heads, self.layers, self.hidden) > 0 and self.width > 0 and self.width % (2 * self.heads) == 0,
            self,
            "heads, layers and hidden are 1 at least, width is a multiple of twice the heads",
        )


class TransformerFamily:
    """The family of the registry's name ``transformer``."""

    name = "transformer"

    def config(self, preset: Preset = Preset.SMALL) -> TransformerConfig:
        """One layer of width 32; `paper` is the paper's base encoder."""
        if preset is Preset.SMALL:
            return TransformerConfig()
        return on_all_windows(TransformerConfig(width=512, heads=8, layers=6, hidden=2048, learning_rate=1e-4))

    def fit(self, samples: Samples, *, seed: int, config: TransformerConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`."""
        chosen = config or self.config()

        def build(length: int, factors: int) -> nn.Module:
            from ghtrader_models.families.networks.transformer import Transformer

            return Transformer(
                length, factors,
                width=chosen.width, heads=chosen.heads, layers=chosen.layers, hidden=chosen.hidden,
                dropout=chosen.dropout,
            )  # fmt: skip

        return fit_windows(self.name, on_inputs(build, samples, chosen), samples, chosen, seed=seed)
