"""Trains a small network from checkpoints in a folder and prints its validation scores as JSON.

`python training_child.py FOLDER [STEPS]`: after STEPS steps it says so by a file `stopped` and waits for a kill.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from ghtrader_models.datasets.lightning_data import WindowDataModule
from ghtrader_models.datasets.sample_windows import training_and_validation
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.datasets.windows import WindowSpec
from ghtrader_models.families.networks.tcn import TCN
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.families.window_training import train_network


class Stopping(TCN):
    """Waits to be killed in the middle of an epoch."""

    folder = Path()
    left = 10**9

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the network, until its steps are used up."""
        self.left -= self.training
        if self.left < 0:
            (self.folder / "stopped").touch()
            time.sleep(3600)
        return super().forward(x)


def main(folder: Path, steps: int) -> None:
    """Train, or wait."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 4)).astype(np.float32)
    y = np.clip(np.round(1 + x[:, 0]), 0, 2).astype(np.int8)
    config = TCNConfig(length=12, max_epochs=6, patience=6, batch_size=64, channels=8, levels=2, kernel=2)
    samples = Samples.of_rows(x, y, horizon=10)
    sides = training_and_validation(samples, WindowSpec(length=12, horizon=10), share=0.2, most=640)
    torch.manual_seed(3)
    network = Stopping(4, channels=8, levels=2, kernel=2, dropout=0.1)
    network.folder, network.left = folder, steps
    module = WindowDataModule(*sides, batch_size=64, seed=3)
    found = train_network(network, module, config, seed=3, folder=folder)
    print(json.dumps(found.validation))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10**9)
