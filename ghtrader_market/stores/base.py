"""Defines what every tick store can do.

Only the contract between stores and their users belongs here; each store has its own file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

RECORDED = "recorded"
"""Source of a day that our own recorder wrote: a download of it is still wanted, and replaces it."""


@dataclass(frozen=True)
class StoreHealth:
    """Whether a store can be used right now, and if not, why and what to do."""

    name: str
    ok: bool
    detail: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class TickStore(Protocol):
    """A place where raw ticks of one contract and trading day are written and read.

    Tables have `tick_schema.RAW_TICK_SCHEMA`, ordered by `id`. Writing the same content twice leaves the store as it
    was. Days are trading days: the night session belongs to the next one.
    """

    name: str

    def init(self) -> None:
        """Create what the store needs; harmless where it exists."""
        ...

    def write_ticks(self, symbol: str, day: date, table: pa.Table, *, source: str = "", run_id: str = "") -> int:
        """Store one contract-day; returns the rows the store holds for it afterwards."""
        ...

    def read_ticks(self, symbol: str, day: date, columns: list[str] | None = None) -> pa.Table:
        """Rows of one contract-day ordered by id; an empty table with the full schema where there are none."""
        ...

    def tick_days(self, symbol: str) -> list[date]:
        """Trading days the store holds for a contract, ascending."""
        ...

    def health(self) -> StoreHealth:
        """Reach the store; never raises."""
        ...
