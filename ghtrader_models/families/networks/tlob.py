"""Defines TLOB: attention over time and attention over factors in turn.

L. Berti, G. Kasneci, "TLOB: A Novel Transformer Model with Dual Attention for Price Trend Prediction with Limit Order
Book Data", arXiv:2502.15757. 1,135,974 parameters on 128 x 40 with hidden 40, four layers and one head, in the
authors' code (github.com/LeonardoBerti00/TLOB, aedcf83); here three less, because theirs embeds LOBSTER's order types.
"""

from __future__ import annotations

import torch
from torch import nn

from ghtrader_models.families.networks.mlplob import MixingPerceptron, narrowing_head
from ghtrader_models.families.networks.normalisation import BilinearNormalisation
from ghtrader_models.families.networks.positions import sinusoidal_positions


class AttentionLayer(nn.Module):
    """float32[B, n, d] -> float32[B, n, out]: self-attention, projected once before torch's own, then a perceptron."""

    def __init__(self, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        inner = width * heads
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.attention = nn.MultiheadAttention(inner, heads, batch_first=True)
        self.mix = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width)
        self.perceptron = MixingPerceptron(width, 4 * width, outputs)
        self.residual = width == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows that know of each other."""
        found, _ = self.attention(self.query(x), self.key(x), self.value(x), need_weights=False)
        result: torch.Tensor = self.perceptron(self.norm(self.mix(found) + x))
        return result + x if self.residual else result


class TLOB(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    length, factors, outputs : int
        T, F and logits; T at least 4.
    hidden : int
        Width of a row inside, even, at least 4.
    layers : int
        Pairs of attention layers.
    heads : int
    """

    positions: torch.Tensor

    def __init__(
        self, length: int, factors: int, outputs: int = 3, *, hidden: int, layers: int, heads: int = 1
    ) -> None:
        super().__init__()
        self.normalise = BilinearNormalisation(factors, length)
        self.project = nn.Linear(factors, hidden)
        self.register_buffer("positions", sinusoidal_positions(length, hidden), persistent=False)
        sizes = [(hidden, length)] * (layers - 1) + [(hidden // 4, length // 4)]
        self.over_time = nn.ModuleList(AttentionLayer(hidden, heads, a) for a, _ in sizes)
        self.over_factors = nn.ModuleList(AttentionLayer(length, heads, b) for _, b in sizes)
        self.head = narrowing_head((hidden // 4) * (length // 4), outputs)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head reads of each window: float32[B, (hidden // 4) * (T // 4)]."""
        found = self.project(self.normalise(x.transpose(1, 2)).transpose(1, 2)) + self.positions
        for time, factors in zip(self.over_time, self.over_factors, strict=True):
            found = factors(time(found).transpose(1, 2)).transpose(1, 2)
        flat: torch.Tensor = found.flatten(1)
        return flat

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of what `features` gives."""
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window."""
        return self.read(self.features(x))
