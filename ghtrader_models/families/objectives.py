"""Says what a network is trained towards, and by what number its epochs are compared.

What belongs here: losses, as functions of a network's outputs and a batch. How a network is trained is
`window_training`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

from ghtrader_models.families.networks.heads import CLASSES
from ghtrader_models.families.window_config import Loss
from ghtrader_models.labels.labels import NO_LABEL

_FOCUS = 2.0
"""The focal loss's exponent (Lin et al. 2017)."""


class Objective(Protocol):
    """What a network is trained towards.

    Attributes
    ----------
    loss_words, score_words : str
        How lines of progress call the two numbers, and the unit of the second.
    """

    @property
    def loss_words(self) -> str: ...

    @property
    def score_words(self) -> tuple[str, str]: ...

    def losses(
        self, outputs: torch.Tensor, x: torch.Tensor, y: torch.Tensor, class_weights: torch.Tensor
    ) -> torch.Tensor:
        """float32[B]: what training makes small, of each window."""
        ...

    def score(self, outputs: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """float32[]: the mean by which epochs are compared; smaller is better."""
        ...


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Classes of windows, and those of further horizons beside them where labels have further columns.

    Attributes
    ----------
    loss : str
        `Loss`.
    auxiliary_weight : float
        What the mean loss of the further horizons counts.
    """

    loss: str
    auxiliary_weight: float

    @property
    def loss_words(self) -> str:
        """The loss's name."""
        return f"{self.loss} loss"

    @property
    def score_words(self) -> tuple[str, str]:
        """Log-loss in nats, whatever is trained on."""
        return "validation log-loss", " nats"

    def losses(
        self, outputs: torch.Tensor, x: torch.Tensor, y: torch.Tensor, class_weights: torch.Tensor
    ) -> torch.Tensor:
        """Of logits float32[B, 3 or more] and classes int64[B] or int64[B, 1 + horizons], -1 where there is none."""
        own = self._losses(outputs[:, :CLASSES], y if y.ndim == 1 else y[:, 0], class_weights)
        if y.ndim == 1:
            return own
        further = y[:, 1:]
        logits = outputs[:, CLASSES:].reshape(-1, CLASSES)
        each = functional.cross_entropy(logits, further.reshape(-1), ignore_index=NO_LABEL, reduction="none")
        return own + self.auxiliary_weight * each.reshape(further.shape).mean(dim=1)

    def score(self, outputs: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Log-loss of the model's own horizon."""
        return functional.cross_entropy(outputs[:, :CLASSES], y)

    def _losses(self, logits: torch.Tensor, y: torch.Tensor, class_weights: torch.Tensor) -> torch.Tensor:
        each = functional.cross_entropy(logits, y, reduction="none")
        if self.loss == Loss.WEIGHTED:
            each = each * class_weights[y]
        if self.loss == Loss.FOCAL:
            each = each * (1 - torch.exp(-each)) ** _FOCUS
        return each
