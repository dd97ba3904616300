"""Defines BiN-CTABL: bilinear layers and attention over time, after a bilinear normalisation.

D. T. Tran, A. Iosifidis, J. Kanniainen, M. Gabbouj, "Temporal Attention-Augmented Bilinear Network for Financial
Time-Series Data Analysis", IEEE TNNLS 30(5), 2019 (C(TABL)), and Tran et al., ICPR 2020 (BiN). 11,446 parameters on
10 x 40 with 60 and 120 units, as github.com/matteoprata/LOBCAST (binctabl.py, tabl_layer.py) builds it. Deviation: the
weights' largest norm is restored after each step of the optimiser (`constrain`), not inside `forward`.
"""

from __future__ import annotations

import torch
from torch import nn

from ghtrader_models.families.networks.normalisation import BilinearNormalisation

_LARGEST_NORM = 10.0


def _weight(rows: int, columns: int) -> nn.Parameter:
    made = nn.Parameter(torch.empty(rows, columns))
    nn.init.kaiming_uniform_(made, nonlinearity="relu")
    return made


class BilinearLayer(nn.Module):
    """float32[B, F, T] -> float32[B, F', T']: one matrix over factors, one over time."""

    def __init__(self, factors: int, length: int, new_factors: int, new_length: int) -> None:
        super().__init__()
        self.over_factors, self.over_time = _weight(new_factors, factors), _weight(length, new_length)
        self.bias = nn.Parameter(torch.zeros(new_factors, new_length))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The window in other dimensions."""
        return torch.relu(self.over_factors @ x @ self.over_time + self.bias)


class TemporalAttentionLayer(nn.Module):
    """float32[B, F, T] -> float32[B, F', T']: a bilinear layer that weighs the moments of each factor first."""

    def __init__(self, factors: int, length: int, new_factors: int, new_length: int) -> None:
        super().__init__()
        self.over_factors, self.over_time = _weight(new_factors, factors), _weight(length, new_length)
        self.attention = nn.Parameter(torch.full((length, length), 1 / length))
        self.bias = nn.Parameter(torch.zeros(new_factors, new_length))
        self.share = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The window in other dimensions."""
        x = self.over_factors @ x
        length = self.attention.shape[0]
        itself = torch.eye(length, dtype=x.dtype, device=x.device)
        weights = torch.softmax(x @ (self.attention * (1 - itself) + itself / length), dim=-1)
        share = self.share.clamp(0.0, 1.0)
        return (share * x + (1 - share) * x * weights) @ self.over_time + self.bias


class BinCTABL(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    length, factors, outputs : int
        T, F and logits.
    first, second : int
        Factors after the first and the second bilinear layer.
    middle, last : int
        Moments after them.
    dropout : float
    """

    def __init__(
        self,
        length: int,
        factors: int,
        outputs: int = 3,
        *,
        first: int = 60,
        second: int = 120,
        middle: int = 10,
        last: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.normalise = BilinearNormalisation(factors, length)
        self.layers = nn.Sequential(
            BilinearLayer(factors, length, first, middle),
            nn.Dropout(dropout),
            BilinearLayer(first, middle, second, last),
            nn.Dropout(dropout),
        )
        self.attention = TemporalAttentionLayer(second, last, outputs, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head, a layer with attention, reads of each window: float32[B, second, last]."""
        found: torch.Tensor = self.layers(self.normalise(x.transpose(1, 2)))
        return found

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of what `features` gives."""
        logits: torch.Tensor = self.attention(features).squeeze(2)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window."""
        return self.read(self.features(x))

    @torch.no_grad()
    def constrain(self) -> None:
        """Hold each matrix at a Frobenius norm of 10 at the most; called after each step of the optimiser."""
        for name, weight in self.named_parameters():
            if name.endswith(("over_factors", "over_time", "attention.attention")):
                weight.mul_(_LARGEST_NORM / weight.norm().clamp_min(_LARGEST_NORM))
