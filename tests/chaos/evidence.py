"""Reads what a scenario left behind from where it truly stands: the exchange, the ledger, the journal, the switch."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghtrader_exchange.control_messages import AccountRecord, FillRecord, OrderRecord
from ghtrader_exchange.venue.event_log import OrderEvent, ReceivedMessage
from ghtrader_runtime.accounts.order_ledger import FILE_NAME
from ghtrader_runtime.runlog.journal import read_lines
from tests.chaos.scenario import Plan


@dataclass
class Evidence:
    """All of it.

    Attributes
    ----------
    received, record, fills, orders, positions
        The exchange's, see `ghtrader_exchange.client.Control`.
    intents : dict
        Of the ledger: order id to the intent as it stands there, open and closed ones.
    closed : dict
        Order id to outcome and left.
    journal : list of dict
        Fills of all lives, as `fills.jsonl` has them.
    events : list of dict
        `events.jsonl`.
    kills : list of (from ns, to ns)
        Monotonic ns from when the switch was known to be tripped to when it began to be reset.
    wall_offset_ns : int
        Wall clock minus monotonic clock.
    outcome : dict
        How the run ended: `summary`, or `error` and `message`.
    points : list of str
        Failpoints at which a process was killed.
    """

    received: list[ReceivedMessage]
    record: list[OrderEvent]
    fills: list[FillRecord]
    orders: list[OrderRecord]
    position: int
    intents: dict[str, dict[str, Any]]
    closed: dict[str, dict[str, Any]]
    journal: list[dict[str, Any]]
    events: list[dict[str, Any]]
    kills: list[tuple[int, int]]
    wall_offset_ns: int
    outcome: dict[str, Any]
    lives: list[dict[str, Any]]
    points: list[str] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)


def read_ledger_rows(state_dir: Path) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Intents and closings as they stand in the file, read past our own code."""
    intents: dict[str, dict[str, Any]] = {}
    closed: dict[str, dict[str, Any]] = {}
    path = state_dir / FILE_NAME
    if not path.exists():
        return intents, closed
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        for kind, key, body in base.execute("SELECT kind, key, body FROM records"):
            row = json.loads(body)
            if kind == "intent":
                intents[key] = row
            elif kind == "closed":
                intent = row["intent"]
                intents[intent["order_id"]] = intent
                closed[intent["order_id"]] = {"outcome": row["outcome"], "left": row["left"]}
    return intents, closed


def net_at_exchange(accounts: dict[str, AccountRecord], symbol: str) -> int:
    """Lots held, by the exchange's own word."""
    return sum(account.net(symbol) for account in accounts.values())


def read_lives(path: Path) -> list[dict[str, Any]]:
    """Every process that was started."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def journal_of(run_dir: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Fills and events of a run, all lives."""
    return read_lines(run_dir / "fills.jsonl"), read_lines(run_dir / "events.jsonl")


def killed_at(plan: Plan, lives: list[dict[str, Any]], trace: Path) -> list[str]:
    """Failpoints of a plan that were passed often enough to be fatal."""
    passed = Counter(trace.read_text().splitlines()) if trace.exists() else Counter()
    pids = {(one["kind"], one["life"]): one["pid"] for one in reversed(lives)}
    return [p.name for p in plan.points if passed[f"{pids.get((p.who, p.life))} {p.name}"] >= p.count]
