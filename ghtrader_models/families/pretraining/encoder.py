"""Pretrains the encoder of a network, or takes it from those that are kept: one file each, named by what decides it.

What belongs here: the file and its name. The name is a hash of days, size, settings, seed and code, so that every fit
that would pretrain the same encoder shares one, whatever its own rate, horizon or number of epochs; a run that was
killed goes on from its last epoch. The weights are safetensors; what they were made of stands in the header.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_base.files import atomic_write_bytes, content_hash, ensure_dir
from ghtrader_base.lock_keys import pretraining_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.version import code_version
from ghtrader_models.bundles.package_versions import package_versions
from ghtrader_models.bundles.provenance import PretrainingDay, PretrainingRecord
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.pretraining.next_snapshot import NextSnapshot, SnapshotErrors
from ghtrader_models.families.pretraining.past_windows import past_series, past_sides
from ghtrader_models.families.training_session import TrainingSession
from ghtrader_models.families.window_config import EncoderConfig, pretraining_varieties
from ghtrader_models.families.window_training import train_network

_ABOUT = "about"
_HEAD = "head"
_WAIT_S = 6 * 3600.0
"""How long a fit waits for another that pretrains the same encoder."""


@dataclass(frozen=True, kw_only=True)
class _About:
    """What the header of a file says."""

    record: PretrainingRecord
    curve: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class EncoderFile:
    """A pretrained encoder.

    Attributes
    ----------
    data : bytes
        Its file.
    weights : dict of str to Tensor
        The network's, by their names in it, without those of its head.
    record : PretrainingRecord
        What it learned from.
    curve : tuple of float
        Loss of the windows held out after each epoch.
    """

    data: bytes
    weights: dict[str, torch.Tensor]
    record: PretrainingRecord
    curve: tuple[float, ...]

    def give_to(self, network: nn.Module) -> None:
        """Replace the weights of a network, but its head's; `UsageError` where it is of another kind or size."""
        own = _encoder_state(network)
        if {name: value.shape for name, value in own.items()} != {n: v.shape for n, v in self.weights.items()}:
            raise UsageError(
                f"encoder {self.record.encoder} is of another network", "remove it from cache/encoders, and train again"
            )
        network.load_state_dict(self.weights, strict=False)


def pretrained_encoder(
    kind: str,
    build: Callable[[int, int], nn.Module],
    samples: Samples,
    config: EncoderConfig,
    *,
    seed: int,
    before_ns: int,
    session: TrainingSession,
) -> EncoderFile:
    """The encoder that learned from the days before a moment, from its file or by training it.

    Parameters
    ----------
    kind : str
        Name of the family.
    build : callable
        Length of a window and number of factors -> a network that has `encode`.
    samples : Samples
        Days of the model's series, and of others where there are any.
    config : EncoderConfig
    seed : int
    before_ns : int
        UTC epoch: no row at or after it, nor of a day that lasts until then, is read.
    session : TrainingSession
        Who is told, and where encoders are kept.

    Raises
    ------
    UsageError
        No whole day ends before, another series has other factors, or a series has no whole window.
    FailedError
        The loss is no number.
    IntegrityError
        The file of the encoder was changed.
    LockHeldError
        Another process has been pretraining it for hours.
    """
    series = past_series(samples, before_ns, pretraining_varieties(config))
    used = pretraining_config(config)
    key = encoder_key(kind, used, series, seed)
    with contextlib.ExitStack() as stack:
        root = session.encoders or session.folder
        folder = ensure_dir(root or Path(stack.enter_context(tempfile.TemporaryDirectory())))
        lock = resource_lock(folder / "locks", pretraining_key(key), f"pretrain {kind}", _WAIT_S, tell=session.tell)
        stack.enter_context(lock)
        path = folder / f"{key}.safetensors"
        if path.exists():
            session.tell(f"{kind} begins with the pretrained encoder {key}")
        else:
            _pretrain(path, folder / f"training-{key}", kind, build, series, used, seed, key, session)
        found = read_encoder(path)
    if found.record.ends_ns >= before_ns:
        raise IntegrityError(f"encoder {key} knows rows that are held out", f"remove {path}, and train again")
    return found


def pretraining_config(config: EncoderConfig) -> EncoderConfig:
    """How an encoder is trained: its size as configured, everything that concerns labels as by default."""
    size = {field.name for field in dataclasses.fields(config)} - {f.name for f in dataclasses.fields(EncoderConfig)}
    kept = {"inputs", "length", "batch_size", "nthread", "pretrain", *size}
    return dataclasses.replace(
        type(config)(),
        **{name: getattr(config, name) for name in kept},
        max_windows=config.pretrain_windows,
        max_epochs=config.pretrain_epochs,
        patience=config.pretrain_epochs,
        learning_rate=config.pretrain_rate,
    )


def encoder_key(kind: str, config: EncoderConfig, series: Sequence[Samples], seed: int) -> str:
    """Hash of all that decides an encoder; `config` is that of its pretraining."""
    return content_hash(
        {
            "kind": kind,
            "config": dataclasses.asdict(config),
            "seed": seed,
            "factors": list(series[0].names) or series[0].X.shape[1],
            "days": [[past.symbol, [fact.features_hash for fact in past.facts]] for past in series],
            "code": [code_version(), *(package_versions().get(name, "") for name in ("numpy", "torch", "lightning"))],
        }
    )[:32]


def read_encoder(path: Path) -> EncoderFile:
    """The encoder of a file; `IntegrityError` where it is none, or was changed."""
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            about = msgspec.json.decode(file.metadata()[_ABOUT], type=_About)
    except Exception as exc:
        raise IntegrityError(f"the encoder {path} does not read: {exc}", "remove it: it is made again") from exc
    if _digest(weights) != about.record.weights:
        raise IntegrityError(f"the encoder {path} was changed", "remove it: it is made again")
    return EncoderFile(data=path.read_bytes(), weights=weights, record=about.record, curve=about.curve)


def _pretrain(
    path: Path,
    work: Path,
    kind: str,
    build: Callable[[int, int], nn.Module],
    series: Sequence[Samples],
    config: EncoderConfig,
    seed: int,
    key: str,
    session: TrainingSession,
) -> None:
    """Train the encoder and write its file; what is left of a run that was killed is gone on from."""
    sides = past_sides(series, config, seed)
    days = sum(len(past.facts) for past in series)
    session.tell(f"{kind} is pretrained on {len(sides.train)} windows of {days} days of {len(series)} series")
    torch.manual_seed(seed)
    factors = series[0].X.shape[1]
    network = NextSnapshot(build(config.length, factors), factors)
    alone = dataclasses.replace(session, devices=1, store=None)
    trained = train_network(
        network,
        sides,
        config,
        seed=seed,
        folder=ensure_dir(work),
        session=alone,
        name=f"{kind} pretraining",
        objective=SnapshotErrors(),
    )
    assert isinstance(trained.network, NextSnapshot)
    weights = _encoder_state(trained.network.network)
    record = PretrainingRecord(
        objective=config.pretrain,
        encoder=key,
        weights=_digest(weights),
        windows=len(sides.train),
        ends_ns=max(int(past.datetime_ns[-1]) for past in series),
        days=tuple(
            PretrainingDay(symbol=past.symbol, day=fact.day, features_hash=fact.features_hash)
            for past in series
            for fact in past.facts
        ),
    )
    about = json.dumps(msgspec.to_builtins(_About(record=record, curve=trained.validation)))
    atomic_write_bytes(path, save(weights, {_ABOUT: about}))
    shutil.rmtree(work, ignore_errors=True)


def _encoder_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """What of a network's state its encoder is."""
    return {
        name: value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
        if _HEAD not in name.split(".")
    }


def _digest(weights: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(save(weights)).hexdigest()
