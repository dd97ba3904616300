"""Logs every event and answer of the core, and replays the log to check that the answers are the same.

One file a process run, `<run>/mind/<epoch>.bin`, written off the hot path. `replay_decisions` steps a fresh core
through the recorded events and compares every answer; a difference means that the core is not the pure state machine it
is meant to be, or that the code has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_base.files import open_file
from ghtrader_runtime.accounts.order_ledger import Intent, LedgerState
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action
from ghtrader_runtime.core.state import CoreConfig
from ghtrader_runtime.core.trading_core import Core
from ghtrader_runtime.runlog.journal import Journal

FLUSH_BYTES = 1 << 16
_encode = msgspec.msgpack.Encoder().encode


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a core was built from."""

    config: CoreConfig
    ledger_id: str
    epoch: int
    next_number: int
    open_intents: dict[str, Intent]
    watermark: list[tuple[str, int]]
    marks: tuple[str, float, float] | None
    sent_ns: list[int]
    now_ns: int
    other_marks: list[tuple[str, float, float]] = []

    def core(self) -> Core:
        """A core as it was at the start."""
        known = LedgerState(ledger_id=self.ledger_id, epoch=self.epoch)
        return Core(
            self.config, known.order_id, self.next_number, self.open_intents, self.watermark, self.marks, self.sent_ns,
            self.now_ns, self.other_marks,
        )  # fmt: skip


class DecisionLog:
    """Keeps the decision log of one process run.

    Parameters
    ----------
    journal : Journal
        Of the run.
    start : Start
        What the core is built from.
    """

    def __init__(self, journal: Journal, start: Start) -> None:
        self._journal = journal
        self._path = journal.folder / "mind" / f"{start.epoch:06d}.bin"
        self._buffer = bytearray()
        self._add(_encode(start))

    def add(self, event: ev.Event, actions: list[Action]) -> None:
        """One step, before anything is done about it."""
        self._add(_encode((event, [_named(action) for action in actions])))
        if len(self._buffer) >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Queue what there is for writing."""
        if self._buffer:
            self._journal.append(self._path, bytes(self._buffer))
            self._buffer = bytearray()

    def _add(self, data: bytes) -> None:
        self._buffer += len(data).to_bytes(4, "little") + data


def _named(action: Action) -> tuple[str, Action]:
    return type(action).__name__, action


def _frames(path: Path) -> Iterator[bytes]:
    """Whole frames of a file; a torn last one is left out."""
    with open_file(path) as file:
        data, place = file.read(), 0
    while place + 4 <= len(data):
        size = int.from_bytes(data[place : place + 4], "little")
        if place + 4 + size > len(data):
            return
        yield data[place + 4 : place + 4 + size]
        place += 4 + size


@dataclass(frozen=True)
class Replayed:
    """The result of a replay; `difference` is empty where every answer was the same."""

    lives: int
    events: int
    actions: int
    difference: str


def replay_decisions(run_dir: Path) -> Replayed:
    """Replay all process runs of a trading run through a fresh core.

    Raises
    ------
    UsageError
        The run kept no record.
    IntegrityError
        The record cannot be read.
    """
    files = sorted((run_dir / "mind").glob("*.bin"))
    if not files:
        raise UsageError(f"{run_dir} has no record of its decisions", "name the folder of a trading run")
    events = actions = 0
    for path in files:
        try:
            frames = _frames(path)
            core = msgspec.msgpack.decode(next(frames), type=Start).core()
            for frame in frames:
                event, told = _split(frame)
                answer = _encode([_named(action) for action in core.handle(event)])
                events += 1
                actions += len(told)
                if answer != _encode(told):
                    got = msgspec.msgpack.decode(answer)
                    difference = f"epoch {path.stem}, event {events} ({type(event).__name__}): {told!r} became {got!r}"
                    return Replayed(len(files), events, actions, difference)
        except (StopIteration, OSError, msgspec.MsgspecError) as exc:
            raise IntegrityError(f"{path} cannot be read: {exc}", "the run may be of another version") from exc
    return Replayed(len(files), events, actions, "")


class _Step(msgspec.Struct, array_like=True):
    event: ev.Event
    actions: list[Any]


_decode_step = msgspec.msgpack.Decoder(_Step).decode


def _split(frame: bytes) -> tuple[ev.Event, list[Any]]:
    step = _decode_step(frame)
    return step.event, step.actions
