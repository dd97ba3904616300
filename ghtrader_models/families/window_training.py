"""Trains any network of windows on Lightning: one loop for all deep families.

What belongs here: the loss, the optimiser and its schedule, early stopping, checkpoints and what makes a run
repeatable. What a network is, is said in `networks`; which windows there are, in `datasets`. A run that was killed goes
on from its last checkpoint and ends with the same numbers as one that was not: each epoch draws its order, and each
step its dropout, from the seed and its number. Checkpoints are safetensors, never pickle.

Several processes share each batch: rank r of N takes every N-th window of it, and gradients are averaged by how many
each had, so that they take the steps that one process would. What differs is the order of sums, and dropout, which each
rank draws for itself; a last batch of fewer than N windows is left out. A layer that normalises over its batch sees its
own rank's part. They find each other by a file and talk over loopback alone.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, Sampler

from ghtrader_base.errors import FailedError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.progress_line import CountedLine
from ghtrader_models.datasets.lightning_data import EpochShuffle, WindowDataset, WindowSides, as_it_is
from ghtrader_models.families.checkpoints import CHECKPOINT, SafetensorsIO
from ghtrader_models.families.objectives import Classification, Objective
from ghtrader_models.families.training_session import Tell, TrainingSession
from ghtrader_models.families.window_config import WindowConfig

_SCORE = "validation_score"
_WARM_UP = 0.1
"""Part of the steps in which the learning rate rises."""
_SAID_EVERY_S = 0.5
_RANKS_WAIT = timedelta(minutes=30)
"""How long a rank waits for the others; the first validation of a slow machine is not the end of them."""


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
        Score of the validation span after each of them: log-loss in nats, unless the objective is another.
    """

    network: nn.Module
    epochs: int
    validation: tuple[float, ...]


def train_network(
    network: nn.Module,
    module: WindowSides,
    config: WindowConfig,
    *,
    seed: int,
    folder: Path,
    session: TrainingSession | None = None,
    name: str = "network",
    objective: Objective | None = None,
) -> TrainedNetwork:
    """Train until the validation score has not fallen for `config.patience` epochs.

    Parameters
    ----------
    network : Module
        float32[B, T, F] -> what the objective takes: logits float32[B, 3], unless it is another.
    module : WindowSides
        Training and validation windows.
    config : WindowConfig
    seed : int
        Of each epoch's order and dropout.
    folder : Path
        Of the run's checkpoint; a run that was cut off goes on from the one it finds there.
    session : TrainingSession, optional
        How many processes train, this being one of them, and who is told.
    name : str
        What is trained, for who is told.
    objective : Objective, optional
        What it is trained towards; the classes of the windows where absent.

    Raises
    ------
    FailedError
        The loss is no number.
    KeyboardInterrupt
        A Ctrl-C; the checkpoint of the last epoch stays.
    """
    session = session or TrainingSession()
    objective = objective or Classification(loss=config.loss, auxiliary_weight=config.auxiliary_weight)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    before = torch.get_num_threads()
    torch.set_num_threads(config.nthread)
    try:
        best = _BestWeights()
        found = folder / CHECKPOINT
        if found.exists() and _is_complete(found, best, config):
            network.load_state_dict(best.weights)
            return _trained(network, best)
        if best.scores and not (session.store is not None and int(os.environ.get("LOCAL_RANK", "0"))):
            session.tell(f"{name} goes on after epoch {len(best.scores)} of {config.max_epochs}, from {found}")
        learner = _Learner(network, config, module, seed, objective)
        gpu = torch.cuda.is_available()
        stop = EarlyStopping(_SCORE, patience=config.patience, check_finite=False)
        told = _Told(session.tell, name, config, best, objective)
        trainer = lightning.Trainer(
            accelerator="gpu" if gpu else "cpu",
            devices=session.devices,
            strategy="auto" if session.store is None else _LoopbackDDP(session.store, gpu),
            precision="16-mixed" if gpu else "32-true",
            max_epochs=config.max_epochs,
            gradient_clip_val=config.gradient_clip,
            callbacks=[stop, best, told, _Checkpoint(folder)],
            plugins=[SafetensorsIO()],
            deterministic=True,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        )
        with _interruptible():
            trainer.fit(learner, datamodule=_RankWindows(module), ckpt_path=str(found) if found.exists() else None)
        network.load_state_dict(best.weights)
    finally:
        torch.set_num_threads(before)
    return _trained(network, best)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """A Ctrl-C leaves as one: Lightning makes an exit of it, and has this process ignore any later one."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as exc:
        if main:
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from exc


def _trained(network: nn.Module, best: _BestWeights) -> TrainedNetwork:
    return TrainedNetwork(network=network.eval().cpu(), epochs=len(best.scores), validation=tuple(best.scores))


def _is_complete(checkpoint: Path, best: _BestWeights, config: WindowConfig) -> bool:
    """Read the best weights and scores of a checkpoint; whether its run has had its last epoch."""
    state = SafetensorsIO().load_checkpoint(checkpoint)["callbacks"]
    best.load_state_dict(next(kept for name, kept in state.items() if name.startswith(_BestWeights.__name__)))
    since_best = len(best.scores) - 1 - best.scores.index(min(best.scores))
    return len(best.scores) >= config.max_epochs or since_best >= config.patience


class _LoopbackDDP(DDPStrategy):
    """DDP whose processes find each other by a file, where Lightning's own opens a port to every interface."""

    def __init__(self, store: Path, gpu: bool) -> None:
        super().__init__(process_group_backend="nccl" if gpu else "gloo")
        self._file = store

    def setup_distributed(self) -> None:
        """Join the others, then as usual."""
        self.set_world_ranks()
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group(
                self._get_process_group_backend(),
                store=torch.distributed.FileStore(str(self._file), self.world_size),  # type: ignore[attr-defined]
                rank=self.global_rank,
                world_size=self.world_size,
                timeout=_RANKS_WAIT,
            )
        super().setup_distributed()


class _RankBatches(Sampler[list[int]]):
    """This rank's part of each batch; `sampler` is what Lightning tells which epoch begins.

    Parameters
    ----------
    sampler : EpochShuffle
        The order of all windows, alike on all ranks.
    size : int
        Windows of a whole batch.
    rank, world : int
    """

    def __init__(self, sampler: EpochShuffle, size: int, rank: int, world: int) -> None:
        self.sampler, self._size, self._rank, self._world = sampler, size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        for low in range(0, len(order), self._size):
            batch = order[low : low + self._size]
            if len(batch) >= self._world:
                yield batch[self._rank :: self._world]

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self._size)
        return whole + (rest >= self._world)


class _RankWindows(lightning.LightningDataModule):
    """The windows of this rank, in a module of them all."""

    def __init__(self, module: WindowSides) -> None:
        super().__init__()
        self._module = module

    def train_dataloader(self) -> DataLoader[Any]:
        """This rank's part of each batch, in the epoch's order."""
        trainer, module = self.trainer, self._module
        assert trainer is not None
        order = EpochShuffle(module.train, module.seed)
        batches = _RankBatches(order, module.batch_size, trainer.global_rank, trainer.world_size)
        return self._loader(module.train, batches)

    def val_dataloader(self) -> DataLoader[Any]:
        """Every so many-th validation window; the sums of all ranks make the score."""
        trainer, module = self.trainer, self._module
        assert trainer is not None
        own = list(range(trainer.global_rank, len(module.validation), trainer.world_size))
        size = module.batch_size
        return self._loader(module.validation, [own[low : low + size] for low in range(0, len(own), size)])

    def _loader(self, windows: Any, batches: Any) -> DataLoader[Any]:
        return DataLoader(
            WindowDataset(windows),
            batch_sampler=batches,
            collate_fn=as_it_is,  # type: ignore[arg-type]  # a batch comes whole from __getitems__
            num_workers=self._module.workers,
            persistent_workers=self._module.workers > 0,
        )


def _rank_mean(each: torch.Tensor, whole: int, world: int) -> torch.Tensor:
    """So that its mean over `world` ranks is the mean over the `whole` batch, however many of it each has."""
    return each.mean() * (len(each) * world / whole)


class _Learner(lightning.LightningModule):
    """Loss, optimiser and schedule."""

    class_weights: torch.Tensor
    epoch_loss: torch.Tensor
    """Sum of the losses of the epoch's batches."""

    def __init__(
        self, network: nn.Module, config: WindowConfig, module: WindowSides, seed: int, objective: Objective
    ) -> None:
        super().__init__()
        self.network, self._config, self._seed, self._objective = network, config, seed, objective
        self._windows, self._size = len(module.train), module.batch_size
        self.register_buffer("class_weights", module.class_weights, persistent=False)
        self.register_buffer("epoch_loss", torch.zeros(()), persistent=False)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        """The loss of a batch; a step draws the same whether or not those before it ran in this process."""
        torch.manual_seed((self._seed << 32) + self.global_step * self.trainer.world_size + self.global_rank)
        each = self._objective.losses(self.network(batch[0]), *batch, self.class_weights)
        whole = min(self._size, self._windows - number * self._size)
        world = self.trainer.world_size
        loss = _rank_mean(each, whole if world > 1 else len(each), world)
        if not torch.isfinite(loss):
            raise FailedError(
                f"the loss is {loss.item()} in epoch {self.current_epoch}",
                "lower learning_rate, or look for factors with absurd values: ghtrader factors",
            )
        self.epoch_loss += loss.detach()
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """The objective's score, which is log-loss in nats unless something else than classes is learned."""
        score = self._objective.score(self.network(batch[0]), *batch)
        self.log(_SCORE, score, on_epoch=True, batch_size=len(batch[1]), sync_dist=True)

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
            raise FailedError(f"the score of the validation span is {score}", "lower learning_rate")
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


class _Told(Callback):
    """Tells how training goes: batches as they come, and each epoch's losses; the first rank alone."""

    def __init__(self, tell: Tell, name: str, config: WindowConfig, best: _BestWeights, objective: Objective) -> None:
        self._tell, self._name, self._config, self._best = tell, name, config, best
        self._objective = objective
        self._began = self._said = time.monotonic()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A new mean begins."""
        assert isinstance(pl_module, _Learner)
        pl_module.epoch_loss.zero_()
        self._began = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A line that the next one replaces."""
        assert isinstance(pl_module, _Learner)
        now, done = time.monotonic(), batch_idx + 1
        if trainer.is_global_zero and now - self._said >= _SAID_EVERY_S:
            self._said = now
            epoch, batches = trainer.current_epoch, int(trainer.num_training_batches)
            loss = float(pl_module.epoch_loss) / done
            words = f"{self._of(epoch)}, batch {done}/{batches}, {self._objective.loss_words} {loss:.4f}"
            self._tell(CountedLine(words, epoch * batches + done, self._config.max_epochs * batches))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A line that stays."""
        assert isinstance(pl_module, _Learner)
        if trainer.is_global_zero:
            loss = float(pl_module.epoch_loss) / max(int(trainer.num_training_batches), 1)
            scores, seconds = self._best.scores, time.monotonic() - self._began
            words, unit = self._objective.score_words
            self._tell(
                f"{self._of(trainer.current_epoch)}: {self._objective.loss_words} {loss:.4f}, {words} "
                f"{scores[-1]:.5f}{unit} (best {min(scores):.5f}), {seconds:.1f} s"
            )

    def _of(self, epoch: int) -> str:
        return f"{self._name} epoch {epoch + 1}/{self._config.max_epochs}"


class _Checkpoint(Callback):
    """Writes the checkpoint after each epoch; the last callback, so that it holds what the others have seen."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CHECKPOINT

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Replace the one before; of several ranks the first writes."""
        trainer.save_checkpoint(self._path)
        failpoint("training.checkpoint->epoch")
