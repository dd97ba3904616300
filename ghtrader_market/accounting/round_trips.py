"""Counts round trips: how often a position was closed or reversed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def round_trips(fills: Sequence[dict[str, Any]], opening: dict[str, int] | None = None) -> int:
    """How often the net position came back to flat or crossed it, symbol by symbol; `opening` is what it was first."""
    net = dict(opening or {})
    count = 0
    for fill in fills:
        before = net.get(fill["symbol"], 0)
        after = before + fill["side"] * fill["volume"]
        net[fill["symbol"]] = after
        count += before != 0 and (after == 0 or (after > 0) != (before > 0))
    return count
