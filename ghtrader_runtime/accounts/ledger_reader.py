"""Reads an account's order ledger and sums its records up, for a gateway at its start and for observers.

Only reading belongs here; `order_ledger` writes.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import IntegrityError
from ghtrader_runtime.core.orders import Intent
from ghtrader_runtime.core.request_watermark import MAX_SESSIONS

FILE_NAME = "ledger.sqlite"
ID_NAME = "ledger.id"
WATERMARK_TTL_NS = 7 * 24 * 3600 * 1_000_000_000
"""How long (wall clock) a strategy session's highest revision is remembered."""


@dataclass(kw_only=True)
class LedgerState:
    """What a ledger's records add up to.

    Attributes
    ----------
    ledger_id, epoch, next_number
        What client order ids are made of.
    open : dict
        Intents not closed yet, by client order id, in the order they were made.
    watermark : dict
        Strategy session to its highest revision that became an order.
    closed : int
        Orders closed since the ledger began.
    marks : tuple of (trading day, opening, peak) or None
        Equity marks that were written last, CNY.
    other_marks : list of (trading day, opening, peak)
        Those of other trading days, ascending.
    sent_ns : list of int
        Market times of the last orders, oldest first.
    """

    ledger_id: str = ""
    epoch: int = 0
    next_number: int = 1
    open: dict[str, Intent] = field(default_factory=dict)
    watermark: dict[str, int] = field(default_factory=dict)
    closed: int = 0
    marks: tuple[str, float, float] | None = None
    other_marks: list[tuple[str, float, float]] = field(default_factory=list)
    sent_ns: list[int] = field(default_factory=list)

    def order_id(self, number: int) -> str:
        """Client order id of an intent of this epoch."""
        return f"gt{self.ledger_id}-{self.epoch}-{number:06d}"


_KINDS = ("head", "intent", "closed", "watermark", "marks", "kill")


def _rows(base: sqlite3.Connection) -> dict[str, list[tuple[str, Any]]]:
    """All records by kind, in the order of their keys; ValueError where one is not what was written."""
    found: dict[str, list[tuple[str, Any]]] = {kind: [] for kind in _KINDS}
    for kind, key, body, crc in base.execute("SELECT kind, key, body, crc FROM records ORDER BY kind, key"):
        if kind not in found or zlib.crc32(f"{kind}/{key}/".encode() + body) != crc:
            raise ValueError(f"the checksum of {kind} {key} does not match")
        found[kind].append((key, msgspec.json.decode(body)))
    return found


def load(base: sqlite3.Connection) -> LedgerState:
    """State of a ledger; ValueError or sqlite3.Error where it is damaged."""
    verdict = base.execute("PRAGMA quick_check").fetchone()[0]
    if verdict != "ok":
        raise ValueError(verdict)
    rows = _rows(base)
    head = dict(rows["head"]).get("ledger")
    if head is None:
        raise ValueError("it has no head: it was never a ledger, or was emptied")
    state = LedgerState(ledger_id=head["id"], epoch=head["epoch"], next_number=1, closed=head["closed"])
    opened = sorted((msgspec.convert(body, Intent) for _, body in rows["intent"]), key=lambda i: i.wall_ns)
    state.open = {intent.order_id: intent for intent in opened}
    state.watermark = _watermark(dict(rows["watermark"]), opened)
    closed = [body for _, body in rows["closed"]]
    state.sent_ns = sorted([body["market_ns"] for body in closed] + [intent.market_ns for intent in opened])
    _take_marks(state, [body for _, body in rows["marks"]])
    return state


def _take_marks(state: LedgerState, kept: list[dict[str, Any]]) -> None:
    """The marks written last, and those of other days; older versions kept one record, without saying when."""
    kept = sorted(kept, key=lambda body: body.get("wall_ns", 0))
    days = {body["trading_day"]: (body["trading_day"], body["opening"], body["peak"]) for body in kept}
    if kept:
        state.marks = days.pop(kept[-1]["trading_day"])
    state.other_marks = sorted(days.values())


def _watermark(kept: dict[str, dict[str, int]], opened: list[Intent]) -> dict[str, int]:
    """Highest revision of each session, the one silent longest first: an open intent tells its own, a closed one left a
    record."""
    floor = time.time_ns() - WATERMARK_TTL_NS
    latest = {key: (body["wall_ns"], body["revision"]) for key, body in kept.items() if body["wall_ns"] > floor}
    for intent in opened:
        if intent.target_session:
            wall_ns, revision = latest.get(intent.target_session, (0, -1))
            newest = max(wall_ns, intent.wall_ns), max(revision, intent.target_revision)
            latest[intent.target_session] = newest
    oldest_first = sorted(latest.items(), key=lambda item: item[1][0])
    return {session: revision for session, (_, revision) in oldest_first[-MAX_SESSIONS:]}


def read_ledger(state_dir: Path) -> LedgerState:
    """The ledger as it is on disk, for observers and tests; IntegrityError where it is damaged or missing."""
    path = state_dir / FILE_NAME
    try:
        with contextlib.closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)) as base:
            return load(base)
    except (sqlite3.Error, ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(f"the ledger {path} cannot be read ({exc})", "see `ghtrader kill status`") from exc


def earlier_intents(known: dict[str, Intent]) -> dict[str, Intent]:
    """Intents an earlier process run left open, with when they were sent on our monotonic clock.

    A wall clock that was set back since makes them young: then the broker is asked twice, which is safe.
    """
    wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
    return {
        key: msgspec.structs.replace(intent, sent_ns=max(now_ns - max(wall_ns - intent.wall_ns, 0), 0))
        for key, intent in known.items()
    }
