"""Trains the families of windows: from samples to an exported network. What differs from one to another is its size.

What belongs here: putting windows, training and export together. torch is imported inside `fit`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import FailedError
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import check_training_samples
from ghtrader_models.families.parallel_training import train_on_processes
from ghtrader_models.families.training_session import current_session
from ghtrader_models.families.window_config import EncoderConfig, Pretraining, WindowConfig
from ghtrader_models.inference.onnx_windows import ONNX_FILE, padded_windows
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE

if TYPE_CHECKING:
    from torch import nn

    from ghtrader_models.bundles.provenance import PretrainingRecord
    from ghtrader_models.datasets.windows import WindowSet

Build = Callable[[int, int], "nn.Module"]
"""Length of a window and number of factors -> a network with three outputs."""
_COMPARED, _PROBED = 64, 256


class RankDone(Exception):  # noqa: N818  (it ends a rank's work, and nothing is wrong)
    """This process has trained as one of several; the first of them exports what they have in common."""


class WindowModel:
    """A trained network, as its bundle has it.

    Where there is a form that is stepped, that is what is asked, here and live; the graph beside it says the same of a
    window that begins a day, and is there for other programs.

    Parameters
    ----------
    kind : str
        Name of its family.
    files : dict of str to bytes
        ``model.onnx``, and ``model.safetensors`` where there is a form that is stepped; of a model that is only
        scored (`TrainingSession.scored_only`), that form alone.
    moved : float64[F]
        How far probabilities move where a factor is unknown.
    validation_rows : int64[k]
        See `base.ValidatedModel`.
    learning_curve : tuple of float
        Log-loss of the validation span after each epoch, nats.
    pretraining, pretraining_curve
        See `base.PretrainedModel`.
    """

    def __init__(
        self,
        kind: str,
        files: dict[str, bytes],
        moved: np.ndarray,
        validation_rows: np.ndarray,
        learning_curve: tuple[float, ...] = (),
        pretraining: PretrainingRecord | None = None,
        pretraining_curve: tuple[float, ...] = (),
    ) -> None:
        from ghtrader_models.inference.predictors import WindowPredictor, stepped_network

        self.kind, self.validation_rows, self.learning_curve = kind, validation_rows, learning_curve
        self.files, self.moved = files, moved
        self.pretraining, self.pretraining_curve = pretraining, pretraining_curve
        stepped = files.get(WEIGHTS_FILE)
        self._network = stepped_network(kind, stepped) if stepped else WindowPredictor(files[ONNX_FILE]).network
        self.n_features = self._network.n_features

    def predict_proba(self, samples: Samples) -> np.ndarray:
        """float64[k, 3] of the rows meant, each with the rows before it on its day."""
        return self._network.at_rows(samples.X, samples.day_index, samples.rows)

    def save(self, directory: Path) -> None:
        """Write ``model.onnx``, and ``model.safetensors`` where there is a form that is stepped."""
        for name, data in self.files.items():
            (directory / name).write_bytes(data)

    def importance(self, names: tuple[str, ...]) -> dict[str, float]:
        """Share of each factor in how far probabilities move where it is taken away, on some training windows."""
        total = self.moved.sum()
        return dict(zip(names, (self.moved / total if total > 0 else self.moved).tolist(), strict=True))


def fit_windows(
    kind: str,
    build: Build,
    samples: Samples,
    config: WindowConfig,
    *,
    seed: int,
    arrays_of: Callable[[Any, int], dict[str, np.ndarray]] | None = None,
) -> WindowModel:
    """Train a network on windows of samples and export it, as the session in force says (`training_session`).

    Parameters
    ----------
    kind : str
        Name of the family.
    build : callable
        Makes the network once torch's generator is seeded.
    samples : Samples
    config : WindowConfig
    seed : int
    arrays_of : callable, optional
        Takes the weights of a network that can be stepped out of it (`families.stepped_export`).

    Raises
    ------
    UsageError
        Too few rows for windows of this length.
    FailedError
        torch is not installed, the loss is no number, or the export differs.
    RankDone
        In one of several processes that is not the first.
    """
    session = current_session()
    check_training_samples(samples)
    try:
        import lightning  # noqa: F401
        import torch
    except ImportError as exc:
        raise FailedError(f"{kind} needs torch and Lightning: {exc}", "make setup installs them") from exc

    from ghtrader_models.datasets.lightning_data import WindowDataModule
    from ghtrader_models.datasets.sample_windows import training_and_validation
    from ghtrader_models.datasets.windows import WindowSpec
    from ghtrader_models.families.networks.heads import AuxiliaryHeads
    from ghtrader_models.families.onnx_export import export, probabilities_of, torch_threads
    from ghtrader_models.families.pretraining.encoder import EncoderFile, pretrained_encoder, read_encoder
    from ghtrader_models.families.stepped_export import export_stepped
    from ghtrader_models.families.window_training import train_network

    spec, further = WindowSpec(length=config.length, horizon=samples.horizon), config.further_horizons
    sides = training_and_validation(
        samples, spec, share=config.validation_share, most=config.max_windows, further=further
    )
    validated = _rows_of(sides[1], samples.day_index)
    encoder: EncoderFile | None = None
    if session.encoder is not None:
        encoder = read_encoder(session.encoder)
    elif isinstance(config, EncoderConfig) and config.pretrain != Pretraining.NONE:
        before_ns = int(samples.datetime_ns[validated[0]])
        encoder = pretrained_encoder(kind, build, samples, config, seed=seed, before_ns=before_ns, session=session)
    record, curve = (encoder.record, encoder.curve) if encoder is not None else (None, ())

    if session.devices > 1 and session.store is None:
        files, made = train_on_processes(kind, samples, config, seed=seed, session=session, encoder=encoder)
        rows = np.array(made.validation_rows, np.int64)
        return WindowModel(kind, files, np.array(made.moved), rows, tuple(made.learning_curve), record, curve)

    module = WindowDataModule(*sides, batch_size=config.batch_size, seed=seed)
    torch.manual_seed(seed)
    network = build(config.length, samples.X.shape[1])
    if encoder is not None:
        encoder.give_to(network)
    heads = AuxiliaryHeads(network, len(further), config.length, samples.X.shape[1]) if further else network
    with tempfile.TemporaryDirectory() as temporary:
        folder = session.folder or Path(temporary)
        trained = train_network(heads, module, config, seed=seed, folder=folder, session=session, name=kind)
    if int(os.environ.get("LOCAL_RANK", "0")) and session.store is not None:
        raise RankDone
    network = trained.network.network if isinstance(trained.network, AuxiliaryHeads) else trained.network
    some = samples.rows[:: max(1, samples.rows.size // _COMPARED)][:_COMPARED]
    windows = padded_windows(samples.X, samples.day_index, some, config.length)
    files = {}
    with torch_threads(config.nthread):
        if arrays_of is None or not session.scored_only:  # the graph takes as long as a short training
            files[ONNX_FILE] = export(network, module.normaliser, config.length, windows)
        if arrays_of is not None:
            files[WEIGHTS_FILE] = export_stepped(kind, network, arrays_of, module.normaliser, config.length, windows)
        moved = _moved(probabilities_of(network, module.normaliser, config.length), windows)
    return WindowModel(kind, files, moved, validated, trained.validation, record, curve)


def _rows_of(windows: WindowSet, day_index: np.ndarray) -> np.ndarray:
    """int64[k]: the rows of the tape that windows end at."""
    first = np.searchsorted(day_index, np.arange(len(windows.days)))
    rows: np.ndarray = first[windows.day_index] + windows.end
    return rows


def _moved(probabilities: Callable[[np.ndarray], np.ndarray], windows: np.ndarray) -> np.ndarray:
    """float64[F]: mean change of the probabilities where a factor is unknown in the whole window."""
    usual = probabilities(windows)
    moved = np.empty(windows.shape[2])
    for factor in range(windows.shape[2]):
        kept = windows[:, :, factor].copy()
        windows[:, :, factor] = np.nan
        moved[factor] = np.abs(probabilities(windows) - usual).mean()
        windows[:, :, factor] = kept
    return moved
