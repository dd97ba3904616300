"""Defines what one query may cost: time, memory, spilled bytes, rows.

Who keeps a query to it is `worker_client`, `worker` and `engine`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the process that answers knows no settings
    from ghtrader_base.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SqlLimits:
    """Limits of one query.

    Attributes
    ----------
    timeout_s : float
        Seconds from its start to its last row.
    memory_bytes : int
        Of the process that answers it; part of that is the engine's own.
    spill_bytes : int
        What it may lay down on disk meanwhile.
    rows : int
        Of an answer for which no number was asked.
    """

    timeout_s: float = 60.0
    memory_bytes: int = 2_000_000_000
    spill_bytes: int = 1_000_000_000
    rows: int = 1_000_000

    @classmethod
    def of(cls, settings: Settings) -> SqlLimits:
        """Those in force."""
        return cls(
            timeout_s=settings.sql_timeout_s,
            memory_bytes=round(settings.sql_memory_gb * 1e9),
            spill_bytes=round(settings.sql_spill_gb * 1e9),
            rows=settings.sql_max_rows,
        )
