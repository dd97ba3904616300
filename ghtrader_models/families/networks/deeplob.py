"""Defines DeepLOB: convolutions over price levels, an inception module and an LSTM.

Z. Zhang, S. Zohren, S. Roberts, "DeepLOB: Deep Convolutional Neural Networks for Limit Order Books", IEEE Transactions
on Signal Processing 67(11), 2019. 143,907 parameters on 100 x 40, as the authors' torch code has them. Deviation: the
third convolution spans whatever width is left of F after the two halvings (10 of 40), so that other widths fit.
"""

from __future__ import annotations

import torch
from torch import nn

_CHANNELS, _BRANCH, _HIDDEN = 32, 64, 64


def _block(inputs: int, width: int, stride: int, activation: type[nn.Module]) -> nn.Sequential:
    """One convolution over columns and two over time, float32[B, C, T, W] -> float32[B, 32, T - 6, W']."""
    layers: list[nn.Module] = []
    for channels, kernel, step in ((inputs, (1, width), (1, stride)), (_CHANNELS, (4, 1), 1), (_CHANNELS, (4, 1), 1)):
        layers += [nn.Conv2d(channels, _CHANNELS, kernel, step), activation(), nn.BatchNorm2d(_CHANNELS)]
    return nn.Sequential(*layers)


def _branch(kernel: int) -> list[nn.Module]:
    return [
        nn.Conv2d(_CHANNELS if kernel == 1 else _BRANCH, _BRANCH, (kernel, 1), padding="same"),
        nn.LeakyReLU(0.01),
        nn.BatchNorm2d(_BRANCH),
    ]


class DeepLOB(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    length : int
        T, 19 at least: the unpadded convolutions take 18 rows away.
    factors : int
        F, 4 at least; of a book price and volume of ask and bid, level by level.
    outputs : int
        Logits.
    """

    def __init__(self, length: int, factors: int, outputs: int = 3) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _block(1, 2, 2, nn.LeakyReLU),
            _block(_CHANNELS, 2, 2, nn.Tanh),
            _block(_CHANNELS, factors // 2 // 2, 1, nn.LeakyReLU),
        )
        self.short = nn.Sequential(*_branch(1), *_branch(3))
        self.long = nn.Sequential(*_branch(1), *_branch(5))
        self.pooled = nn.Sequential(nn.MaxPool2d((3, 1), stride=1, padding=(1, 0)), *_branch(1))
        self.lstm = nn.LSTM(3 * _BRANCH, _HIDDEN, batch_first=True)
        self.head = nn.Linear(_HIDDEN, outputs)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head reads of each window: float32[B, 64]."""
        seen = self.convolutions(x.unsqueeze(1))
        seen = torch.cat([self.short(seen), self.long(seen), self.pooled(seen)], dim=1)
        found, _ = self.lstm(seen.squeeze(3).transpose(1, 2))
        last: torch.Tensor = found[:, -1]
        return last

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of what `features` gives."""
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window."""
        return self.read(self.features(x))
