"""Trains on two processes (gloo, loopback) and writes down what the trainer hands each rank of each epoch.

`python ranks_child.py PORT FOLDER`; the parent makes the days and reads `FOLDER/rank<N>.json`. The second rank is a
fork of the first one, made once torch is imported and before it has a thread.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import date, timedelta
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy

from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.day_cache import CachedDay, map_array
from ghtrader_models.datasets.lightning_data import WindowDataModule
from ghtrader_models.datasets.windows import WindowSpec, split_windows
from ghtrader_models.factors.factor_set import FactorSetSpec
from ghtrader_models.labels.labels import LabelSpec

SPEC = WindowSpec(length=20, horizon=10)
ROWS, DAYS, TRAIN, EPOCHS = 400, 3, 0.6, 2


def open_days(folder: Path) -> list[CachedDay]:
    """Days whose one factor is the number of the row over all days: every window tells where it lies."""
    made = []
    for number in range(DAYS):
        fact = DayFacts(
            day=date(2025, 4, 1) + timedelta(number),
            contract="SHFE.cu2506",
            segment_id=0,
            price_tick=10.0,
            multiplier=5,
            rows=ROWS,
            features_hash=f"f{number}",
            labels_hash="l",
        )
        labels = np.tile(np.arange(ROWS, dtype=np.int8) % 3, (1, 1))
        labels[:, -SPEC.horizon :] = -1
        times = np.arange(ROWS, dtype=np.int64) * 500_000_000
        mapped = map_array(folder / f"{number}.npy")
        known = np.ones(ROWS, bool)
        made.append(
            CachedDay(
                facts=fact,
                names=("row",),
                factor_set_spec=FactorSetSpec(1, "numbers", ()),
                label_spec=LabelSpec((10,)),
                X=mapped,
                labels=labels,
                datetime_ns=times,
                warm=known,
                mid=times * 1.0,
            )
        )
    return made


class Watcher(lightning.LightningModule):
    """Notes where the windows it is given end; its one weight gives the processes something to agree on."""

    def __init__(self, module: WindowDataModule) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.mean, self.std = module.normaliser.mean[0], module.normaliser.std[0]
        self.epochs: dict[str, list[list[int]]] = {"train": [], "validation": []}

    def _note(self, kind: str, x: torch.Tensor, first: bool) -> None:
        if first:
            self.epochs[kind].append([])
        self.epochs[kind][-1] += np.rint(x[:, -1, 0].double().numpy() * self.std + self.mean).astype(int).tolist()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        """Note the batch; a loss that moves nothing."""
        self._note("train", batch[0], number == 0)
        return (self.weight * 0.0).sum()

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Note the batch."""
        self._note("validation", batch[0], number == 0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any."""
        return torch.optim.SGD([self.weight], lr=0.1)


def main(rank: int, port: int, folder: Path) -> None:
    """Train two epochs as one of two ranks."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "GLOO_SOCKET_IFNAME": "lo",
        "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    torch.set_num_threads(1)
    module = WindowDataModule(*split_windows(open_days(folder), SPEC, TRAIN), batch_size=32, seed=4)
    watcher = Watcher(module)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy=DDPStrategy(process_group_backend="gloo"), max_epochs=EPOCHS,
        num_sanity_val_steps=0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(watcher, datamodule=module)
    sampler = type(trainer.train_dataloader.sampler).__name__
    found = {"world": trainer.world_size, "sampler": sampler, **watcher.epochs}
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    other = os.fork()
    main(0 if other else 1, int(sys.argv[1]), Path(sys.argv[2]))
    if other:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
