"""Trains as one of several processes: `python -m ghtrader_models.families.rank_worker OWN FOLDER`.

What belongs here: the child's side of `parallel_training`. OWN holds the task and the samples, FOLDER the checkpoint.
The first rank says how it goes on stdout, line by line, and leaves the model; an error of ours is left as a file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from ghtrader_base.child_processes import die_with_parent
from ghtrader_base.errors import GhtraderError
from ghtrader_base.files import atomic_write_bytes
from ghtrader_base.private_files import keep_private
from ghtrader_base.progress_line import CountedLine
from ghtrader_models.families.base import get_family
from ghtrader_models.families.parallel_training import ERROR, MODEL, RESULT, RankError, Said, Trained, read_task
from ghtrader_models.families.training_session import TrainingSession, memory_exhausted, training_session
from ghtrader_models.families.window_family import RankDone, WindowModel


def say(line: str) -> None:
    """One line to the parent."""
    counted = isinstance(line, CountedLine)
    said = Said(str(line), line.done, line.wanted) if counted else Said(str(line))  # type: ignore[attr-defined]
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


def main(own: Path, folder: Path) -> int:
    """Train; 1 where an error of ours was left."""
    task, samples = read_task(own)
    encoder = Path(task.encoder) if task.encoder else None
    session = TrainingSession(folder=folder, devices=task.devices, tell=say, store=Path(task.store), encoder=encoder)
    try:
        fewer = "lower batch_size, length or max_windows (--set), or train on fewer devices"
        with training_session(session), memory_exhausted(f"{task.family} on {task.devices} processes", fewer):
            model = get_family(task.family).fit(samples, seed=task.seed, config=task.make_config())
    except RankDone:
        return 0
    except GhtraderError as exc:
        error = RankError(name=type(exc).__name__, message=exc.message, hint=exc.hint)
        atomic_write_bytes(own / ERROR, msgspec.json.encode(error))
        return 1
    assert isinstance(model, WindowModel)
    (own / MODEL).mkdir()
    model.save(own / MODEL)
    made = Trained(
        moved=model.moved.tolist(),
        validation_rows=model.validation_rows.tolist(),
        learning_curve=list(model.learning_curve),
    )
    atomic_write_bytes(own / RESULT, msgspec.json.encode(made))
    return 0


if __name__ == "__main__":
    keep_private()
    die_with_parent(os.getppid())
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
