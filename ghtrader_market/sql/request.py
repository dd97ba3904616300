"""Defines what a query's process is asked; its answers are `worker`'s."""

from __future__ import annotations

import msgspec

from ghtrader_market.sql.limits import SqlLimits


class Request(msgspec.Struct, kw_only=True, frozen=True):
    """What is asked.

    Attributes
    ----------
    data : str
        The lake's folder.
    sql : str
    limit : int, optional
        Rows after which it ends; without it, more than the limits allow are an error.
    spill : str
        A folder for this query alone; empty: none.
    plain : bool
        Whether rows are sent as JSON values, for a reader without Arrow.
    timeout_s, memory_bytes, spill_bytes, rows
        As in `SqlLimits`.
    """

    data: str
    sql: str
    limit: int | None
    spill: str
    plain: bool
    timeout_s: float
    memory_bytes: int
    spill_bytes: int
    rows: int

    @property
    def limits(self) -> SqlLimits:
        """The last four."""
        return SqlLimits(
            timeout_s=self.timeout_s, memory_bytes=self.memory_bytes, spill_bytes=self.spill_bytes, rows=self.rows
        )
