"""Trains BiN-CTABL, bilinear layers with attention over time, on windows; see `networks.binctabl`."""

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
class BinCTABLConfig(WindowConfig):
    """Size and training of the network.

    Parameters
    ----------
    first, second : int
        Factors after the first and the second bilinear layer.
    middle, last : int
        Moments after them.
    dropout : float
    """

    first: int = 60
    second: int = 120
    middle: int = 10
    last: int = 5
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_size(
            min(self.first, self.second, self.middle, self.last) > 0 and self.length > 1,
            self,
            "all sizes are 1 at least, length 2",
        )


class BinCTABLFamily:
    """The family of the registry's name ``binctabl``."""

    name = "binctabl"

    def config(self, preset: Preset = Preset.SMALL) -> BinCTABLConfig:
        """The paper's layers over 100 rows; `paper` has its ten rows of the book."""
        if preset is Preset.SMALL:
            return BinCTABLConfig()
        return on_all_windows(BinCTABLConfig(inputs=Inputs.BOOK.value, length=10, learning_rate=1e-3))

    def fit(self, samples: Samples, *, seed: int, config: BinCTABLConfig | None = None) -> WindowModel:
        """Train; see `ModelFamily.fit`."""
        chosen = config or self.config()

        def build(length: int, factors: int) -> nn.Module:
            from ghtrader_models.families.networks.binctabl import BinCTABL

            return BinCTABL(
                length, factors,
                first=chosen.first, second=chosen.second, middle=chosen.middle, last=chosen.last,
                dropout=chosen.dropout,
            )  # fmt: skip

        return fit_windows(self.name, on_inputs(build, samples, chosen), samples, chosen, seed=seed)
