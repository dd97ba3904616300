"""Gives a network heads for further horizons while it trains; the network alone is exported.

What belongs here: what a network has to offer for that, and the network with the further heads beside its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import nn

CLASSES = 3
"""Outputs of a head: DOWN, FLAT, UP."""


class Headed(Protocol):
    """A network whose head may be left out, as every one in this folder is."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head reads of windows float32[B, T, F]."""
        ...

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """float32[B, 3]: the logits of what `features` gives."""
        ...


def headed(network: nn.Module) -> Headed:
    """A network of this folder by what it offers."""
    return cast(Headed, network)


class AuxiliaryHeads(nn.Module):
    """A network and linear heads for further horizons: float32[B, T, F] -> logits float32[B, 3 + 3 heads].

    The first three are the network's own, and what is exported is `network`, which knows nothing of the others.

    Parameters
    ----------
    network : Module
        A `Headed` one.
    count : int
        Further heads, 1 at least.
    length, factors : int
        T and F.
    """

    def __init__(self, network: nn.Module, count: int, length: int, factors: int) -> None:
        super().__init__()
        was = network.training
        with torch.no_grad():
            width = headed(network.eval()).features(torch.zeros(2, length, factors)).flatten(1).shape[1]
        network.train(was)
        self.network = network
        self.heads = nn.Linear(width, CLASSES * count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window, the network's own first."""
        found = headed(self.network).features(x)
        return torch.cat([headed(self.network).read(found), self.heads(found.flatten(1))], dim=1)

    def constrain(self) -> None:
        """As the network's own, where it has one."""
        constrain: Callable[[], None] | None = getattr(self.network, "constrain", None)
        if constrain is not None:
            constrain()
