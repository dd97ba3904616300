"""Defines a stack of selective state-space blocks, linear in the length of the sequence: Mamba.

A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752. A block of width
768 with its norm has 3,771,648 parameters, a 24th of what mamba-130m (github.com/state-spaces/mamba; 129,135,360)
has besides its embedding of 50,280 words and its last norm. Deviations: a LayerNorm without bias in place of RMSNorm,
and the recurrence is worked out in log2(T) steps over all rows at once (Hillis, Steele 1986), which trains and
exports without a loop over rows.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

_EXPAND, _TAPS = 2, 4
_SHORTEST, _LONGEST = 0.001, 0.1
"""Steps that the blocks start from."""


def scanned(decay: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """h[t] = decay[t] h[t - 1] + added[t] with h[-1] = 0, over axis 1 of float32[B, T, ...]; decay lies in (0, 1]."""
    length, distance = added.shape[1], 1
    rest = (0, 0) * (added.dim() - 2)
    while distance < length:
        before = functional.pad(added, (*rest, distance, 0))[:, :length]
        added = added + decay * before
        decay = decay * functional.pad(decay, (*rest, distance, 0), value=1.0)[:, :length]
        distance *= 2
    return added


class MambaBlock(nn.Module):
    """float32[B, T, H] -> float32[B, T, H]: a short convolution, a selective state space, and a gate.

    Parameters
    ----------
    width : int
        H.
    states : int
        States of each of the 2 H inner channels.
    """

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        inner, rank = _EXPAND * width, math.ceil(width / 16)
        self._sizes = (rank, states, states)
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.convolution = nn.Conv1d(inner, inner, _TAPS, groups=inner)
        self.select = nn.Linear(inner, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, inner)
        self.log_decay = nn.Parameter(torch.log(torch.arange(1, states + 1, dtype=torch.float32)).repeat(inner, 1))
        self.through = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, width, bias=False)
        with torch.no_grad():
            span = math.log(_LONGEST) - math.log(_SHORTEST)
            start = torch.exp(torch.rand(inner) * span + math.log(_SHORTEST))
            self.step.weight.uniform_(-(rank**-0.5), rank**-0.5)
            self.step.bias.copy_(start + torch.log(-torch.expm1(-start)))  # softplus gives it back

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each row with what came before it."""
        x, gate = self.enter(x).chunk(2, dim=2)
        x = self.convolution(functional.pad(x.transpose(1, 2), (_TAPS - 1, 0))).transpose(1, 2)
        x = functional.silu(x)
        short, read_in, read_out = self.select(x).split(self._sizes, dim=2)
        step = functional.softplus(self.step(short)).unsqueeze(3)
        decay = torch.exp(-step * torch.exp(self.log_decay))
        state = scanned(decay, step * read_in.unsqueeze(2) * x.unsqueeze(3))
        found = (state * read_out.unsqueeze(2)).sum(dim=3) + self.through * x
        result: torch.Tensor = self.leave(found * functional.silu(gate))
        return result


class Mamba(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    factors, outputs : int
        F and logits; T is free.
    width, states, layers : int
        H, states of a channel, blocks.
    dropout : float
    """

    def __init__(
        self, factors: int, outputs: int = 3, *, width: int, states: int, layers: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.project = nn.Linear(factors, width)
        self.blocks = nn.ModuleList(MambaBlock(width, states) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float32[B, T, width]: each row with what came before it."""
        x = self.project(x)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = x + self.dropout(block(norm(x)))
        return x

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head reads of each window: float32[B, width]."""
        return self.encode(x)[:, -1]

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of what `features` gives."""
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each window, read at its last row."""
        return self.read(self.features(x))
