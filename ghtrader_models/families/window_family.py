"""Trains the families of windows: from samples to an exported network. What differs from one to another is its size.

What belongs here: putting windows, training and export together. torch is imported inside `fit`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import FailedError
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import check_training_samples, without_infinite
from ghtrader_models.families.window_config import WindowConfig
from ghtrader_models.inference.onnx_windows import ONNX_FILE, padded_windows
from ghtrader_models.inference.predictors import WindowPredictor, stepped_network
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE

if TYPE_CHECKING:
    from torch import nn

Build = Callable[[int, int], "nn.Module"]
"""Length of a window and number of factors -> a network with three outputs."""
_COMPARED, _PROBED = 64, 256


class WindowModel:
    """A trained network, as its bundle has it.

    Where there is a form that is stepped, that is what is asked, here and live; the graph beside it says the same of a
    window that begins a day, and is there for other programs.
    """

    def __init__(self, kind: str, data: bytes, moved: np.ndarray, stepped: bytes = b"") -> None:
        self.kind = kind
        self._data, self._moved, self._stepped = data, moved, stepped
        self._network = stepped_network(kind, stepped) if stepped else WindowPredictor(data).network
        self.n_features = self._network.n_features

    def predict_proba(self, samples: Samples) -> np.ndarray:
        """float64[k, 3] of the rows meant, each with the rows before it on its day."""
        return self._network.at_rows(samples.X, samples.day_index, samples.rows)

    def save(self, directory: Path) -> None:
        """Write ``model.onnx``, and ``model.safetensors`` where there is a form that is stepped."""
        (directory / ONNX_FILE).write_bytes(self._data)
        if self._stepped:
            (directory / WEIGHTS_FILE).write_bytes(self._stepped)

    def importance(self, names: tuple[str, ...]) -> dict[str, float]:
        """Share of each factor in how far probabilities move where it is taken away, on some training windows."""
        total = self._moved.sum()
        return dict(zip(names, (self._moved / total if total > 0 else self._moved).tolist(), strict=True))


def fit_windows(
    kind: str, build: Build, samples: Samples, config: WindowConfig, *, seed: int, folder: Path | None = None,
    arrays_of: Callable[[Any, int], dict[str, np.ndarray]] | None = None,
) -> WindowModel:  # fmt: skip
    """Train a network on windows of samples and export it.

    Parameters
    ----------
    kind : str
        Name of the family.
    build : callable
        Makes the network once torch's generator is seeded.
    samples : Samples
    config : WindowConfig
    seed : int
    folder : Path, optional
        Where checkpoints go, to resume from; a temporary one where absent.
    arrays_of : callable, optional
        Takes the weights of a network that can be stepped out of it (`families.stepped_export`).

    Raises
    ------
    UsageError
        Too few rows for windows of this length.
    FailedError
        torch is not installed, the loss is no number, or the export differs.
    """
    check_training_samples(samples)
    if np.isinf(samples.X).any():
        samples = replace(samples, X=without_infinite(samples.X))
    try:
        import lightning  # noqa: F401
        import torch
    except ImportError as exc:
        raise FailedError(f"{kind} needs torch and Lightning: {exc}", "make setup installs them") from exc

    from ghtrader_models.datasets.lightning_data import WindowDataModule
    from ghtrader_models.datasets.sample_windows import training_and_validation
    from ghtrader_models.datasets.windows import WindowSpec
    from ghtrader_models.families.onnx_export import export
    from ghtrader_models.families.stepped_export import export_stepped
    from ghtrader_models.families.window_training import train_network

    spec = WindowSpec(length=config.length, horizon=samples.horizon)
    sides = training_and_validation(samples, spec, share=config.validation_share, most=config.max_windows)
    module = WindowDataModule(*sides, batch_size=config.batch_size, seed=seed)
    torch.manual_seed(seed)
    network = build(config.length, samples.X.shape[1])
    with tempfile.TemporaryDirectory() as temporary:
        trained = train_network(network, module, config, seed=seed, folder=folder or Path(temporary))
    some = samples.rows[:: max(1, samples.rows.size // _COMPARED)][:_COMPARED]
    windows = padded_windows(samples.X, samples.day_index, some, config.length)
    data = export(trained.network, module.normaliser, config.length, windows)
    stepped = b""
    if arrays_of is not None:
        stepped = export_stepped(kind, trained.network, arrays_of, module.normaliser, config.length, windows)
    return WindowModel(kind, data, _moved(data, windows), stepped)


def _moved(data: bytes, windows: np.ndarray) -> np.ndarray:
    """float64[F]: mean change of the probabilities where a factor is unknown in the whole window."""
    network = WindowPredictor(data).network
    usual = network.probabilities(windows)
    moved = np.empty(windows.shape[2])
    for factor in range(windows.shape[2]):
        kept = windows[:, :, factor].copy()
        windows[:, :, factor] = np.nan
        moved[factor] = np.abs(network.probabilities(windows) - usual).mean()
        windows[:, :, factor] = kept
    return moved
