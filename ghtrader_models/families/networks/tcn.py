"""Defines a temporal convolutional network: dilated causal convolutions in residual blocks.

S. Bai, J. Z. Kolter, V. Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
Modeling", arXiv:1803.01271. On sequential MNIST (one input, eight levels of 25 channels, kernel 7, ten outputs) it has
66,910 parameters, as the authors' code (github.com/locuslab/TCN) builds it; the paper says 70K. A row sees as many rows
as `inference.streaming.tcn.receptive_field` says and nothing after itself: where that is at most the window, stepping
row by row gives the same.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class CausalConvolution(nn.Module):
    """float32[B, C, T] -> float32[B, C', T]: a convolution that is padded before the first row alone."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.padding = (kernel - 1) * dilation
        plain = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        nn.init.normal_(plain.weight, 0.0, 0.01)
        self.convolution = weight_norm(plain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same number of rows."""
        found: torch.Tensor = self.convolution(functional.pad(x, (self.padding, 0)))
        return found


class ResidualBlock(nn.Module):
    """Two causal convolutions, and a way around them."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            CausalConvolution(inputs, outputs, kernel, dilation),
            nn.ReLU(),
            nn.Dropout(dropout),
            CausalConvolution(outputs, outputs, kernel, dilation),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.around: nn.Module = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32[B, C, T] -> float32[B, C', T]."""
        return torch.relu(self.inner(x) + self.around(x))


class TCNBody(nn.Module):
    """float32[B, T, F] -> float32[B, T, channels]; dilation doubles from level to level."""

    def __init__(self, factors: int, *, channels: int, levels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(channels if level else factors, channels, kernel, 2**level, dropout)
                for level in range(levels)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each row with what came before it."""
        found: torch.Tensor = self.blocks(x.transpose(1, 2)).transpose(1, 2)
        return found


class TCN(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    factors, outputs : int
        F and logits; T is free.
    channels, levels, kernel : int
        Width, residual blocks, taps of each convolution.
    dropout : float
    """

    def __init__(
        self, factors: int, outputs: int = 3, *, channels: int, levels: int, kernel: int, dropout: float = 0.05
    ) -> None:
        super().__init__()
        self.body = TCNBody(factors, channels=channels, levels=levels, kernel=kernel, dropout=dropout)
        self.head = nn.Linear(channels, outputs)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float32[B, T, channels]: each row with what came before it."""
        rows: torch.Tensor = self.body(x)
        return rows

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head reads of each window: float32[B, channels]."""
        return self.encode(x)[:, -1]

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of what `features` gives."""
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window, read at its last row."""
        return self.read(self.features(x))
