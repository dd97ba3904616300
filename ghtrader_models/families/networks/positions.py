"""Says where in a window a row lies, by sines (Vaswani et al. 2017, section 3.5)."""

from __future__ import annotations

import torch


def sinusoidal_positions(length: int, width: int) -> torch.Tensor:
    """float32[length, width], `width` even: sines in even columns, cosines in odd ones."""
    at = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    rate = torch.pow(10_000.0, -torch.arange(0, width, 2, dtype=torch.float32) / width)
    return torch.stack([torch.sin(at * rate), torch.cos(at * rate)], dim=2).reshape(length, width)
