"""Teaches an encoder to say the next row of a window from the rows before it.

What belongs here: the network around the encoder, and its loss. At every row of a window but the last, a linear layer
over what the encoder makes of the rows so far says the next row of inputs, normalised; errors are squared up to one
standard deviation and counted plainly beyond (Huber), so that a few jumps do not decide. No label takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from ghtrader_models.families.networks.selected_columns import SelectedColumns


class NextSnapshot(nn.Module):
    """float32[B, T, F] -> by how much each of the rows 1 to T - 1 was missed, float32[B, T - 1, columns].

    Parameters
    ----------
    network : Module
        Has `encode`: float32[B, T, F] -> float32[B, T, width], no row of which knows a later one.
    factors : int
        F; a `SelectedColumns` network has to say its own columns alone.
    """

    def __init__(self, network: nn.Module, factors: int) -> None:
        super().__init__()
        self.network = network
        was = network.training
        with torch.no_grad():
            probe = torch.zeros(2, 2, factors)
            width = self._encode(probe, network.eval()).shape[2]
            columns = self._inputs(probe).shape[2]
        network.train(was)
        self.predict = nn.Linear(width, columns)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Errors, in standard deviations of the inputs."""
        said: torch.Tensor = self.predict(self._encode(x[:, :-1], self.network))
        return said - self._inputs(x)[:, 1:]

    def _inputs(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.chosen(x) if isinstance(self.network, SelectedColumns) else x

    @staticmethod
    def _encode(x: torch.Tensor, network: nn.Module) -> torch.Tensor:
        return cast(Callable[[torch.Tensor], torch.Tensor], network.encode)(x)


@dataclass(frozen=True, kw_only=True)
class SnapshotErrors:
    """The objective of `NextSnapshot`."""

    loss_words: str = "next-snapshot loss"
    score_words: tuple[str, str] = ("held out", "")

    def losses(
        self, outputs: torch.Tensor, x: torch.Tensor, y: torch.Tensor, class_weights: torch.Tensor
    ) -> torch.Tensor:
        """float32[B]: mean over rows and columns."""
        return _huber(outputs).mean(dim=(1, 2))

    def score(self, outputs: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Mean over the batch too."""
        return _huber(outputs).mean()


def _huber(errors: torch.Tensor) -> torch.Tensor:
    return functional.huber_loss(errors, torch.zeros_like(errors), reduction="none")
