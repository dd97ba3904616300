"""Defines the summary of a trading run, and reads and writes `summary.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import ConfigError, IntegrityError, UnwritableError
from ghtrader_base.files import atomic_write_text, read_json
from ghtrader_base.reserved_file import ReservedFile
from ghtrader_market.accounting.carried_position import CarriedPosition
from ghtrader_market.accounting.fill import Fill
from ghtrader_models.bundles.sample_check import Sample
from ghtrader_runtime.runlog.fill_lines import fill_fields, read_fill
from ghtrader_runtime.runlog.latency import LatencySummary

SUMMARY = "summary.json"
_OPTIONAL = ("folder", "strategy_error", "restarts", "sample", "sample_reason", "held", "settled", "rebuilt")


class ContractResult(msgspec.Struct, frozen=True, kw_only=True):
    """Fills, round trips and CNY of one contract."""

    fills: int
    round_trips: int
    gross_pnl: float
    fees: float
    net_pnl: float


class RestartNote(msgspec.Struct, frozen=True, kw_only=True):
    """A process that was started again: `gateway` or `strategy`, why, after how many seconds."""

    kind: str
    reason: str
    delay_s: float


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A trading run in numbers.

    Attributes
    ----------
    run_id, account, broker, mode : str
    symbol, requested : str
        The contract traded last, and what was asked for.
    trading_day, trading_days : str, tuple of str
        The last day, and all of them (ISO).
    rolls : int
    ended : str
        Why it ended.
    ticks, targets, orders, duplicates, refused, foreseen, fills, round_trips : int
        `refused`: requests, and orders towards a target, that were not sent, each once.
    gross_pnl, fees, net_pnl : float
        CNY; what is still held is valued at its mark.
    by_contract : dict
    opening, positions : dict
        Contract -> net lots, before the first fill and at the end.
    trading_state : str
    killed : bool
        Whether the kill switch was tripped.
    tick_to_target_ms : LatencySummary
    missed_ticks, malformed, strangers : int
        Ticks that did not come; messages that did not parse, and of nobody who might send them.
    journal_failure, journal_dropped : str, int
        What the disk said last, and lines that were not written.
    fill_list : tuple of Fill
    folder : Path, optional
        Of the run; said by who started it, not in the file.
    strategy_error : str, optional
        What the strategy died of.
    restarts : tuple of RestartNote, optional
        Of a supervised run.
    sample : Sample, optional
        Of a recorded day: whether the model had learned from what was played.
    sample_reason : str, optional
        The sentence beside it.
    held : tuple of CarriedPosition, optional
        What is held at the end, with the age of its lots and its mark.
    settled : str, optional
        Of a recorded day: that what was held was closed at its last mark, and why.
    rebuilt : str, optional
        Of a summary that was lost and made again: from what, and which numbers are not known.
    """

    run_id: str
    account: str
    broker: str
    mode: str
    symbol: str
    requested: str
    trading_day: str
    trading_days: tuple[str, ...]
    rolls: int
    ended: str
    ticks: int
    targets: int
    orders: int
    duplicates: int
    refused: int
    foreseen: int
    fills: int
    round_trips: int
    gross_pnl: float
    fees: float
    net_pnl: float
    by_contract: dict[str, ContractResult]
    opening: dict[str, int]
    positions: dict[str, int]
    trading_state: str
    killed: bool
    tick_to_target_ms: LatencySummary
    missed_ticks: int
    malformed: int
    strangers: int
    journal_failure: str
    journal_dropped: int
    fill_list: tuple[Fill, ...]
    folder: Path | None = None
    strategy_error: str | None = None
    restarts: tuple[RestartNote, ...] | None = None
    sample: Sample | None = None
    sample_reason: str | None = None
    held: tuple[CarriedPosition, ...] | None = None
    settled: str | None = None
    rebuilt: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The document of `summary.json`, and what the starter of the run added."""
        document: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(self, fill_list=()), enc_hook=str)
        document["fill_list"] = [_fill_line(fill) for fill in self.fill_list]
        absent = [name for name in _OPTIONAL if document[name] is None]
        return {name: value for name, value in document.items() if name not in absent}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunSummary:
        """The inverse of `to_json`; keys of other versions are left out.

        Raises
        ------
        msgspec.ValidationError, KeyError, TypeError, ValueError
            The document is no summary.
        """
        found = msgspec.convert({**document, "fill_list": []}, cls, dec_hook=lambda kind, value: kind(value))
        return msgspec.structs.replace(found, fill_list=tuple(read_fill(line) for line in document["fill_list"]))


SUMMARY_BYTES = 1 << 18
"""Room that a gateway keeps for its summary from the start: some 1,000 fills."""


def summary_room(run_dir: Path) -> ReservedFile:
    """Room for the summary of a run that begins; `UnwritableError` where there is none."""
    return ReservedFile(run_dir / SUMMARY, SUMMARY_BYTES)


def write_summary(run_dir: Path, summary: RunSummary, room: ReservedFile | None = None) -> None:
    """Write `summary.json` of a run, in one step; on a full disk into the `room` that was kept for it.

    Raises
    ------
    UnwritableError, ConfigError
        Not even that, or a folder has its name: it says what the run came to, which is written nowhere else as a whole.
    """
    text = json.dumps(summary.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        if room is not None:
            room.write(text.encode())
        else:
            atomic_write_text(run_dir / SUMMARY, text)
    except (UnwritableError, ConfigError) as exc:
        held = ", ".join(f"{net:+d} {symbol}" for symbol, net in sorted(summary.positions.items()) if net) or "flat"
        raise type(exc)(
            f"the run ended ({summary.ended}) without its summary: {exc.message}; it had {summary.fills} fills, "
            f"net PnL {summary.net_pnl:.2f} CNY, and is {held}",
            f"{exc.hint}; the journal in {run_dir} has its fills: `ghtrader gateway summary {run_dir.name}`",
        ) from exc


def read_summary(run_dir: Path) -> RunSummary | None:
    """The summary of a run, with its folder; None where it has none.

    Raises
    ------
    IntegrityError
        The file is no summary.
    """
    path = run_dir / SUMMARY
    if not path.exists():
        return None
    try:
        return msgspec.structs.replace(RunSummary.from_json(read_json(path)), folder=run_dir)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError) as exc:
        hint = f"move it away; `ghtrader gateway summary {run_dir.name}` makes it again from the run's journal"
        raise IntegrityError(f"{path} is no summary of a run: {exc}", hint) from exc


def _fill_line(fill: Fill) -> dict[str, Any]:
    line = fill_fields(fill)
    return line if math.isfinite(fill.fee) else {**line, "commission": None}  # as the journal writes it
