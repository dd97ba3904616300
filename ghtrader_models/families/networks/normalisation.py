"""Normalises a window along time and along factors at once, with learned weights: BiN.

D. T. Tran, J. Kanniainen, M. Gabbouj, A. Iosifidis, "Data Normalization for Bilinear Structures in High-Frequency
Financial Time-Series", ICPR 2020. Everything it uses lies inside the window. Deviations: what has next to no spread is
centred alone along both axes (the paper's code guards one), and the two weights are held at 0.01 or above.
"""

from __future__ import annotations

import torch
from torch import nn

_LEAST_STD, _LEAST_WEIGHT = 1e-2, 0.01
"""The first of a training deviation: dividing by less makes the last digits of single precision large, and an exported
graph, which adds in another order, say something else."""


class BilinearNormalisation(nn.Module):
    """BiN over float32[B, F, T].

    Parameters
    ----------
    factors, length : int
        F and T.
    """

    def __init__(self, factors: int, length: int) -> None:
        super().__init__()
        self.scale_time = nn.Parameter(torch.empty(length, 1))
        self.shift_time = nn.Parameter(torch.zeros(length, 1))
        self.scale_factor = nn.Parameter(torch.empty(factors, 1))
        self.shift_factor = nn.Parameter(torch.zeros(factors, 1))
        self.weight_time = nn.Parameter(torch.full((1,), 0.5))
        self.weight_factor = nn.Parameter(torch.full((1,), 0.5))
        nn.init.xavier_normal_(self.scale_time)
        nn.init.xavier_normal_(self.scale_factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32[B, F, T] -> the same shape."""
        over_time = _standard(x, 2) * self.scale_factor + self.shift_factor
        over_factors = _standard(x, 1) * self.scale_time.T + self.shift_time.T
        weights = (self.weight_time.clamp_min(_LEAST_WEIGHT), self.weight_factor.clamp_min(_LEAST_WEIGHT))
        return weights[0] * over_factors + weights[1] * over_time


def _standard(x: torch.Tensor, axis: int) -> torch.Tensor:
    centred = x - x.mean(dim=axis, keepdim=True)
    std = torch.sqrt((centred * centred).sum(dim=axis, keepdim=True) / (x.shape[axis] - 1))
    return centred / torch.where(std < _LEAST_STD, torch.ones_like(std), std)
