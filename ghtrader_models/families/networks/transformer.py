"""Defines a Transformer encoder over the rows of a window.

A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, with torch's own encoder layer: 18,914,304 parameters in
six layers of d_model 512, eight heads and 2,048 units, the paper's base encoder. Deviations: rows are projected instead
of embedded, layers normalise before attention, and the last row's output is read.
"""

from __future__ import annotations

import torch
from torch import nn

from ghtrader_models.families.networks.positions import sinusoidal_positions


class TransformerBody(nn.Module):
    """float32[B, T, D] -> float32[B, T, D], of rows that are projected already.

    Parameters
    ----------
    length, width : int
        T and D, D even.
    heads, layers, hidden : int
        Attention heads, encoder layers, units of the feed-forward part.
    dropout : float
    """

    positions: torch.Tensor

    def __init__(self, length: int, width: int, *, heads: int, layers: int, hidden: int, dropout: float) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, heads, hidden, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.register_buffer("positions", sinusoidal_positions(length, width), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows that know of each other."""
        found: torch.Tensor = self.encoder(x + self.positions)
        return found


class Transformer(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    length, factors, outputs : int
        T, F and logits.
    width, heads, layers, hidden, dropout
        As `TransformerBody`.
    """

    def __init__(
        self,
        length: int,
        factors: int,
        outputs: int = 3,
        *,
        width: int,
        heads: int,
        layers: int,
        hidden: int,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.project = nn.Linear(factors, width)
        self.body = TransformerBody(length, width, heads=heads, layers=layers, hidden=hidden, dropout=dropout)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head reads of each window: float32[B, width]."""
        rows: torch.Tensor = self.body(self.project(x))
        return rows[:, -1]

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of what `features` gives."""
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window."""
        return self.read(self.features(x))
