"""Trains a network on several processes: starts them, hands them the samples, takes back what the first one made.

What belongs here: the parent's side, without torch. The children are torchrun's (`torch.distributed.run`), each runs
`rank_worker`; they are tied to this process and end with it. Nothing listens beyond loopback: torchrun's own
``--standalone`` opens a port on every interface, so its rendezvous is a file here, and so is the ranks'.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ghtrader_base.child_processes import python_module
from ghtrader_base.disk_space import require_room
from ghtrader_base.errors import FailedError, error_from_name
from ghtrader_base.files import ensure_dir
from ghtrader_base.handed_credentials import take_out
from ghtrader_base.progress_line import CountedLine
from ghtrader_base.settings import ENV_ONLY
from ghtrader_models.datasets.mapped_rows import BLOCK_ROWS, FactorRows
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.training_session import Tell, TrainingSession
from ghtrader_models.families.window_config import WindowConfig

if TYPE_CHECKING:
    from ghtrader_models.families.pretraining.encoder import EncoderFile

LAUNCHER, WORKER = "ghtrader_models.families.rank_launcher", "ghtrader_models.families.rank_worker"
TASK, ERROR, RESULT, MODEL = "task.json", "error.json", "result.json", "model"
_ARRAYS = ("X", "y", "datetime_ns", "day_index", "warm", "rows")
_FURTHER, _ENCODER = "further-", "encoder.safetensors"
_STOP_S = 20.0


class Launcher(StrEnum):
    """Who starts the processes."""

    TORCHRUN = "torchrun"
    LIGHTNING = "lightning"
    """The first one, for the others: what a script with a `Trainer` in it does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What the processes are asked for.

    Attributes
    ----------
    family : str
        The `kind` of a family.
    module, config_class : str
        Where the class of its configuration is.
    config : dict
        That configuration.
    seed, horizon, devices : int
    names : tuple of str
        Columns of the samples.
    store : str
        File by which the ranks find each other.
    further : tuple of int
        Other horizons whose labels are there.
    encoder : str
        File of the pretrained encoder to begin with; empty for none.
    """

    family: str
    module: str
    config_class: str
    config: dict[str, bool | int | float | str]
    seed: int
    horizon: int
    devices: int
    names: tuple[str, ...]
    store: str
    further: tuple[int, ...] = ()
    encoder: str = ""

    def make_config(self) -> Any:
        """The family's configuration again."""
        return getattr(importlib.import_module(self.module), self.config_class)(**self.config)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankError:
    """An error of ours in one of the processes: its class, what is wrong, what to do."""

    name: str
    message: str
    hint: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """What the first process made, beside the model's files.

    Attributes
    ----------
    moved : list of float
        See `window_family.WindowModel`.
    validation_rows : list of int
    learning_curve : list of float
    """

    moved: list[float]
    validation_rows: list[int]
    learning_curve: list[float]


@dataclasses.dataclass(frozen=True)
class Said:
    """A line of a process; `wanted` is 0 for one that stays."""

    words: str
    done: int = 0
    wanted: int = 0


def train_on_processes(
    kind: str,
    samples: Samples,
    config: WindowConfig,
    *,
    seed: int,
    session: TrainingSession,
    launcher: Launcher = Launcher.TORCHRUN,
    encoder: EncoderFile | None = None,
) -> tuple[dict[str, bytes], Trained]:
    """Train on `session.devices` processes, each of which begins with the pretrained encoder where there is one.

    Returns
    -------
    dict of str to bytes, Trained
        The model's files by name, and what else the first process says of it.

    Raises
    ------
    GhtraderError
        As a process raised it; `FailedError` where one ended without a word.
    NoRoomError
        The samples do not fit beside what is on the disk.
    """
    with contextlib.ExitStack() as stack:
        folder = session.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for left in ensure_dir(folder).glob("ranks-*"):  # of a run that was killed: this folder is one run's alone
            shutil.rmtree(left, ignore_errors=True)
        own = Path(tempfile.mkdtemp(prefix="ranks-", dir=folder))
        stack.callback(shutil.rmtree, own, ignore_errors=True)
        _hand_over(own, kind, samples, config, seed, session.devices, encoder)
        _run(own, folder, session, config.nthread, launcher)
        files = {path.name: path.read_bytes() for path in sorted((own / MODEL).iterdir())}
        return files, msgspec.json.decode((own / RESULT).read_bytes(), type=Trained)


def read_task(folder: Path) -> tuple[Task, Samples]:
    """What a process is asked for; the samples are mapped, so that all processes hold them once."""
    task = msgspec.json.decode((folder / TASK).read_bytes(), type=Task)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    further = {horizon: np.load(folder / f"{_FURTHER}{horizon}.npy", mmap_mode="r") for horizon in task.further}
    return task, Samples(**arrays, horizon=task.horizon, names=task.names, further_labels=further)


def _save_rows(path: Path, rows: FactorRows) -> None:
    """Write float32[n, F] block by block: days that are mapped are never in memory together."""
    form = {"descr": "<f4", "fortran_order": False, "shape": tuple(rows.shape)}
    with path.open("wb") as file:  # not by mapping it: a full disk would kill the process
        np.lib.format.write_array_header_1_0(file, form)
        for low in range(0, rows.shape[0], BLOCK_ROWS):
            file.write(np.ascontiguousarray(rows[low : low + BLOCK_ROWS], "<f4").data)


def _hand_over(
    own: Path,
    kind: str,
    samples: Samples,
    config: WindowConfig,
    seed: int,
    devices: int,
    encoder: EncoderFile | None,
) -> None:
    arrays = {name: np.asarray(getattr(samples, name)) for name in _ARRAYS if name != "X"}
    arrays |= {f"{_FURTHER}{horizon}": samples.further_labels[horizon] for horizon in config.further_horizons}
    size = 4 * math.prod(samples.X.shape) + sum(array.nbytes for array in arrays.values())
    require_room(own, size, f"the samples of {devices} training processes")
    for name, array in arrays.items():
        np.save(own / f"{name}.npy", array)
    _save_rows(own / "X.npy", samples.X)
    task = Task(
        family=kind,
        module=type(config).__module__,
        config_class=type(config).__qualname__,
        config=dataclasses.asdict(config),
        seed=seed,
        horizon=samples.horizon,
        devices=devices,
        names=samples.names,
        store=str(own / "store"),
        further=config.further_horizons,
        encoder=str(own / _ENCODER) if encoder is not None else "",
    )
    if encoder is not None:
        (own / _ENCODER).write_bytes(encoder.data)
    (own / TASK).write_bytes(msgspec.json.encode(task))


def _command(own: Path, folder: Path, devices: int, launcher: Launcher) -> list[str]:
    worker = [WORKER, str(own), str(folder)]
    if launcher is Launcher.LIGHTNING:
        return python_module(*worker)
    rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint={own / 'rendezvous'}", "--rdzv-conf=store_type=file"]
    ranks = [f"--nproc-per-node={devices}", "--nnodes=1", "--local-addr=127.0.0.1", "--max-restarts=0"]
    return python_module(LAUNCHER, str(os.getpid()), *rendezvous, *ranks, "-m", *worker)


def _run(own: Path, folder: Path, session: TrainingSession, threads: int, launcher: Launcher) -> None:
    environment = dict(os.environ)
    take_out(environment, ENV_ONLY)
    environment |= {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONSAFEPATH": "1",  # the launchers start their children by a plain `python -m`
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    log = own / "stderr"
    with open(log, "wb") as errors:
        child = subprocess.Popen(
            _command(own, folder, session.devices, launcher),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment,
        )  # fmt: skip
        with _ended(child):
            assert child.stdout is not None
            for line in child.stdout:
                _pass_on(line, session.tell)
            code = child.wait()
    if (own / ERROR).exists():
        error = msgspec.json.decode((own / ERROR).read_bytes(), type=RankError)
        raise error_from_name(error.name, error.message, error.hint)
    if code or not (own / RESULT).exists():
        tail = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-3:]
        raise FailedError(
            f"the training processes ended with exit status {code}: {' | '.join(tail)}",
            "train again: it goes on from the last epoch; where memory is short, with fewer devices",
        )


def _pass_on(line: bytes, tell: Tell) -> None:
    """What the first process says of its training; whatever libraries print is left out."""
    try:
        said = msgspec.json.decode(line, type=Said)
    except msgspec.DecodeError:
        return
    tell(CountedLine(said.words, said.done, said.wanted) if said.wanted else said.words)


@contextlib.contextmanager
def _ended(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """The child is over when the block is, whatever happens in it; torchrun ends its processes."""
    try:
        yield
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
