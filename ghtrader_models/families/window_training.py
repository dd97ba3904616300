"""Trains any network of windows on Lightning: one loop for all deep families.

What belongs here: the loss, the optimiser and its schedule, early stopping, checkpoints and what makes a run
repeatable. What a network is, is said in `networks`; which windows there are, in `datasets`. A run that was killed goes
on from its last checkpoint and ends with the same numbers as one that was not: each epoch draws its order, and each
step its dropout, from the seed and its number. Checkpoints are safetensors, never pickle.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import nn
from torch.nn import functional

from ghtrader_base.errors import FailedError
from ghtrader_models.datasets.lightning_data import WindowDataModule
from ghtrader_models.families.checkpoints import CHECKPOINT, SafetensorsIO
from ghtrader_models.families.window_config import Loss, WindowConfig

_SCORE = "validation_logloss"
_FOCUS = 2.0
"""The focal loss's exponent (Lin et al. 2017)."""
_WARM_UP = 0.1
"""Part of the steps in which the learning rate rises."""


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """What training came to.

    Attributes
    ----------
    network : Module
        With the weights of its best epoch, in evaluation mode.
    epochs : int
        How many were run.
    validation : tuple of float
        Log-loss of the validation span after each of them, nats.
    """

    network: nn.Module
    epochs: int
    validation: tuple[float, ...]


def train_network(
    network: nn.Module,
    module: WindowDataModule,
    config: WindowConfig,
    *,
    seed: int,
    folder: Path,
    progress: bool = False,
) -> TrainedNetwork:
    """Train until the validation log-loss has not fallen for `config.patience` epochs.

    Parameters
    ----------
    network : Module
        float32[B, T, F] -> logits float32[B, 3].
    module : WindowDataModule
        Training and validation windows.
    config : WindowConfig
    seed : int
        Of each epoch's order and dropout.
    folder : Path
        Of the run's checkpoint; a run that was cut off goes on from the one it finds there.
    progress : bool
        Show a bar on stderr.

    Raises
    ------
    FailedError
        The loss is no number.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    before = torch.get_num_threads()
    torch.set_num_threads(config.nthread)
    try:
        best = _BestWeights()
        learner = _Learner(network, config, module.class_weights, seed)
        gpu = torch.cuda.is_available()
        trainer = lightning.Trainer(
            accelerator="gpu" if gpu else "cpu",
            devices=1,
            precision="16-mixed" if gpu else "32-true",
            max_epochs=config.max_epochs,
            gradient_clip_val=config.gradient_clip,
            callbacks=[EarlyStopping(_SCORE, patience=config.patience, check_finite=False), best, _Checkpoint(folder)],
            plugins=[SafetensorsIO()],
            deterministic=True,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        )
        found = folder / CHECKPOINT
        trainer.fit(learner, datamodule=module, ckpt_path=str(found) if found.exists() else None)
        network.load_state_dict(best.weights)
    finally:
        torch.set_num_threads(before)
    return TrainedNetwork(network=network.eval().cpu(), epochs=len(best.scores), validation=tuple(best.scores))


class _Learner(lightning.LightningModule):
    """Loss, optimiser and schedule."""

    def __init__(self, network: nn.Module, config: WindowConfig, class_weights: torch.Tensor, seed: int) -> None:
        super().__init__()
        self.network, self._config, self._seed = network, config, seed
        self.register_buffer("class_weights", class_weights, persistent=False)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        """The loss of a batch; a step draws the same whether or not those before it ran in this process."""
        torch.manual_seed((self._seed << 32) + self.global_step)
        logits, y = self.network(batch[0])[:, :3], batch[1]
        loss = self._loss(logits, y)
        if not torch.isfinite(loss):
            raise FailedError(
                f"the loss is {loss.item()} in epoch {self.current_epoch}",
                "lower learning_rate, or look for factors with absurd values: ghtrader factors",
            )
        return loss

    def _loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        kind = self._config.loss
        if kind == Loss.WEIGHTED:
            return functional.cross_entropy(logits, y, weight=self.class_weights)  # type: ignore[arg-type]
        each = functional.cross_entropy(logits, y, reduction="none")
        if kind == Loss.FOCAL:
            each = each * (1 - torch.exp(-each)) ** _FOCUS
        return each.mean()

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Log-loss in nats, whatever is trained on."""
        loss = functional.cross_entropy(self.network(batch[0])[:, :3], batch[1])
        self.log(_SCORE, loss, on_epoch=True, batch_size=len(batch[1]), prog_bar=True)

    def on_train_batch_end(self, *_: Any) -> None:
        """Networks with constrained weights restore them."""
        constrain = getattr(self.network, "constrain", None)
        if constrain is not None:
            constrain()

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises, then falls along a cosine to nothing."""
        config = self._config
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        rise = max(1, int(_WARM_UP * steps))

        def share(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _BestWeights(Callback):
    """Keeps the weights of the best epoch, in checkpoints too."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}
        self.scores: list[float] = []

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare."""
        score = float(trainer.callback_metrics[_SCORE])
        if not math.isfinite(score):
            raise FailedError(f"the validation log-loss is {score}", "lower learning_rate")
        if not self.scores or score < min(self.scores):
            assert isinstance(pl_module.network, nn.Module)
            self.weights = {name: value.detach().clone() for name, value in pl_module.network.state_dict().items()}
        self.scores.append(score)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"weights": self.weights, "scores": self.scores}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.weights, self.scores = dict(state_dict["weights"]), list(state_dict["scores"])


class _Checkpoint(Callback):
    """Writes the checkpoint after each epoch; the last callback, so that it holds what the others have seen."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CHECKPOINT

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Replace the one before."""
        trainer.save_checkpoint(self._path)
