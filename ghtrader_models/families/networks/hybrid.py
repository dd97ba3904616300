"""Defines a hybrid: convolutions over the columns of a row and the rows before it, then a sequence model.

Ours; the idea is DeepLOB's (Zhang et al. 2019), whose LSTM gives way to a TCN, Transformer or SSM. The convolutions are
padded before the first row alone, so that a row knows nothing of what follows and the length stays. Its parameters are
those of its parts.
"""

from __future__ import annotations

import torch
from torch import nn

from ghtrader_models.families.networks.ssm import SSMBody
from ghtrader_models.families.networks.tcn import CausalConvolution


class ConvolutionalEncoder(nn.Module):
    """float32[B, T, F] -> float32[B, T, width]: two causal convolutions, each over four rows."""

    def __init__(self, factors: int, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(factors, width, 1),
            nn.GELU(),
            CausalConvolution(width, width, 4, 1),
            nn.GELU(),
            nn.Dropout(dropout),
            CausalConvolution(width, width, 4, 1),
            nn.GELU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each row with the six before it."""
        found: torch.Tensor = self.layers(x.transpose(1, 2)).transpose(1, 2)
        return found


class Hybrid(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    factors, outputs : int
        F and logits.
    width : int
        Of a row between the parts.
    body : Module
        float32[B, T, width] -> float32[B, T, width]: `TCNBody`, `TransformerBody` or `SSMBody`.
    dropout : float
    """

    def __init__(self, factors: int, outputs: int = 3, *, width: int, body: nn.Module, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = ConvolutionalEncoder(factors, width, dropout)
        self.body = body
        self.head = nn.Linear(width, outputs)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head reads of each window: float32[B, width]."""
        rows: torch.Tensor = self.body(self.encoder(x))
        return rows[:, -1]

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of what `features` gives."""
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window, read at its last row."""
        return self.read(self.features(x))

    def freeze(self, length: int) -> None:
        """Make a state-space body a plain convolution over windows of a length, for export."""
        if isinstance(self.body, SSMBody):
            self.body.freeze(length)
