"""Defines what every tick store can do.

Only the contract between stores and their users belongs here; each store has its own file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

RECORDED = "recorded"
"""Source of a day that our own recorder wrote: a download of it is still wanted, and replaces it."""


@dataclass(frozen=True, kw_only=True)
class TableState:
    """A table of a database server: its rows, the transactions not applied yet (None where unknown), whether applying
    them is suspended."""

    rows: int
    wal_lag: int | None
    suspended: bool


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """What a database server that answers says of itself.

    Attributes
    ----------
    version, address : str
    tables : dict
        Our tables by name; empty where they are not there yet.
    faults : tuple of str
        What is wrong with the schema.
    pending_migrations : tuple of int
    open : bool
        It executes statements of anybody who reaches its HTTP port, without a login.
    """

    version: str
    address: str
    tables: dict[str, TableState]
    faults: tuple[str, ...]
    pending_migrations: tuple[int, ...]
    open: bool


@dataclass(frozen=True, kw_only=True)
class StoreRefusal:
    """Why a store could not be asked: the class of the error, and its exit code."""

    error: str
    code: int


@dataclass(frozen=True, kw_only=True)
class StoreHealth:
    """Whether a store can be used right now, and if not, why and what to do.

    Attributes
    ----------
    name : str
    ok : bool
    detail : str
        A sentence for people.
    server : ServerState, optional
        Of a store in a server that answers.
    refusal : StoreRefusal, optional
        Of one that does not.
    """

    name: str
    ok: bool
    detail: str = ""
    server: ServerState | None = None
    refusal: StoreRefusal | None = None

    def to_json(self) -> dict[str, Any]:
        """`ok` and `detail`, then what the server says, or why it cannot be asked."""
        more = self.server or self.refusal
        return {"ok": self.ok, "detail": self.detail, **(asdict(more) if more is not None else {})}


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
