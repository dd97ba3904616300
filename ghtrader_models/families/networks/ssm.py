"""Defines a stack of diagonal state-space layers: S4D, linear in the length of the sequence.

A. Gu, A. Gupta, K. Goel, C. Re, "On the Parameterization and Initialization of Diagonal State Space Models", NeurIPS
2022. 201,482 parameters in four layers of 128 with 64 states, three inputs and ten outputs, as the authors' example.py
(github.com/state-spaces/s4) builds it. Deviations: the last row is read, not the mean over rows, and layers normalise
first, so that a stream can be stepped. Trained as a convolution by FFT; `freeze` keeps the kernels as a plain
convolution for export, because onnxruntime is slow at Fourier transforms.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

_SLOWEST, _FASTEST = 0.001, 0.1
"""Steps that the states are drawn from."""


class S4DLayer(nn.Module):
    """float32[B, H, T] -> float32[B, H, T].

    Parameters
    ----------
    width : int
        H.
    states : int
        Real states of each channel, even: half as many complex ones.
    dropout : float
    """

    kernel_now: torch.Tensor | None

    def __init__(self, width: int, states: int, dropout: float) -> None:
        super().__init__()
        half = states // 2
        span = math.log(_FASTEST) - math.log(_SLOWEST)
        self.log_step = nn.Parameter(torch.rand(width) * span + math.log(_SLOWEST))
        self.output = nn.Parameter(torch.view_as_real(torch.randn(width, half, dtype=torch.cfloat)))
        self.log_decay = nn.Parameter(torch.log(torch.full((width, half), 0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(half, dtype=torch.float32).repeat(width, 1))
        self.through = nn.Parameter(torch.randn(width))
        self.mix = nn.Sequential(
            nn.GELU(), nn.Dropout(dropout), nn.Conv1d(width, 2 * width, 1), nn.GLU(dim=1), nn.Dropout(dropout)
        )
        self.register_buffer("kernel_now", None, persistent=False)

    def kernel(self, length: int) -> torch.Tensor:
        """float32[H, length]: what an impulse does to the rows after it."""
        decay, turn = -torch.exp(self.log_decay), self.frequency
        step = torch.exp(self.log_step).unsqueeze(1)
        pole = torch.complex(decay, turn)
        gain = torch.view_as_complex(self.output) * (torch.exp(pole * step) - 1.0) / pole
        powers = torch.exp((pole * step).unsqueeze(2) * torch.arange(length, device=step.device))
        return 2 * torch.einsum("hn,hnl->hl", gain, powers).real

    @torch.no_grad()
    def freeze(self, length: int) -> None:
        """Keep the kernel of windows of a length: from here on `forward` is a plain convolution."""
        self.kernel_now = self.kernel(length).flip(1).unsqueeze(1).contiguous()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each row with what came before it."""
        if self.kernel_now is not None:
            padded = functional.pad(x, (self.kernel_now.shape[2] - 1, 0))
            found = functional.conv1d(padded, self.kernel_now, groups=x.shape[1])
        else:
            length = x.shape[2]
            spectrum = torch.fft.rfft(x, n=2 * length) * torch.fft.rfft(self.kernel(length), n=2 * length)
            found = torch.fft.irfft(spectrum, n=2 * length)[..., :length]
        mixed: torch.Tensor = self.mix(found + x * self.through.unsqueeze(1))
        return mixed


class SSMBody(nn.Module):
    """float32[B, T, H] -> float32[B, T, H]: residual layers, each normalised first."""

    def __init__(self, width: int, *, states: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(S4DLayer(width, states, dropout) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Each row with what came before it."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + layer(norm(x).transpose(1, 2)).transpose(1, 2)
        return x

    def freeze(self, length: int) -> None:
        """Make every layer a plain convolution over windows of a length."""
        for layer in self.layers:
            assert isinstance(layer, S4DLayer)
            layer.freeze(length)


class SSM(nn.Module):
    """float32[B, T, F] -> float32[B, outputs].

    Parameters
    ----------
    factors, outputs : int
        F and logits; T is free until `freeze`.
    width, states, layers : int
        H, real states of a channel, layers.
    dropout : float
    """

    def __init__(
        self, factors: int, outputs: int = 3, *, width: int, states: int, layers: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.project = nn.Linear(factors, width)
        self.body = SSMBody(width, states=states, layers=layers, dropout=dropout)
        self.head = nn.Linear(width, outputs)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """float32[B, T, width]: each row with what came before it."""
        rows: torch.Tensor = self.body(self.project(x))
        return rows

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

    def freeze(self, length: int) -> None:
        """Make every layer a plain convolution over windows of a length, for export."""
        self.body.freeze(length)
