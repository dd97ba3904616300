"""Gives a network some columns of each row, or a learned mixture of them.

What belongs here: what stands between the row of a data set and the row that a network was made for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from ghtrader_models.families.networks.heads import headed


class SelectedColumns(nn.Module):
    """A network that reads some columns alone: float32[B, T, F] -> its logits.

    Parameters
    ----------
    network : Module
        float32[B, T, k] -> logits.
    columns : sequence of int
        The k places among F, in the order that the network reads them.
    """

    columns: torch.Tensor

    def __init__(self, network: nn.Module, columns: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("columns", torch.tensor(list(columns), dtype=torch.int64), persistent=False)

    def chosen(self, x: torch.Tensor) -> torch.Tensor:
        """float32[B, T, k]: the columns that the network reads."""
        return x.index_select(2, self.columns)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """As the network's own, of an encoder."""
        encode: Callable[[torch.Tensor], torch.Tensor] = self.network.encode  # type: ignore[assignment]
        return encode(self.chosen(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """As the network's own."""
        return headed(self.network).features(self.chosen(x))

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """As the network's own."""
        return headed(self.network).read(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window."""
        logits: torch.Tensor = self.network(self.chosen(x))
        return logits

    def freeze(self, length: int) -> None:
        """As the network's own, where it has one."""
        freeze: Callable[[int], None] | None = getattr(self.network, "freeze", None)
        if freeze is not None:
            freeze(length)

    def constrain(self) -> None:
        """As the network's own, where it has one."""
        constrain: Callable[[], None] | None = getattr(self.network, "constrain", None)
        if constrain is not None:
            constrain()


class MixedColumns(nn.Module):
    """A network whose columns are learned: float32[B, T, F] -> its logits.

    For networks that convolve over neighbouring columns, which says something where neighbours belong together, as
    price and volume of a level do; factors stand in no such order, so that the order is learned.

    Parameters
    ----------
    network : Module
        float32[B, T, columns] -> logits.
    factors, columns : int
        F, and how many mixtures of them the network reads.
    """

    def __init__(self, network: nn.Module, factors: int, columns: int) -> None:
        super().__init__()
        self.mix = nn.Linear(factors, columns)
        self.network = network

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """As the network's own."""
        return headed(self.network).features(self.mix(x))

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """As the network's own."""
        return headed(self.network).read(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window."""
        logits: torch.Tensor = self.network(self.mix(x))
        return logits
