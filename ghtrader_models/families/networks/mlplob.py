"""Defines MLPLOB: perceptrons over factors and over time in turn.

L. Berti, G. Kasneci, "TLOB: A Novel Transformer Model with Dual Attention for Price Trend Prediction with Limit Order
Book Data", arXiv:2502.15757. 3,012,414 parameters on 384 x 40 with hidden 40 and three layers, in the
authors' code (github.com/LeonardoBerti00/TLOB, aedcf83); here three less, because theirs embeds LOBSTER's order types.
"""

from __future__ import annotations

import torch
from torch import nn

from ghtrader_models.families.networks.normalisation import BilinearNormalisation

_WIDEST_LAST = 128
"""Units that the last linear layer may have; wider ones are cut to a fourth until they fit."""


class MixingPerceptron(nn.Module):
    """float32[..., a] -> float32[..., c] through b units; adds its input where it has the same width."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.norm = nn.LayerNorm(outputs)
        self.activation = nn.GELU()
        self.residual = inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last axis mixed."""
        found = self.second(self.activation(self.first(x)))
        result: torch.Tensor = self.activation(self.norm(found + x if self.residual else found))
        return result


def narrowing_head(width: int, outputs: int) -> nn.Sequential:
    """float32[B, width] -> float32[B, outputs], a fourth at a time."""
    layers: list[nn.Module] = []
    while width > _WIDEST_LAST:
        layers += [nn.Linear(width, width // 4), nn.GELU()]
        width //= 4
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class MLPLOB(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    length, factors, outputs : int
        T, F and logits; T at least 4.
    hidden : int
        Width of a row inside, at least 4.
    layers : int
        Pairs of perceptrons.
    """

    def __init__(self, length: int, factors: int, outputs: int = 3, *, hidden: int, layers: int) -> None:
        super().__init__()
        self.normalise = BilinearNormalisation(factors, length)
        self.project = nn.Sequential(nn.Linear(factors, hidden), nn.GELU())
        sizes = [(4, hidden, length)] * (layers - 1) + [(2, hidden // 4, length // 4)]
        self.over_factors = nn.ModuleList(MixingPerceptron(hidden, wide * hidden, a) for wide, a, _ in sizes)
        self.over_time = nn.ModuleList(MixingPerceptron(length, wide * length, b) for wide, _, b in sizes)
        self.head = narrowing_head((hidden // 4) * (length // 4), outputs)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head reads of each window: float32[B, (hidden // 4) * (T // 4)]."""
        found = self.project(self.normalise(x.transpose(1, 2)).transpose(1, 2))
        for factors, time in zip(self.over_factors, self.over_time, strict=True):
            found = time(factors(found).transpose(1, 2)).transpose(1, 2)
        flat: torch.Tensor = found.transpose(1, 2).flatten(1)
        return flat

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of what `features` gives."""
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window."""
        return self.read(self.features(x))
